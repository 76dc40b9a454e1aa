"""Patches without labels, or with few -> views of them in batches: one that is moved only, others varied strongly.

The pool is what `prepare --unlabelled` has stored and, of the training patches, those of which much is ignored. What a step
sees is a function of (seed, step) alone, as it is of the labelled patches.
"""

import numpy as np
import torch
from torch import Tensor

from patchseg.errors import UsageError
from patchseg.parameters import Keep, TrainParameters
from patchseg.patches.layout import Part
from patchseg.patches.store import PatchFile
from patchseg.training.augment import Augmentation, after, boxes
from patchseg.training.batch import Views
from patchseg.training.draws import Draws
from patchseg.training.keeping import Pair, fetching
from patchseg.training.order import Numbers, Order
from patchseg.training.recipe import Recipe

TAUGHT = ("fixmatch", "mean-teacher")  # ways of learning that look at them

_ORDER = 7  # the stream of the order, beside those of the split, of the boxes, of the labelled patches ...
_MOVES, _VIEWS = 1, 2  # streams of draws; each view has one of its own
_SPARSE = 0.95  # labelled share of a training patch below which it is in the pool, too

# As FixMatch and UniMatch for segmentation have it (Yang et al. 2023, arXiv:2208.09910), with a microscope's gamma, noise and
# resolution beside colour and blur. Nothing here moves a pixel.
VIEW = Recipe(
    brightness=0.8, contrast=0.8, gamma=0.3, noise=0.2, blur=0.5, low_resolution=0.2, color=0.8, drop_channel=0.2,
    brightness_by=0.5, contrast_by=2.0, blur_by=1.5, low_resolution_by=0.25,
)  # fmt: skip


def sparse(file: PatchFile) -> Numbers:
    """Return the numbers of the training patches of which a twentieth or more is ignored."""
    labelled = file.class_counts.sum(axis=1)
    return np.flatnonzero(labelled < _SPARSE * file.head.patch**2)


class Unlabelled:
    """The views of unlabelled patches.

    Args:
        file: The open patches file.
        settings: Planned: patches a step, over all processes, how many views there are, how they are mixed, and the seed.
        augmentation: Moves patches as those with labels are.
        keep: Where the patches are kept.
        device: Where the batches go.

    Raises:
        UsageError: There is none.
    """

    def __init__(
        self,
        file: PatchFile,
        settings: TrainParameters,
        augmentation: Augmentation,
        *,
        keep: Keep,
        device: torch.device,
    ) -> None:
        assert settings.batch is not None
        self._settings, self._augment = settings, augmentation
        self._batch, self._seed = settings.batch, settings.seed
        self._sparse, self._own = sparse(file), file.counts["unlabelled"]
        self.count = self._own + len(self._sparse)
        if not self.count:
            raise UsageError(
                f"train.objective: learns from pixels without a label, too, but {file.path} has none; make it with `patchseg "
                "prepare --unlabelled FOLDER`, or leave out --objective"
            )
        self._order = Order(self.count, self._seed, _ORDER)
        counts: dict[Part, int] = {"unlabelled": self._own, "train": len(self._sparse)}
        self._fetch = {part: fetching(file, keep, device, part) for part, count in counts.items() if count}

    def views(self, first: int, steps: int, rows: Numbers) -> Views:
        """Return the views of some steps, one after the other.

        Args:
            first: The first step.
            steps: Their number.
            rows: The places of each step's patches that are made.
        """
        numbers = self._order.at(first * self._batch, steps * self._batch)
        place = np.concatenate([step * self._batch + rows for step in range(steps)])

        def draws(stream: int) -> Draws:
            return Draws.of(self._seed, first * self._batch, steps * self._batch, stream).at(place)

        weak, truth = self._augment.move(*self._fetched(numbers[place]), draws(_MOVES))
        partner = torch.from_numpy(after(len(place), len(rows))).to(weak.device)
        strong, inside = [], []
        for view in range(self._settings.views or 1):
            drawn = draws(_VIEWS + view)
            changed = self._augment.change(weak.clone(), drawn, VIEW)
            mixed = boxes(drawn, weak.shape[-1]) & drawn.hit("cutmix", self._settings.mix)[:, None, None]
            inside.append(torch.from_numpy(mixed).to(weak.device))
            changed = torch.where(inside[-1][:, None], changed[partner], changed)
            strong.append(changed.contiguous(memory_format=torch.channels_last))
        weak = weak.contiguous(memory_format=torch.channels_last)
        return Views(weak, truth, tuple(strong), tuple(inside))

    def _fetched(self, numbers: Numbers) -> Pair:
        """Return images (n, T, T, C) and masks (n, T, T) of the pool, as stored."""
        if not len(self._sparse):
            return self._fetch["unlabelled"](numbers)
        if not self._own:
            return self._fetch["train"](self._sparse[numbers])
        theirs = numbers >= self._own
        parts: list[Pair] = []
        if not theirs.all():
            parts.append(self._fetch["unlabelled"](numbers[~theirs]))
        if theirs.any():
            parts.append(self._fetch["train"](self._sparse[numbers[theirs] - self._own]))
        # Of unsigned 16 bits torch cannot join or pick rows; they become float32 in the next step anyway.
        images = torch.cat([images.float() for images, _ in parts])
        masks = torch.cat([masks for _, masks in parts])
        back = torch.from_numpy(np.argsort(np.argsort(theirs, kind="stable"), kind="stable")).to(
            images.device
        )
        return images[back], masks[back]


def taken(views: Views, place: int, rows: int, mine: int) -> Views:
    """Return the views of one step of several.

    Args:
        views: Of several steps.
        place: Which of them.
        rows: Patches of each that were made.
        mine: Patches of each that are learned from.
    """
    start = place * rows

    def cut(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(tensor[start : start + mine] for tensor in tensors)

    every = slice(start, start + rows)
    return Views(views.weak[every], views.truth[every], cut(views.strong), cut(views.inside))
