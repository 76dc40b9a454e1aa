"""ENet of Paszke, Chaurasia, Kim and Culurciello (2016, arXiv:1606.02147): a small network for fast segmentation.

It halves the resolution early, works at an eighth of it with dilated and asymmetric convolutions, and comes back up in two steps that
put features where the largest ones were on the way down. Table 1, for an image of 512 x 512:

    initial          16 x 256 x 256      3x3 convolution of step 2, beside the pooled image
    1.0 to 1.4       64 x 128 x 128      1.0 halves, 1.1 to 1.4 are regular
    2.0 to 2.8      128 x  64 x  64      2.0 halves; then regular, dilated 2, asymmetric 5, dilated 4, regular, dilated 8,
    3.1 to 3.8      128 x  64 x  64      asymmetric 5, dilated 16, and once more the same
    4.0 to 4.2       64 x 128 x 128      4.0 doubles, then regular
    5.0, 5.1         16 x 256 x 256      5.0 doubles, then regular
    full             K  x 512 x 512      transposed convolution

The paper leaves open, and is taken here so: the 16 features of the beginning are 13 filters and three channels of colour; other images
have at least 13 filters and at least 16 features. The norm and PReLU "between all convolutions" also stand after the beginning, between
the two of an asymmetric pair, and, the norm alone, after a branch's last convolution and the projection before an unpooling. All
transposed convolutions are 3x3 of step 2.
"""

from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from patchseg.models.network import Network, initialize
from patchseg.models.unpooling import pool, unpool

_REDUCTION = 4  # by which a bottleneck is narrower than what it gives
_SECTION = (  # (kernel, dilation) of bottlenecks 2.1 to 2.8, and again 3.1 to 3.8
    ((3, 3), 1), ((3, 3), 2), ((5, 1), 1), ((3, 3), 4), ((3, 3), 1), ((3, 3), 8), ((5, 1), 1), ((3, 3), 16),
)  # fmt: skip


def _normed(convolution: nn.Module, features: int) -> list[nn.Module]:
    return [convolution, nn.BatchNorm2d(features), nn.PReLU(features)]


def _branch(
    inputs: int, outputs: int, middle: list[nn.Module], drop: float, *, halves: bool = False
) -> nn.Sequential:
    """Return a reduction, what is `middle`, an expansion and spatial dropout."""
    narrow, step = outputs // _REDUCTION, 2 if halves else 1
    return nn.Sequential(
        *_normed(nn.Conv2d(inputs, narrow, step, stride=step, bias=False), narrow),
        *middle,
        nn.Conv2d(narrow, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.Dropout2d(drop),
    )


def _main(features: int, kernel: tuple[int, int] = (3, 3), dilation: int = 1) -> list[nn.Module]:
    """Return the main convolution of a bottleneck; of an oblong kernel that one and then its transpose."""
    layers: list[nn.Module] = []
    for sides in [kernel] if kernel[0] == kernel[1] else [kernel, kernel[::-1]]:
        around = (dilation * (sides[0] // 2), dilation * (sides[1] // 2))
        layers += _normed(
            nn.Conv2d(features, features, sides, padding=around, dilation=dilation, bias=False), features
        )
    return layers


class Bottleneck(nn.Module):
    """A bottleneck that keeps the resolution: its input, and a branch added to it (figure 2b)."""

    def __init__(
        self, features: int, drop: float, kernel: tuple[int, int] = (3, 3), dilation: int = 1
    ) -> None:
        super().__init__()
        self.branch = _branch(features, features, _main(features // _REDUCTION, kernel, dilation), drop)
        self.activation = nn.PReLU(features)

    def forward(self, features: Tensor) -> Tensor:
        """Return features of the same shape."""
        activated: Tensor = self.activation(features + self.branch(features))
        return activated


class Halving(nn.Module):
    """A bottleneck that halves the resolution: its pooled input with zeros for the further features, and a branch."""

    def __init__(self, inputs: int, outputs: int, drop: float) -> None:
        super().__init__()
        self.branch = _branch(inputs, outputs, _main(outputs // _REDUCTION), drop, halves=True)
        self.activation = nn.PReLU(outputs)
        self._further = outputs - inputs

    def forward(self, features: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return features at half the resolution, and where the largest inputs were (`unpooling.pool`)."""
        pooled, corners = pool(features)
        widened = F.pad(pooled, (0, 0, 0, 0, 0, self._further))
        return self.activation(widened + self.branch(features)), corners


class Doubling(nn.Module):
    """A bottleneck that doubles the resolution: its projected input, unpooled, and a branch."""

    def __init__(self, inputs: int, outputs: int, drop: float) -> None:
        super().__init__()
        narrow = outputs // _REDUCTION
        enlarging = nn.ConvTranspose2d(narrow, narrow, 3, stride=2, padding=1, output_padding=1, bias=False)
        self.branch = _branch(inputs, outputs, _normed(enlarging, narrow), drop)
        self.projection = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.activation = nn.PReLU(outputs)

    def forward(self, features: Tensor, corners: list[Tensor]) -> Tensor:
        """Return features at twice the resolution, the projected ones at `corners`."""
        activated: Tensor = self.activation(
            unpool(self.projection(features), corners) + self.branch(features)
        )
        return activated


class ENet(Network):
    """ENet from raw pixels to logits, for images of any size.

    Args:
        channels: C, of the image.
        classes: K, of the mask.

    Attributes:
        encoder: What stands before the decoder: its beginning and stages 1 to 3.
    """

    factor = 8
    joins = False

    def __init__(self, *, channels: int, classes: int) -> None:
        super().__init__(channels)
        self.encoder = Encoder(channels)
        first = self.encoder.features
        self.up4 = Doubling(128, 64, 0.1)
        self.stage4 = nn.Sequential(Bottleneck(64, 0.1), Bottleneck(64, 0.1))
        self.up5 = Doubling(64, first, 0.1)
        self.stage5 = Bottleneck(first, 0.1)
        self.head = nn.ConvTranspose2d(first, classes, 3, stride=2, padding=1, output_padding=1)
        self.apply(initialize)

    @property
    def stages(self) -> list[nn.Module]:
        """The beginning and stages 1 and 3, at a half, a quarter and an eighth of the resolution; see `Network`."""
        return [self.encoder.joined, self.encoder.stage1, self.encoder.stage3]

    @cached_property
    def halo(self) -> int | None:
        """The pixels beyond an aligned zone that decide its output.

        Stages 2 and 3 look 36 pixels further each at an eighth of the resolution, 576 in all; before them lie 1 pixel of the
        beginning, 4 + 16 of stage 1 and 8 of 2.0, behind them 8 + 8 of stage 4, 4 + 2 of stage 5 and 2 of the head: 629.
        """
        return 632

    def decide(self, features: Tensor) -> Tensor:
        """Return the logits of normalized pixels; see `Network`."""
        features, fine, coarse = self.encoder(features)
        features = self.stage4(self.up4(features, coarse))
        logits: Tensor = self.head(self.stage5(self.up5(features, fine)))
        return logits


class Encoder(nn.Module):
    """The beginning and stages 1 to 3 of ENet.

    Args:
        channels: C, of the image.

    Attributes:
        features: Features of the beginning.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        filters = max(13, 16 - channels)
        self.features = filters + channels
        self.initial = nn.Conv2d(channels, filters, 3, stride=2, padding=1, bias=False)
        self.joined = nn.Sequential(nn.BatchNorm2d(self.features), nn.PReLU(self.features))
        self.down1 = Halving(self.features, 64, 0.01)
        self.stage1 = nn.Sequential(*(Bottleneck(64, 0.01) for _ in range(4)))
        self.down2 = Halving(64, 128, 0.1)
        self.stage2 = nn.Sequential(*(Bottleneck(128, 0.1, *main) for main in _SECTION))
        self.stage3 = nn.Sequential(*(Bottleneck(128, 0.1, *main) for main in _SECTION))

    def forward(self, features: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Return the features at an eighth of the resolution, and where the largest were in 1.0 and in 2.0."""
        joined = torch.cat([self.initial(features), F.max_pool2d(features, 2)], dim=1)
        features, fine = self.down1(self.joined(joined))
        features, coarse = self.down2(self.stage1(features))
        return self.stage3(self.stage2(features)), fine, coarse
