"""The verb `demo`: the whole job on synthetic lines and ellipses, sized for two cores without a GPU."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from patchseg.errors import UsageError
from patchseg.evaluation.evaluate import evaluate
from patchseg.evaluation.report import report
from patchseg.imaging.files import refusal
from patchseg.inference.infer import infer
from patchseg.parameters import (
    DataParameters,
    EvaluateParameters,
    InferParameters,
    ModelParameters,
    PrepareParameters,
    SynthParameters,
    TrainParameters,
)
from patchseg.patches.prepare import prepare
from patchseg.progress import Progress
from patchseg.synth import CLASSES, synth
from patchseg.training.train import train

MARK = ".patchseg-demo"
_STEPS = 3000
_CAP = "15m"
_EPOCH_STEPS = 300  # a validation takes as long as some twenty steps


class Demo(NamedTuple):
    """What a demo ends with."""

    scores: dict[str, Any]
    report: Path


def demo(
    directory: Path | str = "demo",
    *,
    images: SynthParameters = SynthParameters(),
    steps: int = _STEPS,
    time: str = _CAP,
    progress: Progress | None = None,
) -> Demo:
    """Synthesize, prepare, train, infer, evaluate and report, all in one folder.

    Args:
        directory: The folder; one that is not empty is refused unless an earlier demo made it.
        images: How many, how large.
        steps: Of the training.
        time: Cap on the time of the training.
        progress: Told what happens.

    Raises:
        UsageError: The folder holds something else, or cannot be written to.
    """
    progress = progress or Progress()
    folder = _claim(Path(directory))
    again: dict[str, Any] = {"overwrite": True, "progress": progress}

    progress.say(f"1/6 synth: {images.train} training and {images.test} test images of lines and ellipses")
    data = synth(folder / "data", parameters=images, **again)
    progress.say("2/6 prepare: patches with flips, split by image")
    patches = prepare(
        data / "train/images", data / "train/masks",
        parameters=PrepareParameters(output=str(folder / "patches.h5"), validation=0.1),
        data=DataParameters.model_validate({"classes": list(CLASSES)}), **again,
    )  # fmt: skip
    progress.say("3/6 train")
    settings = TrainParameters.model_validate(
        {"steps": steps, "epoch_steps": _EPOCH_STEPS, "time": time, "batch": 4, "name": "demo"}
    )
    best = train(patches, parameters=settings, model=ModelParameters(width=8), folder=folder, **again)
    progress.say("4/6 infer: whole test images by half-overlapping tiles")
    outputs = InferParameters(output=str(folder / "masks"), overlay=True)
    masks = infer([data / "test/images"], checkpoint=best, parameters=outputs, **again)
    progress.say("5/6 evaluate")
    scores = evaluate(masks, data / "test/masks", parameters=EvaluateParameters(output=str(folder)), **again)
    progress.say("6/6 report")
    page = report(scores, folder / "runs/demo", output=folder / "report.html", overwrite=True)
    return Demo(json.loads(scores.read_text(encoding="utf-8")), page)


def _claim(folder: Path) -> Path:
    """Take an empty folder, or one that an earlier demo made, and leave the mark in it."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file; name a folder that may be new")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARK).exists():
        raise UsageError(f"{folder}: is not empty and no demo made it; name another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARK).touch()
    except OSError as error:
        raise refusal(folder, error) from error
    return folder
