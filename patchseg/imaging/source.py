"""What every readable image offers, whatever its format: shape, dtype, and pixels by window."""

import mmap
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from patchseg.imaging.box import Box

Array = NDArray[Any]
_MOST_CHANNELS = 32  # more come with images that have more rows


class Held(NamedTuple):
    """What an open image holds in memory beside the pixels that it hands out, in bytes, at most.

    Attributes:
        always: Whatever is read.
        column: More for each column of the boxes that are read, each below the one before.
    """

    always: int = 0
    column: float = 0.0


class ImageSource(Protocol):
    """An open image. A context manager; coordinates are upright.

    Attributes:
        shape: (H, W, C) of what `read` gives of the whole image.
        dtype: The dtype of its pixels.
        palette: (K, 3) uint8 colours where the pixels are indices into them, else None.
        held: What it takes in memory.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    palette: NDArray[np.uint8] | None
    held: Held

    def read(self, box: Box) -> Array:
        """Return the raw pixels of a box inside the image, (h, w, C)."""
        ...

    def valid(self, box: Box) -> NDArray[np.bool_] | None:
        """Return where the box holds data, (h, w) bool, or None where all of it does."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...

    def __enter__(self) -> "ImageSource": ...

    def __exit__(self, *_: object) -> None: ...


def trouble(shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
    """Return what keeps an array from being an image (H, W) or (H, W, C), or an empty text.

    >>> trouble((5, 7), np.dtype("u1")), trouble((5, 7, 2), np.dtype("f4"))
    ('', '')
    >>> trouble((3, 200, 300), np.dtype("u1"))[:34]
    'holds uint8 of shape (3, 200, 300)'
    """
    found = f"holds {dtype} of shape {shape}"
    if len(shape) not in (2, 3) or dtype.kind not in "buif" or 0 in shape:
        return f"{found}; expected numbers of shape (H, W) or (H, W, C)"
    # Slices or channels that come first; taken for rows, they would be nonsense that nobody sees.
    if len(shape) == 3 and shape[2] > _MOST_CHANNELS and shape[0] < min(shape[1:]):
        return f"{found}; expected (H, W, C), the channels last, so move the first axis there or store each slice alone"
    return ""


class ArraySource:
    """An image that lies in memory (or in a memory map), with its alpha channel beside it.

    Args:
        pixels: (H, W) or (H, W, C).
        palette: (K, 3) uint8 colours when the pixels are indices.
        alpha: (H, W); pixels of alpha 0 are no data.
        decoding: Bytes that it took to make the pixels out of a file, beside them.
        map: The file that the pixels lie in, where they are mapped: what was read does not stay in memory.
    """

    def __init__(
        self,
        pixels: Array,
        *,
        palette: Array | None = None,
        alpha: Array | None = None,
        decoding: int = 0,
        map: mmap.mmap | None = None,
    ) -> None:
        self._pixels = pixels if pixels.ndim == 3 else pixels[:, :, None]
        self._alpha = alpha if alpha is not None and not alpha.all() else None
        height, width, channels = self._pixels.shape
        self.shape = (height, width, channels)
        self.dtype = self._pixels.dtype.newbyteorder("=")  # torch knows no other
        self.palette, self._map = palette, map
        beside = 0 if self._alpha is None else self._alpha.nbytes
        self.held = Held(0 if map else pixels.nbytes + beside + decoding)

    def read(self, box: Box) -> Array:
        """Return the raw pixels of a box inside the image, (h, w, C)."""
        if self._map is None:
            return np.ascontiguousarray(self._pixels[box.slices], self.dtype)
        pixels = np.array(self._pixels[box.slices], self.dtype, order="C")
        forget(self._map)
        return pixels

    def valid(self, box: Box) -> NDArray[np.bool_] | None:
        """Return where alpha is not 0, (h, w) bool, or None where all is opaque."""
        return None if self._alpha is None else self._alpha[box.slices] > 0

    def close(self) -> None:
        """Let go of the pixels."""
        self._pixels = self._pixels[:0]

    def __enter__(self) -> "ArraySource":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def forget(map: mmap.mmap) -> None:
    """Let go of what was read of a file that is mapped into memory; it would count as taken."""
    if hasattr(mmap, "MADV_DONTNEED"):  # not on Windows
        map.madvise(mmap.MADV_DONTNEED)


class PaletteColors:
    """A palette image seen in its colours: (h, w, 3) uint8 in place of indices."""

    def __init__(self, source: ImageSource) -> None:
        assert source.palette is not None
        self.palette: NDArray[np.uint8] | None = None
        self._source, self._colors = source, np.zeros((max(256, len(source.palette)), 3), np.uint8)
        self._colors[: len(source.palette)] = source.palette
        self.shape = (*source.shape[:2], 3)
        self.dtype = np.dtype(np.uint8)
        self.held = source.held

    def read(self, box: Box) -> Array:
        """Return the colours of a box inside the image, (h, w, 3) uint8."""
        return self._colors[self._source.read(box)[:, :, 0]]

    def valid(self, box: Box) -> NDArray[np.bool_] | None:
        """Return where the box holds data, as the indices say."""
        return self._source.valid(box)

    def close(self) -> None:
        """Let go of the file."""
        self._source.close()

    def __enter__(self) -> "PaletteColors":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
