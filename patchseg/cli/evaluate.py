"""`patchseg evaluate`."""

import json
import textwrap
from typing import Any

import click

from patchseg.cli.measured import number, told_measures
from patchseg.cli.options import as_json, overwrite, parameters, required
from patchseg.cli.terminal import Terminal
from patchseg.evaluation.evaluate import evaluate
from patchseg.parameters import DataParameters, EvaluateParameters, Parameters
from patchseg.progress import counted

MEANS = {"mean IoU": "mean_iou", "  foreground": "mean_iou_foreground", "pixel accuracy": "pixel_accuracy"}


@click.command
@click.argument("evaluate__masks", metavar="[MASKS]", required=False)
@click.argument("evaluate__truth", metavar="[TRUTH]", required=False)
@parameters(EvaluateParameters, DataParameters)
@as_json
@overwrite
def command(parameters: Parameters, as_json: bool, overwrite: bool) -> None:
    """Score a folder of masks against the true ones.

    TRUTH may be a file of annotations too (see patchseg import -h), which is painted into the folder truth beside the scores.
    Prints the scores over all pixels, then both averages with their 95 % intervals, and writes scores.json and scores.csv with
    those of each image. On request also outlines (--boundary), objects (--objects) and probabilities (--certainty), and all of
    it inside of a --region only.

    \b
    Example:
      patchseg evaluate masks truth
      patchseg evaluate masks truth --group 'patient\\d+'
    """
    settings = parameters.evaluate
    masks = required(settings.masks, "evaluate.masks", "MASKS")
    truth = required(settings.truth, "evaluate.truth", "TRUTH")
    path = evaluate(
        masks, truth, parameters=settings, data=parameters.data, overwrite=overwrite, progress=Terminal()
    )
    document = json.loads(path.read_text(encoding="utf-8"))
    told_all = f"{told(document)}\n\n{averages(document)}\n{path}"
    click.echo(json.dumps(document, indent=1) if as_json else told_all)


def told(scores: dict[str, Any]) -> str:
    """Return the scores as a table of 80 columns at most."""
    width = min(30, max(len("pixel accuracy"), *(len(item["name"]) for item in scores["classes"])))
    kinds = ["iou", "dice", "precision", "recall"]
    lines = [f"{'class':<{width}}  {'IoU':>9} {'Dice':>9} {'precision':>9} {'recall':>9}"]
    for item in scores["classes"]:
        cells = " ".join(f"{number(item[kind]):>9}" for kind in kinds)
        lines.append(f"{item['name'][:width]:<{width}}  {cells}")
    means = {
        "mean IoU": scores["mean_iou"], "  foreground": scores["mean_iou_foreground"],
        "pixel accuracy": scores["pixel_accuracy"],
    }  # fmt: skip
    lines += [f"{name:<{width}}  {number(value):>9}" for name, value in means.items()]
    last = f"{counted(len(scores['images']), 'image')}; - is undefined (a class that is nowhere)"
    return "\n".join([*lines, last, *told_measures(scores)])


def averages(scores: dict[str, Any]) -> str:
    """Return both averages side by side with their intervals, 80 columns at most, and what they rest on."""
    statistics = scores["statistics"]
    if (
        statistics["units"] == 1 and len(scores["images"]) == 1
    ):  # both are the same, and there are no intervals
        return wrapped(statistics["note"])
    ways = [statistics["pooled"], statistics["images"]]
    lines = [(label, *(way[key] for way in ways)) for label, key in MEANS.items()]
    lines += [
        (f"IoU {item['name']}", *(way["iou"][index] for way in ways))
        for index, item in enumerate(scores["classes"])
    ]
    width = min(24, max(len(label) for label, *_ in lines))
    head = f"{'score':<{width}}  {'all pixels pooled (95 %)':<26}  mean over images (95 %)"
    table = [
        f"{label[:width]:<{width}}  {_interval(pixels):<26}  {_interval(images)}"
        for label, pixels, images in lines
    ]
    return "\n".join([head, *table, wrapped(statistics["note"])])


def wrapped(text: str) -> str:
    """Break a sentence into lines of 80 columns."""
    return textwrap.fill(text, 80)


def _interval(one: dict[str, Any]) -> str:
    ends = "-" if one["low"] is None else f"{one['low']:.4f} to {one['high']:.4f}"
    return number(one["value"]) if one["value"] is None else f"{number(one['value'])} ({ends})"
