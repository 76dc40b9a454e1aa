"""Stored patches -> varied ones, a batch at a time on the device: in space first, then pixel by pixel, then between patches."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from patchseg.training.appearance import Appearances
from patchseg.training.draws import Draws, Floats
from patchseg.training.geometry import grid_of, moved
from patchseg.training.order import Numbers
from patchseg.training.photometry import Scale, rectangles, vary
from patchseg.training.recipe import Recipe

_AREA, _SHAPE = (0.02, 0.4), (0.3, 1 / 0.3)  # of CutMix's rectangles, as FixMatch for segmentation has them
_RGB = ("red", "green", "blue")


class Augmentation:
    """Varies batches by a recipe.

    Args:
        recipe: What happens how often.
        patch: Side S of the patches.
        margin: What the stored windows have more on each side.
        channels: [{name, mean, std}] of the images.
        device: Where the batches are.
        appearances: What images look like, where patches may take over the looks of others.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        patch: int,
        margin: int,
        channels: Sequence[dict[str, Any]],
        device: torch.device,
        appearances: Appearances | None = None,
    ) -> None:
        self.appearances = appearances
        self._patch, self._margin = patch, margin
        mean, std = (
            torch.tensor([float(c[key]) for c in channels], device=device)[:, None, None]
            for key in ("mean", "std")
        )
        names = [str(channel["name"]) for channel in channels]
        rgb = tuple(names.index(name) for name in _RGB) if set(_RGB) <= {*names} else None
        self._scale = Scale(mean, torch.where(std > 0, std, 1.0), rgb)
        self.recipe = self._fitting(recipe)

    def __call__(
        self,
        images: Tensor,
        masks: Tensor,
        draws: Draws,
        *,
        centres: Floats | None = None,
        group: int | None = None,
        numbers: Numbers | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return varied patches: images (N, C, S, S) float32, channels last in memory, and masks (N, S, S) uint8.

        Where nothing is varied, images keep their dtype.

        Args:
            images: (N, S + 2 M, S + 2 M, C) as stored.
            masks: (N, S + 2 M, S + 2 M) uint8.
            draws: The numbers of the N samples.
            centres: (N, 2) row and column, from the middle of each window, of what the patch is centred on, or None.
            group: Patches of a batch, where these are several batches: CutMix stays within one.
            numbers: (N,) of the patches in their file, whose images may lend each other their looks; None where they do not.
        """
        inner = slice(self._margin, self._margin + self._patch)
        if self.recipe.idle and centres is None:
            pixels = images[:, inner, inner].permute(0, 3, 1, 2)
            return pixels.contiguous(memory_format=torch.channels_last), masks[:, inner, inner]
        pixels, masks = self.move(images, masks, draws, centres)
        if self.appearances is not None and numbers is not None:
            pixels = self.appearances.lent(pixels, numbers, draws, self.recipe.match)
        pixels = vary(pixels, draws, self.recipe, self._scale)
        pixels, masks = cutmix(pixels, masks, draws, self.recipe.cutmix, group)
        return pixels.contiguous(memory_format=torch.channels_last), masks

    def move(
        self, images: Tensor, masks: Tensor, draws: Draws, centres: Floats | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return patches (N, C, S, S) float32 that are varied in space only, and their masks; see `__call__`."""
        inner = slice(self._margin, self._margin + self._patch)
        # What varies works in place, so the stored patches are copied, whatever their dtype and layout.
        pixels = images.permute(0, 3, 1, 2).to(
            torch.float32, copy=True, memory_format=torch.contiguous_format
        )
        if self.recipe.moves or centres is not None:
            size = {"patch": self._patch, "margin": self._margin}
            grid = grid_of(draws, self.recipe, **size, centres=centres, device=pixels.device)
            return moved(pixels, masks, grid)
        return pixels[:, :, inner, inner].contiguous(), masks[:, inner, inner]

    def change(self, pixels: Tensor, draws: Draws, recipe: Recipe) -> Tensor:
        """Change patches (N, C, S, S) float32 in place by what a recipe does to pixels, and return them."""
        return vary(pixels, draws, self._fitting(recipe), self._scale)

    def _fitting(self, recipe: Recipe) -> Recipe:
        """Return a recipe without what the channels do not allow."""
        return replace(
            recipe,
            color=recipe.color if self._scale.rgb else 0.0,
            drop_channel=recipe.drop_channel if self._scale.mean.shape[0] > 1 else 0.0,
        )


def cutmix(
    images: Tensor, masks: Tensor, draws: Draws, share: float, group: int | None = None
) -> tuple[Tensor, Tensor]:
    """Give a share of the patches a rectangle of the patch after them, mask included (Yun et al. 2019, arXiv:1905.04899).

    Args:
        images: (N, C, S, S).
        masks: (N, S, S).
        draws: The numbers of the N samples.
        share: Of the patches.
        group: Patches of a batch, where these are several; the patch after its last is its first.
    """
    rows = np.flatnonzero(draws.hit("cutmix", share))
    if not len(rows):
        return images, masks
    inside = torch.from_numpy(boxes(draws.at(rows), images.shape[-1])).to(images.device)
    index, other = (
        torch.from_numpy(numbers).to(images.device) for numbers in (rows, after(len(draws), group)[rows])
    )
    mixed = torch.where(inside[:, None], images[other], images[index])
    labels = torch.where(inside, masks[other], masks[index])
    return images.index_copy(0, index, mixed), masks.index_copy(0, index, labels)


def boxes(draws: Draws, side: int) -> NDArray[np.bool_]:
    """Return CutMix's rectangles, (N, S, S), true inside."""
    area, low, high = draws.between("cutmix_area", *_AREA), *np.log(_SHAPE)
    shape = np.exp(draws.between("cutmix_shape", low, high))
    sizes = np.minimum(np.rint(np.sqrt(np.stack([area * shape, area / shape], axis=1)) * side), side)
    return rectangles(np.floor(draws["cutmix_place"] * (side - sizes + 1)), sizes, side)


def after(count: int, group: int | None = None) -> NDArray[np.int64]:
    """Return the number of the patch after each of some, (count,); after the last of a group comes its first.

    >>> after(4, 2).tolist()
    [1, 0, 3, 2]
    """
    rows, group = np.arange(count), group or count
    return rows - rows % group + (rows % group + 1) % group
