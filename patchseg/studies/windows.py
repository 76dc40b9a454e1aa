"""A window of an image and its masks, reduced to what a page can show, whatever the size of the image."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchseg.imaging import Box
from patchseg.imaging.scale import reduced
from patchseg.imaging.source import Array
from patchseg.studies.cases import Case


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
        raw = [reduced(source, longest, window=window, labels=True) for source in (given, predicted)]
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
        return window, Layers(reduced(picture, longest, window=window), *indices)
