"""The losses that compare regions: the Dice family, and Lovász's surrogate of the IoU.

Each takes a `Comparison` and the weights of the classes, (K,) float or None for equal ones, and returns a scalar,
the mean over classes by these weights. None uses a kernel that CUDA runs in another order each time.
"""

import numpy as np
import torch
from torch import Tensor

from patchseg.training.comparison import Comparison, ratio

# As nnU-Net: it decides nothing where a class covers a pixel, and makes 0 / 0 a perfect score.
SMOOTH = 1e-5
# Salehi et al. (2017): what is missed costs more than what is imagined.
FALSE_POSITIVES = 0.3

_BATCH, _IMAGE = (0, 2, 3), (2, 3)


def dice(seen: Comparison, class_weights: Tensor | None) -> Tensor:
    """Return 1 - soft Dice, the mean over all classes but the background (class 0), by their weights.

    Milletari et al. (2016, arXiv:1606.04797) with the sums over the whole batch, as in nnU-Net (Isensee et
    al. 2021): for class k, 2 sum(p_k t_k) / (sum(p_k) + sum(t_k)). A class that is neither there nor
    predicted costs nothing.

    >>> seen = Comparison.of(torch.zeros(1, 2, 1, 4), torch.tensor([[[0, 1, 1, 1]]]))
    >>> dice(seen, None)  # p = 1/2 everywhere: 1 - 2 * 1.5 / (2 + 3)
    tensor(0.4000)
    """
    return _foreground_mean(_distance(seen, _BATCH), class_weights)


def image_dice(seen: Comparison, class_weights: Tensor | None) -> Tensor:
    """Return the mean over images of `dice` of each alone: small objects of one are not outvoted by large ones of another.

    An image with nothing but pixels to ignore does not count. A class that an image lacks costs it 1, unless next
    to nothing of it is predicted.

    >>> seen = Comparison.of(torch.zeros(2, 2, 1, 4), torch.tensor([[[0, 1, 1, 1]], [[1, 1, 1, 1]]]))
    >>> image_dice(seen, None)  # the mean of 0.4 and 1 - 2 * 2 / (2 + 4)
    tensor(0.3667)
    """
    costs = _foreground_mean(_distance(seen, _IMAGE), class_weights)  # (N,), 0 where nothing counts
    return ratio(costs.sum(), seen.counted.amax(dim=(1, 2, 3)).sum())


def tversky(seen: Comparison, class_weights: Tensor | None) -> Tensor:
    """Return 1 - Tversky's index, the mean over all classes but the background (class 0), by their weights.

    Salehi et al. (2017, arXiv:1706.05721) with the sums over the whole batch: for class k, with TP = sum(p_k t_k),
    TP / (TP + 0.3 FP + 0.7 FN). It is `dice` but for the 0.3 and 0.7, which there are 0.5.

    >>> seen = Comparison.of(torch.zeros(1, 2, 1, 4), torch.tensor([[[0, 1, 1, 1]]]))
    >>> tversky(seen, None)  # p = 1/2 everywhere: 1 - 1.5 / (1.5 + 0.3 * 0.5 + 0.7 * 1.5)
    tensor(0.4444)
    """
    return _foreground_mean(_distance(seen, _BATCH, FALSE_POSITIVES), class_weights)


def lovasz(seen: Comparison, class_weights: Tensor | None) -> Tensor:
    """Return the Lovász-Softmax loss, the mean over the classes of the batch, the background among them.

    Berman et al. (2018, arXiv:1705.08790), with the sums over the whole batch: for each class that the truth has, the
    pixels are sorted by their error |t - p|, and each error is weighed by how much 1 - IoU grows when that pixel is
    wrong as well as all before it. Where every p is 0 or 1 this is 1 - IoU.

    >>> seen = Comparison.of(torch.tensor([[[[9.0, -9.0, 9.0]], [[-9.0, 9.0, -9.0]]]]), torch.tensor([[[0, 1, 1]]]))
    >>> lovasz(seen, None)  # the IoU of both classes is 1/2
    tensor(0.5000)
    """
    hits, probabilities = (part.transpose(0, 1).flatten(1) for part in (seen.hits, seen.probabilities))
    errors = (hits - probabilities).abs()  # (K, N H W), 0 at pixels to ignore
    # Between two changes of the order the loss is linear in the errors, so autograd need not see the sorting.
    costs = (errors * _slopes(errors.detach(), hits)).sum(dim=1)
    present = hits.amax(dim=1)
    weights = present if class_weights is None else present * class_weights
    return ratio((costs * weights).sum(), weights.sum())


def _distance(seen: Comparison, dims: tuple[int, ...], false_positives: float = 0.5) -> Tensor:
    """Return 1 - TP / (TP + a FP + (1 - a) FN), which is 1 - TP / (a sum(p) + (1 - a) sum(t)), over some dimensions."""
    overlap = (seen.probabilities * seen.hits).sum(dim=dims)
    predicted, true = seen.probabilities.sum(dim=dims), seen.hits.sum(dim=dims)
    total = 2 * false_positives * predicted + 2 * (1 - false_positives) * true
    return 1 - (2 * overlap + SMOOTH) / (total + SMOOTH)


def _foreground_mean(costs: Tensor, class_weights: Tensor | None) -> Tensor:
    """Return the weighted mean of costs (..., K) over all classes but the first."""
    weights = torch.ones_like(costs) if class_weights is None else class_weights.expand_as(costs)
    return ratio((costs * weights)[..., 1:].sum(dim=-1), weights[..., 1:].sum(dim=-1))


def _slopes(errors: Tensor, hits: Tensor) -> Tensor:
    """Return by how much 1 - IoU grows when a pixel is wrong as well as all with larger errors.

    With I pixels of the class still right and U in the union, (U - I) / U becomes (U - I + 1) / U when one
    of the class goes wrong, and (U + 1 - I) / (U + 1) when another is taken for it: steps of 1 / U and
    I / (U (U + 1)). The differences of IoUs, as published, are off by a tenth in float32 at four million pixels.

    Args:
        errors: (K, P) float; where they are 0, as at pixels to ignore, the slope is of no matter.
        hits: (K, P), 1 at pixels of the class.

    >>> _slopes(torch.tensor([[0.9, 0.5, 0.1]]), torch.tensor([[0.0, 1.0, 1.0]]))
    tensor([[0.3333, 0.3333, 0.3333]])
    """
    order = _falling(errors)
    own = hits.gather(1, order)
    # Whole numbers: exact beyond 2**24 pixels, and summed in one order on CUDA too.
    lost = own.cumsum(dim=1, dtype=torch.int32)
    size, wrong = lost[:, -1:], torch.arange(1, own.shape[1] + 1, dtype=torch.int32, device=own.device)
    right, union = (count.to(errors.dtype) for count in (size - lost, size + wrong - lost))
    steps = torch.where(own > 0, 1 / union, right / (union * (union - 1)).clamp(min=1))
    return torch.zeros_like(errors).scatter(1, order, steps)


def _falling(errors: Tensor) -> Tensor:
    """Return the order (K, P) int64 in which each row falls."""
    if errors.device.type == "cpu":
        # With the CPU's vector instructions: ten times as fast as torch, whose sorting would be half of a step.
        return torch.from_numpy(np.argsort(-errors.numpy(), axis=1))
    return errors.argsort(dim=1, descending=True, stable=True)
