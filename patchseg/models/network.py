"""What every network has in common: raw pixels in, logits of the same size out, normalization and padding inside."""

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from patchseg.models.reach import halo


class Network(nn.Module):
    """A network from raw pixels to logits, for images of any size.

    Subclasses set `factor` and implement `decide`; their encoder, if they have one, is called `encoder`.

    Args:
        channels: C, of the image.

    Attributes:
        factor: The multiple to which height and width are padded inside.
        least: The height and width to which smaller images are padded inside.
        joins: Whether the way up takes the features of every stage, not of the last alone.
    """

    factor: int
    least: int = 1
    joins: bool = True
    idle = False  # whether it may have parameters that no output depends on

    # Registered buffers, the normalization of the training set: (C,) float32.
    mean: Tensor
    std: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))

    def decide(self, features: Tensor) -> Tensor | list[Tensor]:
        """Return the logits of normalized pixels (N, C, H, W), whose sides are multiples of `factor`.

        Returns:
            (N, K, H, W). In training also a list: these, then coarser ones, the l-th (N, K, H / 2**l, W / 2**l).
        """
        raise NotImplementedError

    @property
    def stages(self) -> list[nn.Module]:
        """The modules whose outputs are the features of the way down, the finest first; see `features.stages_of`."""
        return []

    @cached_property
    def halo(self) -> int | None:
        """The pixels beyond an aligned zone that decide its output; None where all of a tile does.

        It is found by trying (`reach.halo`), in evaluation mode, and kept.
        """
        return halo(self)

    def set_normalization(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Set what raw pixels are normalized with: the training set's mean and standard deviation per channel.

        Args:
            mean: (C,) means.
            std: (C,) standard deviations; 0, a channel that never changes, is taken as 1.
        """
        spread = torch.as_tensor(std, dtype=torch.float32)
        # view_as, since copy_ alone would spread one number over all channels.
        self.mean.copy_(torch.as_tensor(mean, dtype=torch.float32).view_as(self.mean))
        self.std.copy_(torch.where(spread > 0, spread, 1.0).view_as(self.std))

    def forward(self, pixels: Tensor) -> Tensor | list[Tensor]:
        """Return the logits of raw pixels.

        Args:
            pixels: (N, C, H, W) of any real dtype, on the scale of the image files.

        Returns:
            (N, K, H, W) float32, or the autocast dtype under autocast. In training with deep supervision a list: these,
            then those of the coarser levels, (N, K, ceil(H / 2**level), ceil(W / 2**level)).
        """
        height, width = pixels.shape[-2:]
        # In float32 under autocast too: bfloat16 could not tell 16-bit grey levels apart.
        features = (pixels.float() - self.mean[:, None, None]) / self.std[:, None, None]
        below, right = (self._padded(side) - side for side in (height, width))
        # torch copies also where nothing is added; a network that is written down as a graph must pad any image.
        if torch.compiler.is_compiling() or torch.onnx.is_in_onnx_export() or below or right:
            features = F.pad(features, (0, right, 0, below))
        decided = self.decide(features)
        if isinstance(decided, Tensor):
            return decided[..., :height, :width]
        return [
            logits[..., : -(-height // 2**level), : -(-width // 2**level)]
            for level, logits in enumerate(decided)
        ]

    def _padded(self, side: int) -> int:
        """Return what a side is padded to; `max` would keep for a graph which of two numbers was larger."""
        # Quotients of numbers above 0 only, since ONNX rounds them towards 0.
        steps = (side + self.factor - 1) // self.factor
        if self.least > self.factor:
            steps = torch.sym_max(steps, self.least // self.factor)  # type: ignore[assignment]
        return steps * self.factor


def encoder_of(network: nn.Module) -> nn.Module | None:
    """Return the part that may be pretrained, held still and learn at a rate of its own; None where there is none."""
    return getattr(network, "encoder", None)


def initialize(module: nn.Module) -> None:
    """Draw weights as He et al. (2015, arXiv:1502.01852), so that the signal keeps its size through ReLUs."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
