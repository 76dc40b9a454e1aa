"""What turns gradients into steps, by name."""

from collections.abc import Callable, Iterable

from torch import nn, optim

from patchseg.parameters import TrainParameters

Parameters = Iterable[nn.Parameter]


def sgd(weights: Parameters, settings: TrainParameters) -> optim.Optimizer:
    """Stochastic gradient descent with momentum."""
    return optim.SGD(weights, lr=0.0, momentum=settings.momentum, weight_decay=settings.weight_decay)


def adam(weights: Parameters, settings: TrainParameters) -> optim.Optimizer:
    """Adam (Kingma and Ba 2015); weight decay enters the gradient."""
    return optim.Adam(weights, lr=0.0, weight_decay=settings.weight_decay)


def adamw(weights: Parameters, settings: TrainParameters) -> optim.Optimizer:
    """AdamW (Loshchilov and Hutter 2019); weight decay stands beside the gradient."""
    return optim.AdamW(weights, lr=0.0, weight_decay=settings.weight_decay)


OPTIMIZERS: dict[str, Callable[[Parameters, TrainParameters], optim.Optimizer]] = {
    "sgd": sgd,
    "adam": adam,
    "adamw": adamw,
}


def rate_for(settings: TrainParameters, width: int) -> float:
    """Return the learning rate that suits an optimizer and a width (found on short runs: docs/results.md)."""
    if settings.optimizer == "sgd":
        return 0.01
    return 0.004 if width < 32 else 0.002
