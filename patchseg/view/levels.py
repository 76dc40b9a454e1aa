"""The arithmetic of deep zoom: which pixels a tile of a level shows. Numbers in, boxes out.

A level has half the rows and columns of the next one, and the last is the image itself, as in Deep Zoom Images; the
pixels of a level are those of every 2nd, 4th, 8th ... row and column, so that masks stay masks.
"""

import math
from typing import NamedTuple

import numpy as np

from patchseg.imaging import Box
from patchseg.imaging.source import Array, ImageSource

TILE = 256  # rows and columns of a tile; those at the right and bottom edge are smaller
_BAND = 256  # rows of the image that are read at a time


class Levels(NamedTuple):
    """The levels of an image of `height` x `width` pixels.

    >>> levels = Levels(20_000, 15_000)
    >>> levels.first, levels.last, levels.step(8), levels.size(8)
    (8, 15, 128, (157, 118))
    """

    height: int
    width: int

    @property
    def last(self) -> int:
        """The number of the level that is the image itself."""
        return math.ceil(math.log2(max(self.height, self.width)))

    @property
    def first(self) -> int:
        """The number of the largest level that is a single tile."""
        return min(self.last, int(math.log2(TILE)))

    def step(self, level: int) -> int:
        """Return which rows and columns a level keeps: every so many-th."""
        return int(2 ** (self.last - level))

    def size(self, level: int) -> tuple[int, int]:
        """Return rows and columns of a level."""
        step = self.step(level)
        return -(-self.height // step), -(-self.width // step)

    def tile(self, level: int, column: int, row: int) -> Box | None:
        """Return the pixels of a tile in those of its level; None where there is no such tile.

        >>> Levels(300, 700).tile(10, 2, 1)
        Box(top=256, left=512, height=44, width=188)
        """
        if not self.first <= level <= self.last or min(column, row) < 0:
            return None
        box = Box(row * TILE, column * TILE, TILE, TILE).clip(*self.size(level))
        return box if box.height and box.width else None


def decimated(source: ImageSource, box: Box, step: int, *, wide: bool = False) -> Array:
    """Return every `step`-th row and column of an image, (h, w, C): `image[::step, ::step][box.slices]`.

    Args:
        source: The image.
        box: In the pixels that are kept; what lies beyond the image repeats its edge.
        step: How many rows and columns one is kept of.
        wide: Whether rows are read one by one, because between them lie pieces that need not be decoded.
    """
    height, width, channels = source.shape
    pixels: Array = np.empty((box.height, box.width, channels), source.dtype)
    rows = 1 if wide else max(1, _BAND // step)
    for top in range(0, box.height, rows):
        count = min(rows, box.height - top)
        window = Box(
            min((box.top + top) * step, height - 1), min(box.left * step, width - 1),
            (count - 1) * step + 1, (box.width - 1) * step + 1,
        )  # fmt: skip
        part = source.read(window.clip(height, width))[::step, ::step]
        missing = ((0, count - part.shape[0]), (0, box.width - part.shape[1]), (0, 0))
        pixels[top : top + count] = np.pad(part, missing, "edge") if missing[0][1] or missing[1][1] else part
    return pixels
