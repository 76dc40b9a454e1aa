"""How far the outlines of a mask are from the true ones: bands of class indices in, distances between boundaries out.

A **boundary pixel** of a class belongs to the class and has a neighbour above, below, left or right that belongs to another.
Where a pixel is ignored (255 in the truth or in the mask), it has no class in either, so it is no boundary and makes none
beside it; nor does the border of the image, where nobody knows how things go on. Both matter: a truth whose objects all have
a rim of ignored pixels has no boundary, and no measure.

What is kept of an image are the places of its boundary pixels, 8 bytes each, and two rows: memory grows with the length of
the outlines, not with the area. Distances are Euclidean, between the centres of pixels, from each boundary pixel of the one
to the nearest of the other: what `scipy.ndimage.distance_transform_edt` of the whole image says at those places.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchseg.imaging.picture import IGNORE

_ASKED = 1 << 16  # pixels whose nearest neighbour is looked for at once

Places = NDArray[np.int32]
Distances = NDArray[np.float64]


class Boundaries:
    """Takes the rows of truth and mask from top to bottom, and keeps the places of boundary pixels.

    Args:
        classes: How many there are, K.

    >>> boundaries = Boundaries(2)
    >>> boundaries.add(np.array([[0, 0, 1, 1]], np.uint8), np.array([[0, 1, 1, 255]], np.uint8))
    >>> truth, mask = boundaries.of(1)
    >>> truth.tolist(), mask.tolist()
    ([[0, 2]], [[0, 1]])
    """

    def __init__(self, classes: int) -> None:
        self._sides = _Side(classes), _Side(classes)

    def add(self, truth: NDArray[np.uint8], mask: NDArray[np.uint8]) -> None:
        """Take rows of class indices, (n, W) uint8 each."""
        known = (truth != IGNORE) & (mask != IGNORE)
        for side, rows in zip(self._sides, (truth, mask), strict=True):
            side.add(np.where(known, rows, np.uint8(IGNORE)))

    def of(self, index: int) -> tuple[Places, Places]:
        """Return the boundary pixels of a class in truth and mask, (n, 2) int32 rows and columns; no row may follow."""
        truth, mask = (side.of(index) for side in self._sides)
        return truth, mask


class _Side:
    """The boundary pixels of one of the two."""

    def __init__(self, classes: int) -> None:
        self._places: list[list[Places]] = [[] for _ in range(classes)]
        self._top = 0  # of the row that waits for the one below it
        self._waiting: NDArray[np.uint8] | None = (
            None  # that row, and before it the one above it where there is one
        )

    def add(self, rows: NDArray[np.uint8]) -> None:
        if not len(rows):
            return
        above = 0 if self._waiting is None else len(self._waiting) - 1
        block = rows if self._waiting is None else np.concatenate([self._waiting, rows])
        self._keep(block, slice(above, len(block) - 1))
        self._top += len(block) - 1 - above
        self._waiting = block[-2:].copy()

    def of(self, index: int) -> Places:
        if self._waiting is not None:
            self._keep(self._waiting, slice(len(self._waiting) - 1, len(self._waiting)))
            self._waiting = None
        return np.concatenate([np.zeros((0, 2), np.int32), *self._places[index]])

    def _keep(self, block: NDArray[np.uint8], rows: slice) -> None:
        """Keep the boundary pixels of some rows of a block, whose neighbours above and below lie in it too."""
        places = np.argwhere(_boundary(block)[rows]).astype(np.int32)
        indices = block[rows][places[:, 0], places[:, 1]]
        places[:, 0] += self._top
        for index in np.flatnonzero(np.bincount(indices)).tolist():
            self._places[index].append(places[indices == index])


def _boundary(indices: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return where class indices, (h, W) uint8, have another class beside them."""
    found, known = np.zeros(indices.shape, np.bool_), indices != IGNORE
    for one, other in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        cut = (indices[one] != indices[other]) & known[one] & known[other]
        found[one] |= cut
        found[other] |= cut
    return found


class Apart(NamedTuple):
    """How far the boundaries of a class are apart: of truth and mask, the distance of each pixel to the other's boundary.

    Attributes:
        truth: (n,) float64; infinite where the mask has no boundary.
        mask: (m,) float64; infinite where the truth has none.
    """

    truth: Distances
    mask: Distances

    def times(self, length: float) -> "Apart":
        """Return the same in another unit."""
        return self._replace(truth=self.truth * length, mask=self.mask * length)

    def f1(self, tolerance: float) -> float | None:
        """Boundary F1: the harmonic mean of how much of each boundary lies within a tolerance of the other.

        Precision is the share of the mask's boundary pixels whose distance is the tolerance or less, recall that of the
        truth's. 0 where only one of the two has a boundary, None where neither has.

        Source: Csurka et al. (2013), "What is a good evaluation measure for semantic segmentation?", section 3.2;
        Perazzi et al. (2016), "A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation", section 5.

        >>> Apart(np.array([0.0, 1.0, 3.0]), np.array([0.0, 1.0])).f1(1)
        0.8
        """
        if not len(self.truth) and not len(self.mask):
            return None
        near = [int(np.count_nonzero(side <= tolerance)) for side in (self.truth, self.mask)]
        # 2 P R / (P + R) with P = near[1] / m and R = near[0] / n
        over = near[1] * len(self.truth) + near[0] * len(self.mask)
        return 2 * near[0] * near[1] / over if over else 0.0

    @property
    def hausdorff_95(self) -> float | None:
        """95th-percentile Hausdorff distance: the larger of the two sides' 95th percentiles of the distances.

        None where either has no boundary. Of the two definitions in use this one never lets the longer boundary
        outvote the other. Percentiles are interpolated linearly.

        Source: Maier-Hein, Reinke et al. (2024, arXiv:2206.01653), "Metrics Reloaded", supplement.
        """
        if not len(self.truth) or not len(self.mask):
            return None
        return float(max(np.percentile(side, 95) for side in (self.truth, self.mask)))

    @property
    def mean(self) -> float | None:
        """Average symmetric surface distance: the mean over the boundary pixels of both; None where either has none.

        Source: Heimann et al. (2009, doi:10.1109/TMI.2009.2013851), section III.

        >>> Apart(np.array([0.0, 1.0, 3.0]), np.array([0.0, 1.0])).mean
        1.0
        """
        if not len(self.truth) or not len(self.mask):
            return None
        return float((self.truth.sum() + self.mask.sum()) / (len(self.truth) + len(self.mask)))


def apart(truth: Places, mask: Places, pixel: tuple[float, float] = (1.0, 1.0)) -> Apart:
    """Return how far two boundaries are apart.

    Args:
        truth: Boundary pixels, (n, 2) int32 rows and columns.
        mask: Likewise, (m, 2).
        pixel: Height and width of a pixel, in the unit of the distances.

    >>> apart(np.array([[0, 2]], np.int32), np.array([[3, 2], [3, 6]], np.int32)).mask.tolist()
    [3.0, 5.0]
    """
    if not len(truth) or not len(mask):
        return Apart(np.full(len(truth), np.inf), np.full(len(mask), np.inf))
    return Apart(_to(mask, truth, pixel), _to(truth, mask, pixel))


def _to(targets: Places, places: Places, pixel: tuple[float, float]) -> Distances:
    """Return the distance of each place to the nearest target."""
    from scipy.spatial import cKDTree

    tree, distances = cKDTree(targets * np.array(pixel)), np.empty(len(places))
    for start in range(0, len(places), _ASKED):
        asked = slice(start, start + _ASKED)
        distances[asked] = tree.query(places[asked] * np.array(pixel))[0]
    return distances
