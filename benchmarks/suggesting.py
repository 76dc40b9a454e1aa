"""What `suggest` is worth: 8 suggested crops against 8 random ones, labelled with the truth and learned from, by the command line.

    python benchmarks/suggesting.py DATA OUT [--sets dsb2018,nist_cells] [--seeds 0,1] [--start 4] [--count 8] [--crop 256]
                                    [--steps 1000] [--threads 1] [--table]

DATA holds a folder a data set with images and masks, of which every fifth pair in natural order is the test. A seed draws
`start` images of the others to begin with; a network learns from them (arm `start`), and the rest is the pool. `suggest`
chooses `count` crops of it with that network (arm `suggested`); as many of the same size are drawn at random, each of
another image (arm `random`). Both are labelled with the truth, and a network learns from the first images and the crops,
for as many steps. Seeds of training and of prepare are that of the draw, so the arms of a seed differ in the crops alone.

What is complete is a line of OUT/results.jsonl, and is not run again. A run of 1000 steps takes an idle core about a minute.
"""

import argparse
import json
import shlex
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from patchseg.imaging import Box, open_image, open_raw
from patchseg.imaging.write import open_writer
from patchseg.patches.pairs import Pair, find_pairs

# Its gray and its coloured pictures are stored alike; where the first few are gray, gray would be planned.
CHANNELS = {"dsb2018": ["--channels", "red,green,blue"]}
ARMS = ("start", "suggested", "random")
SCORES = ("mean_iou", "mean_iou_foreground")


def patchseg(words: list[object], folder: Path) -> None:
    """Run a command line in a folder; what it tells goes into log.txt there."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log.txt").open("a") as log:
        command = [sys.executable, "-m", "patchseg", *map(str, words)]
        print(f"$ {shlex.join(command[2:])}", file=log, flush=True)
        subprocess.run(command, cwd=folder, check=True, stdout=log, stderr=log)


def drawn(pairs: list[Pair], count: int, seed: int) -> list[Pair]:
    """Draw some pairs."""
    generator = np.random.default_rng([seed, 0])
    return [pairs[place] for place in sorted(generator.permutation(len(pairs))[:count].tolist())]


def link(pairs: list[Pair], images: Path, masks: Path | None = None) -> None:
    """Lay links to pairs into folders."""
    for pair in pairs:
        for file, folder in ((pair.image, images), (pair.mask, masks)):
            if folder and file:
                folder.mkdir(parents=True, exist_ok=True)
                link = folder / file.name
                link.unlink(missing_ok=True)
                link.symlink_to(file)


def random_crops(pool: list[Pair], count: int, crop: int, seed: int) -> list[tuple[Pair, Box]]:
    """Draw crops, each of another image."""
    generator = np.random.default_rng([seed, 1])
    crops = []
    for place in generator.permutation(len(pool))[:count].tolist():
        with open_image(pool[place].image) as source:
            height, width = source.shape[:2]
        top, left = (int(generator.integers(0, max(size - crop, 0) + 1)) for size in (height, width))
        crops.append((pool[place], Box(top, left, crop, crop).clip(height, width)))
    return crops


def suggested_crops(pool: list[Pair], folder: Path, options: argparse.Namespace) -> list[tuple[Pair, Box]]:
    """Let `suggest` choose crops with the first network."""
    link(pool, folder / "pool")
    best = "start/checkpoints/run/best.pt"
    flags = ["--count", options.count, "--crop", options.crop, "--threads", options.threads, "--overwrite"]
    patchseg(["suggest", "pool", "-m", best, *flags], folder)
    found = json.loads((folder / "suggestions/suggestions.json").read_text())["suggestions"]
    by_name = {pair.image.name: pair for pair in pool}
    return [(by_name[Path(item["image"]).name], Box(*item["box"])) for item in found]


def cut(crops: list[tuple[Pair, Box]], folder: Path) -> list[str]:
    """Write crops and their true masks, and return the lines of a list file."""
    lines = []
    for number, (pair, box) in enumerate(crops):
        assert pair.mask is not None
        for kind, source in (("images", open_image(pair.image)), ("masks", open_raw(pair.mask))):
            with source:
                pixels, palette = source.read(box), source.palette
            pixels = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
            with open_writer(
                folder / kind / f"{number}.tif", pixels.shape, pixels.dtype, palette=palette
            ) as writer:
                writer.write(pixels)
        lines.append(f'"{folder / "images"}/{number}.tif" "{folder / "masks"}/{number}.tif"\n')
    return lines


def learn(
    folder: Path, lines: list[str], test: Path, seed: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Learn from a list of pairs, and score the test images."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "list.txt").write_text("".join(lines))
    threads = ["--threads", options.threads]
    channels = CHANNELS.get(test.parent.name, [])
    patchseg(["prepare", "list.txt", "--per-image", 60, "--seed", seed, *channels, "--overwrite"], folder)
    steps = ["--steps", options.steps, "-b", 4, "--name", "run", "--seed", seed]
    patchseg(["train", *steps, *threads, "--overwrite"], folder)
    patchseg(["infer", test / "images", "-m", "checkpoints/run/best.pt", *threads, "--overwrite"], folder)
    patchseg(["evaluate", "masks", test / "masks", "--overwrite"], folder)
    scores = json.loads((folder / "masks/scores.json").read_text())
    return {name: scores[name] for name in SCORES}


def results(out: Path) -> list[dict[str, Any]]:
    """Return the lines of the runs that are complete."""
    file = out / "results.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def complete(name: str, seed: int, data: Path, out: Path, options: argparse.Namespace) -> None:
    """Run what is missing of the arms of a seed."""
    pairs = find_pairs(data / name / "images", data / name / "masks")
    folder, test = out / name / str(seed), out / name / "test"
    link(pairs[::5], test / "images", test / "masks")
    others = [pair for place, pair in enumerate(pairs) if place % 5]
    first = drawn(others, options.start, seed)
    pool = [pair for pair in others if pair not in first]
    begin = [f'"{pair.image}" "{pair.mask}"\n' for pair in first]
    for arm in ARMS:
        if any((line["set"], line["seed"], line["arm"]) == (name, seed, arm) for line in results(out)):
            continue
        crops: list[tuple[Pair, Box]] = []
        if arm == "suggested":
            crops = suggested_crops(pool, folder, options)
        elif arm == "random":
            crops = random_crops(pool, options.count, options.crop, seed)
        lines = begin + cut(crops, folder / arm / "crops")
        line = {"set": name, "seed": seed, "arm": arm} | learn(folder / arm, lines, test, seed, options)
        with (out / "results.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(line, flush=True)


def table(lines: list[dict[str, Any]]) -> str:
    """Return a Markdown table: the score of each arm and seed, and what suggested crops bring over random ones."""
    rows = [
        "| set | seed | start | + random | + suggested | suggested minus random |",
        "|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(line["set"] for line in lines):
        gains = []
        for seed in sorted({line["seed"] for line in lines if line["set"] == name}):
            found = {
                line["arm"]: line["mean_iou"] for line in lines if (line["set"], line["seed"]) == (name, seed)
            }
            if len(found) < len(ARMS):
                continue
            gains.append(found["suggested"] - found["random"])
            cells = [f"{found[arm]:.4f}" for arm in ("start", "random", "suggested")]
            rows.append(f"| {name} | {seed} | {' | '.join(cells)} | {gains[-1]:+.4f} |")
        if len(gains) > 1:
            spread = f"{statistics.mean(gains):+.4f} ± {statistics.stdev(gains):.4f}"
            rows.append(f"| {name} | all | | | | {spread} |")
    return "\n".join(rows)


def main() -> int:
    """Run what is asked for, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    for flag, words in (("sets", "dsb2018,nist_cells"), ("seeds", "0,1")):
        parser.add_argument(f"--{flag}", default=words, help=f"by commas [{words}]")
    for flag, number in (("start", 4), ("count", 8), ("crop", 256), ("steps", 1000), ("threads", 1)):
        parser.add_argument(f"--{flag}", type=int, default=number, help=f"[{number}]")
    parser.add_argument("--table", action="store_true", help="only print what is there")
    options = parser.parse_args()
    out: Path = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    if not options.table:
        for seed in map(int, options.seeds.split(",")):
            for name in options.sets.split(","):
                complete(name, seed, options.data.resolve(), out, options)
    print(table(results(out)))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
