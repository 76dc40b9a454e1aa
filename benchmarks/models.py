"""Compares the networks: size, work, speed of learning and of inference, and mean IoU after equal steps.

    python benchmarks/models.py DATA OUT [--networks "unet,unet width=32,smp/unet encoder=resnet18"] [--device cpu] [--threads 2]
                                [--sets nist_cells,synth_lines] [--steps 1500] [--seeds 0,1,2] [--table]

DATA holds a folder a data set, and the images are dealt as in ablation.py: what is scored was seen by neither prepare nor
train. A network is a name of `patchseg models`, and its settings behind it; without any they are what `train` plans on that
device, for patches of 96 (the U-Net is 8 wide on the CPU, 32 wide on CUDA).

Of each network is told, one after the other, so that none takes time from another:

    parameters, GFLOPs   as `patchseg models` tells them: of 512 x 512 pixels, a multiply-add counted as 2
    steps a second       of `Learner.learn` with augmented patches of 96 x 96 RGB, 3 classes, in batches of 4 (CUDA: 16)
    megapixels a second  of `Predictor` on batches of RGB tiles of 256 x 256, batch norms folded, tiles counted as they are
    mean IoU             over all pixels of the test images, after train (augmented `standard`), infer and evaluate by the command
                         line, all with the same steps, batches and order of patches; seeds change weights and order

Speeds are medians over blocks of at least half a second, --seconds in all. With --steps 0 nothing is scored, and no DATA is read.
What is complete is a line of OUT/results.jsonl, and is not measured again; a run that was interrupted goes on where its last
checkpoint stands. With --table, or once all is run, all of it is printed as Markdown. 1500 steps of the U-Net, and what is to be
done around them, take two cores a minute and a half; networks of 60 GFLOPs ten times as long.
"""

import argparse
import json
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import torch
from ablation import Run, mean_and_deviation, patches, patchseg, prepare, split
from training import write_images

from patchseg import device as devices
from patchseg.inference.predictor import Predictor
from patchseg.models import MODELS, defaults
from patchseg.models.facts import facts_of
from patchseg.models.folding import folded
from patchseg.parameters import (
    AugmentParameters,
    ModelParameters,
    PrepareParameters,
    TrainParameters,
)
from patchseg.patches.prepare import prepare as cut
from patchseg.patches.store import PatchFile
from patchseg.training.batches import Batches
from patchseg.training.learner import Learner

SIDE, TILE = 96, 256
BLOCK = 0.5  # seconds
WARM_UP = 3
VALIDATIONS = 5
SPEED = "speed"

Line = dict[str, Any]


def settings_of(label: str, device: str) -> dict[str, Any]:
    """Return the section `model` of a network such as "unet width=32".

    >>> settings_of("unet levels=5", "cpu")
    {'name': 'unet', 'width': 8, 'levels': 5, 'norm': 'batch'}
    """
    name, *more = label.split()
    if name not in MODELS:
        raise ValueError(f"{name} is none of {', '.join(MODELS)}")
    planned = {"width": 32 if device == "cuda" else 8, "levels": 4, "norm": "batch"}
    given = dict(part.split("=", 1) for part in more)
    settings = planned if "levels" in defaults(name) else {}
    return {"name": name} | settings | {key: _value(text) for key, text in given.items()}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def rate_of(step: Callable[[], object], device: torch.device, seconds: float) -> float:
    """Return the steps a second, the median over blocks of half a second and more."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    for _ in range(WARM_UP):
        step()
    wait()
    rates, start = [], time.perf_counter()
    while time.perf_counter() - start < seconds or not rates:
        begun, count = time.perf_counter(), 0
        while time.perf_counter() - begun < BLOCK:
            step()
            wait()
            count += 1
        rates.append(count / (time.perf_counter() - begun))
    return statistics.median(rates)


def speed(label: str, file: PatchFile, device: torch.device, seconds: float) -> Line:
    """Return what a network takes to learn and to infer."""
    settings, batch = settings_of(label, device.type), batch_for(device.type)
    model = ModelParameters.model_validate(settings)
    # The rate is next to none, so that no network runs away while the clock runs.
    train = TrainParameters(batch=batch, rate=1e-7, loss="ce+dice", schedule="constant")
    learner = Learner.of(file, train, model, device)
    source = Batches(file, train, device=device, augment=AugmentParameters(strength="standard"))
    learner.keep_average(0.99)
    learning = rate_of(lambda: learner.learn(source.read(learner.step), progress=0.5), device, seconds)
    source.close()
    predictor = Predictor([folded(learner.network.eval())], device, learner.precision)
    count = devices.tile_batch(device, TILE)
    tiles = torch.randint(0, 256, (count, TILE, TILE, len(file.head.channels)), dtype=torch.uint8)
    inferring = rate_of(lambda: predictor(tiles), device, seconds)
    facts = facts_of(learner.spec)
    return {
        "parameters": facts.parameters, "gflops": facts.gflops, "batch": batch, "patch": SIDE, "precision": learner.precision,
        "steps_per_second": learning, "megapixels_per_second": inferring * count * TILE**2 / 1e6,
    }  # fmt: skip


def batch_for(device: str) -> int:
    """Return the patches of a step."""
    return 16 if device == "cuda" else 4


def patches_for_speed(out: Path) -> Path:
    """Return patches of 96 x 96 RGB, 3 classes, that are made of synthetic images where they are not there."""
    folder = out / "speed"
    path = folder / "patches.h5"
    if not path.exists():
        write_images(folder)
        settings = PrepareParameters(output=str(path), patch=SIDE, validation=0.0)
        cut(folder / "images", folder / "masks", parameters=settings)
    return path


def scores(run: Run, data: Path, out: Path, options: argparse.Namespace) -> Line:
    """Train, infer and evaluate one run, or what is left of it; its recipe is its network."""
    sides, source = split(data, run.set, out), patches(out, run.set, "")
    prepare(source, sides.wanted, "")
    folder = out / run.folder
    folder.mkdir(parents=True, exist_ok=True)
    sections = {"model": settings_of(run.recipe, options.device), "augment": {"strength": "standard"}}
    (folder / "parameters.json").write_text(json.dumps(sections, indent=1))
    where = ["--threads", options.threads, "--device", options.device]
    flags = f"--resume --name run -b {batch_for(options.device)} --steps {run.steps} --seed {run.seed} --centred 0"
    flags += f" --epoch-steps {-(-run.steps // VALIDATIONS)}"
    patchseg(["train", source, *shlex.split(flags), *where], folder)
    best = folder / "checkpoints/run/best.pt"
    patchseg(["infer", sides.images, "-m", best, "-o", "masks", "--overwrite", *where], folder)
    patchseg(["evaluate", "masks", sides.truth, "--overwrite"], folder)
    found = json.loads((folder / "masks/scores.json").read_text())
    return {
        "mean_iou": found["mean_iou"],
        "classes": {item["name"]: item["iou"] for item in found["classes"]},
    }


def results(out: Path) -> list[Line]:
    """Return what is complete."""
    file = out / "results.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def measure(data: Path, out: Path, options: argparse.Namespace) -> int:
    """Measure what is not there yet, network by network, and return how much has failed."""
    device, failed = torch.device(options.device), 0
    for label in options.networks:
        runs = list(product(options.sets, options.seeds)) if options.steps else []
        for name, seed in [(SPEED, 0), *runs]:
            key = {"network": label, "device": options.device, "set": name, "seed": seed}
            key["steps"] = 0 if name == SPEED else options.steps
            if any(key.items() <= line.items() for line in results(out)):
                continue
            start = time.perf_counter()
            try:
                if name == SPEED:
                    with PatchFile(patches_for_speed(out)) as file:
                        line = speed(label, file, device, options.seconds)
                else:
                    line = scores(Run(name, label, seed, options.steps), data, out, options)
            except Exception as error:  # noqa: BLE001 - one network that fails shall not keep the others from being measured
                failed += 1
                print(f"{label}, {name}: failed ({type(error).__name__}: {error})", flush=True)
                continue
            with (out / "results.jsonl").open("a") as file_of_results:
                file_of_results.write(json.dumps(key | line) + "\n")
            print(f"{label}, {name}, seed {seed}: {time.perf_counter() - start:.0f} s", flush=True)
    return failed


def table(out: Path, options: argparse.Namespace) -> str:
    """Return the results as Markdown."""
    sets = options.sets if options.steps else []
    heads = [
        "network",
        "parameters",
        "GFLOPs",
        "steps/s",
        "patches/s",
        "megapixels/s",
        *(f"{s}, mean IoU" for s in sets),
    ]
    rows, found = [heads, ["---"] * len(heads)], results(out)
    for label in options.networks:
        mine = [line for line in found if (line["network"], line["device"]) == (label, options.device)]
        known = next((line for line in mine if line["set"] == SPEED), None)
        cells = ["-"] * 5
        if known:
            rate = known["steps_per_second"]
            cells = [
                f"{known['parameters']:,}", f"{known['gflops']:.2f}", f"{rate:.2f}", f"{rate * known['batch']:.1f}",
                f"{known['megapixels_per_second']:.3f}",
            ]  # fmt: skip
        for name in sets:
            scored = [line for line in mine if (line["set"], line["steps"]) == (name, options.steps)]
            cells.append(mean_and_deviation([line["mean_iou"] for line in scored]))
        rows.append([label, *cells])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def told(options: argparse.Namespace) -> str:
    """Return what the numbers are of."""
    device = torch.device(options.device)
    return (
        f"{devices.describe(device)}, torch {torch.__version__}; steps of "
        f"{batch_for(options.device)} patches of {SIDE} x {SIDE}; tiles of {TILE} x {TILE}; {options.steps} steps to learn, seeds "
        f"{', '.join(map(str, options.seeds))}"
    )


def main() -> int:
    """Measure what is asked for, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    for flag, default in (
        ("networks", ",".join(MODELS)),
        ("sets", "nist_cells,synth_lines"),
        ("seeds", "0,1,2"),
    ):
        parser.add_argument(f"--{flag}", default=default, help=f"by commas [{default}]")
    for flag, number in (("steps", 1500), ("threads", 2)):
        parser.add_argument(f"--{flag}", type=int, default=number, help=f"[{number}]")
    there = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", choices=["cpu", "cuda"], default=there, help="[cuda where there is one]")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement of speed [5]")
    parser.add_argument("--table", action="store_true", help="only print what is there")
    options = parser.parse_args()
    for name in ("networks", "sets", "seeds"):
        setattr(options, name, [part.strip() for part in getattr(options, name).split(",")])
    options.seeds = [int(seed) for seed in options.seeds]
    try:
        for label in options.networks:
            ModelParameters.model_validate(settings_of(label, options.device))
    except ValueError as error:
        parser.error(f"--networks: {error}")
    devices.set_threads(options.threads)
    devices.keep_freed()
    out: Path = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    failed = 0 if options.table else measure(options.data.resolve(), out, options)
    print(f"\n{told(options)}\n\n{table(out, options)}")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
