import numpy as np
import pytest
import torch

from patchseg.labels.classes import Classes
from patchseg.models import build
from patchseg.models.checkpoint import Checkpoint
from patchseg.progress import Progress

NAMES = ("background", "line", "ellipse")
COLORS = ("#000000", "#e69f00", "#56b4e9")


@pytest.fixture(scope="session")
def make():
    """Make the checkpoint of a small U-Net with random weights, as clear in its opinions as a trained one."""

    def make(channels=1, *, dtype="uint8", seed=0, scale=1.0, names=NAMES, values=None):
        count = len(names)
        spec = {
            "name": "unet", "channels": channels, "classes": count, "width": 4, "levels": 2, "norm": "none",
        }  # fmt: skip
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = build(spec)
        middle = 128.0 if dtype == "uint8" else 30000.0
        network.set_normalization([middle] * channels, [middle / 2] * channels)
        with torch.no_grad():
            network.head.weight.mul_(30)
            network.head.bias.uniform_(-1, 1, generator=torch.Generator().manual_seed(seed))
        classes = Classes(names, tuple(range(count)) if values is None else values, COLORS[:count])
        known = [
            {"name": "gray" if channels == 1 else f"channel {i}", "mean": middle, "std": middle / 2}
            for i in range(channels)
        ]
        return Checkpoint(spec, classes, known, dtype, 16, scale, network.state_dict())

    return make


@pytest.fixture
def best(make, tmp_path):
    """The file of such a checkpoint for gray images."""
    path = tmp_path / "best.pt"
    make().save(path)
    return path


@pytest.fixture
def blobs():
    """Return a mask (h, w) uint8 of smooth regions of some values, drawn from a seed."""

    def blobs(seed, shape=(40, 48), values=(0, 1, 2, 255)):
        from scipy.ndimage import gaussian_filter

        fields = np.random.default_rng(seed).standard_normal((len(values), *shape))
        smooth = np.stack([gaussian_filter(field, 3) for field in fields])
        return np.array(values, np.uint8)[smooth.argmax(axis=0)]

    return blobs


class Told(Progress):
    """Remembers the lines."""

    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


@pytest.fixture
def hear():
    return Told()
