"""Rows of probabilities at another size, as they come: how a scale of the image is undone in its mask."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from patchseg.imaging.box import Box
from patchseg.imaging.scale import support, taps


class RowResampler:
    """Takes the rows of (K, h, w) from top to bottom and hands out those of (K, H, W), or of a part of it.

    Linear interpolation (a triangle filter when reducing), so that probabilities keep summing to 1. Held are the
    source rows that the next target row depends on. Every pixel is a sum of its own, in an order of its own: it has the same
    bytes in any part and however the rows come.

    Args:
        source: (h, w) of what is resampled.
        target: (H, W) of what it becomes.
        part: The pixels of the target that are wanted; None for all.

    Attributes:
        needed: The pixels of the source that the part depends on: their rows are what comes in.
    """

    def __init__(self, source: tuple[int, int], target: tuple[int, int], part: Box | None = None) -> None:
        self._source, self._target = source, target
        self._part = part = part or Box(0, 0, *target)
        top, bottom = support(part.top, part.bottom, source[0], target[0])
        left, right = support(part.left, part.right, source[1], target[1])
        self.needed = Box(top, left, bottom - top, right - left)
        self._across = taps(part.left, part.right, source[1], target[1])
        self._held: Tensor | None = None
        self._top = top  # source row at which the held ones start
        self._next = part.top  # target row that comes next

    def push(self, rows: Tensor) -> Tensor | None:
        """Append rows (K, n, w) and return the target rows (K, m, W) that are complete now, if any."""
        wide = _gathered(rows, *self._across, first=self.needed.left, axis=2)
        # Where the memory of a device has run out, rows come from the host all of a sudden.
        self._held = wide if self._held is None else torch.cat([self._held.to(wide.device), wide], dim=1)
        bottom = self._top + self._held.shape[1]
        length, target = self._source[0], self._target[0]
        stop = self._next
        while stop < self._part.bottom and support(stop, stop + 1, length, target)[1] <= bottom:
            stop += 1
        if stop == self._next:
            return None
        finished = _gathered(self._held, *taps(self._next, stop, length, target), first=self._top, axis=1)
        self._next = stop
        if stop < self._part.bottom:
            kept = support(stop, stop + 1, length, target)[0]
            self._held, self._top = self._held[:, kept - self._top :].clone(), kept
        return finished


def _gathered(
    rows: Tensor, pixels: NDArray[np.intp], weights: NDArray[np.float32], *, first: int, axis: int
) -> Tensor:
    """Return the weighted sums of pixels along an axis of (K, h, w), which begins with the pixel `first`."""
    # What weighs nothing may not be there.
    places = torch.from_numpy((pixels - first).clip(0, rows.shape[axis] - 1)).to(rows.device)
    shape = (1, -1, 1) if axis == 1 else (1, 1, -1)
    total: Tensor | None = None
    for number in range(places.shape[1]):
        weight = torch.from_numpy(weights[:, number].copy()).to(rows.device).reshape(shape)
        term = rows.index_select(axis, places[:, number]) * weight
        total = term if total is None else total.add_(term)
    assert total is not None
    return total
