import multiprocessing

import numpy as np
import pytest
import torch

import patchseg
from patchseg.labels.classes import Classes
from patchseg.models import build
from patchseg.models.checkpoint import Checkpoint
from patchseg.progress import Progress

COLORS = ("#000000", "#e69f00", "#56b4e9")


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def make():
    """Make the checkpoint of a small U-Net with random weights, seed 0."""

    def make(channels=1, classes=2, *, dtype="uint8", patch=16, scale=1.0, width=4, levels=2):
        spec = {
            "name": "unet", "channels": channels, "classes": classes, "width": width, "levels": levels, "norm": "none",
        }  # fmt: skip
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = build(spec)
        middle = 128.0 if dtype == "uint8" else 30000.0
        network.set_normalization([middle] * channels, [middle / 2] * channels)
        # Where no feature is left after the last ReLU, all classes would be equal.
        torch.nn.init.uniform_(network.head.bias, -0.05, 0.05, torch.Generator().manual_seed(0))
        return Checkpoint(
            spec,
            Classes(
                tuple(f"class {i}" for i in range(classes)), tuple(range(classes)), COLORS[:classes]
            ),
            [{"name": f"channel {i}", "mean": middle, "std": middle / 2} for i in range(channels)],
            dtype, patch, scale, network.state_dict(),
        )  # fmt: skip

    return make


@pytest.fixture(scope="session")
def naive():
    """Average the probabilities of all tiles of an image in full-size buffers, float64; (K, H, W).

    Predicts one tile at a time; `network` takes (1, C, h, w) and gives logits.
    """

    def naive(pixels, network, grid):
        total, count = None, np.zeros(grid.shape)
        for box in grid:
            tile = torch.from_numpy(pixels[box.slices].transpose(2, 0, 1).astype(np.float32))
            with torch.no_grad():
                probabilities = network(tile[None])[0].double().softmax(0).numpy()
            total = np.zeros((len(probabilities), *grid.shape)) if total is None else total
            total[:, *box.slices] += probabilities
            count[box.slices] += 1
        return total / count

    return naive


class Told(Progress):
    """Remembers the lines and counts the steps of each bar."""

    def __init__(self):
        self.lines, self.bars = [], []

    def say(self, line):
        self.lines.append(line)

    def start(self, label, total):
        self.bars.append([label, total, 0])

    def step(self, count=1, note=""):
        self.bars[-1][2] += count


@pytest.fixture(scope="session")
def hear():
    """Return the class of a progress that remembers, whose `lines` and `bars` tell what it was told."""
    return Told


# What a process runs: a command line, with images of more than 1000 pixels being large ones, of which every row is kept.
COMMAND = """
import os, signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # which those that run behind a shell's back do not have
told = os.open(folder + "/told", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
os.dup2(told, 1), os.dup2(told, 2)
import sys
sys.stdout = sys.stderr = open(told, "w", buffering=1)
os.environ |= environment
os.chdir(folder)
import patchseg.cli
from patchseg.inference import jobs, stage
assert patchseg.__file__ == file
jobs.LARGE, stage._EVERY = 1000, 0
patchseg.cli.run(words)
"""


@pytest.fixture(scope="module")
def launch():
    """Begin a command line in a process of its own: `launch(folder, "infer", ..., RANK="0")`; it tells folder/told.

    The processes are forked off one that has imported everything, since imports take longer than the work.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["patchseg.cli.infer", "scipy.ndimage", "torch.distributed"])
    begun = []

    def launch(folder, *words, **environment):
        folder.mkdir(exist_ok=True)
        names = {
            "words": [str(word) for word in words], "folder": str(folder), "environment": environment,
            "file": patchseg.__file__,
        }  # fmt: skip
        begun.append(context.Process(target=exec, args=(COMMAND, names)))
        begun[-1].start()
        return begun[-1]

    yield launch
    for process in begun:
        process.kill()
        process.join()
        process.close()
