"""Compares recipes of training at equal steps: prepare, train, infer, evaluate, by the command line.

    python benchmarks/ablation.py DATA OUT [--sets synth_lines,isbi2012_em] [--recipes name,name] [--seeds 0,1,2]
                                  [--steps 1500] [--threads 1] [--jobs 2] [--table]

DATA holds a folder a data set. Test images are those that the authors of `synth_lines` keep for it, slices 24 to 29 of
`isbi2012_em`, and every fifth image in natural order of the others. Nothing of them is seen by prepare or train.

Each recipe is the base in all but one thing; `first issue` alone is without augmentation and without an average of the
weights. A seed is `train.seed`: initial weights, order and augmentation. All seeds of a recipe learn from the same
patches, and so do all recipes whose patches are cut alike, so differences to the base are taken seed by seed.

What is complete is a line of OUT/results.jsonl, and is not run again; a run that was interrupted goes on where its last
checkpoint stands. Jobs run side by side: two of one thread use two cores better than one of two threads. A run of 1500
steps takes a core 60 to 90 s for its steps and 16 s for the rest: all that runs by default takes two idle cores an hour.

With --table, or once all is run, the means over the seeds are told with their standard deviation, as Markdown.
"""

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from patchseg.patches.pairs import find_pairs
from patchseg.progress import counted
from patchseg.training.record import read_metrics

BATCH, VALIDATIONS = 4, 5
SCORES = {"mean_iou": "mean IoU", "mean_iou_foreground": "without background"}


@dataclass(frozen=True)
class Recipe:
    """What a recipe asks for beside the numbers that all have.

    Attributes:
        train: Flags of `train`.
        augment: The section `augment` of parameters.json.
        prepare: Flags of `prepare`.
    """

    train: str = "--centred 0"
    augment: dict[str, Any] = field(default_factory=lambda: {"strength": "standard"})
    prepare: str = ""


BASE = "standard"
RECIPES = {
    BASE: Recipe(),
    "first issue": Recipe(train="--centred 0 --ema 0", augment={"strength": "none"}),
    "light": Recipe(augment={"strength": "light"}),
    "strong": Recipe(augment={"strength": "strong"}),
    "standard without EMA": Recipe(train="--centred 0 --ema 0"),
    "standard with margin": Recipe(prepare="--margin 24"),
    "standard with centred drawing": Recipe(train="--centred 0.33"),
    "standard with CutMix": Recipe(augment={"strength": "standard", "cutmix": 0.5}),
    "norm group": Recipe(train="--centred 0 --norm group"),
    "loss ce": Recipe(train="--centred 0 --loss ce"),
    "loss dice": Recipe(train="--centred 0 --loss dice"),
}
# Numbers of the test images, in natural order, where the authors have not split the set.
TESTED: dict[str, Callable[[int], bool]] = {"isbi2012_em": lambda number: number >= 24}


class Run(NamedTuple):
    """One training: what a line of results.jsonl is known by."""

    set: str
    recipe: str
    seed: int
    steps: int

    @property
    def folder(self) -> Path:
        """Its place in OUT."""
        return Path("runs", self.set, f"{self.recipe.replace(' ', '_')}-{self.steps}-{self.seed}")


class Split(NamedTuple):
    """What `prepare` is given, and what is held out."""

    wanted: list[Path]
    images: Path
    truth: Path


def split(data: Path, name: str, out: Path) -> Split:
    """Return the two sides of a data set; links to test images and a list of the others go into OUT."""
    source, folder = data / name, out / "splits" / name
    if (source / "images/test").is_dir():
        sides = [source / kind / side for side, kind in product(("train", "test"), ("images", "masks"))]
        return Split(sides[:2], *sides[2:])
    tested, lines = TESTED.get(name, lambda number: number % 5 == 0), []
    for side in ("images", "truth"):
        (folder / side).mkdir(parents=True, exist_ok=True)
    for number, pair in enumerate(find_pairs(source / "images", source / "masks")):
        assert pair.mask is not None
        if not tested(number):
            lines.append(f'"{pair.image}" "{pair.mask}"\n')
            continue
        for file, side in ((pair.image, "images"), (pair.mask, "truth")):
            link = folder / side / file.name
            if not link.is_symlink():
                link.symlink_to(file)
    (folder / "train.txt").write_text("".join(lines))
    return Split([folder / "train.txt"], folder / "images", folder / "truth")


def patchseg(command: list[Any], folder: Path) -> None:
    """Run a command in a folder, which gets its output as log.txt."""
    with (folder / "log.txt").open("a") as log:
        print(f"$ patchseg {shlex.join(map(str, command))}", file=log, flush=True)
        line = [sys.executable, "-m", "patchseg", *map(str, command)]
        subprocess.run(line, cwd=folder, check=True, stdout=log, stderr=subprocess.STDOUT)


def patches(out: Path, name: str, flags: str) -> Path:
    """Return where the patches of a set lie that are cut with some flags."""
    return out / "patches" / f"{name}{flags.replace(' ', '')}" / "patches.h5"


def prepare(path: Path, wanted: list[Path], flags: str) -> None:
    """Cut the patches, unless they are there: the file appears whole or not at all."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        numbers = "--per-image 60 --validation 0.1 --overwrite"
        patchseg(["prepare", *wanted, "-o", path, *shlex.split(f"{numbers} {flags}")], path.parent)


def complete(run: Run, sides: Split, out: Path, threads: int) -> dict[str, Any]:
    """Train, infer and evaluate one run, or what is left of it; return its line."""
    recipe, folder = RECIPES[run.recipe], out / run.folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "parameters.json").write_text(json.dumps({"augment": recipe.augment}, indent=1))
    flags = f"--resume --name run -b {BATCH} --steps {run.steps} --epoch-steps {-(-run.steps // VALIDATIONS)}"
    flags += f" --seed {run.seed} --threads {threads} {recipe.train}"
    patchseg(["train", patches(out, run.set, recipe.prepare), *shlex.split(flags)], folder)
    best, again = folder / "checkpoints/run/best.pt", ["--overwrite"]
    patchseg(["infer", sides.images, "-m", best, "-o", "masks", "--threads", threads, *again], folder)
    patchseg(["evaluate", "masks", sides.truth, *again], folder)
    scores = json.loads((folder / "masks/scores.json").read_text())
    classes = {f"iou/{item['name']}": item["iou"] for item in scores["classes"]}
    seconds = read_metrics(folder / "runs/run")[-1]["seconds"]
    return run._asdict() | {score: scores[score] for score in SCORES} | classes | {"seconds": seconds}


def results(out: Path) -> list[dict[str, Any]]:
    """Return the lines of the runs that are complete."""
    file = out / "results.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def run_all(runs: list[Run], data: Path, out: Path, options: argparse.Namespace) -> int:
    """Run what is not there yet, and return how many have failed."""
    there = {tuple(line[key] for key in Run._fields) for line in results(out)}
    missing = [run for run in runs if run not in there]
    sides = {name: split(data, name, out) for name in {run.set for run in missing}}
    for name, flags in sorted({(run.set, RECIPES[run.recipe].prepare) for run in missing}):
        prepare(patches(out, name, flags), sides[name].wanted, flags)
    lock, failed, done = threading.Lock(), [], []

    def work(run: Run) -> None:
        try:
            line = complete(run, sides[run.set], out, options.threads)
        except subprocess.CalledProcessError as error:
            failed.append(run)
            print(f"{run.folder}: ended with exit code {error.returncode}, see log.txt there", flush=True)
            return
        with lock, (out / "results.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
            done.append(run)
            print(
                f"{len(done)}/{len(missing)} {run.folder}: {line['mean_iou']:.4f}, {line['seconds']:.0f} s",
                flush=True,
            )

    with ThreadPoolExecutor(options.jobs) as pool:
        # Ctrl-C drops those that wait. The terminal tells it to those that run too, which save where they are.
        list(pool.map(work, missing))
    return len(failed)


def mean_and_deviation(values: list[float], sign: str = "") -> str:
    """Return both in words; of one value the deviation is unknown."""
    if not values:
        return "-"
    deviation = f"{statistics.stdev(values):.4f}" if len(values) > 1 else "?"
    return f"{statistics.mean(values):{sign}.4f} ± {deviation}"


def table(runs: list[Run], lines: list[dict[str, Any]], score: str) -> str:
    """Return a Markdown table: of each recipe and set the score, and its difference to the base, seed by seed."""
    found = {Run(*(line[key] for key in Run._fields)): line[score] for line in lines}
    sets, recipes = (list(dict.fromkeys(run[place] for run in runs)) for place in (0, 1))
    heads = [head for name in sets for head in (f"{name}, {SCORES[score]}", f"minus {BASE}")]
    rows = [f"| recipe | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for recipe in recipes:
        cells = []
        for name in sets:
            mine = [run for run in runs if run[:2] == (name, recipe) and found.get(run) is not None]
            based = {run: found.get(run._replace(recipe=BASE)) for run in mine}
            pairs = [found[run] - base for run, base in based.items() if base is not None and recipe != BASE]
            few = f" ({counted(len(mine), 'seed')})" if len(mine) < len({run.seed for run in runs}) else ""
            cells += [mean_and_deviation([found[run] for run in mine]) + few, mean_and_deviation(pairs, "+")]
        rows.append(f"| {recipe} | {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> int:
    """Run what is asked for, and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    for flag, default in (
        ("sets", "synth_lines,isbi2012_em"),
        ("recipes", ",".join(RECIPES)),
        ("seeds", "0,1,2"),
    ):
        parser.add_argument(f"--{flag}", default=default, help=f"by commas [{default}]")
    for flag, number in (("steps", 1500), ("threads", 1), ("jobs", 2)):
        parser.add_argument(f"--{flag}", type=int, default=number, help=f"[{number}]")
    parser.add_argument("--table", action="store_true", help="only print what is there")
    options = parser.parse_args()
    seeds, sets, recipes = (getattr(options, name).split(",") for name in ("seeds", "sets", "recipes"))
    if unknown := set(recipes) - set(RECIPES):
        parser.error(f"--recipes: {', '.join(sorted(unknown))} is none of {', '.join(RECIPES)}")
    # Seeds outermost: what is done when it is interrupted can be compared.
    runs = [
        Run(name, recipe, int(seed), options.steps) for seed, recipe, name in product(seeds, recipes, sets)
    ]
    out: Path = options.out.resolve()
    failed = 0 if options.table else run_all(runs, options.data.resolve(), out, options)
    for score in SCORES:
        print(f"\n{table(runs, results(out), score)}")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
