"""Patches drawn for their classes: rare ones come as often as common ones, and into the middle as far as a margin allows.

nnU-Net does so with a third of each batch (Isensee et al. 2021). Here it is a share of the samples, each by its own draw.
"""

from functools import cached_property

import numpy as np

from patchseg.patches.split import random
from patchseg.patches.store import PatchFile
from patchseg.training.draws import Draws, Floats
from patchseg.training.order import Numbers

_STREAM = 5  # beside those of the split, of the boxes, of the order and of the samples
_SPOTS = 16  # pixels of a class that a patch may be centred on


class Centring:
    """Draws a share of the patches for a class, each class (but the background) as often.

    Args:
        file: The open patches file.
        share: Of the patches.
        seed: Of the pixels that patches may be centred on.
    """

    def __init__(self, file: PatchFile, share: float, seed: int) -> None:
        self._file, self._share, self._seed = file, share, seed

    def drawn(self, numbers: Numbers, draws: Draws) -> tuple[Numbers, Floats | None]:
        """Exchange patches for others that hold a class.

        Args:
            numbers: (N,) numbers of the patches that come in turn.
            draws: Of the N samples.

        Returns:
            The numbers, (N,), and the row and column, from the middle of the window, of what each patch is centred on,
            (N, 2): its middle, where it came in turn. None where there is no margin to move in.
        """
        rows = np.flatnonzero(draws.hit("centred", self._share))
        centres = np.zeros((len(numbers), 2)) if self._share and self._file.head.margin else None
        if not len(rows) or not self._holders:
            return numbers, centres
        mine, classes, numbers = draws.at(rows), list(self._holders), numbers.copy()
        chosen = mine.choice("class", len(classes)), mine["patch"], mine.choice("pixel", _SPOTS)
        for row, place, patch, pixel in zip(rows, *chosen, strict=True):
            holders = self._holders[classes[place]]
            number = int(patch * len(holders))
            numbers[row] = holders[number]
            if centres is not None:
                centres[row] = self._spots[classes[place]][number, pixel]
        return numbers, centres

    @cached_property
    def _holders(self) -> dict[int, Numbers]:
        """The numbers of the patches that hold a class, for each class but the background that any holds."""
        counts = self._file.class_counts
        found = {k: np.flatnonzero(counts[:, k]) for k in range(1, counts.shape[1])}
        return {k: numbers for k, numbers in found.items() if len(numbers)}

    @cached_property
    def _spots(self) -> dict[int, Floats]:
        """Some pixels of the class in each window that holds it, (n, 16, 2) row and column from its middle."""
        generator = random(self._seed, _STREAM)
        found: dict[int, list[Floats]] = {k: [] for k in self._holders}
        for start in range(0, self._file.counts["train"], 256):
            masks = self._file.read_masks("train", slice(start, start + 256))
            middle = (masks.shape[1] - 1) / 2
            for k, numbers in self._holders.items():
                for mask in masks[numbers[(numbers >= start) & (numbers < start + 256)] - start]:
                    pixels = generator.choice(np.flatnonzero(mask == k), _SPOTS)
                    found[k].append(np.stack(np.divmod(pixels, mask.shape[1]), axis=1) - middle)
        return {k: np.stack(spots) for k, spots in found.items()}
