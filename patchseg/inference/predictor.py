"""Raw tiles -> class probabilities: the one place where logits meet softmax."""

import torch
from torch import Tensor, nn

from patchseg import device as devices
from patchseg.models.checkpoint import Checkpoint
from patchseg.parameters import Precision


class Predictor:
    """A network that predicts tiles.

    Args:
        network: Raw pixels (N, C, h, w) to logits (N, K, h, w), in evaluation mode.
        device: Where it runs.
        precision: "bf16" or "fp32".
    """

    def __init__(self, network: nn.Module, device: torch.device, precision: Precision = "fp32") -> None:
        self.device, self._precision = device, precision
        self._network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @classmethod
    def of(cls, checkpoint: Checkpoint, device: torch.device, precision: Precision) -> "Predictor":
        """Build it from a checkpoint."""
        return cls(checkpoint.network(), device, precision)

    @torch.inference_mode()
    def __call__(self, tiles: Tensor) -> Tensor:
        """Return probabilities (N, K, h, w) float32 that sum to 1 over K.

        Args:
            tiles: (N, h, w, C) raw pixels, any dtype, on the CPU.
        """
        # A view of channels-last memory already; the network scales and casts.
        images = tiles.to(self.device, non_blocking=True).permute(0, 3, 1, 2)
        with devices.autocast(self.device, self._precision):
            logits = self._network(images)
        probabilities: Tensor = logits.float().softmax(dim=1)
        return probabilities


def most_probable(probabilities: Tensor) -> Tensor:
    """Return the class of the highest probability, (h, w) uint8; the first of equals.

    A running maximum, which is about ten times faster on the CPU than `argmax` over the first axis.

    >>> most_probable(torch.tensor([[[0.2, 0.5]], [[0.8, 0.5]]]))
    tensor([[1, 0]], dtype=torch.uint8)
    """
    best = probabilities[0].clone()
    classes = torch.zeros(best.shape, dtype=torch.uint8, device=best.device)
    for index in range(1, len(probabilities)):
        higher = probabilities[index] > best
        classes.masked_fill_(higher, index)
        torch.maximum(best, probabilities[index], out=best)
    return classes
