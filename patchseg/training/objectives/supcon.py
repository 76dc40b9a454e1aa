"""Learning from labels, and at some steps from what classes look like: those of one class attract in two views, others repel.

Supervised contrastive learning (Khosla et al. 2020, arXiv:2004.11362) over regions of classes, as the head that OpenVINO Training
Extensions had: the segmentation loss at every step, the contrast beside it at every fifth.
"""

from contextlib import nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn

from patchseg import device as devices
from patchseg.models.features import level_near
from patchseg.models.network import Network
from patchseg.parameters import TrainParameters
from patchseg.training.batch import Batch, View
from patchseg.training.losses import SupervisedLoss
from patchseg.training.objectives.contrast import STRIDE, Projector, described, region_contrast, same_classes
from patchseg.training.objectives.objective import Losses, copied
from patchseg.training.objectives.supervised import Supervised


class SupCon(Supervised):
    """Learning from labels, and from classes in two views where a batch has them.

    There is no target network, as Khosla et al. have none: positives are known and negatives keep vectors apart, so that nothing
    collapses. No gradient reaches the vectors that an anchor is compared with, but each of these is an anchor itself. Vectors
    are those of the patches of one process, or one micro-batch.

    Args:
        network: Raw pixels to logits; it shows its features.
        loss: Of logits, masks and class weights.
        settings: Temperature, weight, and the seed of the projector's first weights.
        arithmetic: See `Objective`.

    Raises:
        UsageError: The network shows no features.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: SupervisedLoss,
        settings: TrainParameters,
        *,
        arithmetic: Any = nullcontext,
    ) -> None:
        super().__init__(network, loss, arithmetic=arithmetic)
        self._temperature, self._weight = settings.temperature, settings.contrast_weight
        seeing = cast(Network, network)
        self._level, channels = level_near(seeing, STRIDE)
        with devices.seeded(settings.seed):
            self.projector = Projector(channels)
        self.projector.to(seeing.mean.device)
        self.idle = True  # at steps without views, the projector

    def forward(self, batch: Batch) -> Losses:
        """Return what a part of a batch costs: labels, and contrast where there is some."""
        found = super().forward(batch)
        parts = {"loss/labelled": found.total.detach()}
        if not batch.contrasted:
            return found._replace(parts=parts)
        assert found.logits is not None
        contrast = self._contrast(batch.contrasted, found.logits.shape[1])
        return Losses(
            found.total + self._weight * contrast, found.logits, parts | {"loss/contrast": contrast.detach()}
        )

    def _contrast(self, views: tuple[View, ...], classes: int) -> Tensor:
        """Return how badly classes are told apart."""
        ids = torch.arange(classes, device=views[0].image.device).expand(len(views[0].image), classes)
        network = cast(Network, self.network)
        with self._arithmetic():
            vectors, there = described(network, views, ids, level=self._level, head=self.projector)
        return region_contrast(vectors, vectors, same_classes(ids), there, temperature=self._temperature)

    def state(self) -> dict[str, Any]:
        """Return the weights of the projector; see `Objective`."""
        return {"projector": copied(self.projector)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a state."""
        self.projector.load_state_dict(state["projector"])
