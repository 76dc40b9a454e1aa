"""Scores of masks: one confusion matrix, from which every other number derives.

Two arrays of class indices flow in, block by block where they are large; counts flow out, and counts add up. A
score that is not defined (a class that is neither in the truth nor in the prediction has no IoU) is None, not 0 or 1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchseg.errors import DataError
from patchseg.imaging.picture import IGNORE

BLOCK = 1 << 20  # pixels counted at once; np.bincount turns each into 8 bytes

Counts = NDArray[np.int64]


def iou(hits: Counts, true: Counts, predicted: Counts) -> list[float | None]:
    """Intersection over union, also called Jaccard index: pixels in both over pixels in either."""
    return ratios(hits, true + predicted - hits)


def dice(hits: Counts, true: Counts, predicted: Counts) -> list[float | None]:
    """Dice coefficient, also called F1: the harmonic mean of precision and recall."""
    return ratios(2 * hits, true + predicted)


def precision(hits: Counts, true: Counts, predicted: Counts) -> list[float | None]:
    """How much of what was predicted is true; None for a class that was never predicted."""
    return ratios(hits, predicted)


def recall(hits: Counts, true: Counts, predicted: Counts) -> list[float | None]:
    """How much of what is true was predicted; None for a class that is never true."""
    return ratios(hits, true)


# (pixels right, pixels true, pixels predicted), each (K,) -> a score a class
METRICS: dict[str, Callable[[Counts, Counts, Counts], list[float | None]]] = {
    "iou": iou,
    "dice": dice,
    "precision": precision,
    "recall": recall,
}


def ratios(parts: Counts, wholes: Counts) -> list[float | None]:
    """Divide counts by counts; nothing out of nothing is None.

    >>> ratios(np.array([1, 0, 0]), np.array([4, 2, 0]))
    [0.25, 0.0, None]
    """
    return [int(part) / int(whole) if whole else None for part, whole in zip(parts, wholes, strict=True)]


def mean(scores: Sequence[float | None]) -> float | None:
    """Average the scores that are defined; None where none is.

    >>> mean([1.0, None, 0.5])
    0.75
    """
    defined = [score for score in scores if score is not None]
    return sum(defined) / len(defined) if defined else None


@dataclass(frozen=True, eq=False)
class Confusion:
    """How many pixels of each class (row: the truth) were taken for which (column: the prediction).

    Attributes:
        counts: (K, K) int64.

    >>> truth, prediction = np.array([[0, 0, 1, 255]], np.uint8), np.array([[0, 1, 1, 1]], np.uint8)
    >>> confusion = Confusion.of(truth, prediction, 2)
    >>> confusion.counts.tolist(), confusion.iou, confusion.recall
    ([[1, 1], [0, 1]], [0.5, 0.5], [0.5, 1.0])
    """

    counts: Counts

    @classmethod
    def empty(cls, classes: int) -> "Confusion":
        """Return a matrix that has seen no pixel yet."""
        return cls(np.zeros((classes, classes), np.int64))

    @classmethod
    def of(cls, truth: NDArray[np.uint8], prediction: NDArray[np.uint8], classes: int) -> "Confusion":
        """Count the pixels of one image, or of one block of it.

        Args:
            truth: Class indices, (...) uint8; 255 is left out.
            prediction: Likewise, of the same shape.
            classes: How many there are, K.

        Raises:
            DataError: The shapes or types differ, or a value is no class.
        """
        if truth.shape != prediction.shape:
            raise DataError(
                f"truth of {_size(truth)} and prediction of {_size(prediction)} pixels cannot be compared; "
                "they must be of one size"
            )
        if truth.dtype != np.uint8 or prediction.dtype != np.uint8:
            raise DataError(f"masks hold {truth.dtype} and {prediction.dtype}; class indices must be uint8")
        # Every pair of bytes is counted, valid or not: no masks or copies of the pixels are needed to tell them apart.
        pairs = np.zeros(1 << 16, np.int64)
        true, predicted = truth.reshape(-1), prediction.reshape(-1)
        for start in range(0, true.size, BLOCK):
            block = slice(start, start + BLOCK)
            pairs += np.bincount(true[block].astype(np.uint16) << 8 | predicted[block], minlength=1 << 16)
        square = pairs.reshape(256, 256)
        _refuse_strays("truth", square.sum(axis=1), classes)
        _refuse_strays("prediction", square.sum(axis=0), classes)
        return cls(square[:classes, :classes].copy())

    def __add__(self, other: "Confusion") -> "Confusion":
        return Confusion(self.counts + other.counts)

    def score(self, metric: str) -> list[float | None]:
        """Return one of METRICS for each class."""
        return METRICS[metric](self.counts.diagonal(), self.counts.sum(axis=1), self.counts.sum(axis=0))

    @property
    def iou(self) -> list[float | None]:
        """Intersection over union of each class."""
        return self.score("iou")

    @property
    def dice(self) -> list[float | None]:
        """Dice coefficient of each class."""
        return self.score("dice")

    @property
    def precision(self) -> list[float | None]:
        """Precision of each class."""
        return self.score("precision")

    @property
    def recall(self) -> list[float | None]:
        """Recall of each class."""
        return self.score("recall")

    @property
    def pixel_accuracy(self) -> float | None:
        """Share of the pixels that are right; None when none was counted."""
        total = int(self.counts.sum())
        return int(self.counts.trace()) / total if total else None

    @property
    def mean_iou(self) -> float | None:
        """Mean IoU over the classes that occur, background included (as Keras's MeanIoU)."""
        return mean(self.iou)

    @property
    def mean_iou_foreground(self) -> float | None:
        """Mean IoU over the classes that occur, without class 0."""
        return mean(self.iou[1:])

    def as_dict(self, names: Sequence[str]) -> dict[str, Any]:
        """Return all scores as plain values, ready for JSON.

        >>> Confusion(np.array([[3, 1], [0, 0]])).as_dict(["ground", "tree"])["classes"][1]
        {'name': 'tree', 'iou': 0.0, 'dice': 0.0, 'precision': 0.0, 'recall': None}
        """
        columns = {metric: self.score(metric) for metric in METRICS}
        return {
            "mean_iou": self.mean_iou,
            "mean_iou_foreground": self.mean_iou_foreground,
            "pixel_accuracy": self.pixel_accuracy,
            "classes": [
                {"name": name, **{metric: scores[index] for metric, scores in columns.items()}}
                for index, name in enumerate(names)
            ],
        }


def _size(array: NDArray[Any]) -> str:
    return " x ".join(map(str, array.shape))


def _refuse_strays(which: str, totals: Counts, classes: int) -> None:
    strays = classes + np.flatnonzero(totals[classes:IGNORE])
    if strays.size:
        raise DataError(
            f"{which}: value {strays[0]} in {totals[strays[0]]} pixels is no class "
            f"(0 to {classes - 1}, or {IGNORE} to ignore); give the classes with which the mask was made"
        )
