"""Adaptive average pooling as matrix products, which hold in a graph for images of any size.

Torch's exporter writes the windows of `adaptive_avg_pool2d` for the sizes that it sees, since where they begin and how
long they are depends on the sides. Here they are the rows of a matrix that is computed from the sides.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def pooled(features: Tensor, bins: Sequence[int]) -> Tensor:
    """Return what `torch.nn.functional.adaptive_avg_pool2d` returns, but for rounding.

    Args:
        features: (..., H, W) floating point, H and W at least 1.
        bins: Rows and columns of the result, h and w; either may be more than H or W.

    Returns:
        (..., h, w): in each bin the mean over the window of `shares` along both axes.

    >>> pooled(torch.tensor([[1.0, 2.0, 6.0]]), (1, 2))
    tensor([[1.5000, 4.0000]])
    """
    if all(number == 1 for number in bins):
        return features.mean((-2, -1), keepdim=True)
    rows, columns = (
        shares(side, number).to(features) for side, number in zip(features.shape[-2:], bins, strict=True)
    )
    return rows @ features @ columns.mT


def shares(side: int, bins: int) -> Tensor:
    """Return the part that each of the pixels along a side has in each bin, (bins, side) float32.

    Bin i is the mean over pixels floor(i * side / bins) to ceil((i + 1) * side / bins) - 1, as in torch; windows of neighbours
    share a pixel where the side is no multiple of the bins.

    >>> shares(3, 2)
    tensor([[0.5000, 0.5000, 0.0000],
            [0.0000, 0.5000, 0.5000]])
    """
    place, number = torch.arange(side), torch.arange(bins)[:, None]
    # Quotients of numbers that are not below 0, since ONNX rounds them towards 0.
    start, end = number * side // bins, ((number + 1) * side + bins - 1) // bins
    return ((place >= start) & (place < end)).float() / (end - start)
