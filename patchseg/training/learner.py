"""The network with what makes it learn: loss, optimizer, schedule, and the state that a resumed run needs."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn, optim

from patchseg import device as devices
from patchseg.errors import DataError, UsageError
from patchseg.inference.predictor import Predictor
from patchseg.models import build
from patchseg.models.checkpoint import load
from patchseg.parameters import ModelParameters, Precision, TrainParameters
from patchseg.patches.store import PatchFile
from patchseg.training.losses import loss_of, supervised
from patchseg.training.optimizers import optimizer_of
from patchseg.training.schedule import SCHEDULES


@dataclass
class Learner:
    """A network in training.

    Attributes:
        spec: What `models.build` made the network of.
        network: Raw pixels to logits, on the device.
        optimizer: Over its weights.
        settings: The section `train`, planned.
        device: Where it learns.
        precision: "bf16" or "fp32".
        class_weights: (K,) float32 on the device, or None.
        step: Steps done.
        best: Best mean IoU so far.
    """

    spec: dict[str, Any]
    network: nn.Module
    optimizer: optim.Optimizer
    settings: TrainParameters
    device: torch.device
    precision: Precision
    class_weights: Tensor | None = None
    step: int = 0
    best: float | None = None
    _loss_sum: Tensor = field(default_factory=lambda: torch.zeros(()))  # float32: MPS has no float64
    _loss_count: int = 0

    @classmethod
    def of(
        cls, file: PatchFile, settings: TrainParameters, model: ModelParameters, device: torch.device
    ) -> "Learner":
        """Build a fresh network for the channels and classes of a patches file."""
        head = file.head
        spec = model.model_dump() | {"channels": len(head.channels), "classes": len(head.classes)}
        with devices.seeded(settings.seed):
            network = build(spec)
        network.set_normalization([c["mean"] for c in head.channels], [c["std"] for c in head.channels])  # type: ignore[operator]
        network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = optimizer_of(network, settings)
        learner = cls(
            spec, network, optimizer, settings, device, devices.resolve_precision(settings.precision, device)
        )
        if isinstance(settings.class_weights, list):
            learner.weigh(settings.class_weights)
        return learner

    def weigh(self, weights: list[float]) -> None:
        """Set the weight of each class in the loss.

        Raises:
            UsageError: Their number is not that of the classes.
        """
        if len(weights) != self.spec["classes"]:
            raise UsageError(
                f"train.class_weights: holds {len(weights)} numbers, the patches have {self.spec['classes']} classes; "
                "give one each"
            )
        self.class_weights = torch.tensor(weights, dtype=torch.float32, device=self.device)

    def learn(self, images: Tensor, masks: Tensor, *, progress: float) -> None:
        """Take one step.

        Args:
            images: (B, C, S, S) as stored, on the device.
            masks: (B, S, S) uint8.
            progress: How far the schedule is, 0 to 1.
        """
        settings = self.settings
        devices.seed_step(settings.seed, self.step)
        self.rate = self._highest_rate * SCHEDULES[settings.schedule or "onecycle"](progress)
        self.network.train()
        with devices.autocast(self.device, self.precision):
            logits = self.network(images)
        loss = supervised(loss_of(settings.loss))(logits, masks, self.class_weights)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if settings.clip:
            nn.utils.clip_grad_norm_(self.network.parameters(), settings.clip)
        self.optimizer.step()
        # Summed on the device: reading the loss would wait for it at every step.
        self._loss_sum = self._loss_sum.to(self.device) + loss.detach()
        self._loss_count += 1
        self.step += 1

    @property
    def rate(self) -> float:
        """The learning rate of the last step."""
        return float(self.optimizer.param_groups[0]["lr"])

    @rate.setter
    def rate(self, value: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = value

    @property
    def _highest_rate(self) -> float:
        assert self.settings.rate is not None
        return self.settings.rate

    def mean_loss(self) -> float:
        """Return the mean training loss since this was last asked."""
        mean = float(self._loss_sum) / max(self._loss_count, 1)
        self._loss_sum, self._loss_count = torch.zeros_like(self._loss_sum), 0
        return mean

    def predictor(self) -> Predictor:
        """Return the network as it is now, for a validation."""
        return Predictor(self.network.eval(), self.device, self.precision)

    def weights(self) -> dict[str, Tensor]:
        """Return a copy of the network's state on the CPU."""
        return {name: tensor.detach().cpu().clone() for name, tensor in self.network.state_dict().items()}

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs beside the weights."""
        return {
            "step": self.step, "best": self.best, "optimizer": self.optimizer.state_dict(),
            "loss_sum": float(self._loss_sum), "loss_count": self._loss_count,
        }  # fmt: skip

    def restore(self, weights: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Go back to where a checkpoint was written."""
        self.network.load_state_dict(weights)
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.best = state["step"], state["best"]
        self._loss_sum = torch.tensor(state["loss_sum"])
        self._loss_count = state["loss_count"]

    def start_from(self, path: Path) -> None:
        """Take the weights of a checkpoint of the same network; its normalization goes with them.

        Raises:
            DataError: The checkpoint is of another network.
        """
        other = load(path)
        wrong = [f"{name} {value}" for name, value in other.model.items() if self.spec[name] != value]
        if wrong:
            mine = [f"{name} {value}" for name, value in self.spec.items() if other.model[name] != value]
            raise DataError(
                f"{path}: holds a network of {', '.join(wrong)}, the run has {', '.join(mine)}; "
                "leave out --width, --levels and --norm, and give patches of the same channels and classes"
            )
        self.network.load_state_dict(other.weights)
