"""The networks of segmentation-models-pytorch, each with any of its encoders (the extra `smp`).

The library (https://github.com/qubvel-org/segmentation_models.pytorch, MIT) is imported when the first of them is built. Its encoders
are classifiers cut off before their end; names that begin with "tu-" are those of timm. What multiple of pixels a pair of
both needs, and from what size on it works, is found by trying.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from patchseg.errors import UsageError, did_you_mean, first_line
from patchseg.models.network import Network

Statistics = tuple[list[float], list[float]]  # mean and standard deviation of red, green and blue, of 1

_IMAGENET: Statistics = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
_HALF: Statistics = ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5])
# What the library's own weights were trained with, where that is not as usual (its table of pretrained settings, 0.4.0).
_PUBLISHED: dict[str, Statistics] = {
    "dpn": ([124 / 255, 117 / 255, 104 / 255], [1 / (0.0167 * 255)] * 3),
    "inception": _HALF,
    "xception": _HALF,
    "timm-tf_efficientnet_lite": _HALF,
}

# Vision transformers keep to one size unless they are told; which of these an encoder takes, only trying tells.
_ANY_SIZE: tuple[dict[str, bool], ...] = ({}, {"strict_img_size": False}, {"dynamic_img_size": True})
_MOST = 8  # steps of the encoder that a smallest image may have; PAN needs them


class LibraryNetwork(Network):
    """A network of the library, from raw pixels to logits.

    Args:
        architecture: Its name there, such as "unet".
        channels: C, of the image.
        classes: K, of the mask.
        encoder: The encoder's name there, such as "resnet34" or "tu-convnext_tiny".

    Raises:
        UsageError: The package is not installed, or the encoder is unknown, or does not go with the architecture.
    """

    def __init__(self, architecture: str, *, channels: int, classes: int, encoder: str = "resnet34") -> None:
        super().__init__(channels)
        _require_known(encoder)
        self.model, self.factor, self.least = _built(architecture, encoder, channels, classes)

    idle = True  # encoders are cut off classifiers, some with an end that nothing asks for

    @property
    def encoder(self) -> nn.Module:
        """What sees the image, and may be pretrained."""
        return self.model.get_submodule("encoder")

    @property
    def stages(self) -> list[nn.Module]:
        """The encoder, which gives a list of features that begins with the image itself; see `Network`."""
        return [self.encoder]

    def decide(self, features: Tensor) -> Tensor:
        """Return the logits of normalized pixels; see `Network`."""
        logits: Tensor = self.model(features)
        return logits


def library() -> Any:
    """Return the package segmentation-models-pytorch, imported when it is first asked for.

    Raises:
        UsageError: It is not installed.
    """
    try:
        import segmentation_models_pytorch as smp
    except ImportError:
        raise UsageError(
            'the networks "smp/..." and their encoders come from the package segmentation-models-pytorch, which is not '
            'installed; `pip install "patchseg[smp]"`'
        ) from None
    return smp


def statistics_of(encoder: str) -> Statistics:
    """Return the mean and standard deviation, per channel of 1, that an encoder's published weights were trained with.

    >>> statistics_of("dpn68")[1][0] == 1 / (0.0167 * 255)
    True
    """
    if encoder.startswith("tu-"):
        import timm

        known = timm.get_pretrained_cfg(encoder[3:], allow_unregistered=True)
        return (list(known.mean), list(known.std)) if known else _IMAGENET
    return next((found for start, found in _PUBLISHED.items() if encoder.startswith(start)), _IMAGENET)


def download(encoder: str) -> tuple[dict[str, Tensor], str]:
    """Return the weights that the library publishes for an encoder of RGB images, and where they come from.

    Raises:
        UsageError: They cannot be had.
    """
    try:
        with _quiet():
            if encoder.startswith("tu-"):
                import timm

                model = timm.create_model(encoder[3:], pretrained=True)
                return model.state_dict(), f"timm's weights of {encoder[3:]}"
            smp = library()
            known = smp.encoders.encoders[encoder]["pretrained_settings"]
            name = "imagenet" if "imagenet" in known else next(iter(known))
            return smp.encoders.get_encoder(
                encoder, weights=name
            ).state_dict(), f"the weights {name} of {encoder}"
    except Exception as error:  # noqa: BLE001 - two libraries and the network below them fail in any way
        raise UsageError(
            f"model.pretrained: the weights of the encoder {encoder} could not be downloaded ({first_line(error).rstrip('.')}); name a file "
            "that holds them in model.encoder_weights (--encoder-weights), or leave out --pretrained"
        ) from None


def _require_known(encoder: str) -> None:
    """Raise an error unless an encoder is one that is built from its name alone; timm would fetch others."""
    own = library().encoders.get_encoder_names()
    import timm

    if encoder in own or (encoder.startswith("tu-") and timm.is_model(encoder[3:])):
        return
    known = [*own, *(f"tu-{name}" for name in timm.list_models())]
    near = (
        did_you_mean(encoder, known) or "; expected one such as resnet34, efficientnet-b3 or tu-convnext_tiny"
    )
    raise UsageError(f'model.encoder: "{encoder}" is none of the {len(known)} encoders of the library{near}')


def _built(architecture: str, encoder: str, channels: int, classes: int) -> tuple[nn.Module, int, int]:
    """Return the library's network, the multiple that it needs of sides, and its smallest side.

    Raises:
        UsageError: It cannot be built, or gives no mask of the size of an image.
    """
    smp, reason = library(), "it gives no mask of the size of the image"
    for options in _choices(architecture, encoder):
        try:
            with _quiet():
                model: nn.Module = smp.create_model(
                    architecture, encoder, encoder_weights=None, in_channels=channels, classes=classes, **options
                )  # fmt: skip
        except Exception as error:  # noqa: BLE001 - what does not go together fails in any line of two libraries
            reason = reason if options else first_line(error).rstrip(".")
            continue
        steps = _steps(model, channels, classes)
        if steps is not None:
            return model, *steps
    raise UsageError(
        f"model.encoder: {encoder} does not go with smp/{architecture} ({reason}); choose another encoder, such as "
        + ("tu-vit_small_patch16_224" if architecture == "dpt" else "resnet34")
    )


def _choices(architecture: str, encoder: str) -> tuple[dict[str, bool], ...]:
    """Return the options to try one after the other."""
    if not encoder.startswith("tu-"):
        return ({},)
    return ({"dynamic_img_size": True}, {}) if architecture == "dpt" else _ANY_SIZE


@torch.no_grad()
def _steps(model: nn.Module, channels: int, classes: int) -> tuple[int, int] | None:
    """Return the multiple that sides must be of, and the smallest side, as far as trying finds them."""
    model.eval()
    stride = int(model.encoder.output_stride)  # type: ignore[union-attr, arg-type]
    for factor in (stride, 2 * stride):
        for many in (1, 2, 4, _MOST):
            sides = (many * factor, (many + 1) * factor)
            if _gives(model, (1, channels, *sides), (1, classes, *sides)):
                model.train()
                return factor, many * factor
    return None


def _gives(model: nn.Module, given: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    try:
        return tuple(model(torch.zeros(given)).shape) == expected
    except (RuntimeError, AssertionError, ValueError):
        return False


@contextmanager
def _quiet() -> Iterator[None]:
    """Do not hear the libraries' advice about names and options."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
