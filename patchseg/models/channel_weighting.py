"""The block of Lite-HRNet (arXiv:2104.06403), and the convolutions it is made of.

Conditional channel weighting takes the place of the 1x1 convolutions in a block of ShuffleNet: half of the features is multiplied by
weights that are computed from all branches at the coarsest resolution, then convolved channel by channel, then multiplied by weights
that are computed from the mean over the whole tile.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def dense(inputs: int, outputs: int, kernel: int = 1, step: int = 1) -> list[nn.Module]:
    """Return a convolution over the channels and its norm."""
    convolution = nn.Conv2d(inputs, outputs, kernel, step, kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(outputs)]


def depthwise(features: int, step: int = 1) -> list[nn.Module]:
    """Return a 3x3 convolution channel by channel and its norm."""
    convolution = nn.Conv2d(features, features, 3, step, 1, groups=features, bias=False)
    return [convolution, nn.BatchNorm2d(features)]


def separable(inputs: int, outputs: int, step: int = 1, *, activated: bool = True) -> list[nn.Module]:
    """Return a 3x3 convolution channel by channel and one over the channels, with their norms."""
    end: list[nn.Module] = [nn.ReLU(inplace=True)] if activated else []
    return [*depthwise(inputs, step), *dense(inputs, outputs), *end]


def shuffled(first: Tensor, second: Tensor) -> Tensor:
    """Return the features of two equal halves in turn, in the order of channels last."""
    halves = [half.permute(0, 2, 3, 1) for half in (first, second)]
    return torch.stack(halves, dim=-1).flatten(-2).permute(0, 3, 1, 2)


def _each(layer: nn.Linear, numbers: Tensor) -> Tensor:
    """Apply a linear layer to (N, C, 1), tile by tile: one product for all would round by a tile's place in the batch."""
    weights = layer.weight.expand(numbers.shape[0], -1, -1)
    return torch.bmm(weights, numbers) + layer.bias[:, None]


def _sigmoid(numbers: Tensor) -> Tensor:
    """Return the sigmoid, on the CPU by way of float64: in float32 its last bit depends on a tile's place in the batch."""
    if numbers.device.type != "cpu" or torch.compiler.is_compiling() or torch.onnx.is_in_onnx_export():
        return numbers.sigmoid()
    return numbers.double().sigmoid().to(numbers.dtype)


class Gate(nn.Module):
    """Multiplies features by weights from their means over the whole tile, the paper's spatial weighting."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.narrow = nn.Linear(features, features // 4)
        self.widen = nn.Linear(features // 4, features)

    def forward(self, features: Tensor) -> Tensor:
        """Return features of the same shape."""
        numbers = features.mean(dim=(2, 3), keepdim=True).flatten(2)  # (N, C, 1)
        numbers = _each(self.narrow, numbers).relu()
        weights = _sigmoid(_each(self.widen, numbers))[..., None]
        return features * weights.to(features.dtype)


class Weighting(nn.Module):
    """A block of conditional channel weighting, over all branches (section 3.2).

    Args:
        branches: Features of each branch.
        reduction: By which the weights over resolutions are computed from fewer numbers; those from means take a quarter.
    """

    def __init__(self, branches: tuple[int, ...], reduction: int) -> None:
        super().__init__()
        self._halves = [features // 2 for features in branches]
        total = sum(self._halves)
        narrow = total // reduction
        self.across = nn.Sequential(*dense(total, narrow), nn.ReLU(inplace=True), *dense(narrow, total))
        self.depthwise = nn.ModuleList(nn.Sequential(*depthwise(half)) for half in self._halves)
        self.within = nn.ModuleList(Gate(half) for half in self._halves)

    def forward(self, branches: list[Tensor]) -> list[Tensor]:
        """Return features of the same shapes."""
        kept, turned = zip(*(features.chunk(2, dim=1) for features in branches), strict=True)
        scales = [2**level for level in reversed(range(len(turned)))]  # of each branch to the coarsest
        pooled = [F.avg_pool2d(half, scale) for half, scale in zip(turned, scales, strict=True)]
        weights = torch.split(_sigmoid(self.across(torch.cat(pooled, dim=1))), self._halves, dim=1)
        outputs = []
        for place, (first, half, weight) in enumerate(zip(kept, turned, weights, strict=True)):
            spread = F.interpolate(weight, scale_factor=float(scales[place]), mode="nearest")
            convolved = self.depthwise[place](half * spread)
            outputs.append(shuffled(first, self.within[place](convolved)))
        return outputs
