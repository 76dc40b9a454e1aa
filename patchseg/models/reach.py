"""How far a network sees, found by trying: not-a-number spreads to every output that an input has a part in."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

_SMALLEST = 64  # rows: in a small image a dilated convolution would reach nothing but padding
_TRIED = 16
_LARGEST = 2048  # pixels; what sees farther than about half of it is taken to see all


@torch.no_grad()
def halo(network: Any) -> int | None:
    """Return how many pixels beyond a zone decide its output, where its edges are multiples of the network's factor.

    Rows of one period of the factor are not-a-number; so are then all outputs in which they have a part. That tiles which end at the halo
    give what the whole image gives is tried, too: networks that resample by the size of a tile see as far, but differ.

    Args:
        network: In evaluation mode, with `factor` and the buffer `mean`.

    Returns:
        A multiple of the factor; None where the whole tile has a part, or tiles differ.
    """
    return _halo(network, _farthest(network))


def sight(network: Any) -> tuple[float | None, int | None]:
    """Return the `receptive_field` and the `halo`, in less time than one after the other."""
    reach = _farthest(network)
    return _field(network, reach), _halo(network, reach)


def receptive_field(network: Any) -> float | None:
    """Return how many rows of the input have a part in a row of the output, on average over the grid of the factor.

    Each row of one period of the input is not-a-number in an image of its own. Whatever repeats with the factor, as many
    pairs of rows belong to a period of the input as to one of the output, so counting outputs gives the mean of the inputs.
    Where the factor is beyond 16, 16 rows stand for all, spread over the period and over what divides it.

    Args:
        network: As for `halo`.

    Returns:
        The mean; None where the whole tile has a part. Of networks that resample by the size of a tile it holds for the
        sizes that were tried.
    """
    return _field(network, _farthest(network))


@torch.no_grad()
def _halo(network: Any, reach: int | None) -> int | None:
    if reach is None:
        return None
    found = -(-reach // network.factor) * network.factor
    with _evaluating(network):
        return found if _repeats(network, found) else None


@torch.no_grad()
def _field(network: Any, reach: int | None) -> float | None:
    if reach is None:
        return None
    factor = network.factor
    # Resampling takes what it does not need at the border: the first row but one for the first, with weight 0.
    first, step = (-(-reach // factor) + 2) * factor, -(-factor // _TRIED)
    seen = []
    with _evaluating(network):
        for row in range(0, factor, step):  # one by one takes as long as all at once, and less memory
            pixels = _pixels(network, 2 * first + factor, columns=1)
            pixels[..., first + row + row // step % step, :] = torch.nan
            seen.append(int(_rows(network, pixels).sum()))
    return sum(seen) / len(seen)


@torch.no_grad()
def _farthest(network: Any) -> int | None:
    """Return how many rows beyond an aligned edge decide what is before it, at most; None where all do."""
    with _evaluating(network):
        reach = _reach(network, max(16 * network.factor, _SMALLEST))
        return reach if reach is not None else _reach(network, max(16 * network.factor, _LARGEST))


@contextmanager
def _evaluating(network: Any) -> Iterator[None]:
    """Put a network into evaluation mode, and back."""
    was_training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(was_training)


def _reach(network: Any, side: int) -> int | None:
    """Return how many rows before one period of the input, and behind it, see into it: the larger; None if all may."""
    start = side // 2 // network.factor * network.factor
    pixels = _pixels(network, side, columns=1)
    pixels[..., start : start + network.factor, :] = torch.nan
    seen = _rows(network, pixels)
    if seen[0] or seen[-1]:
        return None
    # The farthest, not their number: a dilated convolution passes over rows.
    rows: list[int] = [start, *seen.nonzero()[:, 0].tolist()]
    return int(max(start - min(rows), max(rows) + 1 - start - network.factor))


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


def _pixels(network: Any, height: int, columns: int | None = None) -> Tensor:
    """Return noise, one image of a few columns."""
    noise = torch.Generator().manual_seed(0)
    shape = (1, len(network.mean), height, columns or 2 * network.factor)
    drawn = torch.randn(shape, generator=noise).to(network.mean.device)
    pixels: Tensor = drawn * network.std[:, None, None] + network.mean[:, None, None]
    return pixels
