"""Learning without labels: regions of like pixels attract themselves in two views of a patch, all others of the batch repel.

DetCon-B (Hénaff et al. 2021, arXiv:2103.10957): regions of an image are drawn, their features averaged, projected and, on the side that
learns, predicted from; the other side is an average of the weights, as in BYOL (Grill et al. 2020, arXiv:2006.07733).
"""

from contextlib import nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn

from patchseg import device as devices
from patchseg.models.features import level_near
from patchseg.models.network import Network
from patchseg.parameters import TrainParameters
from patchseg.training.average import Average
from patchseg.training.batch import Batch
from patchseg.training.objectives.contrast import (
    STRIDE,
    Projector,
    described,
    region_contrast,
    same_regions,
    sampled,
)
from patchseg.training.objectives.objective import Losses, Objective, copied

_REGIONS = 16  # of a patch, as DetCon has it
_VECTOR = 128  # numbers of what is contrasted


class DetCon(Objective):
    """Learning from regions in two views.

    What stands behind the features that are contrasted learns nothing. Vectors are those of the patches of one process, or one micro-batch.

    Args:
        network: Raw pixels to logits; it shows its features.
        settings: Temperature, decay of the average, and the seed of the heads' first weights; planned.
        arithmetic: See `Objective`.

    Raises:
        UsageError: The network shows no features.
    """

    teaches = True

    def __init__(
        self, network: nn.Module, settings: TrainParameters, *, arithmetic: Any = nullcontext
    ) -> None:
        super().__init__(network, arithmetic=arithmetic)
        self._temperature, seeing = settings.temperature, cast(Network, network)
        self._level, channels = level_near(seeing, STRIDE)
        with devices.seeded(settings.seed):
            self.projector, self.predictor = (
                Projector(channels, outputs=_VECTOR),
                Projector(_VECTOR, outputs=_VECTOR),
            )
        for head in (self.projector, self.predictor):
            head.to(seeing.mean.device)
        self._target = Average(self.projector, settings.ema or 0.0)
        self.idle = True  # what stands behind the features

    def forward(self, batch: Batch) -> Losses:
        """Return what a part of a batch costs."""
        assert self.average is not None
        views, target = batch.contrasted, cast(Network, self.average.network)
        draws = torch.rand(len(batch.images), 255, device=batch.images.device)
        ids = sampled(views[0].regions, views[1].regions, draws, number=_REGIONS)
        with self._arithmetic():
            vectors, there = described(
                cast(Network, self.network), views, ids, level=self._level, head=self._predicted
            )
            with torch.no_grad():
                targets, _ = described(target, views, ids, level=self._level, head=self._target.network)
        loss = region_contrast(vectors, targets, same_regions(ids), there, temperature=self._temperature)
        return Losses(loss, None, {})

    def after_step(self, step: int) -> None:
        """Take in what the optimizer has done in a step."""
        super().after_step(step)
        self._target.update(step)

    def state(self) -> dict[str, Any]:
        """Return the weights of the heads; see `Objective`."""
        return {
            "projector": copied(self.projector), "predictor": copied(self.predictor),
            "target": copied(self._target.network),
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a state."""
        self.projector.load_state_dict(state["projector"])
        self.predictor.load_state_dict(state["predictor"])
        self._target.network.load_state_dict(state["target"])

    def _predicted(self, means: Tensor) -> Tensor:
        vectors: Tensor = self.predictor(self.projector(means))
        return vectors
