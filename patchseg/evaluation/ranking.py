"""How well probabilities tell a class from the rest, whatever the threshold: ROC-AUC and average precision.

Probabilities and the truth flow in, block by block; counts flow out, and add up. Stored probabilities have few values, 256 in
bytes and 15,361 between 0 and 1 in halves, so a count of each value keeps all there is to know: the scores are those of
sorting all pixels at once, however many there are.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchseg.errors import DataError
from patchseg.imaging.picture import IGNORE

Counts = NDArray[np.int64]

_ONE = int(np.float16(1).view(np.uint16))  # the bits of halves from 0 to 1 count up from 0 to this
_VALUES = {"uint8": 256, "float16": _ONE + 1}


@dataclass(frozen=True, eq=False)
class Ranking:
    """How many pixels, of each class and of the rest, have which probability of the class.

    Attributes:
        inside: Pixels of each class by the number of their probability, lowest first, (K, V) int64.
        outside: Pixels of other classes, likewise.

    >>> probabilities = np.array([[0.25, 0.5, 0.5, 1.0], [0.75, 0.5, 0.5, 0.0]], np.float16)
    >>> ranking = Ranking.of(probabilities, np.array([1, 1, 0, 0], np.uint8))
    >>> ranking.roc_auc, ranking.average_precision
    ([0.875, 0.875], [0.8333333333333333, 0.8333333333333333])
    """

    inside: Counts
    outside: Counts

    @classmethod
    def empty(cls, classes: int, dtype: str) -> "Ranking":
        """Return one that has seen no pixel yet.

        Args:
            classes: How many there are, K.
            dtype: How probabilities are stored, float16 or uint8.
        """
        return cls(*(np.zeros((classes, _VALUES[dtype]), np.int64) for _ in range(2)))

    @classmethod
    def of(cls, probabilities: NDArray[Any], truth: NDArray[np.uint8]) -> "Ranking":
        """Count the pixels of one image, or of one block of it.

        Args:
            probabilities: (K, ...) float16, from 0 to 1, or uint8 in 255ths.
            truth: Class indices, (...) uint8; 255 is left out, whatever the probabilities are there.

        Raises:
            DataError: A probability is none.
        """
        name = probabilities.dtype.name
        known = truth != IGNORE
        ranking, true = cls.empty(len(probabilities), name), truth[known]
        for index, plane in enumerate(probabilities):
            numbers = plane[known] if name == "uint8" else (plane[known] + np.float16(0)).view(np.uint16)
            if (
                numbers.size and numbers.max() >= _VALUES[name]
            ):  # the sign is the first bit, and NaN is above infinity
                raise DataError(
                    "probabilities: hold numbers below 0, above 1, or NaN; expected shares from 0 to 1"
                )
            both = np.bincount(numbers, minlength=_VALUES[name])
            ranking.inside[index] = np.bincount(numbers[true == index], minlength=_VALUES[name])
            ranking.outside[index] = both - ranking.inside[index]
        return ranking

    def __add__(self, other: "Ranking") -> "Ranking":
        return Ranking(self.inside + other.inside, self.outside + other.outside)

    @property
    def roc_auc(self) -> list[float | None]:
        """Area under the curve of recall over the share of false alarms; None of a class that all pixels have, or none.

        It is the chance that a pixel of the class has a higher probability than one of the rest; equal ones count half.

        Source: Hanley and McNeil (1982, doi:10.1148/radiology.143.1.7063747); ties as in scikit-learn's `roc_auc_score`.
        """
        scores: list[float | None] = []
        for inside, outside in zip(self.inside, self.outside, strict=True):
            of_all = int(inside.sum()) * int(outside.sum())
            below = np.cumsum(outside) - outside / 2
            scores.append(float(inside @ below) / of_all if of_all else None)
        return scores

    @property
    def average_precision(self) -> list[float | None]:
        """Precision at each threshold, weighed by the recall that it adds; None of a class that no pixel has.

        Thresholds are the values that occur, so that pixels of equal probability are found together.

        Source: scikit-learn's `average_precision_score`, which does not interpolate.
        """
        scores: list[float | None] = []
        for inside, outside in zip(self.inside, self.outside, strict=True):
            found, taken = (np.cumsum(counts[::-1]) for counts in (inside, inside + outside))
            adds = inside[::-1] > 0
            precision = found[adds] / taken[adds]
            total = int(inside.sum())
            scores.append(float(inside[::-1][adds] @ precision) / total if total else None)
        return scores
