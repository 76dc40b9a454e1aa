"""Max pooling that remembers where the largest values lay, and the unpooling that puts values back there.

Both are plain tensor operations: they go into ONNX with any height and width, and are deterministic on CUDA, where torch's own
unpooling is neither. They work in channels last.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def pool(features: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Return the largest value of each 2x2 block, and where in its block it lies.

    Args:
        features: (N, C, 2h, 2w).

    Returns:
        The values, (N, C, h, w), and one mask a corner, row by row, (N, C, h, w) bool: of equal values the first corner
        is taken, as torch takes it.

    >>> values, corners = pool(torch.tensor([[[[1.0, 5.0], [5.0, 2.0]]]]))
    >>> values.item(), [corner.item() for corner in corners]
    (5.0, [False, True, False, False])
    """
    values = F.max_pool2d(features, 2)
    with torch.no_grad():
        largest = [features[..., row::2, column::2] == values for row in (0, 1) for column in (0, 1)]
        taken, corners = largest[0], largest[:1]
        for corner in largest[1:]:
            corners.append(corner & ~taken)
            taken = taken | corner
    return values, corners


def unpool(values: Tensor, corners: list[Tensor]) -> Tensor:
    """Return each value at its corner of a 2x2 block of zeros, (N, C, 2h, 2w).

    What is not a number fills its block, so that `reach.halo` sees that the block depends on it.

    Args:
        values: (N, C, h, w).
        corners: Of the pooling, as `pool` returns them.
    """
    # In the order of channels last, and so without a copy there.
    placed = [(values * corner).permute(0, 2, 3, 1) for corner in corners]
    rows = [torch.stack(placed[:2], dim=3), torch.stack(placed[2:], dim=3)]  # (N, h, w, 2, C)
    blocks = torch.stack(rows, dim=2)  # (N, h, 2, w, 2, C)
    return blocks.flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)
