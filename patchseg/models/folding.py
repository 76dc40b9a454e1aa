"""Batch norms folded into the convolutions before them: the same function with fewer passes over the features."""

import copy
from collections import Counter
from itertools import pairwise
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from patchseg.models.network import Network

Pair = tuple[nn.Conv2d, nn.BatchNorm2d]


def folded(network: nn.Module) -> nn.Module:
    """Return a copy of a network in evaluation mode whose batch norms are part of the convolutions.

    In evaluation a batch norm multiplies by one number a channel and adds another, and so does a convolution with a
    bias. Outputs differ by rounding alone, some 1e-6. Other norms stay. What is not in a plain sequence is found by watching one
    pass, and kept as it is where another pass then says something else.

    Args:
        network: In evaluation mode; it stays as it was.
    """
    network = copy.deepcopy(network)
    for sequence in [module for module in network.modules() if isinstance(module, nn.Sequential)]:
        if type(sequence).forward is not nn.Sequential.forward:
            continue
        for (place, layer), (_, norm) in pairwise(list(enumerate(sequence))):
            if isinstance(layer, nn.Conv2d) and _is_plain(norm):
                sequence[place] = fuse_conv_bn_eval(layer, norm)
                sequence[place + 1] = nn.Identity()
    if not isinstance(network, Network) or not any(_is_plain(module) for module in network.modules()):
        return network
    return _folded_as_seen(network)


def _is_plain(module: nn.Module) -> TypeGuard[nn.BatchNorm2d]:
    """Tell whether a module is a batch norm and no more; timm's end in an activation."""
    return type(module) is nn.BatchNorm2d


@torch.no_grad()
def _folded_as_seen(network: Network) -> Network:
    """Return a copy in which what a pass shows to follow each other is one, or the network itself if that differs."""
    side = 4 * network.factor
    drawn = torch.randn(1, len(network.mean), side, side, generator=torch.Generator().manual_seed(0))
    pixels = drawn.to(network.mean.device) * network.std[:, None, None] + network.mean[:, None, None]
    changed = copy.deepcopy(network)
    names = {module: name for name, module in changed.named_modules()}
    for layer, norm in _pairs(changed, pixels):
        _replace(changed, names[layer], fuse_conv_bn_eval(layer, norm))
        _replace(changed, names[norm], nn.Identity())
    before, after = network(pixels), changed(pixels)
    same = torch.allclose(before, after, rtol=1e-3, atol=1e-4 * float(before.abs().max()))
    return changed if same else network


def _pairs(network: Network, pixels: Tensor) -> list[Pair]:
    """Return the convolutions whose output is what a batch norm takes, each used once."""
    made: dict[
        int, tuple[nn.Conv2d, Tensor]
    ] = {}  # outputs are kept, so that no other tensor gets their number
    pairs: list[Pair] = []

    def note(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if isinstance(module, nn.Conv2d):
            made[id(output)] = module, output
        elif _is_plain(module) and id(inputs[0]) in made:
            pairs.append((made[id(inputs[0])][0], module))

    hooks = [module.register_forward_hook(note) for module in network.modules()]
    network(pixels)
    for hook in hooks:
        hook.remove()
    uses = Counter(module for pair in pairs for module in pair)
    return [pair for pair in pairs if uses[pair[0]] == uses[pair[1]] == 1]


def _replace(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(network.get_submodule(parent), last, module)
