"""Whether an image is of the kind that a model has learned: its channels, its dtype, and the range of its values."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from patchseg.errors import DataError
from patchseg.imaging import Box, ImageSource, Reading
from patchseg.imaging.channels import GRAY, channel_names
from patchseg.models.checkpoint import Checkpoint
from patchseg.patches.check import require_finite

_ABOVE, _BELOW = 4, 16  # 10, 12, 14 and 16 bits in one dtype lie 4 times apart, an image may well be dark


def as_learned(checkpoint: Checkpoint, tell: Callable[[str], None]) -> Reading:
    """Return how images are read: as those that the model has learned; gray also where it is stored as RGB."""
    reading = Reading.of(checkpoint.parameters, tell)
    gray = [channel["name"] for channel in checkpoint.channels] == [GRAY]
    return reading._replace(channels=(GRAY,)) if gray and reading.channels is None else reading


def require_kin(path: Path, source: ImageSource, checkpoint: Checkpoint) -> None:
    """Refuse an image that is not of the kind that the model has learned.

    Raises:
        DataError: Its channels or its dtype are others.
    """
    learned, dtype = [str(channel["name"]) for channel in checkpoint.channels], np.dtype(checkpoint.dtype)
    if source.shape[2] != len(learned):
        raise DataError(
            f"{path}: has {source.shape[2]} channels, the model expects {len(learned)} ({', '.join(learned)}); "
            "convert the image"
        )
    names = list(channel_names(source))
    if names != learned and set(names) == set(learned):
        raise DataError(
            f"{path}: has the channels {', '.join(names)}, the model has learned {', '.join(learned)}; store them in "
            "that order, or choose them by name (--channels) in prepare"
        )
    if source.dtype != dtype:
        raise DataError(f"{path}: holds {source.dtype}, the model has learned {dtype}; convert the image")


class Watched:
    """A source that is looked at as it is read: NaN is refused, and the largest value noted.

    Two threads may read it: one reads ahead while the other paints what is finished.
    """

    def __init__(self, source: ImageSource, path: Path) -> None:
        self._source, self._path = source, path
        self.shape, self.dtype, self.palette = source.shape, source.dtype, source.palette
        self.held = source.held
        self.close = source.close
        self._highest = -np.inf
        self._lock = threading.Lock()

    def read(self, box: Box) -> Any:
        """Return the raw pixels of a box inside the image, (h, w, C).

        Raises:
            DataError: They hold NaN or infinity.
        """
        with self._lock:
            pixels = self._source.read(box)
        require_finite(pixels, self._path, top=box.top)
        self._highest = max(self._highest, float(pixels.max()))
        return pixels

    def valid(self, box: Box) -> Any:
        """Return where the box holds data, (h, w) bool, or None where all of it does."""
        with self._lock:
            return self._source.valid(box)

    def doubt(self, checkpoint: Checkpoint) -> str | None:
        """Return a sentence where what was read lies far off the range that the model has learned, else None."""
        if any("max" not in channel for channel in checkpoint.channels):
            return None
        low = min(channel["min"] for channel in checkpoint.channels)
        high = max(channel["max"] for channel in checkpoint.channels)
        reach, learned = self._highest - low, high - low
        if learned / _BELOW <= reach <= learned * _ABOVE:
            return None
        return (
            f"{self._path}: its values reach {self._highest:g}, those of the training images {high:g}; if it is stored at "
            "another scale (8, 12 or 16 bits), its mask is wrong, so scale it as they are"
        )

    def __enter__(self) -> "Watched":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
