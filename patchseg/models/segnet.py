"""SegNet of Badrinarayanan, Kendall and Cipolla (2017, arXiv:1511.00561): VGG16 and its mirror image.

The encoder is the 13 convolutions of VGG16, each with a norm and a ReLU, in five stages that each end in a pooling; the decoder goes
the same way back, and instead of joining features it puts them where the largest ones were on the way down:

    stage        1       2       3        4        5
    encoder    64 64  128 128  256 x 3  512 x 3  512 x 3      each then pooled
    decoder    64 K   128 64   256 256 128   512 512 256   512 x 3      each unpooled before

The last convolution gives the logits, without norm and ReLU. The paper names no ReLU in the decoder of the large network; its public
definitions have one after each norm, and so has this.

Weights of VGG16 with batch norm, as trained on ImageNet, fit the encoder of width 64 in order, convolution by convolution and norm by
norm. These convolutions have no bias, since a norm subtracts it; a bias is to be subtracted from the running mean of its norm. Of the first
convolution, which sees RGB, the sum over the colours serves gray images.
"""

from functools import cached_property
from itertools import pairwise

from torch import Tensor, nn

from patchseg.models.network import Network, initialize
from patchseg.models.unpooling import pool, unpool

_STAGES = ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3))  # (features in widths, convolutions)


def _convolution(inputs: int, outputs: int) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    ]


def _stage(features: list[int]) -> nn.Sequential:
    """Return convolutions from each number of features to the next."""
    return nn.Sequential(*(layer for step in pairwise(features) for layer in _convolution(*step)))


class SegNet(Network):
    """SegNet from raw pixels to logits, for images of any size.

    Args:
        channels: C, of the image.
        classes: K, of the mask.
        width: Features of the first stage; the further ones have 2, 4, 8 and 8 times as many. The paper's is 64.

    Attributes:
        encoder: The five stages of VGG16, without their poolings.
    """

    factor = 32
    joins = False

    def __init__(self, *, channels: int, classes: int, width: int = 64) -> None:
        super().__init__(channels)
        features = [width * widths for widths, _ in _STAGES]
        stages = [
            (inputs, outputs, convolutions)
            for (inputs, outputs), (_, convolutions) in zip(
                pairwise([channels, *features]), _STAGES, strict=True
            )
        ]
        self.encoder = nn.ModuleList(
            _stage([inputs] + [outputs] * convolutions) for inputs, outputs, convolutions in stages
        )
        # The mirror image, but for the last convolution of the first stage, which is the head.
        self.decoder = nn.ModuleList(
            _stage([outputs] * convolutions + ([inputs] if place else []))
            for place, (inputs, outputs, convolutions) in enumerate(stages)
        )
        self.head = nn.Conv2d(width, classes, 3, padding=1)
        self.apply(initialize)

    @property
    def stages(self) -> list[nn.Module]:
        """Those of VGG16, before their poolings, at 1 to 1/16 of the resolution; see `Network`."""
        return [*self.encoder]

    @cached_property
    def halo(self) -> int | None:
        """The pixels beyond an aligned zone that decide its output.

        Its convolutions look 2, 2, 3, 3 and 3 pixels far at the five resolutions, on both ways: 2 (2 + 4 + 12 + 24 + 48) = 180.
        """
        return 192

    def decide(self, features: Tensor) -> Tensor:
        """Return the logits of normalized pixels; see `Network`."""
        places = []
        for stage in self.encoder:
            features, corners = pool(stage(features))
            places.append(corners)
        for stage, corners in zip(reversed(self.decoder), reversed(places), strict=True):
            features = stage(unpool(features, corners))
        logits: Tensor = self.head(features)
        return logits
