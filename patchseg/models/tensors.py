"""Checkpoints as safetensors: weights in NAME.safetensors, all else in NAME.json beside it, for programs without pickle.

The JSON holds the SHA-256 of the weights, so that neither damage nor the weights of another model pass unnoticed.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from patchseg.errors import DataError, UsageError, first_line
from patchseg.imaging.files import whole
from patchseg.models.checkpoint import Checkpoint, rebuilt, weighed
from patchseg.models.plain import as_json

_DIGEST = "weights_sha256"
_CURE = "expected what `patchseg export -o NAME.safetensors` writes"


def write(checkpoint: Checkpoint, path: Path) -> None:
    """Write NAME.safetensors and NAME.json; the training state is left out.

    Raises:
        UsageError: The package safetensors is not installed, or the folder cannot be written to.
        PatchsegError: The disk is full.
    """
    weights = {
        name: tensor.detach().cpu().contiguous().clone() for name, tensor in checkpoint.weights.items()
    }
    content: bytes = package(path).save(weights)
    facts = checkpoint.facts() | {_DIGEST: hashlib.sha256(content).hexdigest()}
    with whole(path) as part:
        part.write_bytes(content)
    with whole(path.with_suffix(".json")) as part:
        part.write_text(json.dumps(as_json(facts), indent=1), encoding="utf-8")


def read(path: Path) -> Checkpoint:
    """Read a checkpoint from NAME.safetensors and NAME.json.

    Raises:
        UsageError: The JSON is missing, or the package safetensors is not installed.
        DataError: A file is damaged, of another kind, of a newer format, or the two do not belong together.
    """
    beside, library = path.with_suffix(".json"), package(path)
    if not beside.is_file():
        raise UsageError(f"{path}: has no {beside.name} beside it, which says what the weights are; {_CURE}")
    try:
        facts = json.loads(beside.read_text(encoding="utf-8"))
        number, expected = facts["patchseg_format"], facts[_DIGEST]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{beside}: is damaged or of something else ({first_line(error)}); {_CURE}") from None
    if not isinstance(number, int):
        raise DataError(f"{beside}: is of something else (patchseg_format {number}); {_CURE}")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != expected:
        raise DataError(
            f"{path}: is damaged, or of another model than {beside.name} beside it; export both again"
        )
    return weighed(rebuilt(facts | {"weights": library.load(content), "training": None}, path), path)


def package(path: Path) -> Any:
    """Return safetensors.torch, for a file.

    Raises:
        UsageError: It is not installed.
    """
    try:
        import safetensors.torch
    except ModuleNotFoundError:
        raise UsageError(
            f"{path}: the package that reads and writes it is not installed; `pip install 'patchseg[safetensors]'`"
        ) from None
    return safetensors.torch
