"""Networks as ONNX files: what `export` has written -> a checkpoint whose network is run by onnxruntime, on the CPU.

All that a checkpoint knows stands in the file's `metadata_props`, as JSON under keys that begin with "patchseg.". The last of
them, at the very end of the file, is the SHA-256 of what comes before it (`sealed`); other programs that change the
file drop or move it, and are trusted then.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from patchseg.errors import DataError, UsageError, first_line
from patchseg.models.checkpoint import Checkpoint, rebuilt

PREFIX, INPUT = "patchseg.", "pixels"
_CURE = "expected what `patchseg export -o NAME.onnx` writes"
_KEY = b"patchseg.sha256"
# One more entry of metadata_props (field 14 of ModelProto: key 1, value 2), as protobuf writes it: messages may be appended.
_SEAL = bytes([14 << 3 | 2, 2 + len(_KEY) + 2 + 64, 1 << 3 | 2, len(_KEY)]) + _KEY + bytes([2 << 3 | 2, 64])


class OnnxNetwork(nn.Module):
    """A network of an ONNX file, with as many threads as torch has when it is made.

    Args:
        graph: The bytes of the file.
        factor: The multiple to which height and width are padded inside.
        halo: The pixels beyond an aligned zone that decide its output; None where all of a tile does.
        log: Whether the graph gives probabilities, whose logarithms are returned: to a softmax they are logits.
    """

    def __init__(self, graph: bytes, factor: int = 1, halo: int | None = None, *, log: bool = False) -> None:
        super().__init__()
        self.factor, self.halo, self._log = factor, halo, log
        self._session = _session(graph, torch.get_num_threads())

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits (N, K, H, W) float32 of raw pixels (N, C, H, W) of any real dtype."""
        raw = np.ascontiguousarray(pixels.detach().float().cpu().numpy())
        found = torch.from_numpy(self._session.run(None, {INPUT: raw})[0]).to(pixels.device)
        return found.clamp_min_(torch.finfo(found.dtype).tiny).log_() if self._log else found

    def __deepcopy__(self, memo: dict[int, Any]) -> "OnnxNetwork":
        """Return itself: nothing in it changes, and a session has no copies."""
        return self


@dataclass
class Exported(Checkpoint):
    """A checkpoint whose network is a graph.

    Attributes:
        graph: The bytes of the ONNX file.
        factor: As of `Network`.
        halo: As of `Network`.
        result: What the graph gives, "logits" or "probabilities".
    """

    graph: bytes = b""
    factor: int = 1
    halo: int | None = None
    result: str = "logits"

    def network(self) -> OnnxNetwork:  # type: ignore[override]
        """Return the network that runs the graph."""
        return OnnxNetwork(self.graph, self.factor, self.halo, log=self.result == "probabilities")

    def save(self, path: Path) -> None:
        """Refuse: what is in the graph cannot be written as a checkpoint.

        Raises:
            UsageError: Always.
        """
        raise UsageError(
            f"{path}: an ONNX file is not changed; do it to the checkpoint that it was exported from, and export that again"
        )


def read(path: Path) -> Exported:
    """Read an ONNX file that `export` has written.

    Raises:
        UsageError: The package onnxruntime is not installed.
        DataError: It is damaged, of another kind, or of a newer format.
    """
    graph = path.read_bytes()
    if _is_spoilt(graph):
        raise DataError(f"{path}: has changed since it was written; export it again")
    try:
        known = _session(graph, 1).get_modelmeta().custom_metadata_map
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    except Exception as error:  # noqa: BLE001 - onnxruntime has an exception of its own for each kind of damage
        raise DataError(f"{path}: is damaged or no ONNX file ({first_line(error)}); {_CURE}") from None
    if f"{PREFIX}patchseg_format" not in known:
        raise DataError(f"{path}: is an ONNX file, but of something else; {_CURE}")
    try:
        facts = {
            key.removeprefix(PREFIX): json.loads(value)
            for key, value in known.items()
            if key.startswith(PREFIX) and key.encode() != _KEY
        }
        facts["patchseg_format"] = int(facts["patchseg_format"])
        mine = {name: facts[name] for name in ("factor", "halo", "result")}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: is incomplete ({first_line(error)}); {_CURE}") from None
    checkpoint = rebuilt(facts | {"weights": {}, "training": None}, path)
    return Exported(**vars(checkpoint), graph=graph, **mine)


def sealed(graph: bytes) -> bytes:
    """Return the bytes of an ONNX file with their SHA-256 as one more entry of its metadata."""
    return graph + _SEAL + hashlib.sha256(graph).hexdigest().encode()


def _is_spoilt(graph: bytes) -> bool:
    """Return whether a file ends with the SHA-256 of other bytes than those before it."""
    length = len(_SEAL) + 64
    content, seal = graph[:-length], graph[-length:]
    return seal.startswith(_SEAL) and seal != _SEAL + hashlib.sha256(content).hexdigest().encode()


def _session(graph: bytes, threads: int) -> Any:
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise UsageError(
            "the package that runs it is not installed; `pip install 'patchseg[onnx]'`"
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 4
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
