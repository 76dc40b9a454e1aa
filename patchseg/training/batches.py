"""patches.h5 -> batches on the device. What a step sees is a function of (seed, step) alone.

The patches come without replacement, pass after pass; a share of them is drawn for a class instead. Then they are varied.
"""

from collections.abc import Callable

import numpy as np
import torch

from patchseg import device as devices
from patchseg.parameters import AugmentParameters, Keep
from patchseg.patches.split import random
from patchseg.patches.store import PatchFile
from patchseg.training.augment import Augmentation
from patchseg.training.batch import Batch
from patchseg.training.centring import Centring, Numbers
from patchseg.training.draws import Draws, Floats
from patchseg.training.keeping import Ahead, Pair, fetching, place_for
from patchseg.training.recipe import recipe_of

_ORDER = 3  # the stream of the order, beside those of the split and of the boxes
_AT_ONCE = 16  # patches are varied together, of several steps where a batch is smaller: each call costs as much as some patches


class Batches:
    """The training patches in batches; every batch is full.

    Args:
        file: The open patches file.
        batch: Patches a step, over all processes.
        seed: Seed of the order and of all variation.
        device: Where the batches go.
        augment: How they are varied.
        keep: Where the patches are kept.
        centred: Share of patches that are drawn for a class, each class (but the background) as often, and moved as far as
            the margin goes so that a pixel of it is in the middle.
        part: (rank, ranks): which part of each batch this process gets.
    """

    def __init__(
        self,
        file: PatchFile,
        *,
        batch: int,
        seed: int,
        device: torch.device,
        augment: AugmentParameters = AugmentParameters(),
        keep: Keep = "auto",
        centred: float = 0.0,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        self._batch, self._seed = batch, seed
        self._centring = Centring(file, centred, seed)
        self.count = file.counts["train"]
        self.place = place_for(keep, file.nbytes, *devices.free_bytes(device))
        self._fetch = fetching(file, self.place.keep, device)
        self.head = head = file.head
        self._augment = Augmentation(
            recipe_of(augment), patch=head.patch, margin=head.margin, channels=head.channels, device=device
        )
        self._rows, self._mine = _dealt(batch, *part, neighbour=self._augment.recipe.cutmix > 0)
        self._steps = max(1, _AT_ONCE // self._mine)
        self._made: tuple[int, Pair] | None = None
        self._order: tuple[int, Numbers] = (-1, np.empty(0, np.int64))
        # On the CPU, a thread would only take its time from the network.
        ahead = device.type == "cuda" or self.place.keep == "file"
        self._ahead = Ahead(self._make, device) if ahead else None
        self.read: Callable[[int], Batch] = self._ahead or self._make

    def numbers(self, step: int) -> Numbers:
        """Return the numbers of the patches of a step, (B,), over all processes."""
        return self._chosen(step, Draws.of(self._seed, step * self._batch, self._batch))[0]

    def close(self) -> None:
        """Stop fetching ahead."""
        if self._ahead is not None:
            self._ahead.close()

    def _make(self, step: int) -> Batch:
        """Return the images (n, C, S, S) and masks (n, S, S) uint8 of this process, on the device."""
        number, place = divmod(step, self._steps)
        if self._made is None or self._made[0] != number:
            self._made = number, self._together(number * self._steps)
        images, masks = self._made[1]
        start = place * len(self._rows)
        return Batch(images[start : start + self._mine], masks[start : start + self._mine])

    def _together(self, first: int) -> Pair:
        """Make the batches of some steps at once, from a step on that is a multiple of their number."""
        draws = Draws.of(self._seed, first * self._batch, self._steps * self._batch)
        numbers, centres = self._chosen(first, draws)
        rows = np.concatenate([step * self._batch + self._rows for step in range(self._steps)])
        images, masks = self._fetch(numbers[rows])
        centres = None if centres is None else centres[rows]
        return self._augment(images, masks, draws.at(rows), centres, len(self._rows))

    def _chosen(self, first: int, draws: Draws) -> tuple[Numbers, Floats | None]:
        """Return the numbers of the patches drawn from a step on, (N,), and what they are centred on, (N, 2), where they are."""
        positions = first * self._batch + np.arange(len(draws))
        passes, places = np.divmod(positions, self.count)
        numbers = np.array(
            [self._permutation(int(p))[place] for p, place in zip(passes, places, strict=True)]
        )
        return self._centring.drawn(numbers, draws)

    def _permutation(self, number: int) -> Numbers:
        known, order = self._order
        if number != known:
            order = random(self._seed, _ORDER, number).permutation(self.count)
            self._order = (number, order)
        return order


def _dealt(batch: int, rank: int, ranks: int, *, neighbour: bool) -> tuple[Numbers, int]:
    """Return the places of a batch that a process makes, and how many of them it learns from.

    With a neighbour, one more is made where the batch is shared: the patch after the last one, from which CutMix may take.
    """
    share = batch // ranks
    rows = np.arange(rank * share, (rank + 1) * share + (neighbour and ranks > 1)) % batch
    return rows, share
