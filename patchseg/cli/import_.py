"""`patchseg import`."""

import json
from pathlib import Path
from typing import Any

import click

from patchseg.cli.options import as_json, overwrite, parameters, required
from patchseg.cli.terminal import Terminal
from patchseg.parameters import FILE, DataParameters, Parameters
from patchseg.patches.drawings import RECORD, import_annotations
from patchseg.progress import counted


@click.command("import")
@click.argument("annotations", type=click.Path(path_type=Path))
@click.option("--images", "data__images", help="Folder of the images, whose sizes the masks have.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=Path("masks"), show_default=True,
    help="Folder of the masks to write.",
)  # fmt: skip
@parameters(DataParameters)
@as_json
@overwrite
def command(
    *, annotations: Path, output: Path, parameters: Parameters, as_json: bool, overwrite: bool
) -> None:
    """Write polygons and objects of an annotation program as masks.

    ANNOTATIONS is a file of VIA (JSON, CSV), LabelMe, COCO, QuPath (GeoJSON in pixels) or CVAT for images 1.1, or a
    folder of them. Images are matched by name; of shapes that overlap the later one wins. `prepare` and `evaluate` take
    such files too, in place of masks.

    \b
    Example:
      patchseg import via.json --images images -o masks
      patchseg prepare images masks --parameters masks/parameters.json
    """
    images = required(parameters.data.images, "data.images", "--images")
    folder = import_annotations(
        annotations, images, output, data=parameters.data, overwrite=overwrite, progress=Terminal()
    )
    document = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    if as_json:
        click.echo(json.dumps(document, indent=1))
    else:
        click.echo(f"{told(document)}\nclasses for prepare: --parameters {folder / FILE}\n{folder}")


def told(document: dict[str, Any]) -> str:
    """Return what was imported as a table of 80 columns at most."""
    rows = [(item["name"], item["value"], item["pixels"]) for item in document["classes"]]
    if document["ignored"]:
        rows.append(("ignored", 255, document["ignored"]))
    total = max(1, sum(pixels for _, _, pixels in rows))
    width = min(30, max(len("class"), *(len(name) for name, _, _ in rows)))
    lines = [f"{'class':<{width}}  value {'pixels':>15}    share"]
    lines += [
        f"{name[:width]:<{width}}  {value:>5} {pixels:>15,} {100 * pixels / total:>6.2f} %"
        for name, value, pixels in rows
    ]
    shapes = sum(image["shapes"] for image in document["images"])
    lines.append(f"{counted(shapes, 'shape')} in {counted(len(document['images']), 'mask')}")
    return "\n".join(lines)
