"""How much each pixel of a tile counts in the average of overlapping tiles.

A window is a function of a length that returns the weights along one axis; a pixel's weight is the product of
its row's and its column's. That makes the sum over all tiles a product too (`Blender`). No weight is 0: a pixel
in the image's corner has one tile only, whose weight then cancels out.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.float32]  # (size,), all above 0


def flat(size: int) -> Weights:
    """Return equal weights, for the plain average.

    >>> flat(3)
    array([1., 1., 1.], dtype=float32)
    """
    return np.ones(size, np.float32)


def gaussian(size: int) -> Weights:
    """Return a bell with a standard deviation of an eighth of the tile, as nnU-Net weighs its tiles.

    The edge lies within 4 standard deviations of the middle and so weighs e^-8 (0.0003) or more. nnU-Net blurs
    a unit impulse instead and lifts the zeros that this leaves; the formula leaves none to lift.

    Source: Isensee et al., "nnU-Net", Nature Methods 18 (2021), Methods, "Inference".

    >>> gaussian(3).round(4)
    array([0.0286, 1.    , 0.0286], dtype=float32)
    """
    offsets = np.arange(size) - (size - 1) / 2
    weights: Weights = np.exp(-0.5 * (offsets / (size / 8)) ** 2).astype(np.float32)
    return weights


def hann(size: int) -> Weights:
    """Return a raised cosine, the one of two pixels more without its two zeros.

    >>> hann(3)
    array([0.5, 1. , 0.5], dtype=float32)
    """
    return np.hanning(size + 2)[1:-1].astype(np.float32)


WINDOWS: dict[str, Callable[[int], Weights]] = {"flat": flat, "gaussian": gaussian, "hann": hann}
