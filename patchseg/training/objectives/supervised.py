"""Learning from labels: a loss of logits and masks."""

from contextlib import nullcontext
from typing import Any

from torch import nn

from patchseg.training.batch import Batch
from patchseg.training.losses import SupervisedLoss
from patchseg.training.objectives.objective import Losses, Objective


class Supervised(Objective):
    """Learning from labels.

    Args:
        network: Raw pixels to logits.
        loss: Of logits, masks and class weights.
        arithmetic: See `Objective`.
    """

    def __init__(self, network: nn.Module, loss: SupervisedLoss, *, arithmetic: Any = nullcontext) -> None:
        super().__init__(network, arithmetic=arithmetic)
        self.loss = loss

    def forward(self, batch: Batch) -> Losses:
        """Return what a part of a batch costs."""
        logits = self.logits(batch.images)
        loss = self.loss(logits, batch.masks, self.class_weights)
        return Losses(loss, (logits[0] if isinstance(logits, list) else logits).detach(), {})
