"""Networks from raw pixels (N, C, H, W) to logits (N, K, H, W), by name."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from patchseg.errors import DataError
from patchseg.models.enet import ENet
from patchseg.models.lite_hrnet import lite_hrnet_18, lite_hrnet_s, lite_hrnet_x
from patchseg.models.network import Network
from patchseg.models.segnet import SegNet
from patchseg.models.smp import LibraryNetwork
from patchseg.models.unet import UNet

__all__ = ["MODELS", "Network", "build", "defaults", "spec_of"]

MODELS: dict[str, Callable[..., Network]] = {
    "unet": UNet,
    "enet": ENet,
    "segnet": SegNet,
    "lite_hrnet_s": lite_hrnet_s,
    "lite_hrnet_18": lite_hrnet_18,
    "lite_hrnet_x": lite_hrnet_x,
    "smp/unet": partial(LibraryNetwork, "unet"),
    "smp/unetplusplus": partial(LibraryNetwork, "unetplusplus"),
    "smp/manet": partial(LibraryNetwork, "manet"),
    "smp/linknet": partial(LibraryNetwork, "linknet"),
    "smp/fpn": partial(LibraryNetwork, "fpn"),
    "smp/pspnet": partial(LibraryNetwork, "pspnet"),
    "smp/deeplabv3": partial(LibraryNetwork, "deeplabv3"),
    "smp/deeplabv3plus": partial(LibraryNetwork, "deeplabv3plus"),
    "smp/pan": partial(LibraryNetwork, "pan"),
    "smp/upernet": partial(LibraryNetwork, "upernet"),
    "smp/segformer": partial(LibraryNetwork, "segformer", encoder="mit_b0"),
    "smp/dpt": partial(LibraryNetwork, "dpt", encoder="tu-vit_small_patch16_224"),
}


def build(spec: Mapping[str, Any]) -> Network:
    """Build the network that a checkpoint describes, with fresh weights.

    Args:
        spec: The network's name, and its settings under the names of its constructor, such as
            {"name": "unet", "channels": 1, "classes": 3, "width": 16, "levels": 4, "norm": "batch"}.

    Raises:
        DataError: No network has this name.

    >>> build({"name": "unet", "channels": 1, "classes": 3, "width": 4, "levels": 4, "norm": "none"}).factor
    8
    """
    settings = dict(spec)
    name = settings.pop("name", None)
    if name not in MODELS:
        raise DataError(
            f'the checkpoint describes a network "{name}", but this patchseg has only {", ".join(MODELS)}; '
            "read it with the (newer) patchseg that wrote it"
        )
    return MODELS[name](**settings)


def defaults(name: str) -> dict[str, Any]:
    """Return the settings that a network has, with their defaults, but for channels and classes.

    >>> defaults("unet")["levels"]
    4
    """
    found = inspect.signature(MODELS[name]).parameters.values()
    return {setting.name: setting.default for setting in found if setting.default is not setting.empty}


def spec_of(settings: Mapping[str, Any], channels: int, classes: int) -> dict[str, Any]:
    """Return what `build` takes: of the section `model` what its network has a setting for.

    >>> spec_of({"name": "unet", "width": 4, "levels": 3, "norm": "batch", "encoder": None}, 1, 2)["width"]
    4
    >>> spec_of({"name": "smp/fpn", "width": None, "encoder": None}, 1, 2)
    {'name': 'smp/fpn', 'encoder': 'resnet34', 'channels': 1, 'classes': 2}
    """
    name = settings["name"]
    mine = {key: settings[key] for key in defaults(name) if settings.get(key) is not None}
    return {"name": name} | defaults(name) | mine | {"channels": channels, "classes": classes}
