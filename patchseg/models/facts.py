"""What is known of a network before it learns: its size, its work, how far it sees, which weights it can begin with."""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from patchseg import device as devices
from patchseg.errors import UsageError, did_you_mean
from patchseg.models import build
from patchseg.models.reach import sight
from patchseg.models.smp import library

SIDE = 512  # rows and columns of the image by which work is counted
_TIMM = "tu-"  # before the name of an encoder that segmentation-models-pytorch takes from timm


@dataclass(frozen=True)
class Facts:
    """What is known of one network.

    Attributes:
        spec: What `models.build` made it of.
        parameters: Numbers that it learns.
        gflops: 10^9 operations for an image of SIDE x SIDE, a multiply-add counted as 2.
        receptive_field: Rows of input that decide a row of output, on average; None where the whole tile does.
        exact: Whether blending can be exact, so that tiles give what the whole image gives.
        weights: Names of the pretrained weights that there are of its encoder.
    """

    spec: dict[str, Any]
    parameters: int
    gflops: float
    receptive_field: float | None
    exact: bool
    weights: tuple[str, ...]


@dataclass(frozen=True)
class Encoder:
    """What is known of one encoder of segmentation-models-pytorch; the fields are as those of `Facts`."""

    name: str
    parameters: int
    gflops: float
    weights: tuple[str, ...]


def facts_of(spec: Mapping[str, Any]) -> Facts:
    """Build a network, with random weights, and look at it.

    Args:
        spec: As `models.build` takes it.

    Raises:
        DataError: No network has this name.
        UsageError: It cannot be built with these settings, or a package that it needs is not installed.
    """
    with devices.seeded(0):
        network = build(spec).eval()
    seen, halo = sight(network)
    encoder = spec.get("encoder")
    return Facts(
        dict(spec), parameters_of(network), gflops(network, spec["channels"]), seen, halo is not None,
        () if encoder is None else weights_of(encoder),
    )  # fmt: skip


def parameters_of(network: nn.Module) -> int:
    """Return how many numbers a network learns.

    >>> parameters_of(nn.Conv2d(3, 8, 5))  # 8 x (3 x 5 x 5 + 1)
    608
    """
    return sum(weight.numel() for weight in network.parameters())


def gflops(network: nn.Module, channels: int) -> float:
    """Return the 10^9 operations of convolutions and matrix products for an image of SIDE x SIDE.

    A multiplication and the addition after it count as 2, as in `torch.utils.flop_counter`; papers often count them as 1,
    and call that MACs. Norms, activations and resampling are left out. Nothing is computed: the network is moved to the
    meta device, whose tensors have shapes only, and stays there.

    >>> gflops(nn.Conv2d(3, 8, 5, padding=2), 3)  # 2 x 512 x 512 x 8 x 3 x 5 x 5 / 10^9
    0.3145728
    """
    network.to("meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.empty(1, channels, SIDE, SIDE, device="meta"))
    return float(counter.get_total_flops()) / 1e9


def encoders(text: str = "", *, channels: int = 3) -> Iterator[Encoder]:
    """Yield the encoders of segmentation-models-pytorch whose names hold a text, one as soon as it has been looked at.

    Those that it takes from timm, of which there are more than a thousand, are looked for where the text begins with
    `tu-`. What cannot be built for images of SIDE x SIDE is left out.

    Raises:
        UsageError: The package is not installed, or no encoder has such a name.
    """
    names = _names(text)
    if not names:
        hint = did_you_mean(text, _names(_TIMM if text.startswith(_TIMM) else ""))
        raise UsageError(
            f"--encoders {text}: no encoder has this in its name{hint or '; tu- before it looks among those of timm, too'}"
        )
    for name in names:
        encoder = _built(name, channels)
        if encoder is not None:
            yield encoder


def weights_of(encoder: str) -> tuple[str, ...]:
    """Return the names of the pretrained weights that there are of an encoder; nothing is fetched.

    Raises:
        UsageError: The package segmentation-models-pytorch is not installed.
    """
    if encoder.startswith(_TIMM):
        library()
        import timm

        name, _, tag = encoder.removeprefix(_TIMM).partition(".")
        found = [known.partition(".")[2] for known in timm.list_pretrained(f"{name}.*")]
        return tuple(known for known in found if tag in ("", known))
    return tuple(library().encoders.encoders.get(encoder, {}).get("pretrained_settings", ()))


def _names(text: str) -> list[str]:
    found = library()
    if not text.startswith(_TIMM):
        return [name for name in found.encoders.encoders if text.lower() in name]
    import timm

    return [_TIMM + name for name in timm.list_models(f"*{text.removeprefix(_TIMM)}*")]


def _built(name: str, channels: int) -> Encoder | None:
    """Return an encoder's facts; None where it takes no image of SIDE x SIDE, or gives no features."""
    make = library().encoders.get_encoder
    with warnings.catch_warnings(), devices.seeded(0):
        warnings.simplefilter("ignore")  # of older names, which still work
        try:
            encoder = make(name, in_channels=channels, weights=None)
            return Encoder(name, parameters_of(encoder), gflops(encoder, channels), weights_of(name))
        except (RuntimeError, ValueError, AssertionError, AttributeError, TypeError, KeyError):
            return None
