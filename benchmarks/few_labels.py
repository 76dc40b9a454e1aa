"""Compares ways of learning from few labelled images and many others: prepare, train, infer, evaluate, by the command line.

    python benchmarks/few_labels.py DATA OUT [--sets synth_lines,isbi2012_em,nist_cells] [--labels 4,8] [--methods name,name]
                                    [--seeds 0,1,2] [--steps 1000] [--threads 1] [--jobs 2] [--table]

DATA holds a folder a data set. Test images are those that the authors of `synth_lines` keep for it, slices 24 to 29 of
`isbi2012_em`, and every fifth image in natural order of the others; nothing of them is seen by prepare or train. A seed draws
which of the other images are labelled, and is `train.seed`; all that are left are the unlabelled ones, and no image is kept for
validation. All methods take equal steps from the same patches, so differences to `supervised` are taken seed by seed.

What is complete is a line of OUT/results.jsonl, and is not run again. Jobs run side by side, with the fewest labels first.
With --table, or once all is run, the means over the seeds are told with their standard deviation, and the time a step
beside that of `supervised` in the same run, as Markdown.
"""

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from patchseg.patches.pairs import Pair, find_pairs
from patchseg.progress import counted

BATCH = 4
# Numbers of the test images, in natural order, where the authors have not split the set.
TESTED: dict[str, Callable[[int], bool]] = {"isbi2012_em": lambda number: number >= 24}
BASE = "supervised"
LABELS = {"synth_lines": (4, 8, 16), "isbi2012_em": (2, 4, 8), "nist_cells": (4, 8), "dsb2018": (4, 8)}


@dataclass(frozen=True)
class Method:
    """What a method asks of `train`.

    Attributes:
        flags: Of `train`.
        others: Whether the patches are prepared with the unlabelled images.
        strength: How strongly labelled patches are varied.
        pretrain: Flags of `pretrain`, which goes before, over as many steps unless they say otherwise; None for none.
    """

    flags: str = ""
    others: bool = True
    strength: str = "standard"
    pretrain: str | None = None


METHODS = {
    BASE: Method(others=False),
    "strong supervised": Method(others=False, strength="strong"),
    "matched": Method("--match 0.7"),
    "fixmatch": Method("--objective fixmatch --match 0.7"),
    "mean-teacher": Method("--objective mean-teacher --match 0.7"),
    "supcon": Method("--objective supcon", others=False),
    "detcon then supervised": Method("--match 0.7", pretrain=""),
}


class Run(NamedTuple):
    """One training: what a line of results.jsonl is known by."""

    set: str
    labels: int
    method: str
    seed: int
    steps: int

    @property
    def folder(self) -> Path:
        """Its place in OUT."""
        name = self.method.replace(" ", "_").replace(",", "")
        return Path("runs", f"{self.set}-{self.labels}", f"{name}-{self.steps}-{self.seed}")


class Bench:
    """Runs what is asked for, and keeps what it finds in OUT.

    Args:
        data: Holds a folder a data set.
        out: Gets all that is made.
        threads: Of each job.
        extra: More flags for every `train`.
    """

    def __init__(self, data: Path, out: Path, threads: int, extra: str = "") -> None:
        self.data, self.out, self.threads, self.extra = data, out.resolve(), threads, extra
        self.results, self.lock = self.out / "results.jsonl", threading.Lock()

    def found(self) -> dict[Run, dict[str, Any]]:
        """Return the scores of the runs that are complete."""
        lines = self.results.read_text().splitlines() if self.results.exists() else []
        known = [json.loads(line) for line in lines]
        return {Run(*(line.pop(name) for name in Run._fields)): line for line in known}

    def do(self, run: Run) -> None:
        """Train, infer and evaluate."""
        folder = self.out / run.folder
        folder.mkdir(parents=True, exist_ok=True)
        patches, test = self.patches(run)
        method = METHODS[run.method]
        parameters = {"augment": {"strength": method.strength}}
        (folder / "parameters.json").write_text(json.dumps(parameters))
        flags = (
            f"--steps {run.steps} -b {BATCH} --epoch-steps {run.steps} --seed {run.seed} --name run --resume"
        )
        started = time.perf_counter()
        begin = [] if method.pretrain is None else ["--weights", self.pretrained(run, patches, folder)]
        patchseg(
            ["train", patches, *shlex.split(flags), *shlex.split(method.flags), *shlex.split(self.extra), *begin, "--threads", self.threads], folder,
        )  # fmt: skip
        seconds = time.perf_counter() - started
        patchseg(
            ["infer", test[0], "-m", "checkpoints/run/best.pt", "-o", "masks", "--overwrite", "--threads", self.threads], folder,
        )  # fmt: skip
        scores = json.loads(patchseg(["evaluate", "masks", test[1], "--json"], folder))
        line = run._asdict() | {
            "mean_iou": scores["mean_iou"], "foreground": scores["mean_iou_foreground"],
            "seconds": seconds, "loss": last_line(folder).get("loss/train"),
        }  # fmt: skip
        with self.lock, self.results.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def pretrained(self, run: Run, patches: Path, folder: Path) -> Path:
        """Learn from images alone, in the folder of a run; return where it begins."""
        path = Path("checkpoints/pretrained/best.pt")
        # Its patches are there until it is through.
        if not (folder / path).exists() or (folder / "checkpoints/pretrained.h5").exists():
            flags = f"--steps {run.steps} -b {BATCH} --seed {run.seed} --threads {self.threads} --resume"
            patchseg(
                ["pretrain", patches, *shlex.split(flags), *shlex.split(METHODS[run.method].pretrain or "")],
                folder,
            )
        return path

    def patches(self, run: Run) -> tuple[Path, tuple[Path, Path]]:
        """Return the patches of a draw of labelled images, and images and masks of the test."""
        folder = self.out / "sets" / f"{run.set}-{run.labels}-{run.seed}"
        with self.lock:
            pool, test = self.sides(run.set)
            others = METHODS[run.method].others
            output = folder / ("with.h5" if others else "without.h5")
            if not output.exists():
                order = np.random.default_rng([run.seed, run.labels]).permutation(len(pool))
                labelled = [pool[number] for number in sorted(order[: run.labels])]
                rest = [pool[number] for number in sorted(order[run.labels :])]
                link([p.image for p in labelled], folder / "images")
                link([p.mask for p in labelled if p.mask], folder / "masks")
                link([p.image for p in rest], folder / "rest")
                more = ["--unlabelled", "rest"] if others else []
                patchseg(["prepare", "images", "masks", *more, "--validation", 0, "-o", output], folder)
        return output, test

    def sides(self, name: str) -> tuple[list[Pair], tuple[Path, Path]]:
        """Return the pairs to learn from, and folders of links to images and masks of the test."""
        source, folder = self.data / name, self.out / "sets" / name
        if (source / "images/test").is_dir():
            pool = find_pairs(source / "images/train", source / "masks/train")
            return pool, (source / "images/test", source / "masks/test")
        pairs = find_pairs(source / "images", source / "masks")
        tested = TESTED.get(name, lambda number: number % 5 == 0)
        held = [pair for number, pair in enumerate(pairs) if tested(number)]
        link([p.image for p in held], folder / "images")
        link([p.mask for p in held if p.mask], folder / "masks")
        return [p for p in pairs if p not in held], (folder / "images", folder / "masks")


def link(files: Iterable[Path], folder: Path) -> None:
    """Put links to files into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        target = folder / file.name
        if not target.is_symlink():
            target.symlink_to(file.resolve())


def patchseg(command: list[Any], folder: Path) -> str:
    """Run a command in a folder and return what it prints; its messages go to log.txt."""
    with (folder / "log.txt").open("a") as log:
        words = [sys.executable, "-m", "patchseg", *map(str, command)]
        print(shlex.join(words[2:]), file=log, flush=True)
        done = subprocess.run(words, cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{folder}/log.txt: `{shlex.join(words[2:])}` ended with {done.returncode}")
    return done.stdout


def last_line(folder: Path) -> dict[str, Any]:
    """Return the last line of the metrics of a run."""
    lines = (folder / "runs/run/metrics.jsonl").read_text().splitlines()
    return dict(json.loads(lines[-1]))


def mean_of(values: list[float]) -> str:
    """Return a mean with its standard deviation."""
    spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4f}{spread}"


def table(found: dict[Run, dict[str, Any]]) -> str:
    """Return the means over the seeds as Markdown: the score, the gain seed by seed, and the time beside supervised."""
    lines = ["| set | labelled | method | seeds | mean IoU | gain | time |", "|---|---|---|---|---|---|---|"]
    groups: dict[tuple[str, int, str, int], list[Run]] = {}
    for run in sorted(
        found, key=lambda r: (list(LABELS).index(r.set), r.labels, list(METHODS).index(r.method), r.seed)
    ):
        groups.setdefault((run.set, run.labels, run.method, run.steps), []).append(run)
    for (name, labels, method, _), runs in groups.items():
        score = mean_of([found[run]["mean_iou"] for run in runs])
        pairs = [(found[run], found.get(run._replace(method=BASE))) for run in runs]
        both = [(mine, base) for mine, base in pairs if base]
        gain = (
            mean_of([mine["mean_iou"] - base["mean_iou"] for mine, base in both])
            if both and method != BASE
            else ""
        )
        ratio = statistics.median(m["seconds"] / b["seconds"] for m, b in both) if both else float("nan")
        lines.append(f"| {name} | {labels} | {method} | {len(runs)} | {score} | {gain} | {ratio:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sets", default="synth_lines,isbi2012_em,nist_cells")
    parser.add_argument("--labels", help="numbers of labelled images; all of the set's when left out")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--train", default="", help="more flags for every training")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    bench = Bench(options.data.resolve(), options.out, options.threads, options.train)
    bench.out.mkdir(parents=True, exist_ok=True)
    if not options.table:
        asked = [int(n) for n in options.labels.split(",")] if options.labels else None
        wanted = [
            (place, Run(name, labels, method, seed, options.steps))
            for name in options.sets.split(",")
            for place, labels in enumerate(LABELS[name] if asked is None else asked)
            for method, seed in product(
                options.methods.split(","),
                map(int, options.seeds.split(",")),
            )
        ]
        known = bench.found()
        missing = [run for _, run in sorted(wanted, key=lambda entry: entry[0]) if run not in known]
        print(f"{counted(len(missing), 'run')} of {len(wanted)} to do", file=sys.stderr)
        with ThreadPoolExecutor(options.jobs) as jobs:
            for done in [jobs.submit(bench.do, run) for run in missing]:
                done.result()
    print(table(bench.found()))


if __name__ == "__main__":
    main()
