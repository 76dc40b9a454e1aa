"""Images at another size, by window: any box of the scaled image equals that box of the whole one.

Resampling is separable with a triangle filter, as wide as a source pixel when enlarging (linear interpolation) and
as wide as a target pixel when reducing, so that nothing aliases. Masks take the nearest pixel.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchseg.imaging.box import Box
from patchseg.imaging.source import Array, ImageSource

BAND = 256  # target rows, and columns, resampled at a time
_SAMPLES = 2**24  # of the source that are held at a time when an image is reduced to a thumbnail


def scaled_length(length: int, scale: float) -> int:
    """Return the scaled number of pixels, at least 1.

    >>> scaled_length(401, 0.5)
    200
    """
    return max(1, round(length * scale))


def support(start: int, stop: int, length: int, target: int) -> tuple[int, int]:
    """Return the range of source pixels, out of `length`, that the pixels start..stop of `target` depend on."""
    step = length / target
    radius = max(1.0, step)
    first = math.floor((start + 0.5) * step - radius)
    last = math.ceil((stop - 0.5) * step + radius)
    return max(0, first), min(length, last)


def weights(start: int, stop: int, length: int, target: int) -> NDArray[np.float32]:
    """Return the matrix (stop - start, support) that resamples one axis.

    >>> weights(0, 2, 4, 2)
    array([[0.42857143, 0.42857143, 0.14285715, 0.        ],
           [0.        , 0.14285715, 0.42857143, 0.42857143]], dtype=float32)
    """
    step = length / target
    first, last = support(start, stop, length, target)
    centres = (np.arange(start, stop) + 0.5) * step
    pixels = np.arange(first, last) + 0.5
    triangle = np.maximum(0.0, 1.0 - np.abs(pixels - centres[:, None]) / max(1.0, step))
    return np.asarray(triangle / triangle.sum(axis=1, keepdims=True)).astype(np.float32)


def taps(start: int, stop: int, length: int, target: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return the same for each pixel alone, whatever range it is asked for in: source pixels and weights, (n, T) each.

    Those beyond an end, and those that fill a row up to T, weigh 0.

    >>> [array.round(2).tolist() for array in taps(1, 2, 4, 2)]
    [[[1, 2, 3, 3, 3]], [[0.14000000059604645, 0.4300000071525574, 0.4300000071525574, 0.0, 0.0]]]
    """
    step = length / target
    radius = max(1.0, step)
    centres = ((np.arange(start, stop) + 0.5) * step)[:, None]
    pixels = np.floor(centres - radius).astype(np.intp) + np.arange(math.ceil(2 * radius) + 1)
    triangle = np.maximum(0.0, 1.0 - np.abs(pixels + 0.5 - centres) / radius)
    triangle[(pixels < 0) | (pixels >= length)] = 0
    return pixels.clip(0, length - 1), (triangle / triangle.sum(axis=1, keepdims=True)).astype(np.float32)


def nearest(start: int, stop: int, length: int, target: int) -> NDArray[np.intp]:
    """Return the source pixel nearest to each of the pixels start..stop of `target`."""
    return np.asarray(np.minimum((np.arange(start, stop) + 0.5) * length / target, length - 1)).astype(
        np.intp
    )


class ScaledSource:
    """An image at another size; see `ImageSource`.

    Args:
        source: The image, which this takes over.
        scale: Multiple of its size.
        labels: Whether its pixels are labels, which take the nearest one.
    """

    def __init__(self, source: ImageSource, scale: float, *, labels: bool = False) -> None:
        self._source, self._labels = source, labels
        height, width, channels = source.shape
        self.shape = (scaled_length(height, scale), scaled_length(width, scale), channels)
        self.dtype: np.dtype[Any] = source.dtype
        self.palette, self.held = source.palette, source.held

    def read(self, box: Box) -> Array:
        """Return the resampled pixels of a box, (h, w, C), in the source's dtype."""
        tops = range(box.top, box.bottom, BAND)
        bands = [self._band(Box(top, box.left, min(BAND, box.bottom - top), box.width)) for top in tops]
        return np.concatenate(bands)

    def valid(self, box: Box) -> NDArray[np.bool_] | None:
        """Return where the nearest source pixel holds data, (h, w) bool, or None where all do."""
        rows, columns, window = self._nearest(box)
        mask = self._source.valid(window)
        return None if mask is None else mask[rows[:, None], columns]

    def close(self) -> None:
        """Let go of the file."""
        self._source.close()

    def __enter__(self) -> "ScaledSource":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _band(self, box: Box) -> Array:
        if self._labels:
            rows, columns, window = self._nearest(box)
            return np.asarray(self._source.read(window)[rows[:, None], columns])
        (height, width, _), (target_height, target_width, _) = self._source.shape, self.shape
        top, bottom = support(box.top, box.bottom, height, target_height)
        left, right = support(box.left, box.right, width, target_width)
        pixels = self._source.read(Box(top, left, bottom - top, right - left))
        down = weights(box.top, box.bottom, height, target_height)
        result = np.empty((box.height, box.width, pixels.shape[2]), self.dtype)
        for start in range(
            box.left, box.right, BAND
        ):  # a matrix for all columns would grow with their square
            stop = min(start + BAND, box.right)
            first, last = support(start, stop, width, target_width)
            across = weights(start, stop, width, target_width)
            # In double precision, since the order of sums follows the window, and a half must round alike in all of them.
            block = pixels[:, first - left : last - left].astype(np.float64)
            block = np.einsum("ph,hwc,qw->pqc", down, block, across, optimize=True)
            result[:, start - box.left : stop - box.left] = (
                block if self.dtype.kind == "f" else np.rint(block)
            )
        return result

    def _nearest(self, box: Box) -> tuple[NDArray[np.intp], NDArray[np.intp], Box]:
        rows = nearest(box.top, box.bottom, self._source.shape[0], self.shape[0])
        columns = nearest(box.left, box.right, self._source.shape[1], self.shape[1])
        top, left = int(rows[0]), int(columns[0])
        return (
            rows - top,
            columns - left,
            Box(top, left, int(rows[-1]) - top + 1, int(columns[-1]) - left + 1),
        )


def reduced(source: ImageSource, longest: int, *, window: Box | None = None, labels: bool = False) -> Array:
    """Return an image, or a window of it, no longer than `longest` pixels either way, (h, w, C); a smaller one as it is.

    Memory does not grow with the size of the image.

    Args:
        source: The image; it stays open.
        longest: Most pixels of a side.
        window: The part of it that lies in the image; None for all.
        labels: Whether its pixels are labels, which take the nearest one.

    >>> from patchseg.imaging.array import ArraySource
    >>> pixels = ArraySource(np.arange(16).reshape(4, 4))
    >>> reduced(pixels, 2, window=Box(0, 2, 4, 2), labels=True)[:, :, 0].tolist()
    [[7], [15]]
    """
    window = window or Box(0, 0, *source.shape[:2])
    scale = min(1.0, longest / max(window.height, window.width))
    shown: ImageSource = ScaledSource(source, scale, labels=labels) if scale < 1 else source
    height, width = (scaled_length(length, scale) for length in window[2:])
    box = Box(int(window.top * scale), int(window.left * scale), height, width).clip(*shown.shape[:2])
    rows = max(1, int(_SAMPLES * scale / (window.width * source.shape[2])))
    tops = range(box.top, box.bottom, rows)
    return np.concatenate([shown.read(box._replace(top=t, height=min(rows, box.bottom - t))) for t in tops])
