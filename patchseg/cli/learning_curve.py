"""`patchseg learning-curve`."""

import json
from typing import Any

import click

from patchseg.cli.evaluate import wrapped
from patchseg.cli.options import as_json, overwrite, parameters, refuse_more_paths, required
from patchseg.cli.terminal import Terminal
from patchseg.parameters import (
    AugmentParameters,
    DataParameters,
    LearningCurveParameters,
    ModelParameters,
    Parameters,
    PrepareParameters,
    TrainParameters,
)
from patchseg.studies.learning_curve import learning_curve

_LEFT_OUT = (
    "prepare.output", "train.seed", "train.on_stop",
    *(name for name in AugmentParameters.model_fields if name not in ("strength", "match")),
)  # fmt: skip


@click.command(context_settings={"allow_extra_args": True})
@click.argument("data__images", metavar="[IMAGES]", required=False)
@click.argument("data__masks", metavar="[MASKS]", required=False)
@parameters(
    LearningCurveParameters, TrainParameters, ModelParameters, AugmentParameters, PrepareParameters, DataParameters,
    without=_LEFT_OUT,
)  # fmt: skip
@as_json
@overwrite
def command(parameters: Parameters, as_json: bool, overwrite: bool) -> None:
    """Tell what more labelled images would bring.

    Learns from 25, 50, 75 and 100 % of the images (or groups), repeatedly, always for as many steps; scores each network on
    the same held-out images, those that `prepare` keeps for validation; and forecasts the score with 5, 10 and 50 more. Writes
    learning-curve/NAME with curve.json. --time, --steps or --epochs are those of the first training. Ctrl-C saves and
    stops; the same command goes on.

    \b
    Example:
      patchseg learning-curve images masks --time 5m
      patchseg learning-curve images masks --fold 1/4 --repeats 5 -e 50
    """
    refuse_more_paths()
    data = parameters.data
    images = required(data.images, "data.images", "IMAGES")
    path = learning_curve(images, data.masks, parameters=parameters, overwrite=overwrite, progress=Terminal())
    document = json.loads(path.read_text(encoding="utf-8"))
    click.echo(json.dumps(document, indent=1) if as_json else told(document) + f"\n{path}")


def told(curve: dict[str, Any]) -> str:
    """Return the curve as a table of 80 columns at most, with its verdict."""
    lines = [f"{'images':>8}  {'trainings':>9}  {'mean IoU':>8}  {'95 % interval':>16}"]
    rows = [(point["images"], point["repeats"], point["mean"], point) for point in curve["means"]]
    rows += [(point["images"], "forecast", point["value"], point) for point in curve["forecast"]]
    lines += [
        f"{images:>8}  {what:>9}  {score:>8.4f}  {_interval(of):>16}" for images, what, score, of in rows
    ]
    if curve["fit"]:
        lines.append(curve["fit"]["text"])
    told = [wrapped(curve["verdict"]), wrapped(f"({curve['note']})")]
    return "\n".join([*lines, "", *told])


def _interval(point: dict[str, Any]) -> str:
    return "-" if point["low"] is None else f"{point['low']:.4f} to {point['high']:.4f}"
