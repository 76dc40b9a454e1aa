"""`patchseg calibrate`."""

import json
from typing import Any

import click

from patchseg.cli.infer import split
from patchseg.cli.measured import number
from patchseg.cli.options import as_json, overwrite, parameters, required
from patchseg.cli.terminal import Terminal
from patchseg.evaluation.calibration import meaning
from patchseg.models.checkpoint import Checkpoint, load
from patchseg.parameters import CalibrateParameters, InferParameters, Parameters
from patchseg.progress import counted
from patchseg.studies.calibrate import calibrate

_ENGINE = {"tile", "overlap", "blend", "symmetries", "device", "precision", "threads"}
_OTHERS = tuple(name for name in InferParameters.model_fields if name not in _ENGINE)


@click.command
@click.argument("infer__checkpoint", metavar="[CHECKPOINT]", required=False)
@click.argument("prepare__output", metavar="[PATCHES]", required=False)
@parameters(CalibrateParameters, InferParameters, without=_OTHERS)
@as_json
@overwrite
def command(parameters: Parameters, as_json: bool, overwrite: bool) -> None:
    """Make the probabilities of a network as sure as they are right, for patchseg infer --calibrated.

    Finds a temperature on the validation images of PATCHES (patches.h5), or on masks with probabilities of images that
    no network had learned from, and writes it into the checkpoint; of several, with commas between, into each. Prints the
    negative log likelihood (NLL, in nats) and the expected calibration error (ECE) before and after.

    \b
    Example:
      patchseg calibrate checkpoints/patches/best.pt patches.h5
      patchseg calibrate a.pt,b.pt --masks crossval/cells/masks --truth masks
    """
    checkpoint = required(parameters.infer.checkpoint, "infer.checkpoint", "CHECKPOINT")
    files = calibrate(
        split(checkpoint), parameters.prepare.output, parameters=parameters.calibrate, infer=parameters.infer,
        data=parameters.data, overwrite=overwrite, progress=Terminal(),
    )  # fmt: skip
    model = load(files[0])
    document = {"checkpoints": list(map(str, files)), "classes": model.classes.names, **_known(model)}
    click.echo(json.dumps(document, indent=1) if as_json else "\n".join([told(model), *map(str, files)]))


def told(model: Checkpoint) -> str:
    """Return what has been found as lines of 80 columns at most."""
    known = _known(model)
    numbers = {"NLL": "nll", "ECE": "ece", "mean IoU": "mean_iou"}
    if known["thresholds"] is None:  # which alone change masks
        del numbers["mean IoU"]
    lines = [f"{'':<11} {'before':>9} {'after':>9}"]
    for name, key in numbers.items():
        cells = (number(known[f"{key}_{when}"]) for when in ("before", "after"))
        lines.append(" ".join([f"{name:<11}", *(f"{cell:>9}" for cell in cells)]))
    source = f"of {known['pixels']:,} pixels of {counted(known['images'], 'image')}"
    lines.append(f"{'temperature':<11} {'':>9} {known['temperature']:>9.4g}  {source}")
    for name, threshold in zip(model.classes.names, known["thresholds"] or [], strict=False):
        lines.append(f"  threshold {threshold:.4f}  {name[:50]}")
    return "\n".join([*lines, meaning(known)])


def _known(model: Checkpoint) -> dict[str, Any]:
    assert model.calibration is not None
    return model.calibration
