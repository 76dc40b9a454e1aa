"""Objects instead of pixels: bands of class indices in, how many objects were found, missed and made up out.

An **object** is a set of pixels of one foreground class that are joined by sides or corners (8 neighbours). Where a pixel is
ignored (255 in the truth or in the mask), it has no class in either. A true and a predicted object of one class are a match
where they share more than half of all pixels that either has; then no other could match either of them.

What is kept of an image are one row, and three numbers for each object of a band: memory grows with the number of objects.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchseg.evaluation.metrics import Counts, ratios
from patchseg.imaging.picture import IGNORE

_BAND = 1 << 20  # pixels labelled at a time


@dataclass(frozen=True, eq=False)
class ObjectCounts:
    """How many objects of each class were found, made up and missed.

    Attributes:
        found: Matches, (K,) int64.
        extra: Predicted objects without a match, likewise.
        missed: True objects without a match, likewise.
        overlap: The intersections over union of the matches, added up, (K,) float64.
    """

    found: Counts
    extra: Counts
    missed: Counts
    overlap: NDArray[np.float64]

    @classmethod
    def empty(cls, classes: int) -> "ObjectCounts":
        """Return counts of nothing."""
        found, extra, missed = np.zeros((3, classes), np.int64)
        return cls(found, extra, missed, np.zeros(classes))

    def __add__(self, other: "ObjectCounts") -> "ObjectCounts":
        return ObjectCounts(
            self.found + other.found,
            self.extra + other.extra,
            self.missed + other.missed,
            self.overlap + other.overlap,
        )

    def as_dict(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Return the counts and scores of each foreground class as plain values; what is undefined is None.

        Precision, recall and F1 are shares of objects. Segmentation quality is the mean intersection over union of the
        matches, panoptic quality its product with F1.

        Source: Kirillov et al. (2019, arXiv:1801.00868), equation 2.

        >>> counts = ObjectCounts(np.array([0, 3]), np.array([0, 1]), np.array([0, 1]), np.array([0, 2.4]))
        >>> [tree] = counts.as_dict(["ground", "tree"])
        >>> tree["tp"], tree["fp"], tree["fn"], tree["f1"], round(tree["panoptic_quality"], 6)
        (3, 1, 1, 0.75, 0.6)
        """
        predicted, true = self.found + self.extra, self.found + self.missed
        precision, recall = ratios(self.found, predicted), ratios(self.found, true)
        f1 = ratios(2 * self.found, predicted + true)
        # The product of the two parts, in which the number of matches cancels.
        panoptic = [
            2 * overlap / n if n else None
            for overlap, n in zip(self.overlap.tolist(), (predicted + true).tolist(), strict=True)
        ]
        return [
            {
                "name": names[index],
                "tp": int(self.found[index]),
                "fp": int(self.extra[index]),
                "fn": int(self.missed[index]),
                "precision": precision[index],
                "recall": recall[index],
                "f1": f1[index],
                "segmentation_quality": self.overlap[index] / self.found[index]
                if self.found[index]
                else None,
                "panoptic_quality": panoptic[index],
            }
            for index in range(1, len(names))
        ]


class Objects:
    """Takes the rows of truth and mask from top to bottom, and tells how their objects match.

    Args:
        classes: How many there are, K; the first is background.

    >>> objects = Objects(2)
    >>> objects.add(np.array([[1, 1, 1, 0, 1]], np.uint8), np.array([[0, 1, 1, 0, 0]], np.uint8))
    >>> counts = objects.counts()
    >>> counts.found.tolist(), counts.extra.tolist(), counts.missed.tolist()
    ([0, 1], [0, 0], [0, 1])
    """

    def __init__(self, classes: int) -> None:
        self._classes = classes
        self._sides = _Side(), _Side()
        self._shared: list[Counts] = []  # (3, n): pieces of truth and mask, and how many pixels both have

    def add(self, truth: NDArray[np.uint8], mask: NDArray[np.uint8]) -> None:
        """Take rows of class indices, (n, W) uint8 each."""
        step = max(1, _BAND // truth.shape[1])
        for top in range(0, len(truth), step):
            self._add(truth[top : top + step], mask[top : top + step])

    def _add(self, truth: NDArray[np.uint8], mask: NDArray[np.uint8]) -> None:
        known = (truth != IGNORE) & (mask != IGNORE)
        pieces = [
            side.add(np.where(known, rows, np.uint8(0)))
            for side, rows in zip(self._sides, (truth, mask), strict=True)
        ]
        both = (pieces[0] > 0) & (truth == mask)
        pairs = np.stack([piece[both] for piece in pieces])
        self._shared.append(np.vstack(_counted(pairs, np.ones(pairs.shape[1], np.int64))))

    def counts(self) -> ObjectCounts:
        """Match the objects; no row may follow."""
        roots, areas, classes = zip(*(side.whole() for side in self._sides), strict=True)
        parts = np.concatenate([np.zeros((3, 0), np.int64), *self._shared], axis=1)
        pairs, shared = _counted(np.stack([roots[0][parts[0]], roots[1][parts[1]]]), parts[2])
        together = areas[0][pairs[0]] + areas[1][pairs[1]] - shared
        match = 2 * shared > together
        of_match = classes[0][pairs[0][match]]
        found = np.bincount(of_match, minlength=self._classes)
        true, predicted = (
            np.bincount(indices[area > 0], minlength=self._classes)
            for area, indices in zip(areas, classes, strict=True)
        )
        overlaps = shared[match] / together[match]
        # math.fsum does not depend on the order, which is that of the pieces, and so of the bands.
        overlap = [math.fsum(overlaps[of_match == index]) for index in range(self._classes)]
        return ObjectCounts(found, predicted - found, true - found, np.array(overlap))


class _Side:
    """The objects of one of the two, in pieces: what is joined within a band has one number, from 1 on."""

    def __init__(self) -> None:
        self._last: tuple[NDArray[np.uint8], Counts] | None = None  # the last row, and its pieces
        self._areas = [np.zeros(1, np.int64)]  # of the pieces of each band; 0 is none
        self._classes = [np.zeros(1, np.uint8)]
        self._joined: list[Counts] = []  # (2, n): pieces of one object
        self._count = 1

    def add(self, rows: NDArray[np.uint8]) -> Counts:
        """Take rows, (n, W) uint8 of which 0 is background, and return the piece of each pixel, (n, W) int64."""
        from skimage.measure import label

        above = 0 if self._last is None else 1
        block = rows if self._last is None else np.concatenate([self._last[0], rows])
        labels, found = label(block, background=0, connectivity=2, return_num=True)  # type: ignore[no-untyped-call]
        pieces = np.concatenate([[0], np.arange(found) + self._count])[labels]
        if self._last is not None:
            again = np.flatnonzero(self._last[1])
            joined = np.stack([self._last[1][again], pieces[0][again]])
            self._joined.append(_runs(joined, np.ones(len(again), np.int64))[0])
        own, numbers = pieces[above:], labels[above:]
        self._areas.append(np.bincount(numbers.reshape(-1), minlength=found + 1)[1:])
        classes = np.zeros(found + 1, np.uint8)
        classes[labels] = block
        self._classes.append(classes[1:])
        self._count += found
        self._last = (rows[-1:].copy(), own[-1].copy())
        return np.asarray(own)

    def whole(self) -> tuple[Counts, Counts, NDArray[np.uint8]]:
        """Return the object of each piece, and the area and class of each object."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        joined = np.concatenate([np.zeros((2, 0), np.int64), *self._joined], axis=1)
        graph = coo_array((np.ones(joined.shape[1], np.bool_), tuple(joined)), (self._count, self._count))
        count, objects = connected_components(graph, directed=False)
        areas, classes = np.zeros(count, np.int64), np.zeros(count, np.uint8)
        np.add.at(areas, objects, np.concatenate(self._areas))
        classes[objects] = np.concatenate(self._classes)
        return objects.astype(np.int64), areas, classes


def _counted(pairs: Counts, weights: Counts) -> tuple[Counts, Counts]:
    """Return the distinct columns of (2, n), in order, and the sum of the weights of each.

    >>> _counted(np.array([[1, 1, 2, 1], [3, 3, 4, 3]]), np.array([1, 1, 1, 5]))
    (array([[1, 2],
           [3, 4]]), array([7, 1]))
    """
    # Pixels of an object mostly follow each other: little is left to sort.
    runs, weights = _runs(pairs, weights)
    order = np.lexsort(runs[::-1])
    return _runs(runs[:, order], weights[order])


def _runs(pairs: Counts, weights: Counts) -> tuple[Counts, Counts]:
    """Return the columns that differ from the one before, and the sum of the weights up to the next."""
    if not pairs.size:
        return pairs, weights
    begins = np.flatnonzero((np.diff(pairs, axis=1, prepend=-1) != 0).any(axis=0))
    return pairs[:, begins], np.add.reduceat(weights, begins)
