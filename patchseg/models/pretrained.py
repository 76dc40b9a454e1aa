"""What an encoder begins with: weights learned on other images, out of a file or from where the library publishes them.

    file or download ──> tensors under the encoder's own names ──> encoder, and how it wants its pixels scaled

Files are state dicts, as torchvision, timm, segmentation-models-pytorch and patchseg write them; nothing in them runs. They
are needed for the start only: a checkpoint holds all weights.
"""

import hashlib
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from patchseg import device as devices
from patchseg.errors import DataError, UsageError, first_line
from patchseg.models.network import Network, encoder_of
from patchseg.models.smp import download, statistics_of
from patchseg.models.tensors import package
from patchseg.progress import counted

Weights = Mapping[str, Tensor]

_INSIDE = (
    "state_dict",
    "model_state_dict",
    "model",
    "weights",
)  # where files keep the state dict, if not bare
_PREFIXES = ("", "encoder.", "model.", "module.", "backbone.", "model.encoder.", "module.encoder.")
_COUNTER = "num_batches_tracked"  # of batch norms; nothing depends on it
_RGB = ("red", "green", "blue")


class Fit(NamedTuple):
    """How the tensors of a file fit to an encoder.

    Attributes:
        found: Those that fit, by the encoder's names; input channels are adapted already.
        missing: Names of the encoder for which there is none.
        unexpected: Names of the file that have no place.
        adapted: (channels of the file, of the image), where they differ.
    """

    found: dict[str, Tensor]
    missing: list[str]
    unexpected: list[str]
    adapted: tuple[int, int] | None

    def __str__(self) -> str:
        """Return it in words."""
        text = f"{len(self.found)} of {counted(len(self.found) + len(self.missing), 'tensor')}"
        if self.adapted:
            text += f", first convolution from {self.adapted[0]} to {counted(self.adapted[1], 'channel')}"
        for names, what in ((self.missing, "missing"), (self.unexpected, "without a place")):
            text += f"; {len(names)} {what} ({_some(names)})" if names else ""
        return text


def pretrain(
    network: Network, spec: Mapping[str, Any], weights: Path | None, *, channels: Sequence[str], dtype: str
) -> tuple[str, str]:
    """Give the encoder of a network the weights of a file, or those that the library publishes, and scale pixels for it.

    8-bit images in red, green and blue are normalized with the mean and standard deviation that the weights were trained
    with. Others keep those of the training set, so that the encoder sees mean 0 and standard deviation 1, as it is used to.

    Args:
        network: With an encoder.
        spec: What it was built of.
        weights: The file, or None to download.
        channels: The names of the image's channels.
        dtype: Of the images, as numpy names it.

    Returns:
        Where the weights come from, and how they fit and what scales the pixels, in words.

    Raises:
        UsageError: There is no such file, or nothing can be downloaded.
        DataError: The file holds no weights, or those of another encoder.
    """
    encoder = encoder_of(network)
    assert encoder is not None
    name = str(spec.get("encoder", spec["name"]))
    if weights is not None:
        known, origin = read_weights(weights), f"{weights.name}, sha256 {_sha256(weights)}"
    else:
        with devices.seeded(0):  # a model is drawn before its weights come
            known, origin = download(name)
    fit = fitted(encoder.state_dict(), known, channels=len(channels))
    if len(fit.found) < len(fit.missing):
        raise DataError(
            f"{weights or origin}: holds the weights of another network than the encoder {name}, since only {len(fit.found)} of "
            f"its {len(fit.found) + len(fit.missing)} tensors are there (not {_some(fit.missing)}, but {_some(fit.unexpected)}); "
            "give the file of this encoder, or choose --encoder by the file"
        )
    encoder.load_state_dict(fit.found, strict=False)
    scaled = "pixels scaled as the training set's"
    if dtype == "uint8" and tuple(channels) == _RGB and "encoder" in spec:
        mean, std = statistics_of(name)
        network.set_normalization([255 * value for value in mean], [255 * value for value in std])
        scaled = "pixels scaled as those it was trained on"
    return origin, f"{fit}; {scaled}"


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a .safetensors file, or of one of torch, without running anything in it.

    Raises:
        UsageError: There is no such file.
        DataError: It holds none, or more than data.
    """
    cure = "expected a state dict, such as torchvision's resnet34 as .pth or .safetensors"
    if not path.is_file():
        raise UsageError(f"model.encoder_weights: {path} is no file; {cure}")
    try:
        if path.suffix == ".safetensors":
            content: Any = package(path).load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise DataError(
            f"{path}: holds more than tensors, which could run code, so it is not read; {cure}"
        ) from None
    except Exception as error:  # noqa: BLE001 - what was made up to look like weights fails in any line of torch
        raise DataError(f"{path}: is damaged or holds no weights ({first_line(error)}); {cure}") from None
    for name in _INSIDE:
        inner = content.get(name) if isinstance(content, dict) else None
        if isinstance(inner, dict) and any(isinstance(value, Tensor) for value in inner.values()):
            content = inner
    tensors = {str(name): value for name, value in _items(content) if isinstance(value, Tensor)}
    if not tensors:
        raise DataError(f"{path}: holds no weights; {cure}")
    return tensors


def fitted(expected: Weights, known: Weights, *, channels: int) -> Fit:
    """Find for each tensor of an encoder the one of a file; names may have a prefix, and underscores for points.

    Args:
        expected: The encoder's state.
        known: The file's.
        channels: C, of the image.
    """
    shared = "model." if all(name.startswith("model.") for name in expected) else ""  # timm's, wrapped
    wanted = {_plain(name, shared): name for name in expected}
    named = max(
        (
            {_plain(n, start): n for n in known if n.startswith(start)}
            for start in [*_PREFIXES, *(prefix + shared for prefix in _PREFIXES)]
        ),
        key=lambda names: len(wanted.keys() & names.keys()),
    )
    found, adapted, used = {}, None, set()
    for plain, name in wanted.items():
        weight = known.get(named.get(plain, ""))
        if weight is None:
            continue
        fit = _fitting(weight, expected[name].shape, channels)
        if fit is not None:
            found[name] = fit
            used.add(named[plain])
            adapted = adapted if fit is weight else (weight.shape[1], channels)
    missing = [name for name in expected if name not in found and not name.endswith(_COUNTER)]
    unexpected = [name for name in known if name not in used and not name.endswith(_COUNTER)]
    return Fit({n: w for n, w in found.items() if not n.endswith(_COUNTER)}, missing, unexpected, adapted)


def adapted(weight: Tensor, channels: int) -> Tensor:
    """Return the weights of a first convolution for another number of channels, as segmentation-models-pytorch does.

    For one channel they are summed: a gray image answers as it would in red, green and blue. Else they are repeated in turn and
    scaled, so that equal channels answer as before.

    Args:
        weight: (O, C', h, w).
        channels: C.

    Returns:
        (O, C, h, w).

    >>> adapted(torch.tensor([[[[1.0]], [[2.0]], [[6.0]]]]), 1).flatten()
    tensor([9.])
    >>> adapted(torch.tensor([[[[1.0]], [[2.0]], [[6.0]]]]), 2).flatten()
    tensor([1.5000, 3.0000])
    """
    if channels == 1:
        return weight.sum(dim=1, keepdim=True)
    known = weight.shape[1]
    return weight[:, [channel % known for channel in range(channels)]] * (known / channels)


def _fitting(weight: Tensor, shape: torch.Size, channels: int) -> Tensor | None:
    """Return a tensor of that shape: itself, or adapted where only its channels are others; else None."""
    if weight.shape == shape:
        return weight
    only_channels = weight.ndim == len(shape) == 4 and shape[1] == channels and weight.shape[1] in (1, 3)
    others_equal = only_channels and (weight.shape[0], *weight.shape[2:]) == (shape[0], *shape[2:])
    return adapted(weight.float(), channels) if others_equal else None


def _plain(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).replace(".", "_")


def _items(content: Any) -> list[tuple[Any, Any]]:
    return list(content.items()) if isinstance(content, dict) else []


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (" ..." if len(names) > 3 else "") or "nothing"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
