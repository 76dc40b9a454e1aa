"""Compares how `infer` lays and blends its tiles: their size, the window, symmetries, several networks.

    python benchmarks/tiles.py DATA OUT RUNS... [--sets name,name] [--recipes light] [--seeds 0,1,2] [--steps 1500]
                               [--tiles 96,128,192,256,384,512] [--blends flat,gaussian,hann] [--symmetries none]
                               [--ensembles] [--table]

RUNS are folders that `ablation.py` has filled (its OUT): the checkpoints of its complete runs are tried on its test images,
which DATA holds. With --ensembles it is all seeds of a recipe together instead of one after the other. What is asked for is
the product of the lists; call it again with others and the same OUT to try more. With --table it only prints what there
is of the recipes.

What is complete is a line of OUT/tiles.jsonl, and is not computed again. A line holds the scores as `evaluate` gives them,
and the costs by pixel of the images:

    forward  pixels that the networks have seen: overlap, halos, symmetries, networks, and the empty tiles that fill batches
    tiled    the same without the empty tiles
    seconds  of the networks on one thread, per megapixel; noisy

Told are, as Markdown, a table a set: means over the checkpoints with their standard deviation. Differences to the default are taken
checkpoint by checkpoint; those of an ensemble are to the mean of its members.
"""

import argparse
import json
import statistics
import sys
import time
from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch
from ablation import SCORES, Run, Split, mean_and_deviation, results, split
from torch import Tensor

from patchseg import device as devices
from patchseg.errors import UsageError
from patchseg.evaluation.metrics import Confusion
from patchseg.imaging import Box, ImageSource, open_image, open_raw
from patchseg.inference.engine import EXACT, Engine
from patchseg.inference.kinship import as_learned
from patchseg.inference.predictor import SYMMETRIES, most_probable
from patchseg.parameters import InferParameters
from patchseg.patches.pairs import find_pairs

FILE = "tiles.jsonl"
DEFAULT = (96, "flat", "none")  # tiles as large as the patches of these runs
COSTS = ("forward", "tiled", "seconds")


class Trial(NamedTuple):
    """One way to segment the test images of a set: what a line of tiles.jsonl is known by."""

    set: str
    recipe: str
    seeds: str  # of the networks, with + between
    tile: int
    blend: str
    symmetries: str

    @property
    def way(self) -> tuple[Any, ...]:
        """What it shares with the same trial of other checkpoints: a row of the table."""
        return (*self[3:], len(self.seeds.split("+")))

    @property
    def bases(self) -> list["Trial"]:
        """What it is compared with: each of its networks alone, as the default has it.

        >>> Trial("a", "light", "0+1", 256, "hann", "all").bases[1][2:]
        ('1', 96, 'flat', 'none')
        """
        return [Trial(*self[:2], seed, *DEFAULT) for seed in self.seeds.split("+")]


Lines = dict[Trial, dict[str, Any]]


class Once:
    """Predicts the batches of an image once, and gives the same again for each further window.

    Args:
        engine: What predicts.
        opinions: How often it predicts a tile.
    """

    def __init__(self, engine: Engine, opinions: int) -> None:
        self._engine, self._opinions, self.device = engine, opinions, engine.predictor.device
        self._known: list[Tensor] = []
        self._place, self.pixels, self.seconds = 0, 0, 0.0

    def __call__(self, tiles: Tensor) -> Tensor:
        """Return probabilities, as a `Predictor` does; tiles (N, h, w, C) come in the same order each time."""
        if self._place == len(self._known):
            start = time.perf_counter()
            self._known.append(self._engine.predictor(tiles))
            self.seconds += time.perf_counter() - start
            self.pixels += self._opinions * tiles[..., 0].numel()
        self._place += 1
        return self._known[self._place - 1]

    def segmented(self, source: ImageSource, blend: str) -> Any:
        """Return the mask of the image, (H, W) uint8, as `infer` would write it."""
        self._place = 0
        engine = replace(self._engine, blend=blend, predictor=self)  # type: ignore[arg-type]
        return torch.cat([most_probable(rows) for rows in engine.rows(source)]).numpy()


def measure(trials: list[Trial], files: list[Path], sides: Split) -> list[dict[str, Any]]:
    """Segment all test images, score the masks, and return the lines of trials that differ in nothing but the window.

    Raises:
        UsageError: Tiles of this size cannot be exact.
    """
    first = trials[0]
    parameters = InferParameters(tile=first.tile, blend=first.blend, symmetries=first.symmetries)
    engine = Engine.of(files, parameters, devices.choose("cpu"))
    classes, opinions = engine.checkpoint.classes, len(files) * len(SYMMETRIES[first.symmetries])
    reading = as_learned(engine.checkpoint, print)
    totals, costs = dict.fromkeys(trials, Confusion.empty(len(classes))), Counter[str]()
    for pair in find_pairs(sides.images, sides.truth):
        assert pair.mask is not None
        once = Once(engine, opinions)
        with open_image(pair.image, reading) as source, open_raw(pair.mask) as truth:
            box = Box(0, 0, *source.shape[:2])
            expected = classes.encode(truth.read(box), pair.mask, truth.palette)
            for trial in trials:
                totals[trial] += Confusion.of(expected, once.segmented(source, trial.blend), len(classes))
        tiled = opinions * sum(tile.height * tile.width for tile in engine.grid(expected.shape))
        costs.update(forward=once.pixels, tiled=tiled, seconds=1e6 * once.seconds, pixels=expected.size)
    shared = {cost: costs[cost] / costs["pixels"] for cost in COSTS}
    return [
        trial._asdict() | {score: getattr(total, score) for score in SCORES} | shared
        for trial, total in totals.items()
    ]


def trained(options: argparse.Namespace) -> dict[Run, Path]:
    """Return the checkpoints of the complete runs that are asked for, seeds outermost."""
    lines = [(folder.resolve(), line) for folder in options.runs for line in results(folder)]
    found = {Run(*(line[key] for key in Run._fields)): folder for folder, line in lines}
    wanted = product(options.seeds, options.recipes, options.sets or dict.fromkeys(run.set for run in found))
    runs = [Run(name, recipe, int(seed), options.steps) for seed, recipe, name in wanted]
    return {run: found[run] / run.folder / "checkpoints/run/best.pt" for run in runs if run in found}


def planned(options: argparse.Namespace) -> dict[Trial, list[Path]]:
    """Return what is to be tried with which checkpoints; all ways of one before those of the next."""
    together: dict[tuple[Any, ...], list[tuple[str, Path]]] = {}
    for run, file in trained(options).items():
        key = (run.set, run.recipe) if options.ensembles else run
        together.setdefault(key, []).append((str(run.seed), file))
    ways = list(product(map(int, options.tiles), options.blends, options.symmetries))
    return {
        Trial(*key[:2], "+".join(seed for seed, _ in members), *way): [file for _, file in members]
        for key, members in together.items()
        for way in ways
        if len(members) > 1 or not options.ensembles
    }


def lines_of(out: Path) -> Lines:
    """Return what is complete."""
    file = out / FILE
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    return {Trial(*(line[key] for key in Trial._fields)): line for line in lines}


def measure_all(options: argparse.Namespace) -> None:
    """Measure what is asked for and not there yet; windows of the same tiles together."""
    there, plan, together = lines_of(options.out), planned(options), dict[Trial, list[Trial]]()
    for trial in plan:
        if trial not in there:
            key = trial if trial.blend == EXACT else trial._replace(blend="")
            together.setdefault(key, []).append(trial)
    for number, trials in enumerate(together.values(), 1):
        told, name = f"{number}/{len(together)} {' '.join(map(str, trials[0]))}", trials[0].set
        sides = split(options.data.resolve(), name, options.out.resolve())
        try:
            lines = measure(trials, plan[trials[0]], sides)
        except UsageError as error:
            print(f"{told}: skipped, {error}", flush=True)
            continue
        with (options.out / FILE).open("a") as file:
            file.writelines(f"{json.dumps(line)}\n" for line in lines)
        print(f"{told}: {', '.join('{blend} {mean_iou:.4f}'.format_map(line) for line in lines)}", flush=True)


def table(lines: Lines) -> str:
    """Return a Markdown table, a row a way: scores, differences to the default by checkpoint, costs."""
    heads = (head for word in SCORES.values() for head in (word, "minus default"))
    columns = [*Trial._fields[3:], "networks", *heads, *COSTS, "checkpoints"]
    rows = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for way in sorted({trial.way for trial in lines}, key=_order):
        mine, row = [trial for trial in lines if trial.way == way], [str(item) for item in way]
        for score in SCORES:
            differences = [
                lines[trial][score] - statistics.mean(lines[base][score] for base in trial.bases)
                for trial in mine
                if trial.bases != [trial] and all(base in lines for base in trial.bases)
            ]
            row.append(mean_and_deviation([lines[trial][score] for trial in mine]))
            row.append(mean_and_deviation(differences, "+"))
        row += [f"{statistics.mean(lines[trial][cost] for trial in mine):.2f}" for cost in COSTS]
        rows.append(f"| {' | '.join([*row, str(len(mine))])} |")
    return "\n".join(rows)


def _order(way: tuple[Any, ...]) -> tuple[Any, ...]:
    """Sort ways: few networks and opinions first, then by window and size."""
    tile, blend, symmetries, networks = way
    return networks, len(SYMMETRIES[symmetries]), blend, tile


def main() -> None:
    """Measure what is asked for, and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for name, many in (("data", None), ("out", None), ("runs", "+")):
        parser.add_argument(name, type=Path, nargs=many)
    for flag, default in (
        ("sets", ""), ("recipes", "light"), ("seeds", "0,1,2"), ("tiles", "96,128,192,256,384,512"),
        ("blends", "flat,gaussian,hann"), ("symmetries", "none"),
    ):  # fmt: skip
        parser.add_argument(
            f"--{flag}", default=default, type=lambda text: [item for item in text.split(",") if item],
            help=f"by commas [{default or 'all that runs hold'}]",
        )  # fmt: skip
    parser.add_argument("--ensembles", action="store_true", help="all seeds of a recipe together")
    parser.add_argument("--steps", type=int, default=1500, help="[1500]")
    parser.add_argument("--table", action="store_true", help="only print what is there of the recipes")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    devices.set_threads(1)
    if not options.table:
        measure_all(options)
    lines = {trial: line for trial, line in lines_of(options.out).items() if trial.recipe in options.recipes}
    for name in options.sets or sorted({trial.set for trial in lines}):
        print(f"\n{name}\n\n{table({trial: line for trial, line in lines.items() if trial.set == name})}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
