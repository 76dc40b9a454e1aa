"""Logits beside the truth, in the form that every loss is made of.

In flow logits and masks, out come log-probabilities and one-hot truth, once for all terms of a sum of losses.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Comparison:
    """Predictions and truth of a batch; 255 is no class, so a pixel to ignore is 0 in all but the first.

    Attributes:
        log_probabilities: (N, K, H, W) of at least float32, contiguous.
        hits: (N, K, H, W), 1 at the true class of a pixel, else 0; contiguous, of the same dtype.
    """

    log_probabilities: Tensor
    hits: Tensor

    @classmethod
    def of(cls, logits: Tensor, truth: Tensor) -> "Comparison":
        """Compare logits with the truth.

        The CPU multiplies and sums contiguous tensors of one dtype twice as fast as booleans and channels that lie
        last.

        Args:
            logits: (N, K, H, W) float.
            truth: (N, H, W) uint8 or int64, 255 = ignore.

        >>> seen = Comparison.of(torch.zeros(1, 2, 1, 3), torch.tensor([[[0, 1, 255]]]))
        >>> seen.hits[0, :, 0]
        tensor([[1., 0., 0.],
                [0., 1., 0.]])
        >>> seen.probabilities[0, :, 0]
        tensor([[0.5000, 0.5000, 0.0000],
                [0.5000, 0.5000, 0.0000]])
        """
        # Sums over a batch overflow or lose digits in the half precisions of autocast.
        precise = logits.to(torch.promote_types(logits.dtype, torch.float32)).contiguous()
        indices = torch.arange(logits.shape[1], dtype=truth.dtype, device=truth.device)
        hits = truth[:, None] == indices[:, None, None]
        return cls(torch.log_softmax(precise, dim=1), hits.to(precise.dtype))

    @cached_property
    def counted(self) -> Tensor:
        """(N, 1, H, W), 1, or 0 at pixels to ignore."""
        return self.hits.sum(dim=1, keepdim=True)

    @cached_property
    def probabilities(self) -> Tensor:
        """(N, K, H, W), which sum to 1, or to 0 at pixels to ignore."""
        return self.log_probabilities.exp() * self.counted


def ratio(part: Tensor, whole: Tensor) -> Tensor:
    """Return part / whole, and the part, which is 0 then, where there is no whole.

    >>> ratio(torch.tensor([3.0, 0.0]), torch.tensor([6.0, 0.0]))
    tensor([0.5000, 0.0000])
    """
    return part / torch.where(whole > 0, whole, 1)
