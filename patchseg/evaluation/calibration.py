"""Fits a temperature, and thresholds of classes, to pixels whose probabilities and truth are known.

Probabilities and truth flow in, image by image; a sample of their pixels is kept, and one temperature comes out, or a
number a class. How they are applied is `inference/calibration.py`.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from patchseg.errors import DataError
from patchseg.evaluation.metrics import Confusion
from patchseg.imaging.picture import IGNORE

PIXELS = 2**22  # of a sample: far more than one number needs, and so few that they fit into memory
_VALUES = 2**25  # probabilities of a sample: with more than eight classes there are fewer pixels
HOTTEST = 20.0  # the highest temperature, and one over it the lowest
_BLOCK = 2**18  # pixels looked at together
_CANDIDATES = 100  # thresholds tried for a class at a time: each percent of its pixels
_ROUNDS = 10
_NEAR = 0.03  # of a temperature to 1: by less no probability changes by more than 0.01

Floats = NDArray[np.float32]
Truth = NDArray[np.uint8]


class Pixels(NamedTuple):
    """Pixels that have a class.

    Attributes:
        probabilities: (K, n) float32, above 0.
        truth: (n,) uint8.
    """

    probabilities: Floats
    truth: Truth


class Sample:
    """A seeded sample of the labelled pixels of all images, in which each has the same chance to be.

    Every pixel draws a number; kept are those below a limit, which is halved as often as there are too many. So images need
    not be counted beforehand, and the sample does not depend on the rows in which they come.

    Args:
        classes: How many there are, K.
        seed: Of the numbers.
        most: Pixels to keep, at most; of more than that at least half as many.
    """

    def __init__(self, classes: int, *, seed: int = 0, most: int = PIXELS) -> None:
        self._draw = np.random.Generator(np.random.Philox(seed))
        self._most, self._limit, self._count = min(most, _VALUES // classes), 1.0, 0
        self._parts: list[tuple[Floats, Truth, NDArray[np.float64]]] = []
        self._classes = classes

    def add(self, probabilities: NDArray[np.floating], truth: Truth, *, zero: float = 1e-12) -> int:
        """Add the pixels of some rows that have a class and are predicted; return how many these are.

        Args:
            probabilities: (K, ...); where all are 0, nothing was predicted.
            truth: (...) uint8, 255 is left out.
            zero: What a probability of 0 is taken for, since no logarithm knows it.

        Raises:
            DataError: A value of the truth is no class.
        """
        flat, true = probabilities.reshape(self._classes, -1), truth.reshape(-1)
        known = (true != IGNORE) & flat.any(axis=0)
        true = true[known]
        if true.size and true.max() >= self._classes:
            raise DataError(
                f"value {true.max()} of the truth is no class (0 to {self._classes - 1}, or {IGNORE} to ignore); give the "
                "masks that belong to these probabilities"
            )
        numbers = self._draw.random(len(true))
        kept = numbers < self._limit
        chosen = np.maximum(flat[:, known][:, kept], zero).astype(np.float32)
        chosen /= chosen.sum(axis=0)
        self._parts.append((chosen, true[kept], numbers[kept]))
        self._count += int(kept.sum())
        while self._count > self._most:
            self._thin()
        return len(true)

    def _thin(self) -> None:
        """Halve the limit."""
        self._limit /= 2
        kept = [numbers < self._limit for _, _, numbers in self._parts]
        self._parts = [
            (shares[:, some], true[some], numbers[some])
            for (shares, true, numbers), some in zip(self._parts, kept, strict=True)
        ]
        self._count = sum(int(some.sum()) for some in kept)

    def pixels(self) -> Pixels:
        """Return what is kept, in the order in which it came."""
        if not self._parts:
            return Pixels(np.empty((self._classes, 0), np.float32), np.empty(0, np.uint8))
        shares, truth, _ = zip(*self._parts, strict=True)
        return Pixels(np.concatenate(shares, axis=1), np.concatenate(truth))


def negative_log_likelihood(pixels: Pixels) -> float:
    """Return the mean of -log p of the true class, in nats, the measure that a temperature makes small.

    >>> pixels = Pixels(np.array([[0.5, 0.25], [0.5, 0.75]], np.float32), np.array([0, 0], np.uint8))
    >>> round(negative_log_likelihood(pixels), 4)  # log 2 and log 4, on average
    1.0397
    """
    true = np.take_along_axis(pixels.probabilities, pixels.truth[None].astype(np.intp), axis=0)[0]
    return float(-np.log(true, dtype=np.float64).mean())


def fit_temperature(pixels: Pixels) -> float:
    """Return the temperature at which the pixels are most likely, between 1/20 and 20.

    With logits log p the negative log likelihood is convex in 1/T: a linear function and a logarithm of a sum of
    exponentials. So its slope only rises, and where it crosses 0 there is the one minimum, which Brent's method finds; where it
    crosses nowhere (all pixels right, say), the end of the range is the best there is.

    Source: Guo et al. (2017, arXiv:1706.04599), section 4.2.

    Raises:
        DataError: There are no pixels.
    """
    if not pixels.truth.size:
        raise DataError(
            "calibrate: no pixel has both a class and a prediction; give images with labelled pixels"
        )
    low, high = 1 / HOTTEST, HOTTEST
    if slope(pixels, low) >= 0:
        return HOTTEST
    if slope(pixels, high) <= 0:
        return 1 / HOTTEST
    return 1 / float(brentq(lambda power: slope(pixels, power), low, high, xtol=1e-7, rtol=1e-7))


def slope(pixels: Pixels, power: float) -> float:
    """Return the derivative of the negative log likelihood by 1/T at a power 1/T: E[log p] - log p(truth), on average.

    >>> pixels = Pixels(np.array([[0.5, 0.25], [0.5, 0.75]], np.float32), np.array([0, 1], np.uint8))
    >>> round(slope(pixels, 1.0), 4)  # half of what the second has: 0.25 log 0.25 + 0.75 log 0.75 - log 0.75
    -0.1373
    """
    total = 0.0
    for start in range(0, pixels.truth.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        logs = np.log(pixels.probabilities[:, block], dtype=np.float64)
        weights = np.exp(power * (logs - logs.max(axis=0)))
        expected = (weights * logs).sum(axis=0) / weights.sum(axis=0)
        true = np.take_along_axis(logs, pixels.truth[None, block].astype(np.intp), axis=0)[0]
        total += float((expected - true).sum())
    return total / pixels.truth.size


def fit_thresholds(pixels: Pixels) -> list[float]:
    """Return a threshold a class, of which p_k / threshold_k has the highest mean IoU on the pixels; they sum to 1.

    One class after the other: with those of the others as they are, a pixel is of class k where the ratio of p_k to the
    highest p_j / threshold_j of the others lies above threshold_k. Thresholds just below the ratio at each percent of the
    pixels that are of k are tried, and that of the class is moved where one scores higher, until none moves, or ten rounds have passed. The best of each
    is not always the best of all. For two classes the second threshold is the usual one: class 1 from there on.
    """
    classes = len(pixels.probabilities)
    thresholds = np.full(classes, 1 / classes)
    best = _mean_iou(confusion(pixels, thresholds).counts)
    for _ in range(_ROUNDS):
        before = best
        for index in range(classes):
            moved, score = _moved(pixels, thresholds, index)
            if score > best:
                thresholds, best = moved / moved.sum(), score
        if best <= before:
            break
    return [float(threshold) for threshold in thresholds]


def confusion(pixels: Pixels, thresholds: NDArray[np.float64] | list[float] | None = None) -> Confusion:
    """Return truth against the class of the highest p_k, or p_k / threshold_k."""
    classes = len(pixels.probabilities)
    votes = pixels.probabilities if thresholds is None else _votes(pixels, np.asarray(thresholds))
    return Confusion.of(pixels.truth, votes.argmax(axis=0).astype(np.uint8), classes)


def _votes(pixels: Pixels, thresholds: NDArray[np.float64]) -> Floats:
    # In float32, as they are where masks are made.
    return pixels.probabilities / thresholds.astype(np.float32)[:, None]


def _moved(pixels: Pixels, thresholds: NDArray[np.float64], index: int) -> tuple[NDArray[np.float64], float]:
    """Return the thresholds with the best one for a class, and their score by the rule itself."""
    others = _votes(pixels, thresholds)
    others[index] = -1
    rivals = others.argmax(axis=0)
    ratios = pixels.probabilities[index] / others.max(axis=0)
    mine = ratios[pixels.truth == index]
    if not mine.size:  # no threshold of a class that is nowhere is better than another
        return thresholds, -1.0
    candidates = _between(ratios, np.quantile(mine, np.linspace(0, 1, _CANDIDATES + 1), method="nearest"))
    # Pixels by the candidates below their ratio, which give them to the class, by truth and by rival.
    classes = len(thresholds)
    places = np.searchsorted(candidates, ratios).astype(np.int64)
    joint = (places * classes + pixels.truth) * classes + rivals
    counts = np.bincount(joint, minlength=(len(candidates) + 1) * classes**2).reshape(-1, classes, classes)
    lost = counts.cumsum(axis=0)
    scores = []
    for number in range(len(candidates)):
        matrix = lost[number].copy()
        matrix[:, index] += (lost[-1] - lost[number]).sum(axis=1)
        scores.append(_mean_iou(matrix))
    moved = thresholds.copy()
    moved[index] = candidates[int(np.argmax(scores))]
    return moved, _mean_iou(confusion(pixels, moved / moved.sum()).counts)


def _between(ratios: Floats, levels: Floats) -> NDArray[np.float64]:
    """Return what lies just below each level: between it and the ratio before it, so that no pixel is undecided.

    >>> _between(np.array([1, 4, 9], np.float32), np.array([9, 1], np.float32))
    array([0.5, 6. ])
    """
    ordered, levels = np.sort(ratios).astype(np.float64), np.unique(levels)
    places = np.searchsorted(ordered, levels)
    before = np.where(places > 0, ordered[places - 1], levels / 4)
    return np.asarray(np.sqrt(levels * before))


def _mean_iou(counts: NDArray[np.int64]) -> float:
    return Confusion(counts).mean_iou or 0.0


def meaning(calibration: Mapping[str, Any]) -> str:
    """Say in a sentence what a temperature means, with the bin of confidences that says most about it.

    Args:
        calibration: What a checkpoint holds: its temperature, and `Reliability.as_dict()` of before.

    >>> reliability = {"count": [100, 900], "confidence": [0.45, 0.95], "accuracy": [0.45, 0.88]}
    >>> meaning({"temperature": 1.4, "reliability_before": reliability})
    'The probabilities were too sure: what said 0.95 was right 0.88 of the time.'
    """
    temperature, before = calibration["temperature"], calibration["reliability_before"]
    if abs(temperature - 1) < _NEAR:
        return "The probabilities were about as sure as they were right."
    sign = 1 if temperature > 1 else -1
    bins = zip(before["count"], before["confidence"], before["accuracy"], strict=True)
    gaps = [(sign * count * (said - right), said, right) for count, said, right in bins if count]
    weight, said, right = max(gaps, default=(0.0, 0.0, 0.0))
    told = f": what said {said:.2f} was right {right:.2f} of the time" if weight > 0 else ""
    return f"The probabilities were {'too sure' if sign > 0 else 'not sure enough'}{told}."
