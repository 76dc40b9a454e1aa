"""Probabilities that say how often they are right: averaged ones flow in, calibrated ones out, pixel by pixel.

A network that has learned for long is surer than it is right. One number, the temperature T, takes that back: the
averaged probabilities of a pixel are raised to the power of 1/T and made to sum to 1 again, which is what dividing logits
by T is to a softmax. The order of the classes stays, and with it the mask; thresholds, where there are some, change it.

Source: Guo et al. (2017, arXiv:1706.04599), section 4.2.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from patchseg.errors import UsageError
from patchseg.models.checkpoint import Checkpoint


class Calibration(NamedTuple):
    """What `calibrate` has found out about the probabilities of a network.

    Attributes:
        temperature: T, above 0; above 1 it takes sureness back.
        thresholds: Of each class: a pixel is of the class with the highest p_k / threshold_k. None for the highest p_k.
    """

    temperature: float
    thresholds: tuple[float, ...] | None = None

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> "Calibration | None":
        """Return that of a checkpoint, None where it has none."""
        known = checkpoint.calibration
        if known is None:
            return None
        return cls(known["temperature"], known["thresholds"] and tuple(known["thresholds"]))

    def probabilities(self, averaged: Tensor) -> Tensor:
        """Return p_k^(1/T) / sum_j p_j^(1/T) of averaged probabilities (K, ...) float32, a tensor of its own.

        Where all are 0, as outside of a region, they stay so. Powers are taken of what a class has of the highest, so that
        none leaves the range of float32, and sums go class by class: what becomes of a pixel depends on nothing around it.

        >>> Calibration(0.5).probabilities(torch.tensor([[0.25, 1.0, 0.0], [0.75, 0.0, 0.0]]))
        tensor([[0.1000, 1.0000, 0.0000],
                [0.9000, 0.0000, 0.0000]])
        """
        highest = averaged.amax(dim=0).clamp_min_(torch.finfo(averaged.dtype).tiny)
        # Not `pow`, which rounds in another way in the last few of a row of numbers than in those before them.
        shares = (averaged / highest).log_().mul_(1 / self.temperature).exp_()
        total = shares[0].clone()
        for share in shares[1:]:
            total += share
        return shares.div_(total.clamp_min_(1))  # of the highest it is 1 already

    def votes(self, averaged: Tensor, calibrated: Tensor) -> Tensor:
        """Return numbers (K, ...) of which the highest tells the class.

        Temperature alone changes no mask, not even where rounding would make equals of two classes.

        >>> shares = torch.tensor([[0.7], [0.3]])
        >>> Calibration(2.0, (0.8, 0.2)).votes(shares, shares)
        tensor([[0.8750],
                [1.5000]])
        """
        if self.thresholds is None:
            return averaged
        shape = (-1, *(1 for _ in calibrated.shape[1:]))
        return calibrated / calibrated.new_tensor(self.thresholds).view(shape)


def agreed(paths: Sequence[Path | Checkpoint], checkpoints: Sequence[Checkpoint]) -> Calibration:
    """Return the calibration that all checkpoints of an ensemble have.

    Raises:
        UsageError: One of them has none, or another one than the first.
    """
    names = ["the checkpoint" if isinstance(path, Checkpoint) else str(path) for path in paths]
    found = [Calibration.of(checkpoint) for checkpoint in checkpoints]
    for name, calibration in zip(names, found, strict=True):
        if calibration is None:
            raise UsageError(
                f"{name}: has no calibration, which --calibrated asks for; fit one with `patchseg calibrate {name}`, or leave "
                "--calibrated out"
            )
        if calibration != found[0]:
            raise UsageError(
                f"{name}: is calibrated otherwise than {names[0]}, and a mean has one calibration; give all of them the same "
                "one with `patchseg calibrate A.pt,B.pt --masks DIR --truth TRUTH`, of a crossval with DIR its masks"
            )
    assert found[0] is not None
    return found[0]
