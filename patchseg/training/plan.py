"""What nobody has set, chosen by what the patches and the device are; each value with its reason.

A pure function of a few facts. The figures behind it are in docs/results.md.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

from patchseg.models import defaults
from patchseg.models.unet import levels_for, receptive_field
from patchseg.parameters import AugmentParameters, ModelParameters, TrainParameters
from patchseg.progress import counted
from patchseg.section import Section
from patchseg.training.average import decay_for
from patchseg.training.optimizers import rate_for

S = TypeVar("S", bound=Section)

_RARE = 0.25  # of the patches that hold a class, below which patches are drawn for the classes
_FOREIGN = 0.3  # of the images without masks, from which their looks are lent: with fewer it cost more than it brought
_MANY = 3.0  # passes over the patches from which more variation pays
_SPEED = {
    "cpu": 100.0,
    "mps": 500.0,
    "cuda": 4000.0,
}  # patches of 96 x 96 a second, roughly, where time decides


class Facts(NamedTuple):
    """What the plan rests on.

    Attributes:
        patch: Side of the patches.
        patches: Their number.
        shares: Share of the patches that hold each class, the background first.
        device: "cpu", "cuda" or "mps".
        processes: How many share a batch.
        foreign: Share of the images without masks that are darker or brighter than all labelled ones.
    """

    patch: int
    patches: int
    shares: Sequence[float]
    device: str
    processes: int = 1
    foreign: float = 0.0


class Choice(NamedTuple):
    """One value of the plan.

    Attributes:
        key: Such as "train.rate".
        value: What is chosen.
        reason: Why, in words.
    """

    key: str
    value: Any
    reason: str


class _Plan:
    """Gathers choices of what nobody has set."""

    def __init__(self) -> None:
        self.chosen: list[Choice] = []

    def choose(self, section: Section, name: str, value: Any, reason: str) -> Any:
        """Return what is set, or choose a value and return that."""
        known = getattr(section, name)
        if known is None:
            self.chosen.append(Choice(f"{section.section}.{name}", value, reason))
        return value if known is None else known


def plan(
    facts: Facts, model: ModelParameters, train: TrainParameters, augment: AugmentParameters
) -> list[Choice]:
    """Choose what is None in three sections.

    Args:
        facts: Of patches and device.
        model: The network, as far as it is set.
        train: How it learns, as far as that is set.
        augment: How patches are varied, as far as that is set.

    Returns:
        The choices, in the order in which one rests on the other.
    """
    made = _Plan()
    width, batch = _network(made, facts, model, train)
    _course(made, facts, model, train, width, batch=batch)
    _variation(made, facts, augment, passes_of(facts, train, batch))
    return made.chosen


def _network(
    made: _Plan, facts: Facts, model: ModelParameters, train: TrainParameters
) -> tuple[int | None, int]:
    """Choose the size of network and batch, and return them: the width, where it has one, and the patches a step."""
    on_gpu, known = facts.device != "cpu", defaults(model.name)
    levels, width = levels_for(facts.patch, model.upsampling), None
    if "levels" in known:
        seen = receptive_field(levels, model.upsampling)
        made.choose(model, "levels", levels, f"sees {seen} pixels, a patch has {facts.patch}")
        width = made.choose(
            model, "width", 32 if on_gpu else 8,
            "a GPU has time for it" if on_gpu else "without a GPU, more steps are worth more than more channels",
        )  # fmt: skip
    batch = made.choose(
        train, "batch", 16 if on_gpu else 4,
        "fills a GPU" if on_gpu else "without a GPU, smaller batches make more steps",
    )  # fmt: skip
    at_once = min(train.micro_batch or batch, batch // facts.processes)
    if "norm" in known:
        made.choose(
            model, "norm", "batch" if at_once >= 4 else "group",
            f"batches of {at_once} " + ("tell mean and spread" if at_once >= 4 else "are too small to tell mean and spread"),
        )  # fmt: skip
    return width, batch


def _course(
    made: _Plan,
    facts: Facts,
    model: ModelParameters,
    train: TrainParameters,
    width: int | None,
    *,
    batch: int,
) -> None:
    """Choose the rate and its course, what is drawn, and what is averaged."""
    made.choose(
        train, "rate", rate_for(train, width),
        f"suits {train.optimizer} and " + (f"a width of {width}" if width else "networks other than the U-Net"),
    )  # fmt: skip
    if model.pretrained or model.encoder_weights:
        made.choose(train, "encoder_rate", 0.1, "keeps most of what the encoder has learned before")
    sgd = train.optimizer == "sgd"
    made.choose(train, "schedule", "poly" if sgd else "onecycle", f"suits {train.optimizer}")
    rarest = min((share for share in facts.shares[1:] if share), default=1.0)
    rare = rarest < _RARE
    made.choose(
        train, "centred", 0.33 if rare else 0.0,
        f"the rarest class is in {rarest:.0%} of the patches" + (", so some are drawn for it" if rare else ""),
    )  # fmt: skip
    steps = steps_of(train, batch, facts.patches)
    decay = 0.999 if steps is None else decay_for(steps)
    made.choose(
        train, "ema", decay,
        "until the steps are known" if steps is None
        else f"averages about {min(steps, round(1 / (1 - decay)))} of {counted(steps, 'step')}",
    )  # fmt: skip


def _variation(made: _Plan, facts: Facts, augment: AugmentParameters, passes: float) -> None:
    """Choose how much patches are varied, by how often each is seen and what the others look like."""
    made.choose(
        augment, "strength", "standard" if passes >= _MANY else "light",
        f"about {passes:.2g} passes over the patches are " + ("many" if passes >= _MANY else "few: there is no time for more"),
    )  # fmt: skip
    if facts.foreign >= _FOREIGN:
        made.choose(
            augment, "match", 0.7,
            f"{facts.foreign:.0%} of the images without masks are darker or brighter than all labelled ones, so patches take over their looks",
        )  # fmt: skip


def passes_of(facts: Facts, train: TrainParameters, batch: int) -> float:
    """Return how often each patch is seen, roughly where the time of the run decides it.

    >>> passes_of(Facts(96, 1000, (1.0,), "cpu"), TrainParameters(time=60.0), 4)
    6.0
    >>> passes_of(Facts(96, 1000, (1.0,), "cpu"), TrainParameters(time=60.0, steps=500), 4)
    2.0
    """
    steps = steps_of(train, batch, facts.patches) or train.steps  # with a time, the most of them
    by_steps = math.inf if steps is None else steps * batch / facts.patches
    if train.time is None:
        return by_steps
    return min(by_steps, train.time * _SPEED[facts.device] * (96 / facts.patch) ** 2 / facts.patches)


def steps_of(train: TrainParameters, batch: int, patches: int) -> int | None:
    """Return the steps of a run, or None where its time decides them.

    >>> steps_of(TrainParameters(epochs=3), 16, 100)
    21
    """
    if train.time is not None:
        return None
    return train.steps or train.epochs * (train.epoch_steps or -(-patches // batch))


def filled(section: S, choices: Sequence[Choice]) -> S:
    """Return a section with what was chosen for it."""
    mine = {c.key.split(".")[1]: c.value for c in choices if c.key.split(".")[0] == section.section}
    return section.planned(**mine)
