"""`patchseg audit`."""

import json
from pathlib import Path
from typing import Any

import click

from patchseg.cli.options import as_json, overwrite, parameters, required
from patchseg.cli.terminal import Terminal
from patchseg.parameters import AuditParameters, DataParameters, Parameters
from patchseg.progress import counted
from patchseg.studies.audit import audit

_SHOWN = 20  # suspects in the terminal; all are in the files
_LIKELY = 0.5  # score from which on a suspect should be looked at


@click.command
@click.argument("audit__predicted", metavar="[PREDICTED]", required=False)
@click.argument("audit__truth", metavar="[TRUTH]", required=False)
@parameters(AuditParameters, DataParameters)
@as_json
@overwrite
def command(parameters: Parameters, as_json: bool, overwrite: bool) -> None:
    """Find where the given masks TRUTH are likely wrong.

    PREDICTED is a folder of masks of the same images, written by infer --confidence with a network that has not learned from
    them, or that of a cross-validation, which needs no TRUTH. Where the prediction is sure of something else than the given
    mask, one of the two is wrong; the likeliest errors of the mask come first. They go into suspects.csv, suspects.json and,
    with pictures, gallery.html. Nothing is changed.

    \b
    Example:
      patchseg audit crossval/cells
      patchseg audit masks truth --count 20
    """
    settings = parameters.audit
    predicted = required(settings.predicted, "audit.predicted", "PREDICTED")
    path = audit(
        predicted,
        settings.truth,
        parameters=settings,
        data=parameters.data,
        overwrite=overwrite,
        progress=Terminal(),
    )
    document = json.loads(path.read_text(encoding="utf-8"))
    click.echo(json.dumps(document, indent=1) if as_json else f"{told(document, path.parent)}\n{path}")


def told(document: dict[str, Any], folder: Path) -> str:
    """Return the first suspects as a table of 80 columns at most, and what to do with them."""
    suspects, images = document["suspects"], counted(document["images"], "image")
    if not suspects:
        return f"{images}: the predictions contradict the given masks nowhere"
    lines = [_line("#", "image", "kind", f"{'given':<11} predicted", "row, column", "score")]
    lines += [_line(*_cells(suspect)) for suspect in suspects[:_SHOWN]]
    if len(suspects) > _SHOWN:
        lines.append(f"... and {len(suspects) - _SHOWN} more")
    likely = sum(suspect["score"] >= _LIKELY for suspect in suspects)
    first = f"the first {likely}" if likely > 1 else "the first"
    advice = (
        f"look at {first} in {folder / 'gallery.html'};\ncorrect the mask where it is wrong, and leave it where "
        "the prediction is"
    )
    return "\n".join([*lines, "", f"{images}, {counted(document['found'], 'suspect')}: {advice}"])


def _cells(suspect: dict[str, Any]) -> tuple[str, ...]:
    """Return what the columns say of a suspect."""
    top, left, *_ = suspect["box"]
    place = f"{top}, {left}"
    if suspect["given"] is not None:
        classes = f"{suspect['given'][:11]:<11} {suspect['predicted'][:11]}"
    else:
        classes, place = "", "everywhere"
    if suspect["shift"]:
        classes = "by ({}, {}) pixels".format(*suspect["shift"])
    # Of a path the end says which image it is.
    name = suspect["image"] if len(suspect["image"]) <= 15 else f"...{suspect['image'][-12:]}"
    return str(suspect["rank"]), name, suspect["kind"], classes, place, f"{suspect['score']:.2f}"


def _line(*cells: str) -> str:
    return "{:>4} {:<15} {:<14} {:<23} {:>12} {:>6}".format(*cells)
