"""The U-Net of Ronneberger, Fischer and Brox (2015, arXiv:1505.04597), with padded convolutions.

Raw pixels flow in and logits of the same height and width flow out; normalization happens inside. Every level
halves the resolution and doubles the features, then the way back up joins what each level saw:

    level 0   pixels ─ conv conv ──────────── join ── conv conv ─ 1x1 ─ logits
                           │ pool               │ up
    level 1                conv conv ── join ── conv conv
                               │ pool     │ up
    level 2                    conv ──── conv

Blocks may be residual, joins gated by attention, the way up bilinear, and the norms of four kinds.
"""

import math
from collections.abc import Callable
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from patchseg.models.network import Network, initialize


def receptive_field(levels: int, upsampling: str = "transposed") -> int:
    """Return the side, in pixels, of the square of input that decides one pixel of output.

    With f = 2**(levels - 1), the 3x3 convolutions widen it by 8 (f - 1) on the way down and up and by 4 f at the
    bottom, the poolings by f - 1, and the pixel itself is 1: 13 f - 8. Up to 3 levels every pixel has exactly
    this; deeper down a pixel sees a little less or more (92 or 100 at 4 levels) by where it lies
    in the grid of the poolings, and this on average. Bilinear up-sampling looks at one more pixel of each coarser level,
    2 (f - 1) in all.

    >>> [receptive_field(levels) for levels in (2, 3, 4, 5, 6)]
    [18, 44, 96, 200, 408]
    >>> [receptive_field(levels, "bilinear") for levels in (2, 3, 4, 5, 6)]
    [20, 50, 110, 230, 470]
    """
    factor = int(2 ** (levels - 1))
    return 13 * factor - 8 + (2 * (factor - 1) if upsampling == "bilinear" else 0)


def halo(levels: int, upsampling: str = "transposed") -> int:
    """Return how many pixels beyond a zone decide its output, where its edges are multiples of f = 2**(levels - 1).

    Two convolutions reach 2 pixels further at each level; up-sampling takes half of that down, rounded up, bilinear one
    pixel more where nothing was rounded, and a pooling brings twice of it back up. The result is rounded up to a multiple
    of f, so that tiles start at one too.

    >>> [halo(levels) for levels in (1, 2, 3, 4, 5)]
    [2, 8, 24, 48, 96]
    >>> [halo(levels, "bilinear") for levels in (1, 2, 3, 4, 5)]
    [2, 10, 28, 56, 112]
    """
    reach, factor = 0, int(2 ** (levels - 1))
    for _ in range(levels - 1):
        reach = (reach + 2) // 2 + 1 if upsampling == "bilinear" else -(-(reach + 2) // 2)
    reach += 2
    for _ in range(levels - 1):
        reach = 2 * reach + 2
    return -(-reach // factor) * factor


def levels_for(patch: int, upsampling: str = "transposed") -> int:
    """Return the levels, 2 to 6, whose receptive field is nearest to the side of the patches.

    A network that sees farther than a patch learns about padding; one that sees less wastes context.

    >>> [levels_for(patch) for patch in (32, 96, 200, 256, 512)]
    [3, 4, 5, 5, 6]
    """
    return min(range(2, 7), key=lambda levels: abs(receptive_field(levels, upsampling) - patch))


def group_norm(channels: int) -> nn.GroupNorm:
    """Return a norm over 8 groups, or over the most that a power of two allows of two channels or more.

    A group of one channel would flatten every feature to its own mean, and could not norm a single pixel.

    >>> [group_norm(channels).num_groups for channels in (1, 2, 6, 8, 16, 64)]
    [1, 1, 2, 4, 8, 8]
    """
    groups = math.gcd(8, channels)
    return nn.GroupNorm(groups if groups < channels else max(1, groups // 2), channels)


def instance_norm(channels: int) -> nn.GroupNorm:
    """Return a norm of each image and channel by itself (Ulyanov et al. 2016, arXiv:1607.08022), with scales and offsets.

    As groups of one channel, since torch's own refuses a single pixel in evaluation too, where this gives its offset.
    """
    return nn.GroupNorm(channels, channels)


NORMS: dict[str, Callable[[int], nn.Module] | None] = {
    "batch": nn.BatchNorm2d,
    "group": group_norm,
    "instance": instance_norm,
    "none": None,
}
_OF_ALL = {"group", "instance"}  # the norms that look at all of a tile


def _transposed(deep: int, shallow: int) -> nn.Module:
    return nn.ConvTranspose2d(deep, shallow, 2, stride=2)


def _bilinear(deep: int, shallow: int) -> nn.Module:
    # In this order at a quarter of the cost: a 1x1 convolution and what interpolates can change places.
    # Corners are not aligned, since that would depend on the size of a tile.
    return nn.Sequential(
        nn.Conv2d(deep, shallow, 1), nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
    )


UPSAMPLINGS: dict[str, Callable[[int, int], nn.Module]] = {
    "transposed": _transposed,
    "bilinear": _bilinear,
}


def _convolution(inputs: int, outputs: int, size: int, norm: str) -> list[nn.Module]:
    """Return a convolution that keeps the size of the image, and its norm where there is one."""
    make_norm = NORMS[norm]
    # A norm subtracts the mean, and any bias with it.
    layer = nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=make_norm is None)
    return [layer] if make_norm is None else [layer, make_norm(outputs)]


def _two_convolutions(inputs: int, outputs: int, norm: str) -> nn.Sequential:
    return nn.Sequential(
        *_convolution(inputs, outputs, 3, norm), nn.ReLU(inplace=True),
        *_convolution(outputs, outputs, 3, norm), nn.ReLU(inplace=True),
    )  # fmt: skip


class Residual(nn.Module):
    """Two 3x3 convolutions beside a way around them, summed before the last ReLU (He et al. 2016, arXiv:1512.03385).

    As the units of ResUNet (Zhang et al. 2018, arXiv:1711.10684) they take the place of a U-Net's pairs of convolutions.
    Norms stay behind convolutions, where inference folds them in. The way around is a 1x1 convolution where the number of
    features changes.

    Args:
        inputs: Features that come in.
        outputs: Features that go out.
        norm: A key of `NORMS`.
    """

    def __init__(self, inputs: int, outputs: int, norm: str) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_convolution(inputs, outputs, 3, norm), nn.ReLU(inplace=True), *_convolution(outputs, outputs, 3, norm)
        )  # fmt: skip
        same = inputs == outputs
        self.around = nn.Identity() if same else nn.Sequential(*_convolution(inputs, outputs, 1, norm))

    def forward(self, features: Tensor) -> Tensor:
        """Return features (N, outputs, H, W) of (N, inputs, H, W)."""
        return F.relu(self.body(features) + self.around(features))


class Gate(nn.Module):
    """An additive attention gate (Oktay et al. 2018, arXiv:1804.03999, equations 1 and 2).

    What a level saw on the way down is multiplied by a number from 0 to 1 a pixel, which rests on it and on what comes
    from below. The latter comes up-sampled, not the attention, so that the gate looks at no pixel but its own.

    Args:
        features: Of the level, F; half of them lie between.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        between = max(1, features // 2)
        self.seen = nn.Conv2d(features, between, 1, bias=False)
        self.below = nn.Conv2d(features, between, 1)
        self.attention = nn.Conv2d(between, 1, 1)

    def forward(self, seen: Tensor, below: Tensor) -> Tensor:
        """Return what is let through, (N, F, H, W), of what was seen and what comes from below, (N, F, H, W) both."""
        return seen * torch.sigmoid(self.attention(F.relu(self.seen(seen) + self.below(below))))


class UNet(Network):
    """A U-Net from raw pixels to logits, for images of any size.

    Args:
        channels: C, of the image.
        classes: K, of the mask.
        width: Features of the first level; each further level has twice as many.
        levels: Resolutions, the first included.
        norm: A key of `NORMS`, between each 3x3 convolution and its ReLU.
        max_width: The most features of any level; None for no limit.
        residual: Whether each pair of convolutions is a `Residual` block.
        attention: Whether a `Gate` stands before each join.
        upsampling: A key of `UPSAMPLINGS`.
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
        max_width: int | None = None,
        residual: bool = False,
        attention: bool = False,
        upsampling: str = "transposed",
        deep_supervision: bool = False,
    ) -> None:
        super().__init__(channels)
        self.levels, self.factor = levels, int(2 ** (levels - 1))
        self._norm, self._upsampling = norm, upsampling
        widths = [min(width * 2**level, max_width or math.inf) for level in range(levels)]
        steps = list(pairwise(widths))  # (shallow, deep), from the top down
        block = Residual if residual else _two_convolutions
        self.pool = nn.MaxPool2d(2)
        self.down = nn.ModuleList(
            block(shallow, deep, norm) for shallow, deep in [(channels, widths[0]), *steps]
        )
        # Places where what goes over to the way up can be seen and changed (`features`), and the way down left as it is.
        self.over = nn.ModuleList(nn.Identity() for _ in widths)
        self.enlarge = nn.ModuleList(UPSAMPLINGS[upsampling](deep, shallow) for shallow, deep in steps[::-1])
        self.up = nn.ModuleList(block(2 * shallow, shallow, norm) for shallow, _ in steps[::-1])
        self.head = nn.Conv2d(widths[0], classes, 1)
        # From level 1 down; the last one made would be of the coarsest level of the way up.
        deep = widths[1 : levels - 2] if deep_supervision else []
        self.deep_heads = nn.ModuleList(nn.Conv2d(features, classes, 1) for features in deep)
        self.gates = nn.ModuleList(Gate(shallow) for shallow, _ in steps[::-1] if attention)
        self.apply(initialize)
        if residual and norm == "none":
            self._share_sums()

    @torch.no_grad()
    def _share_sums(self) -> None:
        """Let the two ways of a residual block give half of the variance each, where no norm sees to it."""
        for block in self.modules():
            if isinstance(block, Residual):
                for way in (block.body, block.around):
                    if isinstance(way, nn.Sequential):
                        way[-1].weight *= 0.5**0.5

    @property
    def receptive_field(self) -> int:
        """The side, in pixels, of the square of input that decides one pixel of output, on average."""
        return receptive_field(self.levels, self._upsampling)

    @property
    def stages(self) -> list[nn.Module]:
        """What goes over to the way up, a level each; see `Network`."""
        return [*self.over]

    @cached_property
    def halo(self) -> int | None:
        """The pixels beyond an aligned zone that decide its output; None where all of a tile does, by its norms."""
        return None if self._norm in _OF_ALL else halo(self.levels, self._upsampling)

    def decide(self, features: Tensor) -> Tensor | list[Tensor]:
        """Return the logits of normalized pixels; see `Network`."""
        features = self.down[0](features)
        skips = []
        for down, over in zip(self.down[1:], self.over, strict=False):
            skips.append(over(features))
            features = down(self.pool(features))
        features = self.over[-1](features)
        heads = [self.head, *self.deep_heads] if self.training else [self.head]
        wanted = [features]  # of the finest levels so far, the finest first
        for place, (enlarge, up) in enumerate(zip(self.enlarge, self.up, strict=True)):
            seen, below = skips.pop(), enlarge(features)
            if self.gates:
                seen = self.gates[place](seen, below)
            features = up(torch.cat([seen, below], dim=1))
            wanted = [features, *wanted][: len(heads)]
        logits = [head(seen) for head, seen in zip(heads, wanted, strict=True)]
        return logits if len(heads) > 1 else logits[0]
