"""What turns gradients into steps, by name.

Weights decay, norms and biases do not: these hold scales and offsets, which no decay keeps from overfitting.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn, optim

from patchseg.models.network import encoder_of
from patchseg.parameters import TrainParameters

Groups = list[dict[str, Any]]  # of weights, each with its decay
Implementation = Callable[..., optim.Optimizer]


def optimizer_of(
    network: nn.Module, settings: TrainParameters, heads: Sequence[nn.Parameter] = ()
) -> optim.Optimizer:
    """Return the optimizer of the weights of a network; its rate is 0 until one is set (`set_rate`).

    Args:
        network: Its weights come first.
        settings: Which optimizer, how weights decay, and the encoder's factor of the rate.
        heads: Weights that learn beside it.
    """
    groups = groups_of(network, settings.weight_decay, settings.encoder_rate or 1.0)
    groups += _by_decay([*heads], settings.weight_decay) if heads else []
    return OPTIMIZERS[settings.optimizer](groups, settings)


def set_rate(optimizer: optim.Optimizer, rate: float) -> None:
    """Set the learning rate; the encoder's is its factor of it."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("factor", 1.0)


def groups_of(network: nn.Module, weight_decay: float, encoder_rate: float = 1.0) -> Groups:
    """Return the weights that decay and those that do not: norms and biases, which have one dimension at most.

    Those of an encoder (`encoder_of`) follow in groups of their own, with the factor of their rate.

    >>> [(len(group["params"]), group["weight_decay"]) for group in groups_of(nn.Linear(3, 2), 0.1)]
    [(1, 0.1), (1, 0.0)]
    """
    encoder = encoder_of(network)
    theirs = list(encoder.parameters()) if encoder is not None else []
    known = {id(weight) for weight in theirs}
    groups = _by_decay([weight for weight in network.parameters() if id(weight) not in known], weight_decay)
    return groups + [group | {"factor": encoder_rate} for group in _by_decay(theirs, weight_decay) if theirs]


def _by_decay(weights: list[nn.Parameter], weight_decay: float) -> Groups:
    return [
        {"params": [weight for weight in weights if weight.ndim > 1], "weight_decay": weight_decay},
        {"params": [weight for weight in weights if weight.ndim <= 1], "weight_decay": 0.0},
    ]


def sgd(groups: Groups, settings: TrainParameters) -> optim.Optimizer:
    """Stochastic gradient descent, with Nesterov's momentum where there is any."""
    momentum = settings.momentum
    return _fastest(partial(optim.SGD, lr=0.0, momentum=momentum, nesterov=momentum > 0), groups)


def adam(groups: Groups, settings: TrainParameters) -> optim.Optimizer:
    """Adam (Kingma and Ba 2015); weight decay enters the gradient."""
    return _fastest(partial(optim.Adam, lr=0.0), groups)


def adamw(groups: Groups, settings: TrainParameters) -> optim.Optimizer:
    """AdamW (Loshchilov and Hutter 2019); weight decay stands beside the gradient."""
    return _fastest(partial(optim.AdamW, lr=0.0), groups)


def amsgrad(groups: Groups, settings: TrainParameters) -> optim.Optimizer:
    """AMSGrad (Reddi et al. 2018): Adam that divides by the largest mean square so far."""
    return _fastest(partial(optim.Adam, lr=0.0, amsgrad=True), groups)


def radam(groups: Groups, settings: TrainParameters) -> optim.Optimizer:
    """RAdam (Liu et al. 2020): Adam that warms up by itself; weight decay stands beside the gradient, as theirs does."""
    return _fastest(partial(optim.RAdam, lr=0.0, decoupled_weight_decay=True), groups)


def nadam(groups: Groups, settings: TrainParameters) -> optim.Optimizer:
    """NAdam (Dozat 2016): Adam with Nesterov's momentum; weight decay stands beside the gradient."""
    return _fastest(partial(optim.NAdam, lr=0.0, decoupled_weight_decay=True), groups)


def rmsprop(groups: Groups, settings: TrainParameters) -> optim.Optimizer:
    """RMSprop (Tieleman and Hinton 2012) with momentum; weight decay enters the gradient."""
    return _fastest(partial(optim.RMSprop, lr=0.0, momentum=settings.momentum), groups)


def adagrad(groups: Groups, settings: TrainParameters) -> optim.Optimizer:
    """Adagrad (Duchi et al. 2011); weight decay enters the gradient."""
    return _fastest(partial(optim.Adagrad, lr=0.0), groups)


OPTIMIZERS: dict[str, Callable[[Groups, TrainParameters], optim.Optimizer]] = {
    "sgd": sgd,
    "adam": adam,
    "adamw": adamw,
    "amsgrad": amsgrad,
    "radam": radam,
    "nadam": nadam,
    "rmsprop": rmsprop,
    "adagrad": adagrad,
}


# For networks narrower than 32. sgd's is nnU-Net's; the last three did best, or near it, among some rates in runs of
# 150 to 1000 steps on synthetic images. RAdam holds its steps back for about a thousand; RMSprop's momentum makes ten of one.
_RATE, _RATES = 0.004, {"sgd": 0.01, "radam": 0.02, "rmsprop": 0.0004, "adagrad": 0.04}


def rate_for(settings: TrainParameters, width: int | None) -> float:
    """Return the learning rate that suits an optimizer and a width (found on short runs).

    None is the width of all networks but the U-Net: they get what tuned smp's U-Net best from nothing (docs/networks.md).

    >>> [rate_for(TrainParameters(), width) for width in (8, 32, None)]
    [0.004, 0.002, 0.001]
    """
    rate = _RATES.get(settings.optimizer, _RATE)
    if settings.optimizer == "sgd":
        return rate
    return rate / 4 if width is None else rate / 2 if width >= 32 else rate


def _fastest(build: Implementation, groups: Groups) -> optim.Optimizer:
    """Return the optimizer in its fastest implementation that these weights can have.

    For a network 8 wide a fused step takes a quarter of the time of a plain one on the CPU, one over lists of
    weights two thirds. Classes, devices and versions of torch differ in what they have, so a step is tried.
    """
    like = next(weight for group in groups for weight in group["params"])
    for implementation in ({"fused": True}, {"foreach": True}):
        trial = nn.Parameter(torch.zeros(1, dtype=like.dtype, device=like.device))
        trial.grad = torch.zeros_like(trial)
        try:
            build([trial], **implementation).step()
        except (TypeError, RuntimeError):
            continue
        return _keeping(build(groups, **implementation))
    return _keeping(build(groups))


def _keeping(optimizer: optim.Optimizer) -> optim.Optimizer:
    """Let the optimizer keep its implementation when it takes over a state, which may be of another device."""
    own = {name: optimizer.defaults[name] for name in ("fused", "foreach") if name in optimizer.defaults}

    def keep(_: optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
        return state | {"param_groups": [group | own for group in state["param_groups"]]}

    optimizer.register_load_state_dict_pre_hook(keep)
    return optimizer
