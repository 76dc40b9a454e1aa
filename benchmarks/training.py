"""Times a step of training against the bare network: forward, backward and optimizer on one fixed batch.

The step is what the loop does: patches drawn from memory, the seeded step, ce+dice, clipping, the running loss. The
bare network learns the sum of its logits. The two take turns in one run; told are medians, and the ratio is the
median of those of the pairs. The lines below take the step apart: what each part takes alone, by the bare network.

    python benchmarks/training.py
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from patchseg.imaging import Box
from patchseg.labels.classes import Classes
from patchseg.parameters import ModelParameters, TrainParameters
from patchseg.patches.store import Head, PatchFile, PatchWriter
from patchseg.training.batches import Batches
from patchseg.training.learner import Learner
from patchseg.training.losses import loss_of

PATCHES, SIDE, CLASSES = 200, 96, 3
SETTINGS = TrainParameters(batch=4, rate=0.004)
NETWORK = ModelParameters(width=8, levels=4, norm="batch")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
SECONDS = 20.0  # of taking turns


def write_patches(path: Path) -> None:
    """Write noise as patches."""
    draw = np.random.default_rng(0)
    with PatchWriter(path, patch=SIDE, channels=1, dtype=np.dtype(np.uint8)) as writer:
        writer.add_source("noise", "", "noise", "train")
        images = draw.integers(0, 256, (PATCHES, SIDE, SIDE, 1), dtype=np.uint8)
        masks = draw.integers(0, CLASSES, (PATCHES, SIDE, SIDE), dtype=np.uint8)
        boxes = [Box(0, 0, SIDE, SIDE)] * PATCHES
        writer.add_patches("train", images, masks, source=0, boxes=boxes, flips=[0] * PATCHES)
        classes = Classes(("a", "b", "c"), (0, 1, 2), ("#000000", "#e69f00", "#56b4e9"))
        channels = [{"name": "gray", "mean": 128.0, "std": 74.0}]
        writer.finish(Head(SIDE, 1.0, 0, classes, channels))


def seconds(work: Callable[[], object]) -> float:
    """Return how long some work takes, the device's part included."""
    start = time.perf_counter()
    work()
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def bare(learner: Learner, batches: Batches) -> Callable[[], None]:
    """Return a step of the bare network on one batch."""
    images, _ = batches.read(0)
    network, optimizer = learner.network, learner.optimizer

    def step() -> None:
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=learner.precision == "bf16"):
            logits = network(images)
        optimizer.zero_grad()
        logits.sum().backward()
        optimizer.step()

    return step


def parts(learner: Learner, batches: Batches) -> dict[str, Callable[[], object]]:
    """Return what a step does beside the network, each by itself."""
    _, masks = batches.read(0)
    shape = (SETTINGS.batch, CLASSES, SIDE, SIDE)
    logits = torch.randn(shape, device=DEVICE).to(memory_format=torch.channels_last).requires_grad_()
    weights = list(learner.network.parameters())
    return {
        "read a batch": lambda: batches.read(1),
        SETTINGS.loss: lambda: loss_of(SETTINGS.loss)(logits, masks, None).backward(),
        "clip": lambda: nn.utils.clip_grad_norm_(weights, SETTINGS.clip),
    }


def main() -> None:
    """Print steps a second of both, their ratio, and the milliseconds of the parts."""
    if DEVICE.type == "cpu":
        torch.set_num_threads(min(2, torch.get_num_threads()))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "patches.h5"
        write_patches(path)
        with PatchFile(path) as file:
            learner, other = (Learner.of(file, SETTINGS, NETWORK, DEVICE) for _ in range(2))
            batches = Batches(file, batch=SETTINGS.batch, seed=0, device=DEVICE)
            other.rate = SETTINGS.rate or 0.0
            ours = lambda: learner.learn(*batches.read(learner.step), progress=0.5)  # noqa: E731
            theirs = bare(other, batches)
            for work in (ours, theirs, ours, theirs):
                work()
            pairs, until = [], time.perf_counter() + SECONDS
            while time.perf_counter() < until:
                pairs.append((seconds(ours), seconds(theirs)))
            loop, network = (statistics.median(times) for times in zip(*pairs, strict=True))
            ratio = statistics.median(a / b for a, b in pairs)
            print(
                f"batch {SETTINGS.batch} of {SIDE} x {SIDE}, width 16, {learner.precision} on {DEVICE.type}, "
                f"{torch.get_num_threads()} threads, {len(pairs)} pairs"
            )
            print(
                f"loop {1 / loop:.2f} steps/s, bare network {1 / network:.2f}, the loop takes {ratio:.3f} times as long"
            )
            for name, work in parts(learner, batches).items():
                took = statistics.median(seconds(work) for _ in range(15))
                print(f"  {name:14}{1000 * took:8.2f} ms {took / network:8.1%}")


if __name__ == "__main__":
    main()
