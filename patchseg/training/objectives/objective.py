"""What every way of learning has in common: a network, maybe its average, losses of a batch, and what follows a step."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from patchseg.training.average import Average
from patchseg.training.batch import Batch


class Losses(NamedTuple):
    """What a batch costs.

    Attributes:
        total: Scalar to be minimized.
        logits: (B, K, S, S) of the labelled patches, without gradient; None where nothing is learned from labels.
        parts: Scalars without gradient that are worth a curve, by name; means over patches.
    """

    total: Tensor
    logits: Tensor | None
    parts: dict[str, Tensor]


class Objective(nn.Module):
    """A way of learning.

    Args:
        network: Raw pixels to logits.
        arithmetic: Returns the context in which it computes, such as autocast.

    Attributes:
        average: Of the network's weights, or None: what is validated and saved, and a teacher where there is one.
        idle: Whether a step may leave parameters without a gradient.
        teaches: Whether there must be an average, since it teaches.
        class_weights: (K,) float32 on the device, of classes in the loss of labels, or None.
    """

    average: Average | None = None
    teaches = False
    class_weights: Tensor | None = None

    def __init__(
        self, network: nn.Module, *, arithmetic: Callable[[], AbstractContextManager[Any]] = nullcontext
    ) -> None:
        super().__init__()
        self.network, self._arithmetic = network, arithmetic
        # In a tuple, since it would be another part of this module otherwise.
        self._run: tuple[Callable[[Tensor], Tensor | list[Tensor]]] = (network,)
        self.idle = bool(getattr(network, "idle", False))

    @property
    def heads(self) -> list[nn.Parameter]:
        """The weights that learn beside the network's, and are no part of what is saved to infer with."""
        known = {id(weight) for weight in self.network.parameters()}
        return [weight for weight in self.parameters() if id(weight) not in known]

    def compile_network(self) -> None:
        """Run the network compiled from here on."""
        self._run = (torch.compile(self.network),)

    def run_plainly(self) -> None:
        """Run the network as it is."""
        self._run = (self.network,)

    def logits(self, images: Tensor, *, hooked: bool = False) -> Tensor | list[Tensor]:
        """Return the network's logits of raw pixels, a list under deep supervision.

        Args:
            images: (B, C, S, S).
            hooked: Whether hooks have been set, of which a network that is compiled would not know.
        """
        with self._arithmetic():
            return self.network(images) if hooked else self._run[0](images)

    def complete(self, batch: Batch, *, progress: float, most: int) -> Batch:
        """Return a batch with what it takes to learn from it, such as a teacher's labels, before it is cut into parts.

        Args:
            batch: Of this process.
            progress: How far the run is, 0 to 1.
            most: Patches at once.
        """
        return batch

    def forward(self, batch: Batch) -> Losses:
        """Return what a part of a batch costs."""
        raise NotImplementedError

    def after_step(self, step: int) -> None:
        """Take in what the optimizer has done in a step."""
        if self.average is not None:
            self.average.update(step)

    def pictures(self, palette: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
        """Return what is worth a look after the last step, (h, w, 3) uint8 each.

        Args:
            palette: (K, 3) colours of the classes.
        """
        return []

    def state(self) -> dict[str, Any]:
        """Return what a resumed run needs beside the network and its average: plain tensors on the CPU, numbers, text."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a state."""


def copied(module: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the weights of a module, on the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items()}
