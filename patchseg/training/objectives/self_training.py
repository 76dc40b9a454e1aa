"""Learning from pixels without a label: a teacher, the average of the student, says what strongly varied views should give.

FixMatch (Sohn et al. 2020, arXiv:2001.07685) for segmentation as UniMatch V1 and V2 have it (Yang et al. 2023,
arXiv:2208.09910; 2025, arXiv:2410.10777): labels of which the teacher is sure, two strong views with CutMix, complementary
halves of the features dropped. Mean Teacher (Tarvainen and Valpola 2017, arXiv:1703.01780): its probabilities, softly. They
are settings of one way.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from patchseg.imaging import picture
from patchseg.labels.classes import IGNORE
from patchseg.models.features import dropped
from patchseg.models.network import Network
from patchseg.parameters import TrainParameters
from patchseg.training.augment import after
from patchseg.training.batch import Batch, Target, Views
from patchseg.training.losses import SupervisedLoss
from patchseg.training.objectives.objective import Losses
from patchseg.training.objectives.supervised import Supervised

_SHOWN = 4  # patches


def ramp(progress: float, share: float) -> float:
    """Return the factor of a weight that rises over a share of the run: exp(-5 (1 - t)^2) (Laine and Aila 2017).

    >>> [round(ramp(progress, 0.5), 3) for progress in (0.0, 0.25, 0.5, 1.0)]
    [0.007, 0.287, 1.0, 1.0]
    """
    risen = min(1.0, progress / share) if share else 1.0
    return math.exp(-5 * (1 - risen) ** 2)


class SelfTraining(Supervised):
    """Learning from labels, and from a teacher where there are none.

    Args:
        network: The student, raw pixels to logits.
        loss: Of logits, masks and class weights, for labels of both kinds.
        settings: What of the teacher is learned, and how; planned.
        arithmetic: See `Objective`.
    """

    teaches = True

    def __init__(
        self,
        network: nn.Module,
        loss: SupervisedLoss,
        settings: TrainParameters,
        *,
        arithmetic: Any = nullcontext,
    ) -> None:
        super().__init__(network, loss, arithmetic=arithmetic)
        self._settings, self._weight = settings, 0.0
        # Of the last step's first patches: as they are, the teacher's labels, a view, its target.
        self._shown: list[Tensor] = []

    @torch.no_grad()
    def complete(self, batch: Batch, *, progress: float, most: int) -> Batch:
        """Return a batch with what the teacher says about its views; see `Objective`."""
        assert batch.views is not None
        assert self.average is not None
        weight = self._settings.pseudo_weight
        assert weight is not None
        self._weight = weight * ramp(progress, self._settings.ramp)
        teacher = self.average.network
        with self._arithmetic():
            logits = torch.cat([teacher(part) for part in torch.split(batch.views.weak, most)])
        probabilities = _corrected(logits.float().softmax(dim=1), batch.views.truth)
        drop = (self._settings.entropy_drop or 0.0) * (1 - progress)
        learned = sure(probabilities, batch.views.truth, self._settings.confidence or 0.0, drop)
        targets = self._targets(batch.views, probabilities, learned)
        labels = torch.where(learned > 0, probabilities.argmax(dim=1), IGNORE)
        shown = (batch.views.weak, labels, targets[0].image, targets[0].labels)
        self._shown = [tensor[: min(_SHOWN, len(shown[2]))] for tensor in shown]
        return batch._replace(targets=targets)

    def forward(self, batch: Batch) -> Losses:
        """Return what a part of a batch costs: labels, and the teacher's opinion of the views."""
        labelled = super().forward(batch)
        number = len(batch.targets)
        with self._perturbed(number):
            images = torch.cat([target.image for target in batch.targets])
            logits = self.logits(images, hooked=bool(self._settings.channel_dropout))
        views = zip(_chunks(logits, number), batch.targets, strict=True)
        cost = torch.stack([self._cost(seen, target) for seen, target in views]).mean()
        kept = torch.stack([target.weights.mean() for target in batch.targets]).mean()
        parts = {"loss/labelled": labelled.total, "loss/unlabelled": cost, "unlabelled/learned": kept}
        return Losses(
            labelled.total + self._weight * cost, labelled.logits,
            {name: value.detach() for name, value in parts.items()},
        )  # fmt: skip

    @contextmanager
    def _perturbed(self, views: int) -> Iterator[None]:
        """Let a share of the patches lose half of the features between the way down and the way up, each view another half."""
        share = self._settings.channel_dropout
        if not share:
            yield
            return
        chosen: list[Tensor] = []  # which patches, at all levels alike

        def masks(level: int, features: Tensor) -> Tensor:
            count, channels = features.shape[:2]
            if not chosen:
                chosen.append(torch.rand(count // views, 1, 1, 1, device=features.device) < share)
            return complementary(chosen[0], channels, views).to(features.dtype)

        with dropped(cast(Network, self.network), masks):
            yield

    def pictures(self, palette: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
        """Return some patches, the teacher's labels (gray where unsure), a strong view and what is learned of it, side by side."""
        if not self._shown:
            return []
        weak, labels, strong, targets = (tensor.cpu() for tensor in self._shown)
        lowest, highest = (float(weak.float().quantile(share)) for share in (0.01, 0.99))

        def seen(image: Tensor) -> NDArray[np.uint8]:
            return picture.to_rgb8(image.permute(1, 2, 0).numpy(), lowest, highest)

        def colored(mask: Tensor) -> NDArray[np.uint8]:
            return picture.colorize(mask.to(torch.uint8).numpy(), palette)

        return [
            np.concatenate([seen(a), colored(b), seen(c), colored(d)], axis=1)
            for a, b, c, d in zip(weak, labels, strong, targets, strict=True)
        ]

    def _targets(self, views: Views, probabilities: Tensor, learned: Tensor) -> tuple[Target, ...]:
        """Give each view what belongs to its pixels: its own opinion, or that of the patch after it in the rectangle."""
        partner = torch.from_numpy(after(len(probabilities))).to(probabilities.device)
        labels = probabilities.argmax(dim=1).to(torch.uint8)
        found = []
        for image, inside in zip(views.strong, views.inside, strict=True):
            count = len(image)

            def mixed(values: Tensor, inside: Tensor = inside, count: int = count) -> Tensor:
                where = inside if values.ndim == 3 else inside[:, None]
                return torch.where(where, values[partner[:count]], values[:count])

            weights = mixed(learned)
            hard = torch.where(weights > 0, mixed(labels), IGNORE).to(torch.uint8)
            soft = mixed(probabilities) if self._settings.consistency == "probabilities" else None
            found.append(Target(image, hard, soft, weights))
        return tuple(found)

    def _cost(self, logits: Tensor | list[Tensor], target: Target) -> Tensor:
        """Return what a view costs."""
        if target.probabilities is None:
            # The loss is a mean over what is learned; few such pixels should teach little.
            return self.loss(logits, target.labels, self.class_weights) * target.weights.mean()
        finest = logits[0] if isinstance(logits, list) else logits
        return distance(finest, target.probabilities, target.weights)


def complementary(chosen: Tensor, channels: int, views: int) -> Tensor:
    """Draw what channels are multiplied by, 0 or 2, in two views of which each has what the other lacks; 1 where not chosen.

    UniMatch V2 (Yang et al. 2025, arXiv:2410.10777, section 3.3). A view alone loses half of them.

    Args:
        chosen: (n, 1, 1, 1) bool, patches that lose any.
        channels: C.
        views: V, 1 or 2.

    Returns:
        (V n, C, 1, 1) float32, the views one after the other.
    """
    kept = 2.0 * (torch.rand(len(chosen), channels, 1, 1, device=chosen.device) < 0.5)
    return torch.cat([torch.where(chosen, mask, 1.0) for mask in (kept, 2 - kept)[:views]])


def sure(probabilities: Tensor, truth: Tensor, confidence: float, drop: float) -> Tensor:
    """Tell which pixels can be learned from: 1 where the teacher is sure or the label known, else 0, (N, H, W) float32.

    Args:
        probabilities: (N, K, H, W), of the teacher.
        truth: (N, H, W) uint8: known labels, 255 for the others.
        confidence: The least probability of the most probable class.
        drop: Share of the pixels left out, those of the highest entropy, as OpenVINO Training Extensions' Mean Teacher does.
    """
    learned = probabilities.amax(dim=1) >= confidence
    if drop:
        entropy = -torch.special.xlogy(probabilities, probabilities).sum(dim=1)
        most = entropy.flatten().sort().values[math.ceil((1 - drop) * entropy.numel()) - 1]
        learned &= entropy <= most
    return (learned | (truth != IGNORE)).float()


def distance(logits: Tensor, probabilities: Tensor, weights: Tensor) -> Tensor:
    """Return the mean over pixels and classes of the squared difference of probabilities, weighted by pixel.

    >>> distance(torch.zeros(1, 2, 1, 1), torch.tensor([[[[1.0]], [[0.0]]]]), torch.ones(1, 1, 1))
    tensor(0.2500)
    """
    squares = (logits.float().softmax(dim=1) - probabilities).square()
    return (squares.mean(dim=1) * weights).mean()


def _corrected(probabilities: Tensor, truth: Tensor) -> Tensor:
    """Return the teacher's probabilities with those of known labels in their places."""
    known = truth != IGNORE
    classes = torch.arange(probabilities.shape[1], device=truth.device)[:, None, None]
    certain = (truth[:, None] == classes).to(probabilities.dtype)
    return torch.where(known[:, None], certain, probabilities)


def _chunks(logits: Tensor | list[Tensor], number: int) -> list[Any]:
    """Return the logits of each view, those of all levels where there are several."""
    if isinstance(logits, Tensor):
        return list(logits.chunk(number))
    return [list(levels) for levels in zip(*(level.chunk(number) for level in logits), strict=True)]
