"""`patchseg suggest`."""

import json
from pathlib import Path

import click

from patchseg.cli.infer import split
from patchseg.cli.options import as_json, overwrite, parameters, required
from patchseg.cli.terminal import Terminal
from patchseg.errors import SomeFailed, listing
from patchseg.parameters import Parameters, SuggestParameters
from patchseg.studies.labelled import SUGGESTIONS
from patchseg.studies.suggest import suggest
from patchseg.studies.table import told


@click.command
@click.argument("suggest__images", metavar="[IMAGE]...", nargs=-1)
@parameters(SuggestParameters)
@as_json
@overwrite
def command(parameters: Parameters, as_json: bool, overwrite: bool) -> None:
    """Rank what to annotate next: files, folders or globs of unlabelled images.

    Finds the crops on which overlapping tiles, mirrored tiles and (of several checkpoints) networks contradict each other
    most, no two alike. Writes them with masks to correct: filled in where the prediction is sure, left open (255, gray)
    elsewhere, and as polygons for LabelMe and QuPath. Images that the network has learned from are left out where
    patches.h5 is still there.

    \b
    Example:
      patchseg suggest new -m checkpoints/patches/best.pt
      patchseg suggest new -m a.pt,b.pt --labelled suggestions -o second
    """
    settings = parameters.suggest
    images = required(settings.images, "suggest.images", "IMAGE")
    checkpoint = required(settings.checkpoint, "suggest.checkpoint", "--checkpoint (-m)")
    folder = suggest(
        list(images), checkpoint=split(checkpoint), parameters=settings, data=parameters.data, overwrite=overwrite,
        progress=Terminal(),
    )  # fmt: skip
    document = json.loads((folder / SUGGESTIONS).read_text(encoding="utf-8"))
    if as_json:
        click.echo(json.dumps(document, indent=1))
    else:
        click.echo(f"{told(document['suggestions'])}\n{_next(folder)}\n{folder}")
    if document["failures"]:
        raise SomeFailed(listing([item["error"] for item in document["failures"]]))


def _next(folder: Path) -> str:
    """Return what to do now, in lines of 80 columns where the name of the folder is short."""
    return (
        f"Look at {folder / 'suggestions.html'}, then correct what is gray or wrong in\n"
        f"{folder / 'masks'}, or\n"
        f"  labelme {folder / 'images'} --output {folder / 'annotations'}\n"
        "and add both to what you train on, or learn from them alone:\n"
        f"  patchseg prepare {folder / 'images'} {folder / 'masks'} \\\n"
        f"    --parameters {folder / 'parameters.json'}"
    )
