"""Lite-HRNet of Yu, Xiao, Gao, Yuan, Zhang, Sang and Wang (2021, arXiv:2104.06403): small, and never leaves its finest resolution.

A stem halves the image once to three times. Each stage then adds a branch at half the resolution of the last one, and all branches go on
side by side and are fused again and again:

    pixels ─ stem ─┬─ 1/4 ─────┬────────────┬── ...      stage of two branches, of three, of four
                   └─ 1/8 ─────┼────────────┼── ...
                               └─ 1/16 ─────┼── ...
                                            └─ 1/32

The blocks in the branches are those of `channel_weighting`. They compute weights from the mean over a tile, so every pixel sees all of it.

The 18 is that of the paper (table 1); the s and the x have the stem, branches, modules and reductions that OpenVINO Training Extensions
published as Lite-HRNet-s-mod2 and Lite-HRNet-x-mod3. What these leave open is taken here so: norms follow all convolutions; both halves of the
stem's shuffle block halve the resolution; the third halving of the s is one more 3x3 convolution in the stem. The head is ours,
after the outline of the authors' public one: from the coarsest branch to the finest a separable convolution, doubled and added to the next,
then a 1x1 convolution whose logits are enlarged. Pretrained weights of others do not fit.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from patchseg.models.channel_weighting import Weighting, dense, separable, shuffled
from patchseg.models.network import Network, initialize


@dataclass(frozen=True)
class Size:
    """What the sizes of Lite-HRNet differ in.

    Attributes:
        stem: Features of the stem.
        halvings: How often the stem halves the resolution.
        branches: Features of each branch of the last stage, the finest first; earlier stages lack the last ones.
        modules: Modules of each stage, of two blocks and a fusion each.
        reductions: By which the weights of each stage are computed from fewer numbers.
    """

    stem: int
    halvings: int
    branches: tuple[int, ...]
    modules: tuple[int, ...]
    reductions: tuple[int, ...]


S = Size(32, 3, (60, 120, 240), (4, 4), (8, 8))
M18 = Size(32, 2, (40, 80, 160, 320), (2, 4, 2), (8, 8, 8))  # table 1
X = Size(60, 1, (18, 60, 80, 160, 320), (2, 4, 4, 2), (2, 4, 8, 8))


class Shuffle(nn.Module):
    """The shuffle block of ShuffleNet V2: one half of the features is convolved, and both are mixed.

    With a step of 2 the other half is, too, by one separable convolution.
    """

    def __init__(self, features: int, step: int) -> None:
        super().__init__()
        half = features // 2
        self.convolved = nn.Sequential(
            *dense(half, features), nn.ReLU(inplace=True), *separable(features, half, step)
        )
        self.other = nn.Sequential(*(separable(half, half, step) if step > 1 else []))

    def forward(self, features: Tensor) -> Tensor:
        """Return as many features at the resolution divided by the step."""
        first, second = features.chunk(2, dim=1)
        return shuffled(self.other(first), self.convolved(second))


class Fusion(nn.Module):
    """Adds to each branch all others, brought to its resolution and number of features, as in HRNet."""

    def __init__(self, branches: tuple[int, ...]) -> None:
        super().__init__()
        self._count = len(branches)
        self.paths = nn.ModuleList(
            _path(branches, source, target)
            for target in range(len(branches))
            for source in range(len(branches))
        )

    def forward(self, branches: list[Tensor]) -> list[Tensor]:
        """Return features of the same shapes."""
        fused = []
        for first in range(0, len(self.paths), self._count):  # of the paths to one target
            paths = self.paths[first : first + self._count]
            total, *others = [path(features) for path, features in zip(paths, branches, strict=True)]
            for other in others:
                total = total + other
            fused.append(F.relu(total))
        return fused


def _path(branches: tuple[int, ...], source: int, target: int) -> nn.Sequential:
    """Return what brings the features of one branch to another: up at once, down in steps of two."""
    if source > target:
        enlarge = nn.Upsample(scale_factor=float(2 ** (source - target)), mode="nearest")
        return nn.Sequential(*dense(branches[source], branches[target]), enlarge)
    steps: list[nn.Module] = []
    for last in range(source + 1, target + 1):
        ends = last == target
        outputs = branches[target if ends else source]
        steps += separable(branches[source], outputs, 2, activated=not ends)
    return nn.Sequential(*steps)


class Stage(nn.Module):
    """A stage: one more branch, and modules of two blocks and a fusion.

    Args:
        before: Features of each branch of the stage before.
        branches: Features of each branch of this one.
        modules: How many modules.
        reduction: Of the weights over resolutions.
    """

    def __init__(
        self, before: tuple[int, ...], branches: tuple[int, ...], modules: int, reduction: int
    ) -> None:
        super().__init__()
        self.enter = nn.ModuleList(
            nn.Sequential(*(separable(inputs, outputs) if inputs != outputs else []))
            for inputs, outputs in zip(before, branches, strict=False)
        )
        self.added = nn.Sequential(*separable(before[-1], branches[-1], 2))
        self.blocks = nn.ModuleList(
            block
            for _ in range(modules)
            for block in (Weighting(branches, reduction), Weighting(branches, reduction), Fusion(branches))
        )

    def forward(self, before: list[Tensor]) -> list[Tensor]:
        """Return the features of the branches, one more than there were."""
        branches = [enter(features) for enter, features in zip(self.enter, before, strict=True)]
        branches.append(self.added(before[-1]))
        for block in self.blocks:
            branches = block(branches)
        return branches


class LiteHRNet(Network):
    """Lite-HRNet from raw pixels to logits, for images of any size.

    Args:
        channels: C, of the image.
        classes: K, of the mask.
        size: What the sizes differ in.

    Attributes:
        encoder: Stem and stages: pixels to a list of the features of the branches, the finest first.
    """

    def __init__(self, *, channels: int, classes: int, size: Size = M18) -> None:
        super().__init__(channels)
        branches = size.branches
        self.factor = 2 ** (size.halvings + len(branches) - 1)
        self._scale = 2**size.halvings
        self.encoder = Encoder(channels, size)
        self.ascend = nn.ModuleList(
            nn.Sequential(*separable(coarse, fine)) for fine, coarse in pairwise(branches)
        )
        self.head = nn.Sequential(*separable(branches[0], branches[0]), nn.Conv2d(branches[0], classes, 1))
        self.apply(initialize)

    @property
    def stages(self) -> list[nn.Module]:
        """The encoder, which gives the features of all branches; see `Network`."""
        return [self.encoder]

    @cached_property
    def halo(self) -> int | None:
        """None: the means over a tile have a part in all of its pixels."""
        return None

    def decide(self, features: Tensor) -> Tensor:
        """Return the logits of normalized pixels; see `Network`."""
        *branches, features = self.encoder(features)
        for ascend, finer in zip(reversed(self.ascend), reversed(branches), strict=True):
            features = finer + _enlarged(ascend(features), 2)
        return _enlarged(self.head(features), self._scale)


def _enlarged(features: Tensor, scale: int) -> Tensor:
    return F.interpolate(features, scale_factor=float(scale), mode="bilinear", align_corners=False)


class Encoder(nn.Module):
    """Stem and stages of Lite-HRNet."""

    def __init__(self, channels: int, size: Size) -> None:
        super().__init__()
        widths = [channels] + [size.stem] * max(1, size.halvings - 1)
        self.stem = nn.Sequential(
            *(
                layer
                for inputs, outputs in pairwise(widths)
                for layer in (*dense(inputs, outputs, 3, 2), nn.ReLU(inplace=True))
            ),
            Shuffle(size.stem, 1 if size.halvings == 1 else 2),
        )
        stages = [size.branches[: 2 + place] for place in range(len(size.modules))]
        self.stages = nn.ModuleList(
            Stage(before, branches, modules, reduction)
            for (before, branches), modules, reduction in zip(
                pairwise([(size.stem,), *stages]), size.modules, size.reductions, strict=True
            )
        )

    def forward(self, features: Tensor) -> list[Tensor]:
        """Return the features of the branches, the finest first."""
        branches = [self.stem(features)]
        for stage in self.stages:
            branches = stage(branches)
        return branches


def lite_hrnet_s(*, channels: int, classes: int) -> LiteHRNet:
    """Return Lite-HRNet-s: three branches, the finest at an eighth of the resolution."""
    return LiteHRNet(channels=channels, classes=classes, size=S)


def lite_hrnet_18(*, channels: int, classes: int) -> LiteHRNet:
    """Return Lite-HRNet-18, that of the paper: four branches, the finest at a quarter."""
    return LiteHRNet(channels=channels, classes=classes, size=M18)


def lite_hrnet_x(*, channels: int, classes: int) -> LiteHRNet:
    """Return Lite-HRNet-x: five branches, the finest at half of the resolution."""
    return LiteHRNet(channels=channels, classes=classes, size=X)
