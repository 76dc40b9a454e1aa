"""How a score grows with the number of images: points flow in, a power law and a forecast with its doubt flow out.

The law is s(n) = a - b n^-c with a <= 1 and b, c >= 0 (Cortes et al. 1993, "Learning curves"; Figueroa et al. 2012,
"Predicting sample size required for classification performance"). Scores of more images scatter less, so a point counts as
many times as it has images. What a forecast leaves open is read off the profile of the sum of squares, not off a
linearized covariance: three numbers are never known well from four sizes, and the profile knows which curves remain.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtri, stdtrit

_LEVEL = 0.95
_EXPONENTS = np.geomspace(0.02, 5, 60)
_VALUES = np.linspace(0, 1, 1001)  # scores that are tried as the truth
_FINE = 200  # exponents that are tried around the best
_SIZES = 3  # different numbers of images that tell three numbers

Floats = NDArray[np.float64]


class Law(NamedTuple):
    """The curve s(n) = a - b n^-c."""

    a: float
    b: float
    c: float

    def at(self, images: float) -> float:
        """Return the score at a number of images.

        >>> Law(0.9, 0.8, 1.0).at(8)
        0.8
        """
        return float(self.a - self.b * images**-self.c)

    def __str__(self) -> str:
        return f"{self.a:.3f} - {self.b:.3f} n^-{self.c:.2f}"


class Forecast(NamedTuple):
    """The score that one more training is expected to have, and between what, in 95 of 100 cases."""

    images: int
    value: float
    low: float
    high: float


class Points(NamedTuple):
    """Scores of trainings.

    Attributes:
        images: How many each learned from, (N,).
        scores: (N,), 0 to 1.
    """

    images: Floats
    scores: Floats

    @classmethod
    def of(cls, images: Sequence[float], scores: Sequence[float]) -> "Points":
        """Take numbers of images and scores, in the same order."""
        return cls(np.asarray(images, np.float64), np.asarray(scores, np.float64))

    @property
    def weights(self) -> Floats:
        """How much each counts, 1 on average, (N,)."""
        weights: Floats = self.images / self.images.mean()
        return weights

    @property
    def sizes(self) -> int:
        """How many different numbers of images there are."""
        return len(np.unique(self.images))

    @property
    def freedom(self) -> int:
        """How many points there are beyond those that the law takes; without any, nothing tells how scores scatter."""
        return len(self.scores) - min(self.sizes, _SIZES)


def fit(points: Points) -> Law:
    """Return the law with the least weighted sum of squares; there are two sizes or more.

    >>> n = [5, 10, 15, 20]
    >>> law = fit(Points.of(n, [0.9 - 0.8 / k for k in n]))
    >>> round(law.a, 3), round(law.b, 3), round(law.c, 3)
    (0.9, 0.8, 1.0)
    """
    rests = _linear(points, _EXPONENTS)[2]
    best = int(np.argmin(rests))
    around = np.linspace(_EXPONENTS[max(0, best - 1)], _EXPONENTS[min(len(_EXPONENTS) - 1, best + 1)], _FINE)
    exponents = np.append(around, _EXPONENTS[best])
    a, b, rests = _linear(points, exponents)
    best = int(np.argmin(rests))
    return Law(float(a[best]), float(b[best]), float(exponents[best]))


def is_identified(points: Points, law: Law) -> bool:
    """Tell whether the scores rise more than they scatter (an F test against no rise), at three sizes or more."""
    if points.sizes < _SIZES or points.freedom < 1:
        return False
    weights, level = points.weights, float(np.average(points.scores, weights=points.weights))
    flat = float(weights @ (points.scores - level) ** 2)
    rest = _rest(points, law)
    critical = float(fdtri(2, points.freedom, _LEVEL))
    return law.b > 0 and flat - rest > 2 * critical * rest / points.freedom + 1e-12


def forecast(points: Points, law: Law, images: int) -> Forecast | None:
    """Return what one training with so many images would score; None where nothing tells how scores scatter.

    The interval holds every score through which a law passes that the points do not speak against (profile likelihood,
    with Student's t for the unknown scatter), and the scatter of the one training besides, which is not taken to shrink.

    Args:
        points: The trainings that there are.
        law: Their `fit`.
        images: How many images are asked about.
    """
    if points.freedom < 1:
        return None
    value, rest = law.at(images), _rest(points, law)
    variance = rest / points.freedom
    reach = float(stdtrit(points.freedom, (1 + _LEVEL) / 2))
    inside = _VALUES[_profile(points, images) <= rest + reach**2 * variance]
    scatter = reach**2 * variance
    edges = (min([value, *inside]), max([value, *inside]))
    low, high = (
        sign * float(np.hypot(edge - value, np.sqrt(scatter)))
        for sign, edge in zip((-1, 1), edges, strict=True)
    )
    return Forecast(images, value, max(0.0, value + low), min(1.0, value + high))


def _linear(points: Points, exponents: Floats) -> tuple[Floats, Floats, Floats]:
    """Return a, b and the sum of squares of the best law of each exponent, (C,) each, within a <= 1 and b >= 0."""
    weights, scores = points.weights, points.scores
    powers = points.images ** -exponents[:, None]  # (C, N)
    mean, middle = np.average(scores, weights=weights), np.average(powers, axis=1, weights=weights)
    deviations = powers - middle[:, None]
    b = -(deviations * (scores - mean)) @ weights / (deviations**2 @ weights)
    a = mean + b * middle
    b = np.where(a > 1, (powers * (1 - scores)) @ weights / (powers**2 @ weights), b)
    a = np.where(b <= 0, mean, np.minimum(a, 1))
    b = np.maximum(b, 0)
    rests = (scores - a[:, None] + b[:, None] * powers) ** 2 @ weights
    return a, b, rests


def _rest(points: Points, law: Law) -> float:
    """Return the weighted sum of squares that a law leaves."""
    return float(points.weights @ (points.scores - law.a + law.b * points.images**-law.c) ** 2)


def _profile(points: Points, images: int) -> Floats:
    """Return for each of `_VALUES` the least sum of squares of the laws that have it at a number of images.

    Through a value v at n*, a law is s(n) = v + b (n*^-c - n^-c), so for each exponent only b is left, between 0 and what
    keeps a = v + b n*^-c at 1 or below.
    """
    weights, scores = points.weights, points.scores
    x = float(images) ** -_EXPONENTS[:, None] - points.images ** -_EXPONENTS[:, None]  # (C, N)
    rests = scores - _VALUES[:, None]  # (V, N)
    xx, xy = (weights * x**2).sum(axis=1), (weights * rests) @ x.T  # (C,), (V, C)
    most = (1 - _VALUES[:, None]) * float(images) ** _EXPONENTS
    b = np.clip(np.divide(xy, xx, out=np.zeros_like(xy), where=xx > 0), 0, most)
    squares = (rests**2 @ weights)[:, None] - 2 * b * xy + b**2 * xx
    least: Floats = squares.min(axis=1)
    return least
