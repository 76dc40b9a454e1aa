"""The course of the learning rate: how far the run is in, the factor of the highest rate out.

Pure functions of progress = step / total, so that a resumed run goes on where it stopped and a run fitted into a
time budget comes down to its last small rate.
"""

import math
from collections.abc import Callable

Schedule = Callable[[float], float]

# Smith's (2018) one-cycle, with the warm-up of 10-20 % and the end that short AdamW runs do well with.
WARM_UP, FIRST, LAST = 0.15, 1 / 25, 1e-3


def constant(progress: float) -> float:
    """Return 1: the highest rate throughout.

    >>> constant(0.0), constant(1.0)
    (1.0, 1.0)
    """
    return 1.0


def step(progress: float) -> float:
    """Return 1, then 0.1 for the last quarter, which settles what the high rate keeps shaking.

    >>> step(0.0), step(0.74), step(0.75)
    (1.0, 1.0, 0.1)
    """
    return 1.0 if progress < 0.75 else 0.1


def onecycle(progress: float) -> float:
    """Return a cosine from `FIRST` up to 1, at `WARM_UP` of the run, and down to `LAST` (Smith 2018, arXiv:1803.09820).

    >>> [round(onecycle(progress), 4) for progress in (0.0, WARM_UP, 1.0)]
    [0.04, 1.0, 0.001]
    """
    if progress < WARM_UP:
        return _cosine(FIRST, 1.0, progress / WARM_UP)
    return _cosine(1.0, LAST, (progress - WARM_UP) / (1 - WARM_UP))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


SCHEDULES: dict[str, Schedule] = {"constant": constant, "step": step, "onecycle": onecycle}
