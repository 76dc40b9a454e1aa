"""Where the pixels of a varied patch come from: flips, turns and all bending composed into one grid, sampled once.

A point of the patch, seen from its middle, is mapped to a point of the stored window: p -> A p + t. The window may be
larger than the patch (a margin), so that turned and shifted patches show what is really there. Beyond the window the
image is mirrored and the mask is 255.
"""

import functools
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from patchseg.labels.classes import IGNORE
from patchseg.training.draws import KNOTS, Draws, Floats
from patchseg.training.recipe import Recipe

_SCALE = (0.7, 1.4)
_SHEAR = 10.0  # degrees
_SHIFT = 0.1  # of the patch, where there is no margin
_BEND = (0.02, 0.06)  # displacements of the knots at most, of the patch


def place(draws: Draws, recipe: Recipe, *, patch: int, margin: int, centres: Floats | None = None) -> Floats:
    """Return the affine part of the map, (N, 2, 3): [A | t] in pixels, x before y as torch has it.

    Args:
        draws: Of N samples.
        recipe: What happens how often.
        patch: Side of the patch.
        margin: What the window has more on each side.
        centres: (N, 2) row and column, from the window's middle, of what the patch is to be centred on, or None.
    """
    count = len(draws)
    matrix = np.tile(np.eye(2), (count, 1, 1))
    if recipe.flips in ("left-right", "both"):
        matrix[draws.hit("left_right", 0.5), 0] *= -1
    if recipe.flips in ("up-down", "both"):
        matrix[draws.hit("up_down", 0.5), 1] *= -1
    if recipe.turns:
        matrix = matrix @ _QUARTERS[draws.choice("turn", 4)]
    if recipe.rotation:
        angle = draws.between("angle", -recipe.degrees, recipe.degrees)
        matrix = matrix @ _rotation(np.radians(np.where(draws.hit("rotation", recipe.rotation), angle, 0)))
    if recipe.shear:
        shear = np.tan(np.radians(draws.between("shear_by", -_SHEAR, _SHEAR)))
        matrix = matrix @ _shear(np.where(draws.hit("shear", recipe.shear)[:, None], shear, 0))
    if recipe.scale:
        scale = np.where(draws.hit("scale", recipe.scale), draws.factor("scale_by", *_SCALE), 1)
        matrix = matrix / scale[:, None, None]
    far = max(margin, _SHIFT * patch)
    shifted = draws.hit("shift", recipe.shift)[:, None]
    shift = np.where(shifted, np.rint(draws.between("shift_by", -far, far)), 0)
    if centres is not None:
        # No pixel is in the middle of an even side: by half a pixel, every image would be blurred.
        shift = np.clip(np.rint(shift + centres), -margin, margin)
    return np.concatenate([matrix, shift[:, ::-1, None]], axis=2)


def moved(images: Tensor, masks: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """Sample stored windows at a grid: images bilinear and mirrored outside, masks by the nearest pixel and 255 outside.

    Args:
        images: (N, C, T, T) float32.
        masks: (N, T, T) uint8.
        grid: (N, S, S, 2) float32, as `torch.nn.functional.grid_sample` takes it.

    Returns:
        Images (N, C, S, S) float32 and masks (N, S, S) uint8.
    """
    seen = F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    # Outside the window zeros are put in, which then stand for 255.
    labels = F.grid_sample(masks[:, None].float() - IGNORE, grid, mode="nearest", align_corners=False)
    return seen, (labels[:, 0] + IGNORE).to(torch.uint8)


def grid_of(
    draws: Draws, recipe: Recipe, *, patch: int, margin: int, centres: Floats | None, device: torch.device
) -> Tensor:
    """Return the grid that composes all that happens in space, (N, S, S, 2) float32; see `place` for the arguments."""
    affine, window = place(draws, recipe, patch=patch, margin=margin, centres=centres), patch + 2 * margin
    # torch counts from -1 to 1, across the patch in the grid's points and across the window in what they hold.
    affine[:, :, :2] *= patch / window
    affine[:, :, 2] *= 2 / window
    theta = torch.from_numpy(affine.astype(np.float32)).to(device)
    along = _along(patch, device)[None, :, None]
    across, down = along * theta[:, None, :, 0] + theta[:, None, :, 2], along * theta[:, None, :, 1]
    grid = across[:, None] + down[:, :, None]
    bent = draws.hit("elastic", recipe.elastic)
    if bent.any():
        far = np.where(bent, draws.between("elastic_by", *_BEND), 0) * 2 * patch / window
        knots = (2 * draws["knots"] - 1).reshape(-1, 2, KNOTS, KNOTS) * far[:, None, None, None]
        net = torch.from_numpy(knots.astype(np.float32)).to(device)
        smooth = F.interpolate(net, size=(patch, patch), mode="bicubic", align_corners=True)
        grid = grid + smooth.permute(0, 2, 3, 1)
    return grid


@functools.lru_cache(maxsize=4)
def _along(patch: int, device: torch.device) -> Tensor:
    """Return the middles of the pixels along a side of the patch, from -1 to 1 as torch counts, (S,)."""
    return (2 * torch.arange(patch, device=device) + 1) / patch - 1


def _rotation(angle: Floats) -> Floats:
    """Return rotations by some angles in radians, (N, 2, 2)."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([cos, -sin], axis=-1), np.stack([sin, cos], axis=-1)], axis=-2)


def _shear(amounts: Floats) -> Floats:
    """Return shears along x and along y, (N, 2, 2)."""
    matrix = np.tile(np.eye(2), (len(amounts), 1, 1))
    matrix[:, 0, 1], matrix[:, 1, 0] = amounts[:, 0], amounts[:, 1]
    return matrix


# Whole numbers, so that a quarter turn moves pixels onto pixels.
_QUARTERS: NDArray[np.float64] = np.rint(_rotation(np.arange(4) * math.pi / 2))
