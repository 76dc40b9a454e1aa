"""`patchseg crossval`."""

import json
from typing import Any

import click

from patchseg.cli.evaluate import averages
from patchseg.cli.measured import number
from patchseg.cli.options import as_json, overwrite, parameters, refuse_more_paths, required
from patchseg.cli.terminal import Terminal
from patchseg.evaluation.averages import MEANS
from patchseg.parameters import (
    AugmentParameters,
    CrossvalParameters,
    DataParameters,
    ModelParameters,
    Parameters,
    PrepareParameters,
    TrainParameters,
)
from patchseg.studies.crossval import crossval

_LEFT_OUT = (
    "prepare.output", "prepare.validation", "prepare.val_images", "prepare.val_masks", "prepare.fold", "train.seed",
    "train.on_stop", *(name for name in AugmentParameters.model_fields if name not in ("strength", "match")),
)  # fmt: skip
_WIDTH = 40


@click.command(context_settings={"allow_extra_args": True})
@click.argument("data__images", metavar="[IMAGES]", required=False)
@click.argument("data__masks", metavar="[MASKS]", required=False)
@parameters(
    CrossvalParameters, TrainParameters, ModelParameters, AugmentParameters, PrepareParameters, DataParameters,
    without=_LEFT_OUT,
)  # fmt: skip
@as_json
@overwrite
def command(parameters: Parameters, as_json: bool, overwrite: bool) -> None:
    """Score every image by a network that has not seen it.

    Deals the images (or groups) to folds, and for each fold prepares, trains, infers and evaluates. Writes
    crossval/NAME with a folder a fold, the masks out of fold, scores.json and crossval.json. --time, --steps or --epochs
    are those of each fold. Ctrl-C saves and stops; the same command goes on.

    \b
    Example:
      patchseg crossval images masks --time 10m
      patchseg crossval images masks --folds all -e 50 --group "^[^_]+"
      patchseg infer new/*.tif -m crossval/patches
    """
    refuse_more_paths()
    data = parameters.data
    images = required(data.images, "data.images", "IMAGES")
    path = crossval(images, data.masks, parameters=parameters, overwrite=overwrite, progress=Terminal())
    document, scores = (
        json.loads(file.read_text(encoding="utf-8")) for file in (path, path.with_name("scores.json"))
    )
    click.echo(json.dumps(document, indent=1) if as_json else f"{told(document, scores)}\n{path}")


def told(summary: dict[str, Any], scores: dict[str, Any]) -> str:
    """Return the scores of the folds, both averages over all images, and the worst images, in 80 columns at most."""
    head = f"{'fold':<{_WIDTH}}  {'images':>6} {'mean IoU':>9} {'foreground':>11} {'accuracy':>9}"
    rows = [_row(fold, len(summary["folds"])) for fold in summary["folds"]]
    spread = [summary[key]["spread"] for key in MEANS]
    worst = [
        f"{item['name'][-_WIDTH:]:<{_WIDTH}}  {item['fold']:>6} {item['mean_iou']:>9.4f}"
        for item in summary["worst"]
    ]
    return "\n".join([
        head, *rows, f"{'standard deviation':<{_WIDTH}}  {'':>6} {_cells(spread)}", "",
        averages(scores), "", f"{'worst images':<{_WIDTH}}  {'fold':>6} {'mean IoU':>9}", *worst,
    ])  # fmt: skip


def _row(fold: dict[str, Any], folds: int) -> str:
    name, scores = f"{fold['fold']} of {folds}", [fold["scores"][key] for key in MEANS]
    return f"{name:<{_WIDTH}}  {len(fold['images']):>6} {_cells(scores)}"


def _cells(scores: list[float | None]) -> str:
    texts = [number(score) for score in scores]
    return " ".join(f"{text:>{width}}" for text, width in zip(texts, (9, 11, 9), strict=True))
