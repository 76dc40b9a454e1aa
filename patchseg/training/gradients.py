"""A batch in, gradients out: precision, micro-batches, compilation, many processes, and what to do when memory runs out."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from patchseg import device as devices
from patchseg.errors import first_line
from patchseg.parameters import Precision
from patchseg.training.losses import SupervisedLoss


@dataclass
class Gradients:
    """Leaves the gradients of a batch's mean loss in the weights of a network.

    Attributes:
        network: Raw pixels to logits, on the device; the weights are its own.
        loss: Of logits, truth and class weights.
        device: Where it computes.
        precision: "fp32", "bf16" or "fp16".
        micro: Patches at once; halved when memory runs out.
        compiled: Whether the network is compiled; no longer once that has failed.
        notes: What a user should be told; emptied by who tells it.
    """

    network: nn.Module
    loss: SupervisedLoss
    device: torch.device
    precision: Precision
    micro: int
    compiled: bool = False
    notes: list[str] = field(default_factory=list)
    scaler: Any = field(init=False)
    _forward: nn.Module = field(init=False)
    _proven: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self.scaler = devices.scaler(self.device, self.precision)
        self._weights = list(self.network.parameters())
        self._plain = devices.shared(
            self.network, self.device, idle=bool(getattr(self.network, "idle", False))
        )
        self._forward = torch.compile(self._plain) if self.compiled else self._plain  # type: ignore[assignment]

    def __call__(self, images: Tensor, masks: Tensor, class_weights: Tensor | None) -> tuple[Tensor, Tensor]:
        """Compute them; return the mean loss, a scalar, and the logits of the last micro-batch, (n, K, S, S).

        A batch that fails and is tried again is seen twice by the running statistics of batch norm.

        Args:
            images: (B, C, S, S), on the device.
            masks: (B, S, S) uint8.
            class_weights: (K,) float32 or None.
        """
        while True:
            try:
                result = self._whole(images, masks, class_weights)
            except devices.OUT_OF_MEMORY as error:
                if devices.is_out_of_memory(error):
                    if self.micro == 1 or devices.ranks() > 1:
                        raise
                    action = self._halve
                elif self.compiled and not self._proven:
                    action = partial(self._give_up_compiling, first_line(error))
                else:
                    raise
            except Exception as error:
                if not self.compiled or self._proven:
                    raise
                action = partial(self._give_up_compiling, first_line(error))
            else:
                self._proven = True
                return result
            action()  # not before the error is let go, which holds all that the batch has made

    def _whole(self, images: Tensor, masks: Tensor, class_weights: Tensor | None) -> tuple[Tensor, Tensor]:
        for weight in self._weights:
            weight.grad = None
        parts = list(zip(torch.split(images, self.micro), torch.split(masks, self.micro), strict=True))
        total = torch.zeros((), device=self.device)
        for number, (part, truth) in enumerate(parts):
            with devices.unshared(self._plain, until=number == len(parts) - 1):
                with devices.autocast(self.device, self.precision):
                    logits = self._forward(part)
                loss = self.loss(logits, truth, class_weights)
                if len(parts) > 1:
                    loss = loss * (len(part) / len(images))
                self.scaler.scale(loss).backward()
            total = total + loss.detach()
        return total, (logits[0] if isinstance(logits, list) else logits).detach()

    def _halve(self) -> None:
        self.micro = -(-self.micro // 2)
        self.notes.append(
            f"memory has run out: from here on gradients are summed up over micro-batches of {self.micro}, which batch norm "
            "takes for another recipe"
        )

    def _give_up_compiling(self, error: str) -> None:
        self._forward, self.compiled = self._plain, False
        self.notes.append(f"--compile: the network cannot be compiled here ({error}), so it runs as it is")
