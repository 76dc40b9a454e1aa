"""How far a network sees, found by trying: not-a-number spreads to every output that an input has a part in."""

from typing import Any

import torch
from torch import Tensor

_LARGEST = 2048  # pixels; what sees farther than about half of it is taken to see all


@torch.no_grad()
def halo(network: Any) -> int | None:
    """Return how many pixels beyond a zone decide its output, where its edges are multiples of the network's factor.

    Half of an image is not-a-number; so are then all outputs in which that half has a part. That tiles which end at the halo
    give what the whole image gives is tried, too: networks that resample by the size of a tile see as far, but differ.

    Args:
        network: In evaluation mode, with `factor` and the buffer `mean`.

    Returns:
        A multiple of the factor; None where the whole tile has a part, or tiles differ.
    """
    factor, side = network.factor, 4 * network.factor
    was_training = network.training
    network.eval()
    try:
        while True:
            reach = _reach(network, side)
            if reach is not None:
                found = -(-reach // factor) * factor
                return found if _repeats(network, found) else None
            if side >= _LARGEST:
                return None
            side *= 2
    finally:
        network.train(was_training)


def _reach(network: Any, side: int) -> int | None:
    """Return how many rows before an aligned edge, and behind one, see across it: the larger; None if all do."""
    middle = side // 2 // network.factor * network.factor
    below, above = _pixels(network, side), _pixels(network, side)
    below[..., middle:, :], above[..., :middle, :] = torch.nan, torch.nan
    seen = [_rows(network, pixels) for pixels in (below, above)]
    reaches = [int(seen[0][:middle].sum()), int(seen[1][middle:].sum())]
    return None if seen[0][0] or seen[1][-1] else max(reaches)


def _rows(network: Any, pixels: Tensor) -> Tensor:
    """Return which rows of the output hold something that is no number, (H,)."""
    logits: Tensor = network(pixels)
    return logits.isnan().any(dim=-1).any(dim=1)[0]


def _repeats(network: Any, reach: int) -> bool:
    """Return whether the middle of a tile is as it would be in an image of twice its height."""
    zone = 2 * network.factor
    image = _pixels(network, 2 * (2 * reach + zone))
    top = image.shape[-2] // 2 // network.factor * network.factor - reach
    tile = image[..., top : top + 2 * reach + zone, :]
    whole, part = network(image), network(tile)
    inside = slice(reach, reach + zone)
    expected = whole[..., top + reach : top + reach + zone, :]
    return bool(
        torch.allclose(part[..., inside, :], expected, rtol=1e-3, atol=1e-4 * float(whole.abs().max()))
    )


def _pixels(network: Any, height: int) -> Tensor:
    """Return noise of a few columns, one image."""
    noise = torch.Generator().manual_seed(0)
    shape = (1, len(network.mean), height, 2 * network.factor)
    drawn = torch.randn(shape, generator=noise).to(network.mean.device)
    pixels: Tensor = drawn * network.std[:, None, None] + network.mean[:, None, None]
    return pixels
