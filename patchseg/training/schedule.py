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


def poly(progress: float) -> float:
    """Return (1 - progress)^0.9, as nnU-Net has it (Isensee et al. 2021), but no less than `LAST`.

    At 0 the last step would be taken for nothing; nnU-Net's last epoch of 1000 is at 0.002.

    >>> [round(poly(progress), 4) for progress in (0.0, 0.5, 1.0)]
    [1.0, 0.5359, 0.001]
    """
    return max(LAST, math.pow(1 - progress, 0.9))


def cosine(progress: float) -> float:
    """Return a cosine from 1 down to `LAST` (Loshchilov and Hutter 2017, arXiv:1608.03983, without restarts).

    >>> [round(cosine(progress), 4) for progress in (0.0, 0.5, 1.0)]
    [1.0, 0.5005, 0.001]
    """
    return cosine_between(1.0, LAST, progress)


def onecycle(progress: float, warm_up: float = WARM_UP) -> float:
    """Return a cosine from `FIRST` up to 1, at `warm_up` of the run, and down to `LAST` (Smith 2018, arXiv:1803.09820).

    >>> [round(onecycle(progress), 4) for progress in (0.0, WARM_UP, 1.0)]
    [0.04, 1.0, 0.001]
    """
    if progress < warm_up or warm_up == 1:
        return cosine_between(FIRST, 1.0, progress / warm_up)
    return cosine_between(1.0, LAST, (progress - warm_up) / (1 - warm_up))


SCHEDULES: dict[str, Schedule] = {
    "constant": constant,
    "step": step,
    "poly": poly,
    "cosine": cosine,
    "onecycle": onecycle,
    "plateau": constant,  # its drops follow from the scores, not from the progress
}


def factor(name: str, progress: float, warm_up: float | None = None) -> float:
    """Return the factor of the highest rate, with a warm-up.

    The rate rises from `FIRST` over the first `warm_up` of the run, onecycle's as a cosine and all others' in a straight
    line, and takes its whole course over the rest.

    Args:
        name: A key of `SCHEDULES`.
        progress: How far the run is, 0 to 1.
        warm_up: Share of the run, 0 to 1; None is `WARM_UP` for onecycle and 0 for all others.

    >>> [round(factor("cosine", progress, 0.2), 4) for progress in (0.0, 0.1, 0.2, 0.6, 1.0)]
    [0.04, 0.52, 1.0, 0.5005, 0.001]
    """
    if name == "onecycle":
        return onecycle(progress, WARM_UP if warm_up is None else warm_up)
    share = warm_up or 0.0
    if progress < share or share == 1:
        return FIRST + (1 - FIRST) * progress / share
    return SCHEDULES[name]((progress - share) / (1 - share))


def cosine_between(start: float, end: float, share: float) -> float:
    """Return a value that goes from `start` to `end` as a cosine does from 1 to -1, slowly at both ends.

    >>> [round(cosine_between(1.0, 0.0, share), 3) for share in (0.0, 0.25, 0.5, 1.0)]
    [1.0, 0.854, 0.5, 0.0]
    """
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
