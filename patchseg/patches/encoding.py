"""The values that a mask was found to hold -> class indices, without its pixels."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from patchseg.errors import DataError
from patchseg.labels.classes import Classes
from patchseg.labels.derive import Survey


def indices(values: Sequence[float], survey: Survey, classes: Classes) -> NDArray[np.uint8]:
    """Return the class index of each value (of each packed colour), (n,) uint8, 255 where it is ignored.

    Args:
        values: What stands in the mask.
        survey: Of that mask: whether values are values, indices into a palette, or colours.
        classes: What they may mean.

    Raises:
        DataError: A value is no class.
    """
    palette = None
    if survey.kind == "color":
        packed = np.array(values, np.int64)
        pixels = np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=-1).astype(np.uint8)[None]
    else:
        pixels = np.array(values)[None, :, None]
    if survey.kind == "palette":
        pixels = pixels.astype(np.uint8)
        palette = np.zeros((256, 3), np.uint8)
        for value, color in survey.colors:
            palette[value] = (color >> 16, color >> 8 & 255, color & 255)
    encoded: NDArray[np.uint8] = classes.encode(pixels, survey.path, palette)[0]
    return encoded


def unknown(survey: Survey, classes: Classes) -> str | None:
    """Return what is wrong with a mask whose values or colours are no classes, or None."""
    try:
        indices(sorted(survey.values), survey, classes)
    except DataError as error:
        return str(error)
    return None
