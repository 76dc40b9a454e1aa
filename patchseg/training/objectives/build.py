"""Which way of learning a name means, and what it leaves to be planned."""

from typing import Any

from torch import nn

from patchseg.errors import UsageError
from patchseg.parameters import TrainParameters
from patchseg.parameters.learning import LabelParameters
from patchseg.parameters.training import ContrastParameters
from patchseg.section import flag_of
from patchseg.training.losses import loss_of, supervised
from patchseg.training.objectives.detcon import DetCon
from patchseg.training.objectives.objective import Objective
from patchseg.training.objectives.self_training import SelfTraining
from patchseg.training.objectives.supcon import SupCon
from patchseg.training.objectives.supervised import Supervised
from patchseg.training.unlabelled import TAUGHT

# What the names stand for; everything can be set otherwise.
SWITCHES: dict[str, dict[str, Any]] = {
    "supervised": {},
    "fixmatch": {
        "confidence": 0.8, "consistency": "labels", "views": 1, "pseudo_weight": 0.5, "entropy_drop": 0.0,
        "channel_dropout": 0.0,
    },
    "mean-teacher": {
        "confidence": 0.0, "consistency": "probabilities", "views": 1, "pseudo_weight": 10.0, "entropy_drop": 0.2,
        "channel_dropout": 0.0,
    },
    "supcon": {},
    "detcon": {},
}  # fmt: skip


def objective_of(settings: TrainParameters, network: nn.Module, arithmetic: Any) -> Objective:
    """Return a way of learning, for a network; the settings are planned."""
    if settings.objective == "detcon":
        return DetCon(network, settings, arithmetic=arithmetic)
    loss = supervised(loss_of(settings.loss))
    if settings.objective == "supervised":
        return Supervised(network, loss, arithmetic=arithmetic)
    if settings.objective == "supcon":
        return SupCon(network, loss, settings, arithmetic=arithmetic)
    return SelfTraining(network, loss, settings, arithmetic=arithmetic)


def switched(settings: TrainParameters) -> TrainParameters:
    """Return the settings with what the objective's name stands for, where nothing else is set.

    >>> switched(TrainParameters(objective="fixmatch", views=2)).confidence
    0.8
    """
    return settings.planned(**SWITCHES[settings.objective])


def require_use(settings: TrainParameters, *, of_regions: bool) -> None:
    """Refuse settings that an objective does not look at, and an objective that the masks are not for.

    Args:
        settings: As they are set.
        of_regions: Whether the masks are regions, and no classes.

    Raises:
        UsageError: One is set, or masks of classes would be learned as regions, or regions as classes.
    """
    if of_regions != (settings.objective == "detcon"):
        raise UsageError(
            f"train.objective: {settings.objective} does not go with these patches, whose masks are "
            f"{'regions' if of_regions else 'classes'}; images alone are learned from with `patchseg pretrain`, labels with any "
            "--objective but detcon"
        )
    for name, field in TrainParameters.model_fields.items():
        used = _users(name)
        if used and settings.objective not in used and getattr(settings, name) != field.default:
            raise UsageError(
                f"train.{name}: is set, but train.objective is {settings.objective}, which does not look at it; give --objective "
                f"{used[0]}, or leave out {flag_of(f'train.{name}')}"
            )


def _users(name: str) -> tuple[str, ...]:
    """Return the objectives that look at a setting; none where all do."""
    if name in LabelParameters.model_fields:
        return ()
    of_detcon = ("detcon",) if name in ("temperature", "exported") else ()
    return (*(("supcon",) if name in ContrastParameters.model_fields else TAUGHT), *of_detcon)
