"""Pixels that are stored turned or mirrored, seen upright: what an orientation tag (TIFF 6.0, EXIF) asks for."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchseg.imaging.box import Box
from patchseg.imaging.source import Array, ImageSource

# What turns the stored pixels upright, by orientation.
TURNS: dict[int, Callable[[Array], Array]] = {
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: lambda pixels: np.swapaxes(pixels, 0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.swapaxes(np.rot90(pixels, 2), 0, 1),
    8: np.rot90,
}
BOTTOM_FIRST, RIGHT_FIRST = {3, 4, 6, 7}, {2, 3, 7, 8}


def stored_box(box: Box, orientation: int, height: int, width: int) -> Box:
    """Return where the pixels of an upright box are stored.

    Args:
        box: Upright.
        orientation: 1 to 8.
        height: Rows that are stored.
        width: Columns that are stored.

    >>> stored_box(Box(0, 1, 2, 3), 6, height=10, width=20)
    Box(top=6, left=0, height=3, width=2)
    """
    if orientation >= 5:
        box = Box(box.left, box.top, box.width, box.height)
    top = height - box.bottom if orientation in BOTTOM_FIRST else box.top
    left = width - box.right if orientation in RIGHT_FIRST else box.left
    return Box(top, left, box.height, box.width)


class UprightSource:
    """An image seen upright; see `ImageSource`.

    Args:
        source: As it is stored; taken over.
        orientation: 2 to 8.
    """

    def __init__(self, source: ImageSource, orientation: int) -> None:
        self._source, self._orientation = source, orientation
        height, width, channels = source.shape
        self.shape = (width, height, channels) if orientation >= 5 else (height, width, channels)
        self.dtype: np.dtype[Any] = source.dtype
        self.palette, self.held = source.palette, source.held

    def read(self, box: Box) -> Array:
        """Return the raw pixels of an upright box inside the image, (h, w, C)."""
        return np.ascontiguousarray(TURNS[self._orientation](self._source.read(self._stored(box))))

    def valid(self, box: Box) -> NDArray[np.bool_] | None:
        """Return where the upright box holds data, (h, w) bool, or None where all of it does."""
        mask = self._source.valid(self._stored(box))
        return None if mask is None else TURNS[self._orientation](mask)

    def close(self) -> None:
        """Let go of the file."""
        self._source.close()

    def __enter__(self) -> "UprightSource":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _stored(self, box: Box) -> Box:
        return stored_box(box, self._orientation, *self._source.shape[:2])
