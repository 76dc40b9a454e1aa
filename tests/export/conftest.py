import numpy as np
import pytest
import torch

from patchseg.export.graph import graph_of
from patchseg.imaging import ArraySource
from patchseg.inference.engine import Engine
from patchseg.labels.classes import Classes
from patchseg.models import build
from patchseg.models.checkpoint import Checkpoint
from patchseg.parameters import InferParameters
from patchseg.progress import Progress

CPU = torch.device("cpu")
COLORS = ("#000000", "#e69f00", "#56b4e9")
MIDDLES = {"uint8": 128.0, "uint16": 30000.0}


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def make():
    """Make the checkpoint of a small U-Net with random weights and statistics, whose classes lie far apart."""

    def make(channels=1, classes=3, *, dtype="uint8", levels=3, norm="batch", **given):
        spec = {
            "name": "unet", "channels": channels, "classes": classes, "width": 4, "levels": levels, "norm": norm,
            "deep_supervision": False,
        }  # fmt: skip
        draw = torch.Generator().manual_seed(0)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = build(spec)
        middle = MIDDLES[dtype]
        network.set_normalization([middle] * channels, [middle / 2] * channels)
        for name, weight in network.state_dict().items():
            if "running" in name:
                low, high = (-0.1, 0.1) if "mean" in name else (0.5, 1.5)
                weight.uniform_(low, high, generator=draw)
        # Equals are rare so: rounding decides no pixel.
        network.head.weight.data *= 3
        with torch.no_grad():
            pixels = middle / 2 * torch.randn(1, channels, 64, 64, generator=draw) + middle
            network.head.bias -= network.eval()(pixels).mean(dim=(0, 2, 3))
        known = {
            "parameters": {"train.loss": {"value": "ce+dice", "source": "default"}},
            "patch": 16,
            "scale": 1.0,
        }
        return Checkpoint(
            model=spec,
            classes=Classes(tuple(f"class {i}" for i in range(classes)), tuple(range(classes)), COLORS[:classes]),
            channels=[
                {"name": f"channel {i}", "mean": middle, "std": middle / 2, "min": 0.0, "max": 2 * middle}
                for i in range(channels)
            ],
            dtype=dtype, weights=network.state_dict(), **known | given,
        )  # fmt: skip

    return make


@pytest.fixture(scope="session")
def graph(make):
    """Return the ONNX file of `make(...)`, made once for all tests."""
    made = {}

    def graph(*sizes, result="logits", **given):
        key = (*sizes, result, *given.items())
        if key not in made:
            made[key] = graph_of(make(*sizes, **given), result)[0]
        return made[key]

    return graph


@pytest.fixture(scope="session")
def noise():
    """Return smooth noise over the whole range of a dtype, (h, w, C)."""

    def noise(height, width, channels=1, dtype="uint8"):
        draw = np.random.default_rng(0).random((height // 4 + 1, width // 4 + 1, channels))
        pixels = np.kron(draw, np.ones((4, 4, 1)))[:height, :width]
        return (pixels * np.iinfo(dtype).max).astype(dtype)

    return noise


@pytest.fixture(scope="session")
def predicted():
    """Return the probabilities that a checkpoint or a file gives of an image, (K, H, W)."""

    def predicted(checkpoint, pixels, **given):
        settings = InferParameters(**{"threads": 1, "tile": 48} | given)
        engine = Engine.of([checkpoint], settings, CPU)
        return torch.cat(list(engine.rows(ArraySource(pixels))), dim=1)

    return predicted


class Told(Progress):
    """Remembers the lines."""

    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


@pytest.fixture
def hear():
    """Return a progress that remembers."""
    return Told()
