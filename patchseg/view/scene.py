"""One file as levels of tiles: pixels as they are stored in, bytes to be painted out.

Levels that are little smaller than what the file holds are read where they are looked at. For the smallest ones a
whole large image would have to be decoded, so that they come out of an overview: at first a glimpse, of as many places as can
be read in a quarter of a second, each repeated over its surroundings; then, while one looks, the true one from top to bottom.
"""

import itertools
import math
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from patchseg.imaging import Box
from patchseg.imaging.pyramid import Size
from patchseg.imaging.source import Array
from patchseg.view.levels import Levels, decimated

Bytes = NDArray[np.uint8]
# One box is read at a time, which bounds memory; a read decodes in several threads by itself.
READING = threading.Lock()

_NEAR = 8  # of what the file holds, levels so much smaller are read directly
_OVERVIEW = 2048  # most pixels of a side of an overview
_AT_ONCE = 2**22  # pixels of an image that needs no glimpse
_SAMPLED = 1024  # most pixels of a side of a sample
_GLIMPSE = 0.25  # seconds
_BLOCKS = (4, 8, 16)  # a glimpse's places along each axis, the coarsest first
_PLACE = 256  # pixels of a place along each axis: a tile of most files
_SWEEP = 2**22  # bytes that are read at a time for the overview
_REFRESH = 1.5  # seconds after which a browser is told to look again


class Scene:
    """The pixels of one file at all levels, as bytes.

    Args:
        sizes: The file in all its sizes, the full one first; taken over.
        shown: From pixels (h, w, C) to bytes (h, w, c).
    """

    def __init__(self, sizes: list[Size], shown: Callable[[Array], Bytes]) -> None:
        self._sizes, self._shown = sizes, shown
        self.full = sizes[0].source
        height, width, self.channels = self.full.shape
        self.levels = Levels(height, width)
        step = 2 * _NEAR
        while max(height, width) > step * _OVERVIEW:
            step *= 2
        self._step, self._near = step, self._best(step)
        self._overview: Bytes | None = None
        self._glimpsed: Array | None = None
        self._making = threading.Lock()
        self.version, self.finished = 0, not self._needs_overview(self.levels.step(self.levels.first))

    def show(self, shown: Callable[[Array], Bytes]) -> None:
        """Set how pixels become bytes, where that depends on what they are."""
        self._shown = shown

    def tile(self, level: int, column: int, row: int) -> tuple[Bytes, bool] | None:
        """Return the bytes of a tile, and whether they stay as they are; None where there is none."""
        box = self.levels.tile(level, column, row)
        if box is None:
            return None
        step = self.levels.step(level)
        if not self._needs_overview(step):
            with READING:
                return self._shown(self._read(box, step)), True
        final = self.finished
        return self.overview()[:: step // self._step, :: step // self._step][box.slices], final

    def pixel(self, row: int, column: int) -> list[float]:
        """Return the values of a pixel as they are stored."""
        with READING:
            values: list[float] = self.full.read(Box(row, column, 1, 1))[0, 0].tolist()
        return values

    def sample(self) -> Array:
        """Return some of the pixels as they are stored, (h, w, C), from all over the image, for contrast and colours."""
        near = self._near.source
        if math.prod(near.shape[:2]) > _AT_ONCE:
            return self._glimpse()
        step = math.ceil(max(near.shape[:2]) / _SAMPLED)
        with READING:
            return decimated(near, Box(0, 0, *(-(-length // step) for length in near.shape[:2])), step)

    def overview(self) -> Bytes:
        """Return the overview, at first as the glimpse shows it."""
        with self._making:
            if self._overview is None:
                self._overview = np.ascontiguousarray(self._shown(self._glimpse()))
                self._glimpsed = None
        return self._overview

    def complete(self, stop: threading.Event) -> None:
        """Make the overview true, from top to bottom, or as far as it comes until it is stopped."""
        overview, told = self.overview(), time.monotonic()
        for box in self._boxes(*overview.shape[:2]):
            if stop.is_set():
                return
            with READING:
                pixels = self._read(box, self._step)
            overview[box.slices] = self._shown(pixels)
            if time.monotonic() - told > _REFRESH:
                self.version, told = self.version + 1, time.monotonic()
            time.sleep(0.0005)  # lets those in who wait for a tile
        self.version, self.finished = self.version + 1, True

    def close(self) -> None:
        """Let go of the file."""
        with READING:
            for size in self._sizes:
                size.source.close()

    def _glimpse(self) -> Array:
        """Return the overview as it is stored: exact where that is soon done, else put together from places."""
        if self._glimpsed is None:
            size = self.levels.size(self.levels.last - int(self._step).bit_length() + 1)
            if math.prod(self._near.source.shape[:2]) <= _AT_ONCE:
                with READING:
                    return self._read(Box(0, 0, *size), self._step)
            self._glimpsed = _places(self._near, size, self._step // self._near.step)
        return self._glimpsed

    def _best(self, step: int) -> Size:
        """Return the smallest size of the file that holds the pixels of a step."""
        return max((size for size in self._sizes if size.step <= step), key=lambda size: size.step)

    def _needs_overview(self, step: int) -> bool:
        return step >= self._step and step > _NEAR * self._best(step).step

    def _read(self, box: Box, step: int) -> Array:
        size = self._best(step)
        return decimated(size.source, box, step // size.step, wide=size.wide)

    def _boxes(self, height: int, width: int) -> Iterator[Box]:
        """Yield the boxes of an overview, each a row of pieces of the file high and of a few megabytes."""
        step = self._step // self._near.step
        rows = max(1, _PLACE // step)
        column = (
            rows * step * step * self.full.shape[2] * self.full.dtype.itemsize
        )  # bytes of one of the overview's
        across = width if self._near.wide else max(1, _SWEEP // column // rows) * rows
        for top in range(0, height, rows):
            for left in range(0, width, across):
                yield Box(top, left, min(rows, height - top), min(across, width - left))


def _places(size: Size, shape: tuple[int, int], step: int) -> Array:
    """Return a picture of a large image put together from places of it, as many as can be read in time.

    Args:
        size: The image.
        shape: Rows and columns of the picture.
        step: How many rows and columns of the image it keeps one of.
    """
    start, pixels = time.monotonic(), None
    for blocks in _BLOCKS:
        if pixels is not None and time.monotonic() - start > _GLIMPSE / 4:
            break
        with READING:
            pixels = _mosaic(size, shape, step, blocks)
    assert pixels is not None
    return pixels


def _mosaic(size: Size, shape: tuple[int, int], step: int, blocks: int) -> Array:
    """Return a picture of `blocks` x `blocks` places, each repeated over its surroundings, at the scale of the picture."""
    source, (height, width) = size.source, shape
    picture: Array = np.empty((height, width, source.shape[2]), source.dtype)
    across = 1 if size.wide else blocks  # what is stored in wide pieces is read all across
    down_edges, right_edges = (
        np.linspace(0, n, k + 1).astype(int).tolist() for n, k in ((height, blocks), (width, across))
    )
    for top, bottom in itertools.pairwise(down_edges):
        for left, right in itertools.pairwise(right_edges):
            middle = (top + bottom) / 2 / height, (left + right) / 2 / width
            part = source.read(_place(source.shape, *middle, wide=size.wide))[::step, ::step]
            rows, columns = np.arange(bottom - top) % len(part), np.arange(right - left) % part.shape[1]
            picture[top:bottom, left:right] = part[rows[:, None], columns]
    return picture


def _place(shape: tuple[int, ...], down: float, right: float, *, wide: bool) -> Box:
    """Return the place of an image at a share of its rows and columns, one piece of a usual file."""
    height, width = shape[:2]
    if wide:
        return Box(int(down * height), 0, 8, width).clip(height, width)
    top, left = (int(share * length) // _PLACE * _PLACE for share, length in ((down, height), (right, width)))
    return Box(top, left, _PLACE, _PLACE).clip(height, width)
