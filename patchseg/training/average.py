"""The moving average of a network's weights: what is validated and saved, because it is steadier than the last step.

Tarvainen and Valpola (2017, arXiv:1703.01780) weigh the mean with a decay near 1. A short run would then remember its first,
useless weights, so the decay rises: min(1 - 1 / (t + 1), decay) after t steps, a plain mean at first.
"""

import copy

import torch
from torch import Tensor, nn


def decay_at(step: int, decay: float) -> float:
    """Return the decay after so many steps.

    >>> [decay_at(step, 0.99) for step in (0, 1, 3, 999)]
    [0.0, 0.5, 0.75, 0.99]
    """
    return min(1 - 1 / (step + 1), decay)


def decay_for(steps: int) -> float:
    """Return a decay that remembers the last fiftieth of a run, 0.9 to 0.999.

    >>> decay_for(200), decay_for(5000), decay_for(10**6)
    (0.9, 0.99, 0.999)
    """
    return min(max(1 - 50 / steps, 0.9), 0.999)


class Average:
    """The average of a network, a network itself.

    Args:
        network: What is averaged.
        decay: The highest decay.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network, self.decay = copy.deepcopy(network).eval().requires_grad_(False), decay
        # Looked up once: to walk through a network takes longer than to average it.
        self._real, self._counters = _real_and_counters(self.network)
        self._real_source, self._counter_source = _real_and_counters(network)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the network as it is after a step: weights and running statistics; counters are copied."""
        torch._foreach_lerp_(self._real, self._real_source, 1 - decay_at(step, self.decay))
        if self._counters:
            torch._foreach_copy_(self._counters, self._counter_source)


def _real_and_counters(network: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Return the tensors of a network that can be averaged, and the whole numbers."""
    # Parameters, not their data: that is another tensor once the network has changed its layout in memory.
    tensors: list[Tensor] = [*network.parameters(), *network.buffers()]
    real = [tensor for tensor in tensors if tensor.is_floating_point()]
    return real, [tensor for tensor in tensors if not tensor.is_floating_point()]
