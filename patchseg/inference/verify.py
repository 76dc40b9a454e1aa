"""Proof by sample: what tiles say of some places of an image, held against one big forward pass around each.

The big pass covers the place and all that it can depend on (the halo), so that it says what a pass over the whole image would.
"""

import numpy as np
import torch
from torch import Tensor

from patchseg.imaging import Box, ImageSource
from patchseg.imaging.scale import ScaledSource
from patchseg.inference.engine import Engine

_PLACES, _SIDE = 4, 128


def difference(source: ImageSource, engine: Engine, scale: float, *, seed: int = 0) -> float:
    """Return the largest difference of a probability at four random places of 128 x 128 pixels.

    Args:
        source: The image.
        engine: What predicts; its networks have a halo.
        scale: Multiple of the image's size at which they work.
        seed: Of the places.
    """
    at_scale = ScaledSource(source, scale) if scale != 1 else source
    height, width, _ = at_scale.shape
    draw = np.random.Generator(np.random.Philox(seed))
    worst = 0.0
    for _ in range(_PLACES):
        rows, columns = min(_SIDE, height), min(_SIDE, width)
        top, left = (int(draw.integers(0, most + 1)) for most in (height - rows, width - columns))
        place = Box(top, left, rows, columns)
        bands = engine.rows(at_scale, scale=1, part=place)
        found = torch.cat([band[: engine.classes].cpu() for band in bands], dim=1)
        worst = max(worst, float((found - _whole(at_scale, engine, place)).abs().max()))
    return worst


def _whole(source: ImageSource, engine: Engine, place: Box) -> Tensor:
    """Return the probabilities of a place, (K, h, w), by one forward pass over it and all around it that counts."""
    halo, factor = engine.halo
    height, width, _ = source.shape
    top, left = (max(0, start // factor * factor - halo) for start in place[:2])
    bottom, right = (
        min(side, -(-stop // factor) * factor + halo)
        for stop, side in ((place.bottom, height), (place.right, width))
    )
    pixels = torch.from_numpy(np.array(source.read(Box(top, left, bottom - top, right - left))))
    found = engine.predictor(pixels[None])[0, : engine.classes].cpu()
    return found[:, place.top - top : place.bottom - top, place.left - left : place.right - left]
