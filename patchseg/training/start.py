"""What a run begins with: settings that its network has, batches that it can learn from, weights for its encoder."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from patchseg import device as devices
from patchseg.errors import UsageError
from patchseg.models import Network, defaults
from patchseg.models.network import encoder_of
from patchseg.models.pretrained import pretrain
from patchseg.parameters import ModelParameters, TrainParameters
from patchseg.patches.store import PatchFile
from patchseg.progress import Progress
from patchseg.section import flag_of
from patchseg.training.learner import Learner

ORIGIN = "model.encoder_origin"  # in the record of a run: where the first weights of its encoder come from
_OF_ENCODERS = ("model.pretrained", "model.encoder_weights", "train.freeze", "train.encoder_rate")


def require_settings(model: ModelParameters, train: TrainParameters) -> None:
    """Refuse what the network has no setting for, and two origins of the same weights.

    Raises:
        UsageError: Something is set that would change nothing.
    """
    known = {*defaults(model.name), "name", "pretrained", "encoder_weights"}
    for name, field in ModelParameters.model_fields.items():
        value = getattr(model, name)
        if name not in known and value != field.default:
            raise UsageError(
                f"model.{name}: is {value}, but {model.name} has no such setting; leave out {flag_of(f'model.{name}')}, or "
                "choose another --model"
            )
    if train.weights and (model.pretrained or model.encoder_weights):
        raise UsageError(
            f"train.weights: {train.weights} brings the weights of the encoder, too; leave out --weights, or "
            "--pretrained and --encoder-weights"
        )
    if model.pretrained and not model.encoder_weights and "encoder" not in known:
        raise UsageError(
            f"model.pretrained: no weights are published for {model.name}; leave it out, or choose a network of a library, such "
            "as --model smp/unet"
        )


def require_learnable(learner: Learner, model: ModelParameters, train: TrainParameters, patch: int) -> None:
    """Refuse what a network that is built cannot do with what is asked of it, or with patches of a side.

    Raises:
        UsageError: It has no encoder or level for it, or its norms would see too little.
    """
    require_encoder(learner.network, model, train)
    require_coarser_levels(learner)
    require_spread(learner, patch)
    require_more_than_a_pixel(learner, patch)


def require_encoder(network: Network, model: ModelParameters, train: TrainParameters) -> None:
    """Refuse what is said of an encoder where the network has none.

    Raises:
        UsageError: It has none.
    """
    if encoder_of(network) is not None:
        return
    for key in _OF_ENCODERS:
        section, name = key.split(".")
        settings = model if section == "model" else train
        if getattr(settings, name) != type(settings).model_fields[name].default:
            raise UsageError(
                f"{key}: {model.name} has no part that counts as its encoder; leave out {flag_of(key)}, or choose a network "
                "that has one, such as --model smp/unet"
            )


def require_spread(learner: Learner, patch: int) -> None:
    """Refuse what batch norm cannot do: norm a single value, where one patch ends in one pixel or is pooled to one.

    Raises:
        UsageError: A batch norm would see one pixel of one patch.
    """
    settings, network = learner.settings, learner.network
    assert settings.batch is not None
    at_once = settings.batch // devices.ranks() % learner.gradients.micro or learner.gradients.micro
    if at_once > 1 or _pixels_normed(network, patch) != 1:
        return
    key, more = (
        ("model.norm", "--norm group, fewer --levels, or ") if "norm" in learner.spec else ("train.batch", "")
    )
    raise UsageError(
        f"{key}: batch norm cannot norm the one pixel that {learner.spec['name']} leaves of one patch of {patch}; give {more}"
        "a larger --batch, and no --micro-batch that leaves one patch over"
    )


def require_more_than_a_pixel(learner: Learner, patch: int) -> None:
    """Refuse what instance norm cannot do: leave anything of a single pixel, where a patch ends in one.

    Raises:
        UsageError: It ends in one.
    """
    factor = learner.network.factor
    if learner.spec.get("norm") == "instance" and patch <= factor:
        raise UsageError(
            f"model.norm: instance norm leaves nothing of the one pixel to which a patch of {patch} comes at 1/{factor} of its "
            "size; give --norm group, or fewer --levels"
        )


def require_coarser_levels(learner: Learner) -> None:
    """Refuse deep supervision where no level is coarse enough for it.

    Raises:
        UsageError: The network has three levels or less.
    """
    levels = learner.spec.get("levels", 0)
    if learner.spec.get("deep_supervision") and levels < 4:
        raise UsageError(
            f"model.deep_supervision: of {levels} levels none lies between the finest and the coarsest of the way up; give "
            "--levels 4 or more, or leave out --deep-supervision"
        )


@torch.no_grad()
def _pixels_normed(network: Network, patch: int) -> int | None:
    """Return the fewest pixels that a batch norm sees of a patch, found by trying; None where there are none."""
    seen: list[int] = []

    def look(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append(inputs[0][0, 0].numel())

    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(look) for norm in norms]
    was_training = network.training
    network.eval()
    if hooks:
        network(torch.zeros(1, len(network.mean), patch, patch, device=network.mean.device))
    network.train(was_training)
    for hook in hooks:
        hook.remove()
    return min(seen, default=None)


def begin_encoder(
    learner: Learner, model: ModelParameters, file: PatchFile, progress: Progress
) -> dict[str, Any]:
    """Give the encoder the weights that were asked for, and say how they fit.

    Returns:
        What the record of the run says of them: {key: {value, source}}, or nothing.

    Raises:
        UsageError: They cannot be had.
        DataError: They are those of another encoder.
    """
    if not (model.pretrained or model.encoder_weights):
        return {}
    origin, told = pretrain(
        learner.network, learner.spec, Path(model.encoder_weights) if model.encoder_weights else None,
        channels=[channel["name"] for channel in file.head.channels], dtype=file.dtype.name,
    )  # fmt: skip
    progress.say(f"the encoder begins with {origin}")
    progress.say(f"  {told}")
    return {ORIGIN: {"value": origin, "source": "the run"}}
