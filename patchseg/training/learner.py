"""The network with what makes it learn: gradients, optimizer, rate and average, and the state that a resumed run needs."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn, optim

from patchseg import device as devices
from patchseg.errors import UsageError
from patchseg.inference.predictor import Predictor, most_probable
from patchseg.models import Network, build, spec_of
from patchseg.models.folding import folded
from patchseg.models.network import encoder_of
from patchseg.parameters import ModelParameters, Precision, Role, TrainParameters
from patchseg.patches.store import PatchFile
from patchseg.training.average import Average
from patchseg.training.batch import Batch
from patchseg.training.course import Course
from patchseg.training.gradients import Gradients
from patchseg.training.means import TOTAL, Means
from patchseg.training.objectives.build import objective_of
from patchseg.training.objectives.objective import Objective, copied
from patchseg.training.optimizers import optimizer_of, set_rate

_LOOK = 16  # every so many steps it is noted which classes are there and predicted


@dataclass
class Learner:
    """A network in training.

    Attributes:
        spec: What `models.build` made the network of.
        objective: The way of learning, with the network (raw pixels to logits), on the device.
        optimizer: Over the weights.
        settings: The section `train`, planned.
        gradients: What a batch does to the network.
        course: The factor of the rate.
        step: Steps done.
        best: Best mean IoU so far.
    """

    spec: dict[str, Any]
    objective: Objective
    optimizer: optim.Optimizer
    settings: TrainParameters
    gradients: Gradients
    course: Course
    step: int = 0
    best: float | None = None
    means: Means = field(default_factory=Means)
    _looked: Tensor | None = None  # (2, K): in how many looks a class was there, and predicted
    _frozen: bool | None = None  # whether the encoder was held still in the last step; None: not known

    @classmethod
    def of(
        cls,
        file: PatchFile,
        settings: TrainParameters,
        model: ModelParameters,
        device: torch.device,
    ) -> "Learner":
        """Build a fresh network for the channels and classes of a patches file."""
        head = file.head
        spec = spec_of(model.model_dump(), len(head.channels), len(head.classes))
        with devices.seeded(settings.seed):
            network = build(spec)
        network.set_normalization([c["mean"] for c in head.channels], [c["std"] for c in head.channels])
        network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        assert settings.batch is not None
        share = settings.batch // devices.ranks()
        precision = devices.resolve_precision(settings.precision, device)
        arithmetic = partial(devices.autocast, device, precision)
        objective = objective_of(settings, network, arithmetic)
        gradients = Gradients(
            objective,
            device,
            precision,
            micro=min(settings.micro_batch or share, share),
            compiled=settings.compile,
        )
        course = Course(settings.schedule or "onecycle", settings.warm_up, settings.patience)
        optimizer = optimizer_of(network, settings, objective.heads)
        learner = cls(spec, objective, optimizer, settings, gradients, course)
        if isinstance(settings.class_weights, list):
            learner.weigh(settings.class_weights)
        return learner

    @property
    def network(self) -> Network:
        """Raw pixels to logits, on the device."""
        network = self.objective.network
        assert isinstance(network, Network)
        return network

    @property
    def average(self) -> Average | None:
        """The average of the weights, if there is one."""
        return self.objective.average

    @property
    def device(self) -> torch.device:
        """Where it learns."""
        return self.gradients.device

    @property
    def precision(self) -> Precision:
        """The arithmetic of the network."""
        return self.gradients.precision

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
        self.objective.class_weights = torch.tensor(weights, dtype=torch.float32, device=self.device)

    def keep_average(self, decay: float) -> None:
        """Average the weights from here on, unless the decay is 0; what has a teacher is one with it then."""
        kept = decay or self.objective.teaches
        self.objective.average = Average(self.network, decay) if kept else None

    def learn(self, batch: Batch, *, progress: float) -> None:
        """Take one step of the optimizer.

        Args:
            batch: On the device.
            progress: How far the schedule is, 0 to 1.
        """
        settings, scaler = self.settings, self.gradients.scaler
        devices.seed_step(settings.seed, self.step, devices.rank())
        self.rate = self._highest_rate * self.course.factor(self.step, progress)
        if not self.network.training:  # a validation has been
            self.network.train()
            self._frozen = None
        self._freeze(self.step < settings.freeze)
        losses = self.gradients(batch, progress=progress)
        if self._frozen:
            self._forget_encoder()
        scaler.unscale_(self.optimizer)
        if settings.clip:
            nn.utils.clip_grad_norm_(self.gradients.weights, settings.clip)
        scaler.step(self.optimizer)
        scaler.update()
        self.objective.after_step(self.step)
        self.means.add({TOTAL: losses.total, **losses.parts})
        if self.step % _LOOK == 0 and losses.logits is not None:
            self._look(losses.logits[:4], batch.masks[-len(losses.logits) :][:4])
        self.step += 1

    def _freeze(self, still: bool) -> None:
        """Let the encoder learn, or hold it still, its running statistics too."""
        encoder = encoder_of(self.network)
        if encoder is None or still == self._frozen:
            return
        encoder.train(not still)
        # It is spared the gradients unless other processes wait for them, or a run's length rests on what its first steps take.
        if devices.ranks() == 1 and self.settings.time is None:
            encoder.requires_grad_(not still)
        self._frozen = still

    def _forget_encoder(self) -> None:
        """Drop what gradients the encoder has, so that neither clipping nor the optimizer looks at it."""
        encoder = encoder_of(self.network)
        assert encoder is not None
        for weight in encoder.parameters():
            weight.grad = None

    def _look(self, logits: Tensor, masks: Tensor) -> None:
        """Note which classes some patches have, and which are predicted anywhere in them, without waiting for it."""
        if self._looked is None:
            self._looked = torch.zeros(2, logits.shape[1], dtype=torch.int32, device=self.device)
        classes = torch.arange(logits.shape[1], device=self.device)
        found = torch.stack([most_probable(image) for image in logits])
        for row, labels in enumerate((masks, found)):
            self._looked[row] += (labels.flatten()[:, None] == classes).any(dim=0)

    def unpredicted(self) -> list[int]:
        """Return the classes that patches looked at since this was last asked have, and that were predicted in none."""
        if self._looked is None:
            return []
        there, predicted = devices.summed(self._looked).bool()
        self._looked = None
        return [int(index) for index in torch.nonzero(there & ~predicted).flatten()]

    @property
    def rate(self) -> float:
        """The learning rate of the last step."""
        return float(self.optimizer.param_groups[0]["lr"])

    @rate.setter
    def rate(self, value: float) -> None:
        set_rate(self.optimizer, value)

    @property
    def _highest_rate(self) -> float:
        assert self.settings.rate is not None
        return self.settings.rate

    def mean_losses(self) -> dict[str, float]:
        """Return the mean training losses since this was last asked, over all processes."""
        self.share_losses()
        return self.means.taken()

    def share_losses(self) -> None:
        """Take the means of the losses over all processes, since one of them saves for all."""
        self.means.share(self.device)

    def predictor(self, role: Role | None = None) -> Predictor:
        """Return the network as it would be saved now, or one of the two, for a validation; all processes ask for it at once."""
        shown = self._network_of(role or self.settings.exported)
        devices.share_statistics(shown)
        return Predictor([folded(shown.eval())], self.device, self.precision)

    def weights(self) -> dict[str, Tensor]:
        """Return a copy of the weights to infer with, on the CPU: the average where there is one."""
        return copied(self._network_of(self.settings.exported))

    def _network_of(self, role: Role) -> nn.Module:
        average = self.average if role == "teacher" else None
        return self.network if average is None else average.network

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs beside the weights."""
        return {
            "step": self.step, "best": self.best, "optimizer": self.optimizer.state_dict(),
            **self.means.state(), "objective": self.objective.state(),
            "course": self.course.state(), "micro": self.gradients.micro, "scaler": self.gradients.scaler.state_dict(),
            "network": None if self.average is None else copied(self.network),
            "ema": None if self.average is None else self.average.decay,
            "teacher": None if self.average is None or self.settings.exported == "teacher" else copied(self.average.network),
        }  # fmt: skip

    def restore(self, weights: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Go back to where a checkpoint was written."""
        raw = state.get("network")
        self.network.load_state_dict(weights if raw is None else raw)
        self.keep_average(state.get("ema") or 0.0)
        if self.average is not None:
            self.average.network.load_state_dict(state.get("teacher") or weights)
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.best = state["step"], state["best"]
        self.means.restore(state)
        self.objective.restore(state.get("objective") or {})
        self.course.restore(state["course"])
        if self.settings.micro_batch is None:
            self.gradients.micro = state["micro"]
        if state["scaler"]:  # it is empty but in fp16
            self.gradients.scaler.load_state_dict(state["scaler"])
