"""Times the step of `patchseg train` against the bare network, and against two usual ways to feed the same network.

All learn from the same synthetic RGB patches of 96 x 96 pixels, 3 classes, by ce+dice and AdamW:

    bare      one batch in memory: forward, loss, backward, fused optimizer, at the precision of `train`; nothing else
    patchseg  what the loop of `train` does: a batch that is read and augmented (`standard`), and `Learner.learn`
    files     a PNG a patch and one of its mask, a DataLoader of 4 workers, no augmentation; float32, an optimizer that is
              not fused, the loss read at every step: the way of a short script. Masks hold indices, not colours
    monai     whole images in a CacheDataset, the usual random transforms, 4 crops an image, 0 or 4 workers, whichever
              is faster; the step is that of `bare`. Only where MONAI is installed

They take turns in blocks of steps, in one run. Told are medians over the rounds, and the ratio to `bare` as the median
of those of the rounds, with quartiles. Each block begins with steps that are not timed: they use up what workers have
fetched during the turns of the others. Validation and logging are left out. The lines below take the step of patchseg
apart: what each part takes alone, by the bare step. On the CPU a network 8 wide learns from batches of 4, on CUDA one
32 wide from batches of 16.

    python benchmarks/training.py [--pairs N] [--seconds S] [--block STEPS] [--threads N]
"""

import argparse
import importlib.util
import itertools
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from contenders import (
    BATCH,
    CLASSES,
    COST,
    DEVICE,
    NETWORK,
    SETTINGS,
    SIDE,
    WIDTH,
    WORKERS,
    Contender,
    Pixels,
    Step,
    bare,
    batches,
    files,
    monai,
    patchseg,
)
from torch import nn

from patchseg import device as devices
from patchseg.imaging.write import open_writer
from patchseg.parameters import PrepareParameters
from patchseg.patches.prepare import prepare
from patchseg.patches.store import PatchFile
from patchseg.synth import draw
from patchseg.training.learner import Learner

IMAGES = 40
BLOCK = 50 if DEVICE.type == "cuda" else 8
REST = 0.5  # seconds that workers get to fill their queues, before others are timed


def write_images(folder: Path) -> list[tuple[Pixels, Pixels]]:
    """Write synthetic images in three different channels, and masks of indices; return them."""
    pairs = []
    for number in range(IMAGES):
        gray, mask = draw(0, number, 400, 200)
        image = np.stack([gray, 255 - gray, gray // 2], axis=2)
        for name, pixels in (("images", image), ("masks", mask)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            with open_writer(folder / name / f"{number:03}.png", pixels.shape) as writer:
                writer.write(pixels)
        pairs.append((image, mask))
    return pairs


def seconds(contender: Contender, steps: int) -> float:
    """Return the seconds of a step, from a block of them; the device is waited for at its ends only."""
    for _ in range(contender.fetched + 2):
        contender.step()
    wait_for_device()
    start = time.perf_counter()
    for _ in range(steps):
        contender.step()
    wait_for_device()
    took = (time.perf_counter() - start) / steps
    if contender.fetched:
        time.sleep(REST)
    return took


def wait_for_device() -> None:
    """Wait until the device has done what it was told."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def rounds(
    contenders: list[Contender], *, steps: int, count: int, least: float = 0.0
) -> dict[str, list[float]]:
    """Let all take turns, every other round from the last to the first; return the seconds of a step, a list each."""
    times: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    until = time.perf_counter() + least
    for number in itertools.count():
        if number >= count and time.perf_counter() >= until:
            return times
        for contender in contenders[:: -1 if number % 2 else 1]:
            times[contender.name].append(seconds(contender, steps))
    raise AssertionError


def parts(learner: Learner, file: PatchFile) -> dict[str, Step]:
    """Return what a step of patchseg does beside forward and backward, each by itself."""
    plain, augmented, numbers = batches(file, "none"), batches(file, "standard"), itertools.count()
    weights = list(learner.network.parameters())
    assert learner.average is not None
    update = learner.average.update
    shape = (BATCH, CLASSES, SIDE, SIDE)
    logits = torch.randn(shape, device=DEVICE).to(memory_format=torch.channels_last).requires_grad_()
    masks, loss = plain.read(0)[1], torch.zeros((), device=DEVICE)

    def keep_books() -> None:
        devices.seed_step(0, next(numbers))
        learner.rate = 1e-7
        loss.add_(1.0)

    return {
        "read": lambda: plain.read(next(numbers)),
        "read and augment": lambda: augmented.read(next(numbers)),
        "loss, as bare": lambda: COST(logits, masks, None).backward(),
        "clip": lambda: nn.utils.clip_grad_norm_(weights, SETTINGS.clip),
        "average of weights": lambda: update(next(numbers)),
        "optimizer": learner.optimizer.step,
        "bookkeeping": keep_books,
    }


def compare(folder: Path, options: argparse.Namespace) -> None:
    """Print a line a contender, then a line a part."""
    pairs = write_images(folder)
    settings = PrepareParameters(output=str(folder / "patches.h5"), patch=SIDE)
    with PatchFile(prepare(folder / "images", folder / "masks", parameters=settings)) as file:
        learner, source = Learner.of(file, SETTINGS, NETWORK, DEVICE), batches(file, "standard")
        learner.keep_average(0.99)
        fixed = source.read(0)
        contenders = [
            Contender("bare", bare(lambda: fixed[:2])),
            Contender("patchseg", patchseg(learner, source)),
        ]
        contenders.append(files(folder / "files", file))
        if importlib.util.find_spec("monai"):
            usual = [monai(pairs, workers) for workers in (0, WORKERS)]
            tried = rounds(usual, steps=options.block, count=3)
            contenders.append(min(usual, key=lambda one: statistics.median(tried[one.name])))
        print(
            f"batch {BATCH} of {SIDE} x {SIDE} RGB, {file.counts['train']} patches, {WIDTH} wide, {learner.precision} on "
            f"{devices.describe(DEVICE)}, torch {torch.__version__}"
        )
        times = rounds(contenders, steps=options.block, count=options.pairs, least=options.seconds)
        tell(times, options.block)
        source.close()
        tell_parts(parts(learner, file), statistics.median(times["bare"]))
    if not importlib.util.find_spec("monai"):
        print("MONAI is not installed: skipped")


def spread(values: list[float], digits: int) -> str:
    """Return median and quartiles in words."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def tell(times: dict[str, list[float]], block: int) -> None:
    """Print a line a contender."""
    print(f"{len(times['bare'])} rounds of blocks of {block} steps; median (quartiles)")
    print(f"{'':20}{'patches a second':>28}{'times as long as bare':>28}")
    for name, each in times.items():
        ratios = [took / least for took, least in zip(each, times["bare"], strict=True)]
        print(f"{name:20}{spread([BATCH / took for took in each], 1):>28}{spread(ratios, 3):>28}")


def tell_parts(work: dict[str, Step], step: float, calls: int = 10) -> None:
    """Print a line a part: milliseconds, and the share of the bare step."""
    for name, part in work.items():
        took = statistics.median(seconds(Contender(name, part), calls) for _ in range(15))
        print(f"  {name:20}{1000 * took:9.3f} ms {took / step:8.1%}")


def main() -> None:
    """Read the options, and compare in a folder that is removed afterwards."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=24, help="rounds at least [24]")
    parser.add_argument("--seconds", type=float, default=0.0, help="go on until so many have passed [0]")
    parser.add_argument("--block", type=int, default=BLOCK, help="steps of a block [8, on CUDA 50]")
    parser.add_argument("--threads", type=int, default=2, help="threads of the CPU [2]")
    options = parser.parse_args()
    devices.set_deterministic(False)
    devices.set_threads(options.threads)
    # As many as there are in the script that is compared, however few cores there are.
    warnings.filterwarnings("ignore", "This DataLoader will create")
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder), options)


if __name__ == "__main__":
    main()
