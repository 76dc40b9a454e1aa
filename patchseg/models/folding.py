"""Batch norms folded into the convolutions before them: the same function with fewer passes over the features."""

import copy
from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def folded(network: nn.Module) -> nn.Module:
    """Return a copy of a network in evaluation mode whose batch norms are part of the convolutions.

    In evaluation a batch norm multiplies by one number a channel and adds another, and so does a convolution with a
    bias. Outputs differ by rounding alone, some 1e-6. Other norms stay, and so does what is not in a plain sequence, or does more
    than a batch norm (timm has such that end in their activation).

    Args:
        network: In evaluation mode; it stays as it was.
    """
    network = copy.deepcopy(network)
    sequences = [module for module in network.modules() if isinstance(module, nn.Sequential)]
    for sequence in sequences:
        if type(sequence).forward is not nn.Sequential.forward:
            continue
        for (place, layer), (_, norm) in pairwise(list(enumerate(sequence))):
            if isinstance(layer, nn.Conv2d) and type(norm) is nn.BatchNorm2d:
                sequence[place] = fuse_conv_bn_eval(layer, norm)
                sequence[place + 1] = nn.Identity()
    return network
