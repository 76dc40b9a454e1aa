"""How far probabilities can be trusted: of the pixels predicted with 80 % confidence, are 80 % right?

Probabilities and the truth flow in, block by block where they are large; counts in bins of confidence flow out, and counts
add up. Sums are of integers, so they are the same to the last bit however an image is cut into blocks.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchseg.errors import DataError
from patchseg.imaging.picture import IGNORE

BINS = 15  # as in Guo et al. (2017), section 2
_UNIT = 2.0**-26  # of a sum of confidences: finer than float16 and bytes, and 10^11 pixels fit into 63 bits
_BLOCK = 1 << 20  # pixels counted at once
_EXCESS = 1e-3  # by which rounding may carry a probability beyond 1

Counts = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Reliability:
    """Confidence held against accuracy, in bins of equal width between 0 and 1.

    The confidence of a pixel is the highest of its probabilities, its prediction the class that has it (of equal ones the
    first). A bin holds the confidences above its lower edge, up to and with its upper one; the first holds 0 too.

    Attributes:
        count: Pixels in each bin, (B,) int64.
        hits: Those whose prediction is true, (B,) int64.
        sums: Their confidences added up, in units of 2^-26, (B,) int64.

    Source: Guo et al. (2017, arXiv:1706.04599), section 2.

    >>> probabilities = np.array([[1.0, 0.75, 0.25], [0.0, 0.25, 0.75]])  # two classes, three pixels
    >>> reliability = Reliability.of(probabilities, np.array([0, 1, 255], np.uint8), bins=2)
    >>> reliability.as_dict()
    {'edges': [0.0, 0.5, 1.0], 'count': [0, 2], 'confidence': [None, 0.875], 'accuracy': [None, 0.5]}
    >>> reliability.ece
    0.375
    """

    count: Counts
    hits: Counts
    sums: Counts

    @classmethod
    def empty(cls, bins: int = BINS) -> "Reliability":
        """Return one that has seen no pixel yet."""
        return cls(*(np.zeros(bins, np.int64) for _ in range(3)))

    @classmethod
    def of(
        cls, probabilities: NDArray[np.floating], truth: NDArray[np.uint8], bins: int = BINS
    ) -> "Reliability":
        """Count the pixels of one image, or of one block of it.

        Args:
            probabilities: (K, ...) float, from 0 to 1.
            truth: Class indices, (...) uint8; 255 is left out, whatever is predicted there.
            bins: How many there are, B.

        Raises:
            DataError: The shapes differ, a value of the truth is no class, or a probability is none.
        """
        if probabilities.shape[1:] != truth.shape:
            raise DataError(
                f"probabilities of {_size(probabilities.shape[1:])} and truth of {_size(truth.shape)} pixels cannot be "
                "compared; they must be of one size"
            )
        total = cls.empty(bins)
        columns, true = probabilities.reshape(len(probabilities), -1), truth.reshape(-1)
        for start in range(0, true.size, _BLOCK):
            block = slice(start, start + _BLOCK)
            known = true[block] != IGNORE
            total += cls._of_known(columns[:, block][:, known], true[block][known], bins)
        return total

    @classmethod
    def _of_known(
        cls, probabilities: NDArray[np.floating], truth: NDArray[np.uint8], bins: int
    ) -> "Reliability":
        """Count pixels (K, n) that all have a true class, (n,)."""
        if not truth.size:
            return cls.empty(bins)
        if truth.max() >= len(probabilities):
            raise DataError(
                f"truth: value {truth.max()} is no class (0 to {len(probabilities) - 1}, or {IGNORE} to ignore); give the "
                "classes that the probabilities are of"
            )
        confidence = probabilities.max(axis=0).astype(np.float64)
        if not (probabilities.min() >= 0 and confidence.max() <= 1 + _EXCESS):  # NaN is neither
            raise DataError(
                "probabilities: hold numbers below 0, above 1, or NaN; expected shares from 0 to 1"
            )
        np.minimum(confidence, 1, out=confidence)
        places = np.searchsorted(_edges(bins), confidence, side="left") - 1
        np.maximum(places, 0, out=places)
        hits = probabilities.argmax(axis=0) == truth
        sums = np.bincount(places, np.rint(confidence / _UNIT), bins)  # integers below 2^53, so exact
        return cls(
            np.bincount(places, minlength=bins),
            np.bincount(places[hits], minlength=bins),
            sums.astype(np.int64),
        )

    def __add__(self, other: "Reliability") -> "Reliability":
        return Reliability(self.count + other.count, self.hits + other.hits, self.sums + other.sums)

    @property
    def confidence(self) -> list[float | None]:
        """Mean confidence of the pixels in each bin; None in an empty one."""
        return [
            int(total) * _UNIT / int(n) if n else None for total, n in zip(self.sums, self.count, strict=True)
        ]

    @property
    def accuracy(self) -> list[float | None]:
        """Share of the pixels in each bin whose prediction is true; None in an empty one."""
        return [int(hits) / int(n) if n else None for hits, n in zip(self.hits, self.count, strict=True)]

    @property
    def ece(self) -> float:
        """Expected calibration error: |accuracy - confidence| of the bins, averaged over the pixels; 0 of none.

        Source: Guo et al. (2017), equation 3, with bins of equal width.
        """
        total = int(self.count.sum())
        gaps = np.abs(self.hits - self.sums * _UNIT)  # of each bin |accuracy - confidence|, times its pixels
        return float(gaps.sum() / total) if total else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return the reliability diagram as plain values, ready for JSON."""
        return {
            "edges": _edges(len(self.count)).tolist(),
            "count": self.count.tolist(),
            "confidence": self.confidence,
            "accuracy": self.accuracy,
        }


def _edges(bins: int) -> NDArray[np.float64]:
    return np.arange(bins + 1) / bins


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
