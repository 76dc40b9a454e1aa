"""patches.h5 -> batches on the device. What a step sees is a function of (seed, step) alone.

The patches come without replacement, pass after pass; a share of them is drawn for a class instead. Then they are varied.
Views of patches without labels, and second looks at those with labels, come beside them where they are asked for.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from patchseg import device as devices
from patchseg.parameters import AugmentParameters, TrainParameters
from patchseg.patches.store import PatchFile
from patchseg.training.appearance import Appearances
from patchseg.training.augment import Augmentation
from patchseg.training.batch import Batch, View, Views
from patchseg.training.centring import Centring
from patchseg.training.contrasted import spacing, two_views
from patchseg.training.draws import Draws, Floats
from patchseg.training.keeping import Ahead, Pair, fetching, place_for
from patchseg.training.order import Numbers, Order
from patchseg.training.recipe import recipe_of
from patchseg.training.unlabelled import TAUGHT, Unlabelled, taken

_ORDER = 3  # the stream of the order, beside those of the split and of the boxes
_AT_ONCE = 16  # patches are varied together, of several steps where a batch is smaller: each call costs as much as some patches


class _Made(NamedTuple):
    number: int  # of the group of steps
    pair: Pair
    views: Views | None


class Batches:
    """The training patches in batches; every batch is full.

    Args:
        file: The open patches file.
        settings: Planned: patches a step, over all processes, the seed of the order and of all variation, where the patches are
            kept, and the share that is drawn for a class, each class (but the background) as often, and moved as far as the
            margin goes so that a pixel of it is in the middle. With an objective that learns without labels, too, as many
            patches without come beside those with labels; with one that contrasts, two views of these at some steps.
        device: Where the batches go.
        augment: How they are varied.
        part: (rank, ranks): which part of each batch this process gets.

    Raises:
        UsageError: There are no pixels without labels where they are asked for, or the patches do not fit where they are to be
            kept.
    """

    def __init__(
        self,
        file: PatchFile,
        settings: TrainParameters,
        *,
        device: torch.device,
        augment: AugmentParameters = AugmentParameters(),
        part: tuple[int, int] = (0, 1),
    ) -> None:
        assert settings.batch is not None
        self._batch, self._seed = settings.batch, settings.seed
        self._centring = Centring(file, settings.centred or 0.0, settings.seed)
        self.count = file.counts["train"]
        teaches, self._spacing = settings.objective in TAUGHT, spacing(settings)
        self._labels = settings.objective != "detcon"
        size = file.nbytes + (file.nbytes_of("unlabelled") if teaches else 0)
        self.place = place_for(settings.keep, size, *devices.free_bytes(device))
        self._fetch = fetching(file, self.place.keep, device)
        self.head = head = file.head
        recipe = recipe_of(augment)
        self._augment = Augmentation(
            recipe, patch=head.patch, margin=head.margin, channels=head.channels, device=device,
            appearances=Appearances(file) if recipe.match else None,
        )  # fmt: skip
        self.unlabelled = None
        if teaches:
            self.unlabelled = Unlabelled(file, settings, self._augment, keep=self.place.keep, device=device)
        mixes = self._augment.recipe.cutmix > 0 or (teaches and settings.mix > 0)
        self._rows, self._mine = _dealt(self._batch, *part, neighbour=mixes)
        self._steps = max(1, _AT_ONCE // self._mine)
        self._made: _Made | None = None
        self._order = Order(self.count, self._seed, _ORDER)
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
        """Return the batch of this process, on the device."""
        if not self._labels:
            both = self._contrasted(step)
            return Batch(*both[0], contrasted=both)
        number, place = divmod(step, self._steps)
        if self._made is None or self._made.number != number:
            first = number * self._steps
            made = self.unlabelled.views(first, self._steps, self._rows) if self.unlabelled else None
            self._made = _Made(number, self._together(first), made)
        _, (images, masks), views = self._made
        rows = len(self._rows)
        mine = slice(place * rows, place * rows + self._mine)
        found = Batch(images[mine], masks[mine], views and taken(views, place, rows, self._mine))
        contrasted = self._spacing is not None and step % self._spacing == 0
        return found._replace(contrasted=self._contrasted(step)) if contrasted else found

    def _contrasted(self, step: int) -> tuple[View, View]:
        """Return two views of the patches of a step, as far as this process learns from them."""
        first, mine = step * self._batch, self._rows[: self._mine]
        numbers, centres = self._chosen(step, Draws.of(self._seed, first, self._batch))
        centres = None if centres is None else centres[mine]
        return two_views(
            self._augment, self._fetch(numbers[mine]),
            lambda stream: Draws.of(self._seed, first, self._batch, stream).at(mine), centres,
        )  # fmt: skip

    def _together(self, first: int) -> Pair:
        """Make the batches of some steps at once, from a step on that is a multiple of their number."""
        draws = Draws.of(self._seed, first * self._batch, self._steps * self._batch)
        numbers, centres = self._chosen(first, draws)
        rows = np.concatenate([step * self._batch + self._rows for step in range(self._steps)])
        images, masks = self._fetch(numbers[rows])
        centres = None if centres is None else centres[rows]
        return self._augment(
            images, masks, draws.at(rows), centres=centres, group=len(self._rows), numbers=numbers[rows]
        )

    def _chosen(self, first: int, draws: Draws) -> tuple[Numbers, Floats | None]:
        """Return the numbers of the patches drawn from a step on, (N,), and what they are centred on, (N, 2), where they are."""
        return self._centring.drawn(self._order.at(first * self._batch, len(draws)), draws)


def _dealt(batch: int, rank: int, ranks: int, *, neighbour: bool) -> tuple[Numbers, int]:
    """Return the places of a batch that a process makes, and how many of them it learns from.

    With a neighbour, one more is made where the batch is shared: the patch after the last one, from which CutMix may take.
    """
    share = batch // ranks
    rows = np.arange(rank * share, (rank + 1) * share + (neighbour and ranks > 1)) % batch
    return rows, share
