"""patches.h5 -> batches on the device. Which patches a step sees is a function of (seed, step) alone."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from patchseg.patches.split import random
from patchseg.patches.store import PatchFile

_ORDER = 3  # the stream of the order, beside those of the split and of the boxes
_RESIDENT = 8 * 2**30  # bytes up to which the patches are held in memory as they are stored


class Batches:
    """The training patches, drawn without replacement, pass after pass; every batch is full.

    Args:
        file: The open patches file.
        batch: Patches a step.
        seed: Seed of the order.
        device: Where the batches go, and where the patches lie when they fit.
    """

    def __init__(self, file: PatchFile, *, batch: int, seed: int, device: torch.device) -> None:
        self._file, self._batch, self._seed, self._device = file, batch, seed, device
        self.count = file.counts["train"]
        self.resident = file.nbytes <= _RESIDENT
        self._pass, self._order = -1, np.empty(0, np.int64)
        if self.resident:
            images, masks = file.read("train")
            self._images, self._masks = (torch.from_numpy(array).to(device) for array in (images, masks))
        # What lies around the patches is not trained on yet.
        self._middle = slice(None), file.head.middle, file.head.middle

    def numbers(self, step: int) -> NDArray[np.int64]:
        """Return the numbers of the patches of a step, (B,)."""
        positions = np.arange(step * self._batch, (step + 1) * self._batch)
        passes, places = np.divmod(positions, self.count)
        return np.array([self._permutation(int(p))[place] for p, place in zip(passes, places, strict=True)])

    def read(self, step: int) -> tuple[Tensor, Tensor]:
        """Return images (B, C, S, S) as stored, channels last in memory, and masks (B, S, S) uint8, on the device."""
        numbers = self.numbers(step)
        if self.resident:
            index = torch.from_numpy(numbers).to(self._device)
            images, masks = (stored[self._middle][index] for stored in (self._images, self._masks))
        else:
            # HDF5 reads ascending, distinct numbers only.
            unique, back = np.unique(numbers, return_inverse=True)
            stored = self._file.read("train", unique)
            images, masks = (torch.from_numpy(array[self._middle][back]).to(self._device) for array in stored)
        return images.permute(0, 3, 1, 2), masks

    def pixel_counts(self, classes: int) -> NDArray[np.int64]:
        """Return how many training pixels each class has, (K,)."""
        counts = np.zeros(256, np.int64)
        for start in range(0, self.count, 256):
            masks = self._file.read("train", slice(start, start + 256))[1][self._middle]
            counts += np.bincount(masks.ravel(), minlength=256)
        return counts[:classes]

    def _permutation(self, number: int) -> NDArray[np.int64]:
        if number != self._pass:
            self._pass, self._order = number, random(self._seed, _ORDER, number).permutation(self.count)
        return self._order
