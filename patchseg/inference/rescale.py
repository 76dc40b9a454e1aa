"""Rows of probabilities at another size, as they come: how `prepare.scale` is undone in the mask."""

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from patchseg.imaging.scale import support, weights


class RowResampler:
    """Takes the rows of (K, h, w) from top to bottom and hands out those of (K, H, W).

    Linear interpolation (a triangle filter when reducing), so that probabilities keep summing to 1. Held are the
    source rows that the next target row depends on.

    Args:
        source: (h, w) of what comes in.
        target: (H, W) of what goes out.
    """

    def __init__(self, source: tuple[int, int], target: tuple[int, int]) -> None:
        self._source, self._target = source, target
        self._held: Tensor | None = None
        self._top = 0  # source row at which the held ones start
        self._next = 0  # target row that comes next

    def push(self, rows: Tensor) -> Tensor | None:
        """Append rows (K, n, w) and return the target rows (K, m, W) that are complete now, if any."""
        wide = interpolate(rows[None], (rows.shape[1], self._target[1]), mode="bilinear", antialias=True)[0]
        self._held = wide if self._held is None else torch.cat([self._held, wide], dim=1)
        bottom = self._top + self._held.shape[1]
        length, target = self._source[0], self._target[0]
        stop = self._next
        while stop < target and support(stop, stop + 1, length, target)[1] <= bottom:
            stop += 1
        if stop == self._next:
            return None
        first, last = support(self._next, stop, length, target)
        matrix = torch.from_numpy(weights(self._next, stop, length, target)).to(
            rows.device
        )  # (m, last - first)
        finished = torch.einsum("ph,khw->kpw", matrix, self._held[:, first - self._top : last - self._top])
        self._next = stop
        if stop < target:
            kept = support(stop, stop + 1, length, target)[0]
            self._held, self._top = self._held[:, kept - self._top :].clone(), kept
        return finished
