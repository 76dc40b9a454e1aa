"""Checkpoints: plain tensors and plain Python values that rebuild their own model; nothing in them runs."""

import io
import math
import pickle
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from patchseg import device as devices
from patchseg.errors import DataError, UsageError
from patchseg.imaging.files import whole
from patchseg.labels.classes import Classes
from patchseg.models import Network, build

FORMAT = 1


@dataclass
class Checkpoint:
    """All that a trained model is.

    Attributes:
        model: What `models.build` takes: {name, channels, classes, width, levels, norm}.
        classes: The classes of its output, in order.
        channels: [{name, mean, std, min, max}] of the images; older ones know no range.
        dtype: Of the images, as numpy names it.
        patch: Side of the training patches, the default tile.
        scale: Multiple of the images' size at which it works.
        weights: The state dict, normalization included.
        parameters: {key: {value, source}} of the training.
        scores: The validation scores at this point.
        training: What resuming needs, or None (best.pt).
        mapping: [{source, target, pixels}]: what the values of the training masks were taken for.
        calibration: What `calibrate` has fitted: {temperature, thresholds, ...}, or None.
    """

    model: dict[str, Any]
    classes: Classes
    channels: list[dict[str, Any]]
    dtype: str
    patch: int
    scale: float
    weights: dict[str, torch.Tensor]
    parameters: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] | None = None
    mapping: list[dict[str, Any]] = field(default_factory=list)
    calibration: dict[str, Any] | None = None

    def save(self, path: Path) -> None:
        """Write it to a temporary name, sync and rename."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        content = fields | {
            "classes": self.classes.to_json(), "reading": self.classes.reading.to_json(), "patchseg_format": FORMAT
        }  # fmt: skip
        with whole(path) as part:
            # Through memory, because torch hides what the disk says when it is full.
            buffer = io.BytesIO()
            torch.save(content, buffer)
            part.write_bytes(buffer.getbuffer())

    def network(self) -> Network:
        """Return the model with its weights, in evaluation mode, on the CPU."""
        with devices.seeded(0):  # its first weights are drawn, though none of them stays
            network = build(self.model)
        network.load_state_dict(self.weights)
        return network.eval()


def load(path: Path) -> Checkpoint:
    """Read a checkpoint without running anything in it.

    Raises:
        UsageError: There is no such file.
        DataError: It is damaged, of another kind, of a newer format, or holds code.
    """
    cure = "expected a checkpoint of patchseg, such as checkpoints/NAME/best.pt"
    if not path.is_file():
        raise UsageError(f"{path}: is no file; {cure}")
    try:
        _require_whole(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise DataError(f"{path}: holds objects that could run code, so it is not read; {cure}") from None
    except Exception as error:  # noqa: BLE001 - what was made up to look like a checkpoint fails in any line of torch
        raise DataError(f"{path}: is damaged or no checkpoint ({_first(error)}); {cure}") from None
    number = content.get("patchseg_format") if isinstance(content, dict) else None
    if not isinstance(number, int):
        raise DataError(f"{path}: is a file of torch, but of something else; {cure}")
    if number > FORMAT:
        raise DataError(
            f"{path}: has format {number}, this patchseg reads up to {FORMAT}; install a newer patchseg"
        )
    try:
        # As those that were written before they were kept.
        content.setdefault("mapping", [])
        content.setdefault("calibration", None)
        fields = {name: content[name] for name in Checkpoint.__dataclass_fields__}
        classes = Classes.from_json(fields["classes"], content.get("reading"))
        checkpoint = Checkpoint(**fields | {"classes": classes})
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: is incomplete ({error}); {cure}") from None
    try:
        _require_fitting(checkpoint)
    except (DataError, UsageError) as error:  # the latter where its network's package is not installed
        raise type(error)(f"{path}: {error}") from None
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise DataError(f"{path}: describes no network ({_first(error)}); {cure}") from None
    return checkpoint


def _require_whole(path: Path) -> None:
    """Raise an error unless every byte is as it was written: torch looks at the sums of few of them."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"{damaged} has changed since it was written")


def _require_fitting(checkpoint: Checkpoint) -> None:
    """Raise an error unless network, weights, classes and channels are of one kind.

    Raises:
        DataError: They are not, or no network has this name.
    """
    np.dtype(checkpoint.dtype)
    with devices.seeded(
        0
    ):  # on the meta device it would take no memory, but torch seconds to import what for
        expected = build(checkpoint.model).state_dict()
    found = {name: weight.shape for name, weight in checkpoint.weights.items()}
    wrong = [name for name, weight in expected.items() if found.pop(name, None) != weight.shape] + [*found]
    sizes = {
        "classes": len(checkpoint.classes),
        "channels": len([channel["name"] for channel in checkpoint.channels]),
    }
    wrong += [name for name, size in sizes.items() if checkpoint.model[name] != size]
    if checkpoint.calibration is not None:
        thresholds = checkpoint.calibration["thresholds"] or [1.0] * sizes["classes"]
        numbers = [checkpoint.calibration["temperature"], *thresholds]
        fits = len(thresholds) == sizes["classes"] and all(0 < number < math.inf for number in numbers)
        wrong += [] if fits else ["calibration"]
    if wrong:
        raise DataError(f"its parts do not fit its network ({wrong[0]}); train it again")


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
