"""How the pixels of a varied patch change in place: light, colour, noise, sharpness, and what is blanked.

Each variation is a function of the patches that it happens to, (n, C, S, S) float32 on the scale of the image files, of the
numbers drawn for them, of the recipe and of what the channels' numbers mean. It returns new patches.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from patchseg import device as devices
from patchseg.training.draws import RECTANGLES, Draws
from patchseg.training.recipe import Recipe

_GAMMA = (0.7, 1.5)
_NOISE = 0.1  # variance at most, in those of the training set
_BLUR = 0.5  # smallest standard deviation, in pixels
_HUE, _SATURATION = 0.1 * math.pi, (0.6, 1.4)
_BLANK = (0.1, 1 / 3)  # sides of blanked rectangles, of the patch
_LUMA = np.array([0.299, 0.587, 0.114])  # of red, green and blue (ITU-R BT.601)


@dataclass(frozen=True)
class Scale:
    """What the numbers of the channels mean.

    Attributes:
        mean: (C, 1, 1) float32, of the training set.
        std: (C, 1, 1) float32; never 0.
        rgb: Places of red, green and blue among the channels, or None.
    """

    mean: Tensor
    std: Tensor
    rgb: tuple[int, ...] | None = None


Variation = Callable[[Tensor, Draws, Recipe, Scale], Tensor]


def vary(images: Tensor, draws: Draws, recipe: Recipe, scale: Scale) -> Tensor:
    """Change patches (N, C, S, S) float32 in place, by every variation whose share they fall into, and return them."""
    for name, change in VARIATIONS.items():
        rows = np.flatnonzero(draws.hit(name, getattr(recipe, name)))
        if len(rows):
            index = torch.from_numpy(rows).to(images.device)
            part = change(images.index_select(0, index), draws.at(rows), recipe, scale)
            images.index_copy_(0, index, part)
    return images


def color(part: Tensor, draws: Draws, recipe: Recipe, scale: Scale) -> Tensor:
    """Turn the hue by up to 18 degrees and change the saturation; brightness stays, and so do channels but RGB."""
    assert scale.rgb is not None
    hue = draws.between("hue", -_HUE, _HUE)
    matrix = hue_and_saturation(hue, draws.factor("saturation", *_SATURATION))
    places = torch.tensor(scale.rgb, device=part.device)
    mix = torch.from_numpy(matrix.astype(np.float32)).to(part.device)
    mixed = mix @ part.index_select(1, places).flatten(2)  # (n, 3, S * S)
    return part.index_copy(1, places, mixed.view(len(part), 3, *part.shape[2:]))


def brightness(part: Tensor, draws: Draws, recipe: Recipe, scale: Scale) -> Tensor:
    """Add to all channels up to `brightness_by` of their standard deviations; see `_deviation`."""
    by = draws.between("brightness_by", -recipe.brightness_by, recipe.brightness_by)
    return part + _column(by, part) * _deviation(part, scale)


def contrast(part: Tensor, draws: Draws, recipe: Recipe, scale: Scale) -> Tensor:
    """Spread the values around the mean of patch and channel."""
    mean = part.mean(dim=(2, 3), keepdim=True)
    by = draws.factor("contrast_by", 1 / recipe.contrast_by, recipe.contrast_by)
    return mean + (part - mean) * _column(by, part)


def gamma(part: Tensor, draws: Draws, recipe: Recipe, scale: Scale) -> Tensor:
    """Bend the scale of values between the darkest and the lightest of patch and channel by a power."""
    low, high = part.amin(dim=(2, 3), keepdim=True), part.amax(dim=(2, 3), keepdim=True)
    spread = (high - low).clamp_min(1e-12)
    power = _column(draws.factor("gamma_by", *_GAMMA), part)
    # As a logarithm, in a third of the time that a power takes; -46 stands for that of 0.
    logarithm = ((part - low) / spread).log_().clamp_min_(-46)
    return low + spread * (logarithm * power).exp_()


def noise(part: Tensor, draws: Draws, recipe: Recipe, scale: Scale) -> Tensor:
    """Add Gaussian noise of a variance of up to a tenth of the channel's; see `_deviation`."""
    each = [devices.normal(part.shape[1:], number, part.device) for number in draws["noise_seed"]]
    by = np.sqrt(draws.between("noise_by", 0, _NOISE))
    return part + torch.stack(each) * _column(by, part) * _deviation(part, scale)


def blur(part: Tensor, draws: Draws, recipe: Recipe, scale: Scale) -> Tensor:
    """Blur by a Gaussian of `_BLUR` to `blur_by` pixels."""
    by = draws.between("blur_by", _BLUR, recipe.blur_by)
    return _along_both(part, gaussian(by, part.shape[-1]))


def low_resolution(part: Tensor, draws: Draws, recipe: Recipe, scale: Scale) -> Tensor:
    """Show the patch as if taken with larger pixels: every so many kept, those between interpolated."""
    by = draws.between("low_resolution_by", recipe.low_resolution_by, 1)
    return _along_both(part, coarse(by, part.shape[-1]))


def drop_channel(part: Tensor, draws: Draws, recipe: Recipe, scale: Scale) -> Tensor:
    """Set one channel to its mean."""
    channels = part.shape[1]
    lost = draws.choice("channel", channels)[:, None] == np.arange(channels)
    return torch.where(torch.from_numpy(lost).to(part.device)[:, :, None, None], scale.mean, part)


def cutout(part: Tensor, draws: Draws, recipe: Recipe, scale: Scale) -> Tensor:
    """Set up to three rectangles to the channels' means; the mask stays, to be told from what is around."""
    side = part.shape[-1]
    corners = draws["corners"].reshape(-1, RECTANGLES, 4)
    sizes = np.rint((_BLANK[0] + (_BLANK[1] - _BLANK[0]) * corners[:, :, :2]) * side)
    sizes *= (np.arange(RECTANGLES) <= draws.choice("rectangles", RECTANGLES)[:, None])[:, :, None]
    starts = np.floor(corners[:, :, 2:] * (side - sizes + 1))
    blank = rectangles(starts, sizes, side).any(axis=1)
    return torch.where(torch.from_numpy(blank).to(part.device)[:, None], scale.mean, part)


VARIATIONS: dict[str, Variation] = {
    "color": color,
    "brightness": brightness,
    "contrast": contrast,
    "gamma": gamma,
    "noise": noise,
    "blur": blur,
    "low_resolution": low_resolution,
    "drop_channel": drop_channel,
    "cutout": cutout,
}


def rectangles(starts: NDArray[np.float64], sizes: NDArray[np.float64], side: int) -> NDArray[np.bool_]:
    """Return where rectangles are, (..., S, S), from their first rows and columns and their heights and widths.

    >>> rectangles(np.array([0.0, 1.0]), np.array([1.0, 2.0]), 3).astype(int)
    array([[0, 1, 1],
           [0, 0, 0],
           [0, 0, 0]])
    """
    along = (np.arange(side) >= starts[..., None]) & (np.arange(side) < (starts + sizes)[..., None])
    return np.asarray(along[..., 0, :, None] & along[..., 1, None, :])


def hue_and_saturation(hue: NDArray[np.float64], saturation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return matrices of red, green and blue, (N, 3, 3), that turn the hue around gray and keep the brightness.

    What differs from gray is turned around the gray axis by `hue` (Rodrigues' rotation), scaled by `saturation`, and freed
    of what that would add to the brightness.
    """
    cos, sin = np.cos(hue)[:, None, None], np.sin(hue)[:, None, None]
    turned = cos * (_AWAY @ _AWAY) + sin * (_AWAY @ _AXIS @ _AWAY) + (1 - cos) * (_AWAY @ _GRAYS @ _AWAY)
    return np.asarray(_GRAY + saturation[:, None, None] * turned)


_GRAY = np.ones((3, 1)) * _LUMA  # a colour's gray, in all three
_AWAY = np.eye(3) - _GRAY  # what differs from it
_AXIS = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)  # the cross product with the gray axis
_GRAYS = np.full((3, 3), 1 / 3)  # the projection on it


def gaussian(sigma: NDArray[np.float64], side: int) -> NDArray[np.float32]:
    """Return blurs as matrices of a row of pixels, (n, S, S), 4 standard deviations wide; at the border the rest sums to 1.

    >>> gaussian(np.array([0.5]), 3).round(3)
    array([[[0.881, 0.119, 0.   ],
            [0.107, 0.787, 0.107],
            [0.   , 0.119, 0.881]]], dtype=float32)
    """
    apart = np.arange(side) / sigma[:, None]
    # Farther off, weights would be too small for a processor to multiply them at its usual speed.
    bell = (np.exp(-0.5 * np.minimum(apart, 4) ** 2) * (apart <= 4)).astype(np.float32)
    weights = bell[:, np.abs(np.arange(side)[:, None] - np.arange(side))]
    return np.asarray(weights / weights.sum(axis=2, keepdims=True))


def coarse(share: NDArray[np.float64], side: int) -> NDArray[np.float32]:
    """Return how a row of pixels is seen at a share of its resolution, as matrices, (n, S, S).

    Coarse pixels are `1 / share` apart and hold the pixel at their middle; between them it is interpolated.

    >>> coarse(np.array([0.5]), 4)[0]
    array([[0.  , 1.  , 0.  , 0.  ],
           [0.  , 0.75, 0.  , 0.25],
           [0.  , 0.25, 0.  , 0.75],
           [0.  , 0.  , 0.  , 1.  ]], dtype=float32)
    """
    step = 1 / share[:, None]
    last = np.maximum(np.ceil(side / step - 0.5) - 1, 0)  # whose middle lies in the row
    at = np.clip((np.arange(side) + 0.5) / step - 0.5, 0, last)
    before = np.floor(at)
    weight, matrix = at - before, np.zeros((len(step), side, side), np.float32)
    row, column = np.arange(len(step))[:, None], np.arange(side)
    for coarse_pixel, share_of_it in ((before, 1 - weight), (np.minimum(before + 1, last), weight)):
        seen = np.minimum((coarse_pixel + 0.5) * step, side - 1).astype(int)
        matrix[row, column, seen] += share_of_it
    return matrix


def _deviation(part: Tensor, scale: Scale) -> Tensor:
    """Return the standard deviation of each patch and channel, but no more than the training set's, (n, C, 1, 1).

    Where dim and bright images are one set, what a bright one hardly shows would drown a dim one.
    """
    away = part - part.mean(dim=(2, 3), keepdim=True)
    # Ten times faster on the CPU than torch.std.
    return torch.minimum(away.square_().mean(dim=(2, 3), keepdim=True).sqrt_(), scale.std)


def _along_both(part: Tensor, matrix: NDArray[np.float32]) -> Tensor:
    """Apply a matrix of each patch, (n, S, S), to its rows and to its columns."""
    by = torch.from_numpy(matrix).to(part.device)
    # Channels above each other are one tall image to what goes along the rows.
    rows = torch.bmm(part.flatten(1, 2), by.transpose(1, 2)).view(part.shape)
    return by[:, None] @ rows


def _column(values: NDArray[np.float64], part: Tensor) -> Tensor:
    """Return a number a patch so that it spreads over channels, rows and columns."""
    return torch.from_numpy(values.astype(np.float32)).to(part.device)[:, None, None, None]
