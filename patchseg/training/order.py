"""The order in which patches come: without replacement, pass after pass, a function of seed and position alone."""

import numpy as np
from numpy.typing import NDArray

from patchseg.patches.split import random

Numbers = NDArray[np.int64]


class Order:
    """Numbers of patches by their position in the run.

    Args:
        count: Of the patches.
        seed: Of the order.
        stream: Beside other uses of the seed.
    """

    def __init__(self, count: int, seed: int, stream: int) -> None:
        self._count, self._seed, self._stream = count, seed, stream
        self._known: tuple[int, Numbers] = (-1, np.empty(0, np.int64))

    def at(self, first: int, count: int) -> Numbers:
        """Return the numbers at `count` positions from `first` on, (count,).

        >>> sorted(Order(3, seed=0, stream=3).at(3, 3).tolist())
        [0, 1, 2]
        """
        passes, places = np.divmod(first + np.arange(count), self._count)
        return np.array([self._permutation(int(p))[place] for p, place in zip(passes, places, strict=True)])

    def _permutation(self, number: int) -> Numbers:
        known, order = self._known
        if number != known:
            order = random(self._seed, self._stream, number).permutation(self._count)
            self._known = (number, order)
        return order
