"""A given and a predicted mask of one image, with how sure the prediction is -> the pixels where they contradict each other.

Read by bands, whatever the size of the image. A pixel contradicts where the classes differ, the prediction is sure enough, and
neither is merely drawn a little differently: where either mask has the other's class within the tolerance, an outline is meant.
"""

from collections.abc import Iterator
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from patchseg.imaging import Box, ImageSource
from patchseg.imaging.source import Array
from patchseg.labels.classes import IGNORE
from patchseg.studies.shift import Read, padded

SURE = 0.5  # of what is usual where both agree; less sure, a prediction contradicts nothing
_BAND = 2**21  # numbers of what is sure that are read at a time
BESIDE = 2  # pixels beyond the tolerance in which a region still touches what it may be a part of

Indices = NDArray[np.uint8]
Numbers = NDArray[np.float32]
Places = NDArray[np.bool_]


class Trio(NamedTuple):
    """The three layers of one image: how class indices, and what is sure of them, are read.

    Attributes:
        shape: Rows and columns.
        given: Reads class indices (h, w) of a box of the given mask; 255 is ignored.
        predicted: Likewise of the predicted mask.
        opinion: What was predicted besides: a channel a class, or one channel, by how much the predicted class leads.
        classes: How many there are.
        shift: Rows and columns by which the given mask lies too far down and to the right, which is undone.
    """

    shape: tuple[int, int]
    given: Read
    predicted: Read
    opinion: ImageSource
    classes: int
    shift: tuple[int, int] = (0, 0)

    def shifted(self, down: int, right: int) -> Self:
        """Return the same with the given mask moved back."""
        return self._replace(shift=(down, right))

    def read(self, box: Box) -> tuple[Indices, Indices]:
        """Return the given and the predicted classes of a box inside the image, (h, w) each."""
        moved = box._replace(top=box.top + self.shift[0], left=box.left + self.shift[1])
        return padded(self.given, moved, self.shape), self.predicted(box)

    def boxes(self) -> Iterator[Box]:
        """Yield boxes as wide as the image, from top to bottom, that take little memory."""
        height, width = self.shape
        rows = max(1, _BAND // (width * self.opinion.shape[2]))
        return (Box(top, 0, min(rows, height - top), width) for top in range(0, height, rows))


class Band(NamedTuple):
    """What some rows hold.

    Attributes:
        box: As wide as the image.
        given: (h, w) uint8 class indices, 255 is ignored.
        predicted: Likewise.
        certainty: By how much the predicted class is likelier than the given one, or where they agree than any other,
            (h, w) float32 from 0 to 1.
        tolerated: Where they differ because an outline runs a little differently, (h, w) bool.
        beside: Where they differ and the region may be a part of what both masks hold, (h, w) bool.
    """

    box: Box
    given: Indices
    predicted: Indices
    certainty: Numbers
    tolerated: Places
    beside: Places

    @property
    def counts(self) -> Places:
        """Where neither is ignored."""
        return np.asarray((self.given != IGNORE) & (self.predicted != IGNORE))

    @property
    def differs(self) -> Places:
        """Where the two have different classes."""
        return np.asarray(self.counts & (self.given != self.predicted))


def bands(trio: Trio, tolerance: int) -> Iterator[Band]:
    """Yield an image's rows from top to bottom.

    Args:
        trio: The layers.
        tolerance: Pixels by which outlines may differ.
    """
    margin = tolerance + BESIDE
    for box in trio.boxes():
        wide = box.grown(margin).clip(*trio.shape)
        inside = slice(box.top - wide.top, box.bottom - wide.top)
        given, predicted = trio.read(wide)
        tolerated = outlined(given, predicted, tolerance)
        beside = adjoined(given, predicted, margin)
        certainty = sureness(trio.opinion.read(box), given[inside], predicted[inside])
        yield Band(box, given[inside], predicted[inside], certainty, tolerated[inside], beside[inside])


def outlined(given: Indices, predicted: Indices, reach: int) -> Places:
    """Return where two masks differ though each has the other's class within `reach` rows and columns, (h, w) bool.

    So an outline that runs a little differently is told from an object that only one of the masks has, however thin it is:
    the other has its class nowhere near.

    >>> given = np.array([[0, 0, 1, 1, 0, 0, 0, 0]], np.uint8)
    >>> predicted = np.array([[0, 1, 1, 0, 0, 0, 2, 0]], np.uint8)
    >>> outlined(given, predicted, 1).nonzero()[1].tolist()
    [1, 3]
    """
    here, there = _has_near(given, predicted, reach)
    return here & there


def adjoined(given: Indices, predicted: Indices, reach: int) -> Places:
    """Return where one mask has an object that goes on, within `reach`, in what the other has of its class, (h, w) bool.

    The first class is no object.

    >>> given, predicted = np.zeros((2, 1, 8), np.uint8)
    >>> given[0, :3], predicted[0, :5], predicted[0, 7] = 1, 1, 1
    >>> adjoined(given, predicted, 1).nonzero()[1].tolist()
    [3]
    """
    here, there = _has_near(given, predicted, reach)
    differs = (given != predicted) & (given != IGNORE) & (predicted != IGNORE)
    return np.asarray(differs & (here | (predicted == 0)) & (there | (given == 0)))


def _has_near(given: Indices, predicted: Indices, reach: int) -> tuple[Places, Places]:
    """Return where masks differ and the given one has the predicted class near, and where the other has the given one."""
    differs = (given != predicted) & (given != IGNORE) & (predicted != IGNORE)
    here, there = np.zeros_like(differs), np.zeros_like(differs)
    for k in np.flatnonzero(np.bincount(np.concatenate([given[differs], predicted[differs]]))):
        here |= differs & (predicted == k) & near(given == k, reach)
        there |= differs & (given == k) & near(predicted == k, reach)
    return here, there


def near(places: Places, reach: int) -> Places:
    """Return the pixels within `reach` rows and columns of some, (h, w) bool.

    >>> near(np.array([[0, 0, 0, 1, 0]], bool), 2).astype(int).tolist()
    [[0, 1, 1, 1, 1]]
    """
    grown = places
    for axis in range(2):
        line = np.moveaxis(grown, axis, 0)
        wider = line.copy()
        for step in range(1, min(reach, len(line) - 1) + 1):
            wider[step:] |= line[:-step]
            wider[:-step] |= line[step:]
        grown = np.moveaxis(wider, 0, axis)
    return grown


def sureness(opinion: Array, given: Indices, predicted: Indices) -> Numbers:
    """Return by how much the predicted class is likelier than the given one, (h, w) float32 from 0 to 1.

    Where they are the same, than any other. Of a lead alone, which is that over the second class, it is what is certain at least.

    Args:
        opinion: (h, w, K) probabilities, bytes of which count 255ths, or (h, w, 1) leads.
        given: (h, w) class indices.
        predicted: Likewise.

    >>> opinion = np.array([[[0.7, 0.2, 0.1]]], np.float16)
    >>> [round(float(sureness(opinion, np.array([[k]], np.uint8), np.array([[0]], np.uint8))[0, 0]), 2) for k in range(3)]
    [0.5, 0.5, 0.6]
    """
    scale = np.float32(1 / 255 if opinion.dtype == np.uint8 else 1)
    shares = opinion.astype(np.float32) * scale
    if shares.shape[2] == 1:
        return np.asarray(shares[:, :, 0]).clip(0, 1)
    known = (given != IGNORE) & (predicted != IGNORE)
    first = np.where(known, predicted, 0)[:, :, None]
    mine = np.take_along_axis(shares, first, axis=2)[:, :, 0]
    other = np.take_along_axis(shares, np.where(known, given, 0)[:, :, None], axis=2)[:, :, 0]
    np.put_along_axis(shares, first, -1, axis=2)
    other = np.where(given == predicted, shares.max(axis=2), other)
    return np.asarray((mine - other).clip(0, 1))


class Typical:
    """How sure predictions usually are, by class, where they agree with the given masks.

    Source: the self-confidence of a class, as of confident learning (Northcutt et al. 2021, arXiv:1911.00068), by which a class
    that is always predicted with doubts is not held to the standards of one that never is.

    Args:
        classes: How many there are.
    """

    def __init__(self, classes: int) -> None:
        self._pixels, self._sums = np.zeros(classes), np.zeros(classes)

    def add(self, trio: Trio) -> None:
        """Count one image, band by band."""
        for box in trio.boxes():
            given, predicted = trio.read(box)
            agrees = (given == predicted) & (given != IGNORE)
            certainty = sureness(trio.opinion.read(box), given, predicted)[agrees]
            self._pixels += np.bincount(given[agrees], minlength=len(self._pixels))
            self._sums += np.bincount(given[agrees], certainty, minlength=len(self._pixels))

    @property
    def certainty(self) -> Numbers:
        """The mean of each class, (K,) float32; 1 where it is nowhere predicted rightly."""
        means = self._sums / np.maximum(self._pixels, 1)
        return np.where(means > 0, means, 1).astype(np.float32)
