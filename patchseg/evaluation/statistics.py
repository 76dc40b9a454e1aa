"""How much a score would differ on other images: intervals by leaving one out, and tests by exchanging two.

Small arrays flow in, a row an independent unit (an image, or a group of images that belong together); intervals and
p-values flow out. A score is a function of the sum of rows, so that one way serves both averages: pooled pixels, whose
rows are counts, and means over images, whose rows are (sum of scores, number of scores).

**Why no bootstrap.** Drawing n of n images again and again takes the spread among n for that of all images, so its
intervals are too narrow for few: of those that call themselves 95 %, 83 to 89 % held the truth at 10 images and 90 to 93 % at
30, where those made here held it in 87 to 93 % and in 91 to 95 % (docs/results.md, "Coverage of the intervals"; which of these
it is depends on how skewed the scores are). The t quantile makes up for just that.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from patchseg.patches.split import random

Values = NDArray[np.float64]
Score = Callable[[NDArray[Any]], Values]  # (n, ...) sums -> (n, S) scores; NaN where one is not defined

LEVEL = 0.95
FEW = 30  # units below which an interval is called approximate
EXACT = 14  # units up to which all 2^n exchanges are tried
DRAWN = 9999  # exchanges that are drawn where there are more
_BLOCK = 1024  # exchanges made at once


class Interval(NamedTuple):
    """A score and where it would mostly lie.

    Attributes:
        value: The score; None where it is not defined.
        low: Lower end of the 95 % interval; None where there is none.
        high: Upper end.
        units: Independent units that it rests on.
    """

    value: float | None
    low: float | None
    high: float | None
    units: int

    @property
    def approximate(self) -> bool:
        """Whether there are so few units that 95 % is not to be taken literally."""
        return self.units < FEW

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON.

        >>> Interval(0.5, 0.25, 0.75, 4).as_dict()
        {'value': 0.5, 'low': 0.25, 'high': 0.75, 'units': 4, 'approximate': True}
        """
        return {**self._asdict(), "approximate": self.approximate}


def t_quantile(units: int) -> float:
    """Return Student's t for the two-sided level, with one degree of freedom less than there are units.

    >>> round(t_quantile(10), 4)
    2.2622
    """
    return float(stdtrit(units - 1, (1 + LEVEL) / 2))


def mean_interval(values: Values, *, bounds: tuple[float, float] = (0.0, 1.0)) -> Interval:
    """Return the mean of independent values with Student's t interval, mean ± t s / √n.

    Args:
        values: (n,); NaN is left out.
        bounds: What the truth cannot exceed; the interval is cut off there, see `jackknife`.

    >>> interval = mean_interval(np.array([0.7, 0.8, 0.9]))  # s = 0.1, t = 4.303
    >>> [round(part, 3) for part in interval[:3]]
    [0.8, 0.552, 1.0]
    """
    rows = np.stack([np.nan_to_num(values), ~np.isnan(values)], axis=1)[:, :, None]
    return jackknife(rows, ratio, present=~np.isnan(values)[:, None], bounds=bounds)[0]


def ratio(sums: NDArray[Any]) -> Values:
    """Divide sums of scores by their number: (n, 2, S) -> (n, S); nothing by nothing is NaN."""
    return divided(sums[:, 0], sums[:, 1])


def divided(parts: NDArray[Any], wholes: NDArray[Any]) -> Values:
    """Divide arrays of equal shapes; nothing by nothing is NaN.

    >>> divided(np.array([1, 0]), np.array([4, 0]))
    array([0.25,  nan])
    """
    result = np.full(wholes.shape, np.nan)
    np.divide(parts, wholes, out=result, where=wholes != 0)
    return result


def jackknife(
    units: NDArray[Any],
    score: Score,
    *,
    present: NDArray[np.bool_],
    bounds: tuple[float, float] = (0.0, 1.0),
) -> list[Interval]:
    """Return scores of the sum of all units with their jackknife-t intervals, score ± t × standard error.

    The standard error is √((n - 1) / n Σ (θ₍ᵢ₎ - mean θ₍ᵢ₎)²) with θ₍ᵢ₎ the score without unit i (Efron and Tibshirani,
    "An Introduction to the Bootstrap", 1993, equation 11.5); t has n - 1 degrees of freedom, since it equals that of n
    pseudo-values (Tukey 1958; Miller, "The jackknife - a review", Biometrika 61, 1974). Of a mean of n values it is
    Student's interval exactly. Units count for a score only where they say something about it (`present`): of images
    in which a class is nowhere, no number makes its IoU surer.

    There is no interval where one unit is all there is, or where a score is not defined without one of them (a class
    that is in one image only): nothing tells how much it varies. Ends beyond `bounds` are cut off, since t knows nothing
    of them; the truth is never there, so the interval holds it as often as before.

    Args:
        units: (n, ...), a row a unit, which add up.
        score: Sums (m, ...) -> (m, S) scores.
        present: (n, S), whether a unit says something about a score.
        bounds: The smallest and the largest score there can be.

    >>> hits_of_pixels = np.array([[8, 10], [9, 10], [40, 50]])  # 57 of 70; 0.817, 0.8 and 0.85 without one of them
    >>> whole = jackknife(hits_of_pixels, lambda sums: sums[:, :1] / sums[:, 1:], present=np.ones((3, 1), bool))[0]
    >>> [round(part, 3) for part in whole[:3]]
    [0.814, 0.688, 0.941]
    """
    total = units.sum(axis=0)
    value, without = score(total[None])[0], score(total - units)
    return [
        _interval(float(value[index]), without[present[:, index], index], bounds)
        for index in range(len(value))
    ]


def _interval(value: float, without: Values, bounds: tuple[float, float]) -> Interval:
    """Return the interval around one score, given what it is without each unit."""
    units = len(without)
    if np.isnan(value):
        return Interval(None, None, None, units)
    if units < 2 or np.isnan(without).any():
        return Interval(value, None, None, units)
    error = np.sqrt((units - 1) / units * np.square(without - without.mean()).sum())
    half = t_quantile(units) * float(error)
    return Interval(value, max(bounds[0], value - half), min(bounds[1], value + half), units)


def exchange_test(pairs: NDArray[Any], score: Score, *, seed: int = 0) -> list[float | None]:
    """Return how often a difference at least as large comes about where A and B are exchanged at random, a p-value a score.

    If A and B were equally good, each unit could as well have had its two results the other way around: the paired
    permutation test (Fisher 1935; Good, "Permutation, Parametric and Bootstrap Tests of Hypotheses", 2005, chapter 3),
    two-sided. For means it is the test of flipped signs. All 2^n exchanges are tried for 14 units or fewer; else 9999 are
    drawn and p = (b + 1) / (m + 1), so that no p is 0 (Phipson and Smyth 2010). The smallest p there can be: `least`.

    Args:
        pairs: (n, 2, ...), a row a unit: A and B, which add up.
        score: Sums (m, ...) -> (m, S) scores of A or of B.
        seed: Of the exchanges that are drawn.

    Returns:
        None where the difference is not defined. An exchange after which it is not counts as larger.

    >>> pairs = np.array([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]])[..., None]  # differences 1, 2, 3: 2 of 8 sums are ±6
    >>> exchange_test(pairs, lambda sums: sums)
    [0.25]
    """
    first, second = (pairs[:, side].reshape(len(pairs), -1).astype(np.float64) for side in (0, 1))
    shape, steps = pairs.shape[2:], second - first

    def difference(exchanged: NDArray[np.bool_]) -> Values:
        moved = exchanged.astype(np.float64) @ steps
        after_first, after_second = first.sum(axis=0) + moved, second.sum(axis=0) - moved
        return score(after_second.reshape(-1, *shape)) - score(after_first.reshape(-1, *shape))

    observed = difference(np.zeros((1, len(pairs)), bool))[0]
    # Sums in another order differ in their last bits, and what is equal must count as such.
    bar = np.abs(observed) * (1 - 1e-9) - 1e-12
    larger, tried = np.zeros(len(observed)), 0
    for exchanged in _exchanges(len(pairs), seed):
        found = np.abs(difference(exchanged))
        larger += (np.isnan(found) | (found >= bar)).sum(axis=0)
        tried += len(exchanged)
    one = 0 if len(pairs) <= EXACT else 1
    p = (larger + one) / (tried + one)
    return [None if np.isnan(seen) else float(value) for seen, value in zip(observed, p, strict=True)]


def least(units: int) -> float:
    """Return the smallest p that `exchange_test` can give.

    >>> least(5), least(6), least(40)
    (0.0625, 0.03125, 0.0001)
    """
    return 1 / (DRAWN + 1) if units > EXACT else min(1.0, 2.0 ** (1 - units))


def _exchanges(units: int, seed: int) -> Iterator[NDArray[np.bool_]]:
    """Yield blocks (m, n) of which units have A and B exchanged: all there are, or as many as are drawn."""
    if units <= EXACT:
        for start in range(0, 2**units, _BLOCK):
            numbers = np.arange(start, min(start + _BLOCK, 2**units))
            yield (numbers[:, None] >> np.arange(units) & 1).astype(bool)
        return
    generator = random(seed, units)
    for start in range(0, DRAWN, _BLOCK):
        yield generator.integers(2, size=(min(_BLOCK, DRAWN - start), units)).astype(bool)
