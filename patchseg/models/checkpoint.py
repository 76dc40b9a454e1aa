"""Checkpoints: plain tensors and plain Python values that rebuild their own model; nothing in them runs.

What `export` writes is read as one, too, by its suffix: `tensors` and `session`.
"""

import hashlib
import io
import math
import pickle
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from patchseg import device as devices
from patchseg.errors import DataError, UsageError, first_line
from patchseg.imaging.files import whole
from patchseg.labels.classes import Classes
from patchseg.models import Network, build

FORMAT = 1
CURE = "expected a checkpoint of patchseg, such as checkpoints/NAME/best.pt"


@dataclass
class Checkpoint:
    """All that a trained model is.

    Attributes:
        model: What `models.build` takes: {name, channels, classes} and the settings of the network.
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
        """Write it to a temporary name, sync and rename; as safetensors where that is the suffix."""
        if path.suffix == ".safetensors":
            from patchseg.models.tensors import write

            write(self, path)
            return
        content = self.facts() | {"weights": self.weights, "training": self.training}
        with whole(path) as part:
            # Through memory, because torch hides what the disk says when it is full.
            buffer = io.BytesIO()
            torch.save(content, buffer)
            part.write_bytes(buffer.getbuffer())

    def facts(self) -> dict[str, Any]:
        """Return all that it is, but for weights and training state, as plain Python values."""
        fields = {name: getattr(self, name) for name in Checkpoint.__dataclass_fields__}
        del fields["weights"], fields["training"]
        return fields | {
            "classes": self.classes.to_json(), "reading": self.classes.reading.to_json(), "patchseg_format": FORMAT
        }  # fmt: skip

    @property
    def pretrained(self) -> bool:
        """Whether it has learned from images alone, so that what it says of classes means nothing."""
        return bool(self.parameters.get("train.objective", {}).get("value") == "detcon")

    def network(self) -> Network:
        """Return the model with its weights, in evaluation mode, on the CPU."""
        with devices.seeded(0):  # its first weights are drawn, though none of them stays
            network = build(self.model)
        network.load_state_dict(self.weights)
        return network.eval()


def load(path: Path) -> Checkpoint:
    """Read a checkpoint, or what `export` has made of one, without running anything in it.

    Raises:
        UsageError: There is no such file, or a package that reads it is not installed.
        DataError: It is damaged, of another kind, of a newer format, or holds code.
    """
    if not path.is_file():
        raise UsageError(f"{path}: is no file; {CURE}")
    if path.suffix == ".safetensors":
        from patchseg.models import tensors

        return tensors.read(path)
    if path.suffix == ".onnx":
        from patchseg.models import session

        return session.read(path)
    try:
        _require_whole(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise DataError(f"{path}: holds objects that could run code, so it is not read; {CURE}") from None
    except Exception as error:  # noqa: BLE001 - what was made up to look like a checkpoint fails in any line of torch
        raise DataError(f"{path}: is damaged or no checkpoint ({first_line(error)}); {CURE}") from None
    if not isinstance(content, dict) or not isinstance(content.get("patchseg_format"), int):
        raise DataError(f"{path}: is a file of torch, but of something else; {CURE}")
    return weighed(rebuilt(content, path), path)


def rebuilt(content: dict[str, Any], path: Path) -> Checkpoint:
    """Return the checkpoint of what a file holds: `facts`, weights and training state.

    Args:
        content: With a number for `patchseg_format`.
        path: For errors.

    Raises:
        DataError: It is incomplete, of a newer format, or classes, channels and calibration do not fit its network.
    """
    if content["patchseg_format"] > FORMAT:
        raise DataError(
            f"{path}: has format {content['patchseg_format']}, this patchseg reads up to {FORMAT}; install a newer patchseg"
        )
    try:
        # As those that were written before they were kept.
        content = {"mapping": [], "calibration": None} | content
        fields = {name: content[name] for name in Checkpoint.__dataclass_fields__}
        classes = Classes.from_json(fields["classes"], content.get("reading"))
        checkpoint = Checkpoint(**fields | {"classes": classes})
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: is incomplete ({error}); {CURE}") from None
    with _described(path):
        _require_fitting(checkpoint)
    return checkpoint


def weighed(checkpoint: Checkpoint, path: Path) -> Checkpoint:
    """Return a checkpoint whose weights are those of its network.

    Raises:
        DataError: They are not, or no network has this name.
    """
    with _described(path):
        # On the meta device it would take no memory, but torch seconds to import what for.
        with devices.seeded(0):
            expected = build(checkpoint.model).state_dict()
        found = {name: weight.shape for name, weight in checkpoint.weights.items()}
        _refuse(
            [name for name, weight in expected.items() if found.pop(name, None) != weight.shape] + [*found]
        )
    return checkpoint


def require_classes(checkpoint: Checkpoint, path: Path) -> None:
    """Refuse a pretrained checkpoint where one is to segment.

    Raises:
        UsageError: It is pretrained.
    """
    if checkpoint.pretrained:
        raise UsageError(
            f"{path}: is pretrained and knows no classes yet; give it to `patchseg train --weights`, and here the checkpoint of "
            "that run"
        )


def digest(path: Path) -> str:
    """Return the SHA-256 of a checkpoint's bytes, of safetensors also of the JSON beside it."""
    found = hashlib.sha256(path.read_bytes())
    if path.suffix == ".safetensors":
        found.update(path.with_suffix(".json").read_bytes())
    return found.hexdigest()


def _require_whole(path: Path) -> None:
    """Raise an error unless every byte is as it was written: torch looks at the sums of few of them."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"{damaged} has changed since it was written")


@contextmanager
def _described(path: Path) -> Iterator[None]:
    """Turn what fails where a checkpoint describes no network into a sentence."""
    try:
        yield
    except (DataError, UsageError) as error:  # the latter where its network's package is not installed
        raise type(error)(f"{path}: {error}") from None
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise DataError(f"{path}: describes no network ({first_line(error)}); {CURE}") from None


def _require_fitting(checkpoint: Checkpoint) -> None:
    """Raise a `DataError` unless classes, channels and calibration are of the kind of the network."""
    np.dtype(checkpoint.dtype)
    sizes = {
        "classes": len(checkpoint.classes),
        "channels": len([channel["name"] for channel in checkpoint.channels]),
    }
    wrong = [name for name, size in sizes.items() if checkpoint.model[name] != size]
    if checkpoint.calibration is not None:
        thresholds = checkpoint.calibration["thresholds"] or [1.0] * sizes["classes"]
        numbers = [checkpoint.calibration["temperature"], *thresholds]
        fits = len(thresholds) == sizes["classes"] and all(0 < number < math.inf for number in numbers)
        wrong += [] if fits else ["calibration"]
    _refuse(wrong)


def _refuse(wrong: list[str]) -> None:
    if wrong:
        raise DataError(f"its parts do not fit its network ({wrong[0]}); train it again")
