"""What a network sees on the way down: its feature maps watched, or channels of them dropped, by hooks that are gone afterwards.

Any `Network` that names its `stages` will do. What an encoder of a library returns besides (the image itself, tokens, maps without
channels) is no feature map.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from patchseg.errors import UsageError
from patchseg.labels.classes import IGNORE
from patchseg.models.network import Network

ChannelMasks = Callable[[int, Tensor], Tensor]  # (level, features (N, C, h, w)) -> (N, C, 1, 1)


def stages_of(network: Network) -> list[nn.Module]:
    """Return the modules whose outputs are the features of the way down, the finest first; one may give several.

    Raises:
        UsageError: The network names none.
    """
    stages = network.stages
    if not stages:
        raise UsageError(
            f"model.name: {type(network).__name__} does not show its features, which this way of training "
            "needs; choose another network, such as unet"
        )
    return stages


@contextmanager
def watched(network: Network) -> Iterator[list[Tensor]]:
    """Watch what a network sees.

    The list that is yielded holds the feature maps of the last pass, (N, C_l, h_l, w_l), with their gradients, the finest first.
    They cover the padded image; see `padded`. A network that was compiled before knows nothing of the hooks.

    Raises:
        UsageError: As `stages_of`.
    """
    stages, maps = stages_of(network), list[Tensor]()

    def keep(stage: nn.Module, given: tuple[Any, ...], output: object) -> None:
        if stage is stages[0]:
            maps.clear()
        maps.extend(_maps(output, given[0]))

    with _hooked(stages, keep):
        yield maps


class _Enough(Exception):
    """What was to be seen has been seen."""


def seen_at(network: Network, pixels: Tensor, level: int) -> Tensor:
    """Return the feature map of one level, and spare the network all that comes after it: its norms do not see the pixels, either.

    Args:
        network: Not compiled; a copy that was compiled shares its weights, and is another module.
        pixels: (N, C, H, W), raw.
        level: The place of the map in `watched`.

    Raises:
        UsageError: As `stages_of`.
    """
    with watched(network) as maps:

        def leave(*_: object) -> None:
            if len(maps) > level:
                raise _Enough

        with _hooked(stages_of(network), leave), suppress(_Enough):
            network(pixels)
    return maps[level]


@torch.no_grad()
def level_near(network: Network, stride: int) -> tuple[int, int]:
    """Return the level of which a feature is nearest to so many pixels wide, by their ratio, and its channels; found by trying.

    Of two that are as near, it is the coarser.

    Raises:
        UsageError: As `stages_of`.
    """
    channels, was_training = len(network.mean), network.training
    side = max(
        network.least, 2 * network.factor
    )  # at which the coarsest map has several pixels, as norms want it
    network.eval()
    with watched(network) as maps:
        network(torch.zeros(1, channels, side, side, device=network.mean.device))
    network.train(was_training)
    off = [abs(math.log2(side / seen.shape[-1] / stride)) for seen in maps]
    level = max(place for place, distance in enumerate(off) if distance == min(off))
    return level, maps[level].shape[1]


@contextmanager
def dropped(network: Network, masks: ChannelMasks) -> Iterator[None]:
    """Multiply what the way up takes from the way down by masks of channels, as UniMatch perturbs features.

    Yang et al. (2023, arXiv:2208.09910, section 3.2) drop channels between encoder and decoder, so the way down itself sees all of
    them. Where the way up takes features of the last stage alone (`Network.joins`), only those are masked. A
    network that is also `watched` shows masked features where the watching began later.

    Args:
        network: In training or in evaluation mode.
        masks: From a level, the place of a map in `watched`, and its features to what they are multiplied by.

    Raises:
        UsageError: As `stages_of`.
    """
    stages, level = stages_of(network), 0

    def drop(stage: nn.Module, given: tuple[Any, ...], output: object) -> object:
        nonlocal level
        maps = _maps(output, given[0])
        first = 0 if stage is stages[0] else level
        level = first + len(maps)
        if not network.joins and stage is not stages[-1]:
            return None  # as it is
        masked = {id(seen): seen * masks(place, seen) for place, seen in enumerate(maps, first)}
        return _replaced(output, masked)

    with _hooked(stages, drop):
        yield


def padded(network: Network, masks: Tensor) -> Tensor:
    """Return masks with 255 where a network pads images of their size, so that they cover what its feature maps do.

    Args:
        network: Whose padding it is.
        masks: (N, H, W) uint8.
    """
    below, right = (
        max(network.least, -(-side // network.factor) * network.factor) - side for side in masks.shape[-2:]
    )
    return F.pad(masks, (0, right, 0, below), value=IGNORE)


@contextmanager
def _hooked(stages: list[nn.Module], hook: Callable[..., Any]) -> Iterator[None]:
    with ExitStack() as hooks:
        for stage in stages:
            hooks.enter_context(stage.register_forward_hook(hook))
        yield


def _maps(output: object, pixels: Tensor) -> list[Tensor]:
    """Return the feature maps in what a stage gives: of a list all of four dimensions and with channels but the image itself."""
    if isinstance(output, list | tuple):
        return [seen for part in output for seen in _maps(part, pixels) if seen is not pixels]
    return [output] if isinstance(output, Tensor) and output.ndim == 4 and output.shape[1] else []


def _replaced(output: object, masked: dict[int, Tensor]) -> object:
    """Return what a stage gives, with masked tensors in the place of those whose `id` they have."""
    if isinstance(output, list | tuple):
        return type(output)(_replaced(part, masked) for part in output)
    return masked.get(id(output), output)
