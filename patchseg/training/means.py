"""The mean losses of an epoch, summed up on the device: reading one would wait for it at every step."""

from typing import Any

import torch
from torch import Tensor

from patchseg import device as devices

TOTAL = "loss/train"


class Means:
    """Sums of what steps cost, by name, since they were last asked for."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}  # float32: MPS has no float64
        self._counts: dict[str, int] = {}

    def add(self, values: dict[str, Tensor]) -> None:
        """Take in a step: scalars without gradient; the mean of each is over the steps that have it."""
        for name, value in values.items():
            before = self._sums.get(name)
            self._sums[name] = value.float() if before is None else before.to(value.device) + value
            self._counts[name] = self._counts.get(name, 0) + 1

    def share(self, device: torch.device) -> None:
        """Take the mean over all processes, since one of them saves for all."""
        if devices.ranks() > 1 and self._sums:
            names = sorted(self._sums)
            table = devices.summed(torch.stack([self._sums[name].to(device) for name in names]))
            self._sums = dict(zip(names, table / devices.ranks(), strict=True))

    def taken(self) -> dict[str, float]:
        """Return the means, and begin anew."""
        means = {name: float(value) / self._counts[name] for name, value in self._sums.items()}
        self._sums, self._counts = {}, {}
        return means or {TOTAL: 0.0}

    def state(self) -> dict[str, Any]:
        """Return what a resumed run needs."""
        return {
            "sums": {name: float(value) for name, value in self._sums.items()},
            "loss_count": self._counts.get(TOTAL, 0),
            "counts": dict(self._counts),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a state; older checkpoints know one sum, or one count."""
        sums = state["sums"] if "sums" in state else {TOTAL: state["loss_sum"]}
        count = state["loss_count"]
        self._sums = {name: torch.tensor(value) for name, value in sums.items()} if count else {}
        self._counts = dict(state.get("counts") or dict.fromkeys(self._sums, count))
