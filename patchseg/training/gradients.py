"""A batch in, gradients out: micro-batches, compilation, many processes, and what to do when memory runs out."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn

from patchseg import device as devices
from patchseg.errors import first_line
from patchseg.parameters import Precision
from patchseg.training.batch import Batch
from patchseg.training.objectives.objective import Losses, Objective


@dataclass
class Gradients:
    """Leaves the gradients of a batch's mean loss in the weights of an objective.

    Attributes:
        objective: What costs a batch, on the device; the weights are its own and its network's.
        device: Where it computes.
        precision: "fp32", "bf16" or "fp16".
        micro: Patches at once; halved when memory runs out.
        compiled: Whether the network is compiled; no longer once that has failed.
        notes: What a user should be told; emptied by who tells it.
    """

    objective: Objective
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
        self.weights = list(self.objective.parameters())
        self._forward = devices.shared(self.objective, self.device, idle=self.objective.idle)
        if self.compiled:
            self.objective.compile_network()

    def __call__(self, batch: Batch, *, progress: float = 0.0) -> Losses:
        """Compute them; return what the batch costs, with the logits of the last micro-batch.

        A batch that fails and is tried again is seen twice by the running statistics of batch norm.

        Args:
            batch: Of this process, on the device.
            progress: How far the run is, 0 to 1.
        """
        while True:
            try:
                result = self._whole(self.objective.complete(batch, progress=progress, most=self.micro))
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

    def _whole(self, batch: Batch) -> Losses:
        for weight in self.weights:
            weight.grad = None
        pieces = batch.parts(self.micro)
        found = []
        for number, part in enumerate(pieces):
            share = len(part.images) / len(batch.images)
            with devices.unshared(self._forward, until=number == len(pieces) - 1):
                losses = self._forward(part)
                cost = losses.total if len(pieces) == 1 else losses.total * share
                self.scaler.scale(cost).backward()
            parts = {name: value * share for name, value in losses.parts.items()}
            found.append(Losses(cost.detach(), losses.logits, parts))
            del losses, cost  # with all that they were computed from
        names = found[0].parts
        sums = {name: torch.stack([each.parts[name] for each in found]).sum() for name in names}
        return Losses(torch.stack([each.total for each in found]).sum(), found[-1].logits, sums)

    def _halve(self) -> None:
        self.micro = -(-self.micro // 2)
        self.notes.append(
            f"memory has run out: from here on gradients are summed up over micro-batches of {self.micro}, which batch norm "
            "takes for another recipe"
        )

    def _give_up_compiling(self, error: str) -> None:
        self.objective.run_plainly()
        self.compiled = False
        self.notes.append(f"--compile: the network cannot be compiled here ({error}), so it runs as it is")
