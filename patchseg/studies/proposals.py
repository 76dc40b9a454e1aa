"""The probabilities of a crop -> a mask that is filled in where the prediction is sure, and why the crop is worth a look."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from patchseg.inference.layers import disagreement
from patchseg.inference.predictor import most_probable
from patchseg.labels.classes import IGNORE

_SPECK = 9  # pixels of a region that is worth keeping


class Proposal(NamedTuple):
    """What is known of a crop before anybody has looked at it.

    Attributes:
        predicted: (h, w) uint8, the most probable class of each pixel.
        mask: (h, w) uint8, the same where it is sure of more than a speck, 255 elsewhere.
        disagreement: (h, w) float32, in nats.
        unsure: Share of the pixels that are left open, 0 to 1.
        why: Between what it is unsure, in a few words.
    """

    predicted: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    disagreement: NDArray[np.float32]
    unsure: float
    why: str


def propose(
    rows: Tensor, names: Sequence[str], sure: float, valid: NDArray[np.bool_] | None = None
) -> Proposal:
    """Return what is proposed for a crop.

    Args:
        rows: (K + 1, h, w), the probabilities and the mean entropy of all opinions.
        names: Of the K classes.
        sure: The probability from which a class counts.
        valid: (h, w) where the image holds data; None for everywhere.
    """
    classes = len(names)
    probabilities = rows[:classes].cpu()
    predicted = most_probable(probabilities).numpy()
    mask = without_specks(np.where(probabilities.amax(0).numpy() < sure, np.uint8(IGNORE), predicted))
    unsure = mask == IGNORE
    if valid is not None:
        mask[~valid], unsure = IGNORE, unsure & valid
    why = "sure everywhere"
    if unsure.any():
        pair = _between(probabilities.numpy()[:, unsure], predicted[unsure])
        why = " or ".join(names[place] for place in pair)
    contested = disagreement(rows, classes).float().cpu().numpy()
    return Proposal(predicted, mask, contested, float(unsure.mean()), why)


def without_specks(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a mask (h, w) in which regions of few pixels that touch what is open are open too: they only get in the way.

    >>> without_specks(np.array([[1, 255, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0]], np.uint8)).tolist()
    [[255, 255, 255, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0]]
    """
    from skimage.measure import label

    regions = label(mask, background=-1, connectivity=1)  # type: ignore[no-untyped-call]
    sizes = np.bincount(regions.ravel())
    beside = np.zeros(len(sizes), np.bool_)
    for one, other in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        for here, there in ((one, other), (other, one)):
            beside[regions[here][mask[there] == IGNORE]] = True
    found: NDArray[np.uint8] = np.where((beside & (sizes < _SPECK))[regions], np.uint8(IGNORE), mask)
    return found


def _between(probabilities: NDArray[np.float32], first: NDArray[np.uint8]) -> tuple[int, int]:
    """Return the two classes that most pixels are unsure between, the more frequent as the first choice first.

    Args:
        probabilities: (K, n).
        first: (n,) the most probable class of each.

    >>> _between(np.array([[0.6, 0.5], [0.3, 0.4], [0.1, 0.1]], np.float32), np.array([0, 0], np.uint8))
    (0, 1)
    """
    classes = len(probabilities)
    others = probabilities.copy()
    np.put_along_axis(others, first[None].astype(np.int64), -1, axis=0)
    second = others.argmax(axis=0)
    counts = np.bincount(first.astype(np.int64) * classes + second, minlength=classes**2)
    table = counts.reshape(classes, classes)
    one, other = divmod(int(np.argmax(np.triu(table + table.T))), classes)
    return (one, other) if table[one, other] >= table[other, one] else (other, one)
