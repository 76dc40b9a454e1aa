"""Two masks of one image -> by how many pixels the one seems shifted against the other.

For every shift up to `REACH` rows and columns it is counted how many pixels of the classes fall upon each other. The counts
are correlations, which sums of spectra give exactly for all shifts at once, tile by tile.
"""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchseg.imaging import Box
from patchseg.labels.classes import IGNORE

REACH = 32  # pixels; the farthest shift, either way
_TILE = 448
_MOST = 64  # tiles looked at; a mask that is shifted is so everywhere
_LEAST = 2.0  # pixels; a shorter shift is how one draws
_FEWER = 0.75  # errors that may be left of those without a shift
_GAIN = 0.02  # of the Dice score, at least
_PIXELS = 30  # that must fall upon each other more

Indices = NDArray[np.uint8]
Read = Callable[[Box], Indices]


class Fit(NamedTuple):
    """How a given mask lies against a predicted one.

    Attributes:
        down: Rows by which it lies too far down, if it is shifted.
        right: Columns by which it lies too far to the right.
        dice: Score of all pixels of classes but the first where it is; 1 where there are none.
        moved: The same once it is moved back.
        gained: Pixels of equal class that there are more then.
    """

    down: int
    right: int
    dice: float
    moved: float
    gained: int

    @property
    def is_shifted(self) -> bool:
        """Whether the shift explains enough of what differs to be one, not only how one draws."""
        return (
            math.hypot(self.down, self.right) >= _LEAST
            and 1 - self.moved <= _FEWER * (1 - self.dice)
            and self.moved - self.dice >= _GAIN
            and self.gained >= _PIXELS
        )


class Counts(NamedTuple):
    """For each shift, (2 REACH + 1, 2 REACH + 1): pixels of equal class, and those of a class in each of the masks."""

    both: NDArray[np.float64]
    given: NDArray[np.float64]
    predicted: NDArray[np.float64]

    @property
    def dice(self) -> NDArray[np.float64]:
        """The Dice score at each shift; 1 where neither mask has a class."""
        held = self.given + self.predicted
        return np.where(held > 0, 2 * self.both / np.maximum(held, 1), 1)


def find_fit(given: Read, predicted: Read, shape: tuple[int, int]) -> Fit:
    """Return how two masks fit, and the shift of the given one with which they fit best.

    Classes but the first count, which is taken for the background.

    Args:
        given: Reads class indices (h, w) of a box of the given mask; 255 is ignored.
        predicted: Likewise of the predicted one.
        shape: Rows and columns of both.
    """
    counts = count_shifts(given, predicted, shape)
    dice, compared = counts.dice, counts.given + counts.predicted
    # A shift that leaves little to compare would be judged by chance; of equals the shortest is meant.
    scores = np.where(compared >= compared[REACH, REACH] / 2, dice, 0)
    best = np.argwhere(scores == scores.max()) - REACH
    down, right = best[np.abs(best).sum(axis=1).argmin()].tolist()
    there, here = (REACH + down, REACH + right), (REACH, REACH)
    return Fit(
        down, right, float(dice[here]), float(dice[there]), int(counts.both[there] - counts.both[here])
    )


def count_shifts(given: Read, predicted: Read, shape: tuple[int, int]) -> Counts:
    """Count for each shift of the given mask, from -REACH to REACH rows and columns.

    >>> mask = np.zeros((40, 50), np.uint8)
    >>> mask[10:14, 20:23] = 1
    >>> moved = np.roll(mask, (3, -5), (0, 1))
    >>> counts = count_shifts(lambda box: moved[box.slices], lambda box: mask[box.slices], mask.shape)
    >>> int(counts.both[REACH, REACH]), int(counts.both[REACH + 3, REACH - 5])
    (0, 12)
    """
    tile = (min(_TILE, shape[0]), min(_TILE, shape[1]))
    size = (tile[0] + 2 * REACH, tile[1] + 2 * REACH)
    sums = np.zeros((3, size[0], size[1] // 2 + 1), np.complex128)
    for box in _tiles(shape, tile):
        there = predicted(box)
        here = padded(given, box.grown(REACH), shape)
        mine = [(here == k, there == k) for k in _classes(here) & _classes(there)]
        sums[0] += sum(_product(one, other, size) for one, other in mine)
        sums[1] += _product((here != IGNORE) & (here > 0), there != IGNORE, size)
        sums[2] += _product(here != IGNORE, (there != IGNORE) & (there > 0), size)
    window = slice(0, 2 * REACH + 1)
    # Counts are whole numbers.
    return Counts(*(np.rint(np.fft.irfft2(total, size))[window, window] for total in sums))


def padded(read: Read, box: Box, shape: tuple[int, int]) -> Indices:
    """Return the class indices of a box that may reach beyond the mask, (h, w) uint8; there they are ignored."""
    inside = box.clip(*shape)
    if inside.height == 0 or inside.width == 0:
        return np.full(box[2:], IGNORE, np.uint8)
    above, before = inside.top - box.top, inside.left - box.left
    around = ((above, box.bottom - inside.bottom), (before, box.right - inside.right))
    return np.pad(read(inside), around, constant_values=IGNORE)


def _tiles(shape: tuple[int, int], tile: tuple[int, int]) -> Iterator[Box]:
    """Yield tiles that cover the mask, or so many of them as are enough, spread over it."""
    tops, lefts = range(0, shape[0], tile[0]), range(0, shape[1], tile[1])
    boxes = [Box(top, left, *tile).clip(*shape) for top in tops for left in lefts]
    wanted = min(_MOST, len(boxes))
    return (boxes[len(boxes) * number // wanted] for number in range(wanted))


def _classes(indices: Indices) -> set[int]:
    return set(np.flatnonzero(np.bincount(indices.ravel(), minlength=256)).tolist()) - {0, IGNORE}


def _product(
    given: NDArray[np.bool_], predicted: NDArray[np.bool_], size: tuple[int, int]
) -> NDArray[np.complex128]:
    """Return the spectrum of how often both hold, by shift of the first."""
    return np.asarray(np.fft.rfft2(given, size) * np.conj(np.fft.rfft2(predicted, size)))
