"""Contrast of regions: vectors of one region, or one class, in two views of a batch attract, all others repel.

    features (N, C, h, w) ──┬── pooled ── (N, R, C) ── Projector ── (N, R, D) ── region_contrast
    regions  (N, H, W)    ──┘

After DetCon (Hénaff et al. 2021, arXiv:2103.10957), whose regions `patches.regions` finds, and supervised contrastive learning
(Khosla et al. 2020, arXiv:2004.11362), where classes of a mask are the regions. Numbers of regions travel through an
`Augmentation` as masks do, 255 outside; its recipe must be without CutMix, which would bring in the numbers of another image.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from patchseg.labels.classes import IGNORE
from patchseg.models.features import padded, seen_at
from patchseg.models.network import Network, initialize
from patchseg.training.batch import View
from patchseg.training.comparison import ratio

STRIDE = 8  # pixels to a feature that is contrasted, or as near as the network has it


def sampled(first: Tensor, second: Tensor, draws: Tensor, *, number: int) -> Tensor:
    """Draw regions among those that both views of an image hold, as DetCon does, but none twice.

    The largest ones instead would always leave out small objects.

    Args:
        first: (N, H, W) uint8 regions of one view, 255 = none.
        second: (N, H, W) uint8 of the other view.
        draws: (N, 255) uniform numbers, a region each, on the same device; those with the largest are taken.
        number: R, of regions an image, 255 at most.

    Returns:
        (N, R) uint8, in falling order of their draws, 255 where an image has no further one.

    >>> first, second = torch.tensor([[[0, 1, 2, 3]], [[0, 0, 0, 1]]]), torch.tensor([[[3, 2, 2, 1]], [[0, 1, 255, 255]]])
    >>> sampled(first, second, torch.arange(510).reshape(2, 255) / 510, number=2)
    tensor([[3, 2],
            [1, 0]], dtype=torch.uint8)
    """
    held = [
        torch.zeros(len(view), IGNORE + 1, dtype=torch.bool, device=view.device).scatter_(
            1, view.flatten(1).long(), True
        )[:, :IGNORE]
        for view in (first, second)
    ]
    best = torch.where(held[0] & held[1], draws, -1).topk(number, dim=1)
    return torch.where(best.values >= 0, best.indices, IGNORE).to(torch.uint8)


def pooled(features: Tensor, regions: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean features of regions, and which of these are there at all (DetCon, equation 1).

    A feature counts by the share of its cell that a region covers, so that regions finer than a cell count too.

    Args:
        features: (N, C, h, w).
        regions: (N, H, W) uint8, of what the features cover (`features.padded`); 255 = none.
        ids: (N, R) uint8 regions of each image; 255 = none.

    Returns:
        (N, R, C) of at least float32, 0 where a region is not there; and (N, R) bool.

    >>> features = torch.tensor([[[[1.0, 5.0]]]])
    >>> pooled(features, torch.tensor([[[0, 0, 0, 1], [0, 0, 0, 1]]]), torch.tensor([[0, 1, 2]]))
    (tensor([[[2.3333],
             [5.0000],
             [0.0000]]]), tensor([[ True,  True, False]]))
    """
    with torch.autocast(features.device.type, enabled=False):
        precise = _precise(features)
        inside = (regions[:, None] == ids[:, :, None, None]) & (ids != IGNORE)[:, :, None, None]
        height, width = features.shape[-2:]
        shares = F.adaptive_avg_pool2d(inside.to(precise.dtype), (height, width)).flatten(2)
        sums = shares @ precise.flatten(2).transpose(1, 2)
        return ratio(sums, shares.sum(dim=2, keepdim=True)), inside.flatten(2).any(dim=2)


def same_regions(ids: Tensor) -> Tensor:
    """Return which regions of a batch in two views are the same one: what DetCon draws together.

    Args:
        ids: (N, R) regions of each image, none twice.

    Returns:
        (2 N R, 2 N R) bool, the first view before the second.

    >>> same_regions(torch.tensor([[4, 7]])).int()
    tensor([[1, 0, 1, 0],
            [0, 1, 0, 1],
            [1, 0, 1, 0],
            [0, 1, 0, 1]], dtype=torch.int32)
    """
    return torch.eye(ids.numel(), dtype=torch.bool, device=ids.device).repeat(2, 2)


def same_classes(ids: Tensor) -> Tensor:
    """Return which regions of a batch in two views are of one class, in whatever image: what supervision draws together.

    Args:
        ids: (N, R) classes.

    Returns:
        (2 N R, 2 N R) bool, the first view before the second.

    >>> same_classes(torch.tensor([[0], [1], [0]])).int()[0]
    tensor([1, 0, 1, 1, 0, 1], dtype=torch.int32)
    """
    flat = ids.flatten()
    return (flat[:, None] == flat).repeat(2, 2)


def region_contrast(
    anchors: Tensor, targets: Tensor, alike: Tensor, there: Tensor, *, temperature: float = 0.1
) -> Tensor:
    """Return how badly vectors tell those that are alike from all others.

    For each anchor the mean over its positives p of -log(exp(s_p) / sum of exp(s_a) over all others a), where s is the cosine divided
    by the temperature; then the mean over the anchors that have a positive. With `same_classes` this is equation 2 of Khosla et al. (2020);
    with `same_regions` equations 2 and 3 of Hénaff et al. (2021) as their code has them: negatives are all other regions of
    the batch in both views. No gradient reaches the targets. Without a positive the loss is 0 and teaches nothing.

    Args:
        anchors: (V, D) vectors of all regions of the batch, of the first view, then of the second.
        targets: (V, D), the same regions as the network sees them that is learned from: an average's, or the anchors themselves.
        alike: (V, V) bool; the diagonal does not count.
        there: (V,) bool; others are neither anchors nor targets.
        temperature: By which cosines are divided.

    Returns:
        A scalar of at least float32.

    >>> vectors = torch.eye(2).repeat(2, 1)  # two regions that differ, equal in both views
    >>> region_contrast(vectors, vectors, same_regions(torch.tensor([[0, 1]])), torch.ones(4).bool(), temperature=1)
    tensor(0.5514)
    """
    with torch.autocast(anchors.device.type, enabled=False):
        cosines = F.normalize(_precise(anchors), dim=1) @ F.normalize(_precise(targets.detach()), dim=1).T
        scores = cosines / temperature
        counted = there[:, None] & there & ~torch.eye(len(there), dtype=torch.bool, device=there.device)
        positives = alike & counted
        every = torch.where(counted, scores, -torch.inf).logsumexp(dim=1, keepdim=True)
        lost = torch.where(positives, every - scores, 0).sum(dim=1)
        number = positives.sum(dim=1)
        return ratio(ratio(lost, number).sum(), (number > 0).sum())


def described(
    network: Network, views: Sequence[View], ids: Tensor, *, level: int, head: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Return the vectors of regions in two views, and which of these are there.

    Args:
        network: Sees the views.
        views: Two, of N patches.
        ids: (N, R) regions of each patch.
        level: Of its features; see `features.watched`.
        head: From features of a region to its vector.

    Returns:
        (2 N R, D), those of the first view before those of the second, and (2 N R,) bool.
    """
    features = seen_at(network, torch.cat([view.image for view in views]), level)
    regions = padded(network, torch.cat([view.regions for view in views]))
    means, there = pooled(features, regions, ids.repeat(2, 1))
    return head(means).flatten(0, 1), there.flatten()


class Projector(nn.Module):
    """What turns features of a region into the vector that is contrasted: linear, norm, ReLU, linear.

    DetCon has a batch norm. Ours is a layer norm: a batch may hold a single region, whose own mean a batch norm would
    subtract, and regions that are missing must not change the others.

    Args:
        inputs: Features that come in.
        hidden: Between the two layers.
        outputs: D, of the vector.
    """

    def __init__(self, inputs: int, hidden: int = 256, outputs: int = 128) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(inputs, hidden), nn.LayerNorm(hidden), nn.ReLU(inplace=True), nn.Linear(hidden, outputs)
        )
        self.apply(initialize)

    def forward(self, features: Tensor) -> Tensor:
        """Return vectors (..., outputs) of features (..., inputs)."""
        vectors: Tensor = self.layers(features)
        return vectors


def _precise(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))
