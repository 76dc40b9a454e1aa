"""`patchseg evaluate`."""

import json
from typing import Any

import click

from patchseg.cli.options import as_json, overwrite, parameters, required
from patchseg.cli.terminal import Terminal
from patchseg.evaluation.evaluate import evaluate
from patchseg.parameters import DataParameters, EvaluateParameters, Parameters
from patchseg.progress import counted


@click.command
@click.argument("evaluate__masks", metavar="[MASKS]", required=False)
@click.argument("evaluate__truth", metavar="[TRUTH]", required=False)
@parameters(EvaluateParameters, DataParameters)
@as_json
@overwrite
def command(parameters: Parameters, as_json: bool, overwrite: bool) -> None:
    """Score a folder of masks against the true ones.

    TRUTH may be a file of annotations too (see patchseg import -h), which is painted into the folder truth beside the scores.
    Prints the scores over all pixels, and writes scores.json and scores.csv with those of each image.

    \b
    Example:
      patchseg evaluate masks truth
    """
    settings = parameters.evaluate
    masks = required(settings.masks, "evaluate.masks", "MASKS")
    truth = required(settings.truth, "evaluate.truth", "TRUTH")
    path = evaluate(
        masks, truth, parameters=settings, data=parameters.data, overwrite=overwrite, progress=Terminal()
    )
    document = json.loads(path.read_text(encoding="utf-8"))
    click.echo(json.dumps(document, indent=1) if as_json else told(document) + f"\n{path}")


def told(scores: dict[str, Any]) -> str:
    """Return the scores as a table of 80 columns at most."""
    width = min(30, max(len("pixel accuracy"), *(len(item["name"]) for item in scores["classes"])))
    kinds = ["iou", "dice", "precision", "recall"]
    lines = [f"{'class':<{width}}  {'IoU':>9} {'Dice':>9} {'precision':>9} {'recall':>9}"]
    for item in scores["classes"]:
        cells = " ".join(f"{_number(item[kind]):>9}" for kind in kinds)
        lines.append(f"{item['name'][:width]:<{width}}  {cells}")
    means = {
        "mean IoU": scores["mean_iou"], "  foreground": scores["mean_iou_foreground"],
        "pixel accuracy": scores["pixel_accuracy"],
    }  # fmt: skip
    lines += [f"{name:<{width}}  {_number(value):>9}" for name, value in means.items()]
    return "\n".join(
        [*lines, f"{counted(len(scores['images']), 'image')}; - is undefined (a class that is nowhere)"]
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
