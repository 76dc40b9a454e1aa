"""What is known of tiles without predicting them: nothing outside of a region, background where all pixels are equal."""

import math

from torch import Tensor

from patchseg.imaging import Box
from patchseg.imaging.scale import scaled_length
from patchseg.inference.stream import Known
from patchseg.labels.region import Region


def known_of(
    nothing: Tensor, shape: tuple[int, int], scale: float, *, region: Region | None, skip_blank: bool
) -> Known | None:
    """Return what `stream` asks about each tile; None where all are predicted.

    Args:
        nothing: Zeros of a pixel, (K, 1, 1), on the device.
        shape: (H, W) of the image.
        scale: Multiple of its size at which the tiles lie.
        region: Outside of it a tile counts as nothing; None for everywhere.
        skip_blank: Whether a tile of one colour counts as the first class.
    """
    if not skip_blank and region is None:
        return None
    background = nothing.clone()
    background[0] = 1

    def known(box: Box, pixels: Tensor) -> Tensor | None:
        if region is not None and not region.touches(_decided_by(box, scale, shape)):
            return nothing
        return background if skip_blank and _is_blank(pixels) else None

    return known


def _is_blank(pixels: Tensor) -> bool:
    """Tell whether all pixels of a tile (h, w, C) are equal.

    >>> import torch
    >>> _is_blank(torch.ones(2, 2, 3)), _is_blank(torch.arange(4).reshape(2, 2, 1))
    (True, False)
    """
    first = pixels[0, 0]
    return bool((pixels[0] == first).all()) and bool((pixels == first).all())


def _decided_by(box: Box, scale: float, shape: tuple[int, int]) -> Box:
    """Return the pixels of an image that what is predicted of a box of the scaled one has a part in.

    Those beside it too, since probabilities are interpolated back to the size of the image.

    >>> _decided_by(Box(10, 0, 5, 5), 0.5, (33, 100))
    Box(top=19, left=0, height=14, width=12)
    """
    if scale == 1:
        return box
    top, bottom = _pixels(box.top, box.bottom, scaled_length(shape[0], scale), shape[0])
    left, right = _pixels(box.left, box.right, scaled_length(shape[1], scale), shape[1])
    return Box(top, left, bottom - top, right - left).clip(*shape)


def _pixels(start: int, stop: int, scaled: int, length: int) -> tuple[int, int]:
    """Return the pixels of an axis whose `support` among the scaled ones reaches into start..stop."""
    step = scaled / length
    radius = max(1.0, step)
    return math.floor((start - radius) / step - 0.5) + 1, math.ceil((stop + radius) / step - 0.5)
