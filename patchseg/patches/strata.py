"""Which groups go to which side so that every class is on both, where that is possible: presence in, a choice out.

A choice starts from a random order of the groups and leaves it as it is where nothing is missing. Everything is a
function of its arguments.
"""

import itertools
import math

import numpy as np
from numpy.typing import NDArray

_FEW = 20_000  # choices that are all looked at; of more, one is made better step by step

Presence = NDArray[np.bool_]  # (groups, K): whether a group holds a class


def choose(presence: Presence, order: list[int], count: int) -> set[int]:
    """Return the groups to keep for validation: the first of the order, or others where classes would be missing.

    Args:
        presence: (groups, K).
        order: All groups, in the order in which they are taken where classes do not matter.
        count: How many to keep, at least one and fewer than all.

    >>> choose(np.array([[True, False], [True, True], [True, True]]), [0, 1, 2], 1)
    {1}
    """
    first = set(order[:count])
    if missing(presence, first) == _least(presence):
        return first
    if math.comb(len(order), count) <= _FEW:
        return _best_of_all(presence, order, count)
    return _improved(presence, order, count)


def missing(presence: Presence, chosen: set[int]) -> tuple[int, int]:
    """Return how many of the classes that there are miss in training, and how many in validation."""
    side = np.zeros(len(presence), bool)
    side[list(chosen)] = True
    there = presence.any(axis=0)
    return int((there & ~presence[~side].any(axis=0)).sum()), int((there & ~presence[side].any(axis=0)).sum())


def deal(presence: Presence, order: list[int], folds: int) -> list[int]:
    """Return the fold of each group, 0 to folds - 1: of equal size but for one, each class spread as evenly as it goes.

    The rarest class is dealt first, each of its groups to the fold that has the fewest of it (Sechidis, Tsoumakas and
    Vlahavas 2011, "On the stratification of multi-label data").

    >>> deal(np.array([[True], [True], [False], [False]]), [0, 1, 2, 3], 2)
    [0, 1, 0, 1]
    """
    fold = np.full(len(order), -1)
    held = np.zeros((folds, presence.shape[1] + 1), int)  # the last column: groups of any kind
    small, larger = divmod(len(order), folds)
    everyone = np.ones((len(order), 1), bool)
    columns = np.hstack([presence, everyone])
    for label in np.argsort(columns.sum(axis=0), kind="stable"):
        for group in order:
            if fold[group] < 0 and columns[group, label]:
                full = held[:, -1] >= small + ((held[:, -1] > small).sum() < larger)
                rank = sorted((int(full[f]), int(held[f, label]), int(held[f, -1]), f) for f in range(folds))
                fold[group] = rank[0][-1]
                held[rank[0][-1]] += columns[group]
    return [int(f) for f in fold]


def _least(presence: Presence) -> tuple[int, int]:
    """Return what is missing at the least: a class of a single group is on one side only."""
    return 0, int((presence.sum(axis=0) == 1).sum())


def _best_of_all(presence: Presence, order: list[int], count: int) -> set[int]:
    """Look at every choice; the earliest wins a tie, those that take from the front of the order being first."""
    choices = np.array(list(itertools.combinations(range(len(order)), count)))
    ordered = presence[order].astype(np.int16)
    total = ordered.sum(axis=0)
    taken = np.zeros((len(choices), presence.shape[1]), np.int16)
    for place in range(count):
        taken += ordered[choices[:, place]]
    there = total > 0
    in_training = (there & (taken == total)).sum(axis=1)
    in_validation = (there & (taken == 0)).sum(axis=1)
    best = int(np.argmin(in_training * (presence.shape[1] + 1) + in_validation))
    return {order[place] for place in choices[best]}


def _improved(presence: Presence, order: list[int], count: int) -> set[int]:
    """Exchange two groups as long as that leaves fewer classes missing."""
    chosen, rest = list(order[:count]), list(order[count:])
    counts = presence.astype(np.int32)
    total = counts.sum(axis=0)
    there, weight = total > 0, presence.shape[1] + 1
    while True:
        taken = counts[chosen].sum(axis=0)
        now = int((there & (taken == total)).sum()) * weight + int((there & (taken == 0)).sum())
        best = (now, -1, -1)
        for place, group in enumerate(chosen):
            after = taken - counts[group] + counts[rest]  # (rest, K)
            scores = (there & (after == total)).sum(axis=1) * weight + (there & (after == 0)).sum(axis=1)
            other = int(scores.argmin())
            best = min(best, (int(scores[other]), place, other))
        if best[0] == now:
            return set(chosen)
        _, place, other = best
        chosen[place], rest[other] = rest[other], chosen[place]
