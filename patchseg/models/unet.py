"""The U-Net of Ronneberger, Fischer and Brox (2015, arXiv:1505.04597), with padded convolutions.

Raw pixels flow in and logits of the same height and width flow out; normalization happens inside. Every level
halves the resolution and doubles the features, then the way back up joins what each level saw:

    level 0   pixels ─ conv conv ──────────── join ── conv conv ─ 1x1 ─ logits
                           │ pool               │ up
    level 1                conv conv ── join ── conv conv
                               │ pool     │ up
    level 2                    conv ──── conv
"""

import math
from collections.abc import Callable
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor, nn

from patchseg.models.network import Network, initialize


def receptive_field(levels: int) -> int:
    """Return the side, in pixels, of the square of input that decides one pixel of output.

    With f = 2**(levels - 1), the 3x3 convolutions widen it by 8 (f - 1) on the way down and up and by 4 f at the
    bottom, the poolings by f - 1, and the pixel itself is 1: 13 f - 8. Up to 3 levels every pixel has exactly
    this; deeper down a pixel sees a little less or more (92 or 100 at 4 levels) by where it lies
    in the grid of the poolings, and this on average.

    >>> [receptive_field(levels) for levels in (2, 3, 4, 5, 6)]
    [18, 44, 96, 200, 408]
    """
    return 13 * int(2 ** (levels - 1)) - 8


def halo(levels: int) -> int:
    """Return how many pixels beyond a zone decide its output, where its edges are multiples of f = 2**(levels - 1).

    Two convolutions reach 2 pixels further at each level; a transposed one takes half of that down, rounded up, and a
    pooling brings twice of it back up. The result is rounded up to a multiple of f, so that tiles start at one too.

    >>> [halo(levels) for levels in (1, 2, 3, 4, 5)]
    [2, 8, 24, 48, 96]
    """
    reach, factor = 0, int(2 ** (levels - 1))
    for _ in range(levels - 1):
        reach = -(-(reach + 2) // 2)
    reach += 2
    for _ in range(levels - 1):
        reach = 2 * reach + 2
    return -(-reach // factor) * factor


def levels_for(patch: int) -> int:
    """Return the levels, 2 to 6, whose receptive field is nearest to the side of the patches.

    A network that sees farther than a patch learns about padding; one that sees less wastes context.

    >>> [levels_for(patch) for patch in (32, 96, 200, 256, 512)]
    [3, 4, 5, 5, 6]
    """
    return min(range(2, 7), key=lambda levels: abs(receptive_field(levels) - patch))


def group_norm(channels: int) -> nn.GroupNorm:
    """Return a norm over 8 groups, or over the most that a power of two allows of two channels or more.

    A group of one channel would flatten every feature to its own mean, and could not norm a single pixel.

    >>> [group_norm(channels).num_groups for channels in (1, 2, 6, 8, 16, 64)]
    [1, 1, 2, 4, 8, 8]
    """
    groups = math.gcd(8, channels)
    return nn.GroupNorm(groups if groups < channels else max(1, groups // 2), channels)


NORMS: dict[str, Callable[[int], nn.Module] | None] = {
    "batch": nn.BatchNorm2d,
    "group": group_norm,
    "none": None,
}


def _two_convolutions(inputs: int, outputs: int, norm: str) -> nn.Sequential:
    make_norm = NORMS[norm]
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        # A norm subtracts the mean, and any bias with it.
        layers.append(nn.Conv2d(channels, outputs, 3, padding=1, bias=make_norm is None))
        if make_norm is not None:
            layers.append(make_norm(outputs))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


class UNet(Network):
    """A U-Net from raw pixels to logits, for images of any size.

    Args:
        channels: C, of the image.
        classes: K, of the mask.
        width: Features of the first level; each further level has twice as many.
        levels: Resolutions, the first included.
        norm: A key of `NORMS`, between each 3x3 convolution and its ReLU.
        deep_supervision: Whether in training the coarser levels of the way up give logits, too: all but the
            coarsest of them, which nnU-Net weighs with 0 (Isensee et al. 2021).
    """

    def __init__(
        self,
        *,
        channels: int,
        classes: int,
        width: int = 32,
        levels: int = 4,
        norm: str = "batch",
        deep_supervision: bool = False,
    ) -> None:
        super().__init__(channels)
        self.levels, self._norm, self.factor = levels, norm, int(2 ** (levels - 1))
        widths = [width * 2**level for level in range(levels)]
        steps = list(pairwise(widths))  # (shallow, deep), from the top down
        self.pool = nn.MaxPool2d(2)
        self.down = nn.ModuleList(
            _two_convolutions(shallow, deep, norm) for shallow, deep in [(channels, width), *steps]
        )
        self.enlarge = nn.ModuleList(
            nn.ConvTranspose2d(deep, shallow, 2, stride=2) for shallow, deep in steps[::-1]
        )
        self.up = nn.ModuleList(_two_convolutions(2 * shallow, shallow, norm) for shallow, _ in steps[::-1])
        self.head = nn.Conv2d(width, classes, 1)
        # From level 1 down; the last one made would be of the coarsest level of the way up.
        deep = widths[1 : levels - 2] if deep_supervision else []
        self.deep_heads = nn.ModuleList(nn.Conv2d(features, classes, 1) for features in deep)
        self.apply(initialize)

    @property
    def receptive_field(self) -> int:
        """The side, in pixels, of the square of input that decides one pixel of output, on average."""
        return receptive_field(self.levels)

    @cached_property
    def halo(self) -> int | None:
        """The pixels beyond an aligned zone that decide its output; None where all of a tile does, by its norms."""
        return None if self._norm == "group" else halo(self.levels)

    def decide(self, features: Tensor) -> Tensor | list[Tensor]:
        """Return the logits of normalized pixels; see `Network`."""
        features = self.down[0](features)
        skips = []
        for down in self.down[1:]:
            skips.append(features)
            features = down(self.pool(features))
        heads = [self.head, *self.deep_heads] if self.training else [self.head]
        wanted = [features]  # of the finest levels so far, the finest first
        for enlarge, up in zip(self.enlarge, self.up, strict=True):
            features = up(torch.cat([skips.pop(), enlarge(features)], dim=1))
            wanted = [features, *wanted][: len(heads)]
        logits = [head(seen) for head, seen in zip(heads, wanted, strict=True)]
        return logits if len(heads) > 1 else logits[0]
