"""Networks from raw pixels (N, C, H, W) to logits (N, K, H, W), by name."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from patchseg.errors import DataError
from patchseg.models.unet import UNet

MODELS: dict[str, type[nn.Module]] = {"unet": UNet}


def build(spec: Mapping[str, Any]) -> nn.Module:
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
