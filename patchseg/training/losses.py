"""What training minimizes: logits and truth in, one number out.

A loss takes logits (N, K, H, W), truth (N, H, W) of class indices (uint8 or int64, 255 for pixels to ignore) and
the weights of the classes, (K,) float or None for equal ones. It returns a scalar of at least float32. A pixel to
ignore enters no sum; a batch of nothing else costs 0 and teaches nothing. Losses are made of the terms in `LOSSES`.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from patchseg.errors import DataError
from patchseg.training.comparison import Comparison, ratio
from patchseg.training.overlap import dice, image_dice, lovasz, tversky
from patchseg.values import loss_terms

Term = Callable[[Comparison, Tensor | None], Tensor]
Loss = Callable[[Tensor, Tensor, Tensor | None], Tensor]
SupervisedLoss = Callable[[Tensor | list[Tensor], Tensor, Tensor | None], Tensor]


def cross_entropy(seen: Comparison, class_weights: Tensor | None) -> Tensor:
    """Return the mean of -log p(truth) over pixels, each weighted by the weight of its true class.

    Equal to `torch.nn.functional.cross_entropy`, but 0 instead of NaN where no pixel counts, and
    deterministic on CUDA, where PyTorch's refuses to be.

    >>> cross_entropy(Comparison.of(torch.zeros(1, 4, 2, 2), torch.zeros(1, 2, 2)), None)  # log 4
    tensor(1.3863)
    """
    weighted_hits = _weighted_hits(seen, class_weights)
    return ratio(-(seen.log_probabilities * weighted_hits).sum(), weighted_hits.sum())


def focal(seen: Comparison, class_weights: Tensor | None) -> Tensor:
    """Return the mean of -(1 - p)^2 log p, p = p(truth), over pixels, each weighted by the weight of its true class.

    Lin et al. (2017, arXiv:1708.02002) with gamma = 2; the weights are their alpha. What is right already hardly
    counts, so the few pixels that are not decide.

    >>> focal(Comparison.of(torch.zeros(1, 4, 2, 2), torch.zeros(1, 2, 2)), None)  # (3/4)^2 log 4
    tensor(0.7798)
    """
    weights = _weighted_hits(seen, class_weights).sum(dim=1)  # (N, H, W)
    log_likelihood = (seen.log_probabilities * seen.hits).sum(dim=1)
    wrong = -torch.expm1(log_likelihood)  # 1 - p
    return ratio(-(weights * wrong * wrong * log_likelihood).sum(), weights.sum())


LOSSES: dict[str, Term] = {
    "ce": cross_entropy,
    "dice": dice,
    "image_dice": image_dice,
    "focal": focal,
    "tversky": tversky,
    "lovasz": lovasz,
}


@cache
def loss_of(spec: str) -> Loss:
    """Return the weighted sum of losses that a text such as "0.5*ce+focal" names.

    Args:
        spec: Names of `LOSSES` and their weights.

    Raises:
        ValueError: The text is no such sum.

    >>> logits, truth = torch.zeros(1, 2, 1, 4), torch.tensor([[[0, 1, 1, 1]]])
    >>> loss_of("ce+dice")(logits, truth, None)  # log 2 + 0.4
    tensor(1.0931)
    """
    terms = [(weight, LOSSES[name]) for weight, name in loss_terms(spec, tuple(LOSSES))]

    def weighted_sum(logits: Tensor, truth: Tensor, class_weights: Tensor | None) -> Tensor:
        seen = Comparison.of(logits, truth)
        first, *others = [weight * term(seen, class_weights) for weight, term in terms]
        return sum(others, first)

    return weighted_sum


def supervised(loss: Loss) -> SupervisedLoss:
    """Return a loss that also takes the logits of several levels, finest first: deep supervision.

    Level i has 1 / 2**i of the resolution; its truth is every 2**i-th row and column, its weight falls as 1 / 2**i,
    and the weights sum to 1, as in nnU-Net (Isensee et al. 2021).

    >>> levels = [torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 1, 1)]
    >>> supervised(loss_of("ce"))(levels, torch.zeros(1, 2, 2), None)  # log 2 at both
    tensor(0.6931)
    """

    def over_levels(logits: Tensor | list[Tensor], truth: Tensor, class_weights: Tensor | None) -> Tensor:
        if isinstance(logits, Tensor):
            return loss(logits, truth, class_weights)
        shares = [2.0**-level for level in range(len(logits))]
        first, *others = [
            share / sum(shares) * loss(each, truth[:, :: 2**level, :: 2**level], class_weights)
            for level, (share, each) in enumerate(zip(shares, logits, strict=True))
        ]
        return sum(others, first)

    return over_levels


def balanced_weights(counts: npt.NDArray[np.integer]) -> list[float]:
    """Return weights that let rare classes count more: 1 / ln(1.02 + share), as ENet's (Paszke 2016, arXiv:1606.02147).

    Weights of the classes that have pixels average 1, so that the learning rate keeps its meaning. A class without
    any has weight 0: there is nothing to learn it from, and Dice should not average over it.

    Args:
        counts: (K,) pixels of each class.

    Raises:
        DataError: No class has any pixel.

    >>> [round(weight, 3) for weight in balanced_weights(np.array([90, 10, 0]))]
    [0.296, 1.704, 0.0]
    """
    if counts.sum() == 0:
        raise DataError(
            "the training masks hold only ignored pixels (255), but balanced class weights need at least one "
            "labelled pixel; label some, or give train.class_weights as numbers"
        )
    weights = np.where(counts > 0, 1 / np.log(1.02 + counts / counts.sum()), 0)
    return [float(weight) for weight in weights / weights[counts > 0].mean()]


def _weighted_hits(seen: Comparison, class_weights: Tensor | None) -> Tensor:
    return seen.hits if class_weights is None else seen.hits * class_weights[:, None, None]
