"""A report's worth of files: images, truth, masks that are the worse the higher their number, and what other verbs write."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from patchseg.evaluation.evaluate import evaluate
from patchseg.parameters import DataParameters
from patchseg.synth import draw

# A file may be called so; what a page makes of it must stay a name.
EVIL = "a\"<img src=x onerror=alert(1)>&'"
SCRIPT = "<script>alert(1)</script>"
CLASSES = ["background", SCRIPT, 'ellipse & "co"']
IMAGES = 8

Made = dict[str, Any]


def interval(value: float | None, low: float | None, high: float | None, units: int = IMAGES) -> Made:
    return {"value": value, "low": low, "high": high, "units": units, "approximate": units < 30}


def statistics() -> Made:
    """Return what `evaluate` says of both averages, in figures that are easy to find on a page."""
    averages = {
        way: {
            "mean_iou": interval(value, 0.86, 0.957),
            "mean_iou_foreground": interval(0.81, 0.7, 0.9),
            "pixel_accuracy": interval(0.985, 0.97, 0.995),
            "iou": [interval(0.98, 0.96, 0.99), interval(0.75, 0.55, 0.9), interval(0.9, None, None, 1)],
            "dice": [interval(0.99, 0.98, 0.995), interval(0.85, 0.7, 0.95), interval(0.94, None, None, 1)],
        }
        for way, value in (("pooled", 0.8765), ("images", 0.9123))
    }
    return {
        "unit": "image",
        "units": IMAGES,
        "note": "95 % intervals over 8 images; approximate",
        **averages,
    }


def bins(excess: float) -> Made:
    """Return a reliability that is off by `excess` in every bin above one half."""
    edges = [place / 10 for place in range(11)]
    middle = [(low + high) / 2 for low, high in itertools.pairwise(edges)]
    count = [0, 0, 0, 0, 0, 40, 60, 100, 200, 600]
    return {
        "edges": edges,
        "count": count,
        "confidence": [x if n else None for x, n in zip(middle, count, strict=True)],
        "accuracy": [x - excess if n else None for x, n in zip(middle, count, strict=True)],
    }


def curve() -> Made:
    points = [(2, 0.7), (4, 0.8), (6, 0.86), (8, 0.9)]
    return {
        "metric": "mean_iou",
        "points": [
            {"images": n, "repeat": r, "score": s + 0.01 * (r - 1)} for n, s in points for r in range(3)
        ],
        "means": [
            {"images": n, "mean": s, "low": s - 0.1 / n, "high": min(1, s + 0.1 / n)} for n, s in points
        ],
        "fit": {"a": 0.97, "b": 0.5, "c": 0.9, "text": "0.97 - 0.5 n^-0.9"},
        "forecast": [
            {"images": 13, "value": 0.93, "low": 0.91, "high": 0.95},
            {"images": 18, "value": 0.94, "low": 0.92, "high": 0.96},
            {"images": 58, "value": 0.96, "low": 0.9, "high": 0.99},
        ],
        "note": f"Fitted to four numbers of images {SCRIPT}",
    }


def suspect_entries(count: int) -> list[Made]:
    return [
        {
            "rank": n + 1, "image": f"{EVIL}{n}", "box": [20 + n, 30, 40, 50], "pixels": 900, "kind": "missing object",
            "given": "background", "predicted": SCRIPT, "confidence": 0.97, "score": 0.9 - 0.1 * n, "note": "look <here>",
            "picture": f"images/{EVIL}{n}.png", "truth": f"truth/{EVIL}{n}.png", "mask": f"masks/{EVIL}{n}.png",
        }
        for n in range(count)
    ]  # fmt: skip


def suggestion_entries(count: int) -> list[Made]:
    return [
        {
            "rank": n + 1, "image": f"{EVIL}new{n}", "box": [0, 0, 64, 64], "score": 0.5 / (n + 1), "why": SCRIPT,
            "picture": f"pictures/{n}.png", "crop": f"pictures/{n}.png", "mask": f"pictures/{n}.png",
        }
        for n in range(count)
    ]  # fmt: skip


def write_images(folder: Path, count: int, shape: tuple[int, int]) -> None:
    """Write image, truth, mask and confidence of each number; the masks lie beside their truth, and lack more and more."""
    for kind in ("images", "truth", "masks/confidence"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        image, truth = draw(5, number, *shape)
        mask = np.roll(truth, number, axis=(0, 1))
        mask[: 12 * number, : 20 * number] = 0
        mask[-5 * number - 1 :, : 10 * number] = 2
        certain = np.where(mask == truth, 0.95, 0.3) - np.linspace(0, 0.2, shape[1])
        for kind, pixels in (("images", image), ("truth", truth), ("masks", mask)):
            Image.fromarray(pixels).save(folder / kind / f"{EVIL}{number}.png")
        tifffile.imwrite(folder / "masks/confidence" / f"{EVIL}{number}.tif", certain.astype(np.float16))


def write_run(folder: Path) -> Path:
    """Write what a training leaves."""
    run = folder / "runs" / "lines & <b>"
    run.mkdir(parents=True)
    lines = [
        {
            "epoch": epoch, "loss/train": 1 / epoch, "loss/val": 1.2 / epoch, "rate": 0.004 * (21 - epoch) / 20,
            "mean_iou": 0.9 - 0.5 / epoch, f"iou/{SCRIPT}": 0.8 - 0.6 / epoch,
        }
        for epoch in range(1, 21)
    ]  # fmt: skip
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    settings = {
        "train.rate": {"value": 0.004, "source": SCRIPT},
        "train.clip": {"value": 5.0, "source": "default"},
    }
    (run / "parameters.effective.json").write_text(json.dumps(settings))
    return run


def write_beside(folder: Path) -> None:
    """Write what learning-curve, audit and suggest leave."""
    (folder / "pictures").mkdir()
    for number in range(3):
        Image.fromarray(draw(9, number, 64, 200)[0]).save(folder / "pictures" / f"{number}.png")
    (folder / "curve.json").write_text(json.dumps(curve()))
    (folder / "suspects.json").write_text(json.dumps({"suspects": suspect_entries(4)}))
    (folder / "suggestions.json").write_text(json.dumps({"suggestions": suggestion_entries(3)}))


@pytest.fixture(scope="session")
def make() -> Callable[..., Path]:
    """Return a function that writes all that a report shows into a folder; it returns the path of scores.json."""

    def write(folder: Path, *, count: int = IMAGES, shape: tuple[int, int] = (160, 240)) -> Path:
        write_images(folder, count, shape)
        classes = [{"name": name, "value": place} for place, name in enumerate(CLASSES)]
        data = DataParameters.model_validate({"classes": classes})
        written = evaluate(folder / "masks", folder / "truth", data=data)
        document = json.loads(written.read_text())
        for entry in document["images"]:
            path = Path(entry["mask"])
            entry.update(image=f"images/{path.name}", truth=f"truth/{path.name}", mask=f"masks/{path.name}")
        document["statistics"] = statistics()
        document["certainty"] = {
            "classes": [{"name": name, "roc_auc": 0.99, "average_precision": 0.91} for name in CLASSES],
            "ece": 0.08,
            "reliability": bins(0.08),
        }
        path = folder / "scores.json"
        path.write_text(json.dumps(document))
        return path

    return write


@pytest.fixture(scope="session")
def whole_report(make: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a report of all that there can be."""
    from patchseg.evaluation.report import report

    folder = tmp_path_factory.mktemp("report")
    scores = make(folder)
    write_beside(folder)
    return report(scores, write_run(folder), output=folder / "report.html")
