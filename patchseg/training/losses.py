"""What training minimizes: logits and truth in, one number out.

Every loss takes logits (N, K, H, W), truth (N, H, W) of class indices (uint8 or int64, 255 for pixels to ignore) and
the weights of the classes, (K,) float or None for equal ones. It returns a scalar of at least float32. A pixel to
ignore enters no sum; a batch of nothing else costs 0 and teaches nothing.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from patchseg.errors import DataError

Loss = Callable[[Tensor, Tensor, Tensor | None], Tensor]

# As nnU-Net: it decides nothing where a class covers a pixel, and makes 0 / 0 a perfect score.
SMOOTH = 1e-5


def cross_entropy(logits: Tensor, truth: Tensor, class_weights: Tensor | None) -> Tensor:
    """Return the mean of -log p(truth) over pixels, each weighted by the weight of its true class.

    Equal to `torch.nn.functional.cross_entropy`, but 0 instead of NaN where no pixel counts, and
    deterministic on CUDA, where PyTorch's refuses to be.

    Args:
        logits: (N, K, H, W) float.
        truth: (N, H, W) uint8 or int64, 255 = ignore.
        class_weights: (K,) float, or None for ones.

    Returns:
        A scalar.

    >>> cross_entropy(torch.zeros(1, 4, 2, 2), torch.zeros(1, 2, 2, dtype=torch.uint8), None)  # log 4
    tensor(1.3863)
    """
    return _cross_entropy(*_compared(logits, truth), class_weights)


def dice(logits: Tensor, truth: Tensor, class_weights: Tensor | None) -> Tensor:
    """Return 1 - soft Dice, the mean over all classes but the background (class 0), by their weights.

    Milletari et al. (2016, arXiv:1606.04797) with the sums over the whole batch, as in nnU-Net (Isensee et
    al. 2021): for class k, 2 sum(p_k t_k) / (sum(p_k) + sum(t_k)). A class that is neither there nor
    predicted costs nothing.

    Args:
        logits: (N, K, H, W) float, K >= 2.
        truth: (N, H, W) uint8 or int64, 255 = ignore.
        class_weights: (K,) float, or None for ones; the background's is not used.

    Returns:
        A scalar.

    >>> truth = torch.tensor([[[0, 1, 1, 1]]])
    >>> dice(torch.zeros(1, 2, 1, 4), truth, None)  # p = 1/2 everywhere: 1 - 2 * 1.5 / (2 + 3)
    tensor(0.4000)
    """
    return _dice(*_compared(logits, truth), class_weights)


def both(logits: Tensor, truth: Tensor, class_weights: Tensor | None) -> Tensor:
    """Return cross-entropy plus Dice: the one has smooth gradients, the other minds small classes.

    >>> both(torch.zeros(1, 2, 1, 4), torch.tensor([[[0, 1, 1, 1]]]), None)  # log 2 + 0.4
    tensor(1.0931)
    """
    log_probabilities, hits = _compared(logits, truth)
    return _cross_entropy(log_probabilities, hits, class_weights) + _dice(
        log_probabilities, hits, class_weights
    )


LOSSES: dict[str, Loss] = {"ce": cross_entropy, "dice": dice, "ce+dice": both}


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


def _cross_entropy(log_probabilities: Tensor, hits: Tensor, class_weights: Tensor | None) -> Tensor:
    weighted_hits = hits if class_weights is None else hits * class_weights[:, None, None]
    return _ratio(-(log_probabilities * weighted_hits).sum(), weighted_hits.sum())


def _dice(log_probabilities: Tensor, hits: Tensor, class_weights: Tensor | None) -> Tensor:
    counted = hits.sum(dim=1, keepdim=True)  # (N, 1, H, W), 1 or 0
    probabilities = log_probabilities.exp() * counted
    overlap = (probabilities * hits).sum(dim=(0, 2, 3))  # (K,)
    total = probabilities.sum(dim=(0, 2, 3)) + hits.sum(dim=(0, 2, 3))
    cost = 1 - (2 * overlap + SMOOTH) / (total + SMOOTH)
    weights = torch.ones_like(cost) if class_weights is None else class_weights
    return _ratio((cost * weights)[1:].sum(), weights[1:].sum())


def _compared(logits: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Return log-probabilities and one-hot truth, both (N, K, H, W) of one dtype and contiguous.

    The CPU multiplies and sums such tensors twice as fast as booleans and channels that lie last. 255 is no
    class, so a pixel to ignore is 0 throughout.
    """
    # Sums over a batch overflow or lose digits in the half precisions of autocast.
    precise = logits.to(torch.promote_types(logits.dtype, torch.float32)).contiguous()
    indices = torch.arange(logits.shape[1], dtype=truth.dtype, device=truth.device)
    hits = truth[:, None] == indices[:, None, None]
    return torch.log_softmax(precise, dim=1), hits.to(precise.dtype)


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    return part / torch.where(whole > 0, whole, 1)
