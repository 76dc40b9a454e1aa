"""A window of an image and its masks, reduced to what a page can show, whatever the size of the image."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchseg.imaging import Box, ImageSource
from patchseg.imaging.scale import ScaledSource
from patchseg.imaging.source import Array
from patchseg.studies.cases import Case

_SAMPLES = 2**24  # of the source that are held at a time


class Layers(NamedTuple):
    """What is seen of a window.

    Attributes:
        image: (h, w, C) raw pixels, or None where there is only a mask.
        given: (h, w) uint8 class indices, 255 is ignored.
        predicted: Likewise.
    """

    image: Array | None
    given: NDArray[np.uint8]
    predicted: NDArray[np.uint8]


def windows(case: Case, window: Box, longest: int) -> tuple[Box, Layers]:
    """Read a window of the image and both masks, no longer than `longest` pixels either way.

    Returns:
        The part of the window that lies in the image, and what is seen of it.

    Raises:
        DataError: A mask is missing or damaged.
    """
    given, predicted = case.open_masks()
    with given, predicted:
        window = window.clip(*given.shape[:2])
        raw = [shown(source, window, longest, labels=True) for source in (given, predicted)]
        truth, masks = case.known.truth, case.known.masks
        assert case.pair.mask is not None
        indices = (
            truth.encode(raw[0], case.pair.mask, given.palette),
            masks.encode(raw[1], case.pair.image, predicted.palette),
        )
    picture = case.open_picture()
    if picture is None:
        return window, Layers(None, *indices)
    with picture:
        return window, Layers(shown(picture, window, longest), *indices)


def shown(source: ImageSource, window: Box, longest: int, *, labels: bool = False) -> Array:
    """Return a window of an image no longer than `longest` pixels either way, (h, w, C); a smaller one as it is.

    >>> from patchseg.imaging import ArraySource
    >>> shown(ArraySource(np.arange(16).reshape(4, 4)), Box(0, 2, 4, 2), 2, labels=True)[:, :, 0].tolist()
    [[7], [15]]
    """
    scale = min(1.0, longest / max(window.height, window.width))
    if scale == 1:
        return source.read(window)
    reduced = ScaledSource(source, scale, labels=labels)
    top, left = int(window.top * scale), int(window.left * scale)
    height, width = (max(1, round(length * scale)) for length in window[2:])
    box = Box(top, left, height, width).clip(*reduced.shape[:2])
    rows = max(1, int(_SAMPLES * scale / (window.width * source.shape[2])))
    tops = range(box.top, box.bottom, rows)
    return np.concatenate([reduced.read(box._replace(top=t, height=min(rows, box.bottom - t))) for t in tops])
