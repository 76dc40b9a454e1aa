"""Stored patches -> varied ones, a batch at a time on the device: in space first, then pixel by pixel, then between patches."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from patchseg.training.draws import Draws, Floats
from patchseg.training.geometry import grid_of, moved
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
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        patch: int,
        margin: int,
        channels: Sequence[dict[str, Any]],
        device: torch.device,
    ) -> None:
        self._patch, self._margin = patch, margin
        mean, std = (
            torch.tensor([float(c[key]) for c in channels], device=device)[:, None, None]
            for key in ("mean", "std")
        )
        names = [str(channel["name"]) for channel in channels]
        rgb = tuple(names.index(name) for name in _RGB) if set(_RGB) <= {*names} else None
        self._scale = Scale(mean, torch.where(std > 0, std, 1.0), rgb)
        self.recipe = replace(
            recipe,
            color=recipe.color if rgb else 0.0,
            drop_channel=recipe.drop_channel if len(names) > 1 else 0.0,
        )

    def __call__(
        self,
        images: Tensor,
        masks: Tensor,
        draws: Draws,
        centres: Floats | None = None,
        group: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return varied patches: images (N, C, S, S) float32, channels last in memory, and masks (N, S, S) uint8.

        Where nothing is varied, images keep their dtype.

        Args:
            images: (N, S + 2 M, S + 2 M, C) as stored.
            masks: (N, S + 2 M, S + 2 M) uint8.
            draws: The numbers of the N samples.
            centres: (N, 2) row and column, from the middle of each window, of what the patch is centred on, or None.
            group: Patches of a batch, where these are several batches: CutMix stays within one.
        """
        inner = slice(self._margin, self._margin + self._patch)
        if self.recipe.idle and centres is None:
            pixels = images[:, inner, inner].permute(0, 3, 1, 2)
            return pixels.contiguous(memory_format=torch.channels_last), masks[:, inner, inner]
        # What varies works in place, so the stored patches are copied, whatever their dtype and layout.
        pixels = images.permute(0, 3, 1, 2).to(
            torch.float32, copy=True, memory_format=torch.contiguous_format
        )
        if self.recipe.moves or centres is not None:
            grid = grid_of(
                draws,
                self.recipe,
                patch=self._patch,
                margin=self._margin,
                centres=centres,
                device=pixels.device,
            )
            pixels, masks = moved(pixels, masks, grid)
        else:
            pixels, masks = pixels[:, :, inner, inner].contiguous(), masks[:, inner, inner]
        pixels = vary(pixels, draws, self.recipe, self._scale)
        pixels, masks = cutmix(pixels, masks, draws, self.recipe.cutmix, group)
        return pixels.contiguous(memory_format=torch.channels_last), masks


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
    mine, side = draws.at(rows), images.shape[-1]
    area, low, high = mine.between("cutmix_area", *_AREA), *np.log(_SHAPE)
    shape = np.exp(mine.between("cutmix_shape", low, high))
    sizes = np.minimum(np.rint(np.sqrt(np.stack([area * shape, area / shape], axis=1)) * side), side)
    starts = np.floor(mine["cutmix_place"] * (side - sizes + 1))
    inside = torch.from_numpy(rectangles(starts, sizes, side)).to(images.device)
    group = group or len(draws)
    after = rows - rows % group + (rows % group + 1) % group
    index, other = (torch.from_numpy(numbers).to(images.device) for numbers in (rows, after))
    mixed = torch.where(inside[:, None], images[other], images[index])
    labels = torch.where(inside, masks[other], masks[index])
    return images.index_copy(0, index, mixed), masks.index_copy(0, index, labels)
