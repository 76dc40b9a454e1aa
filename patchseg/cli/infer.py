"""`patchseg infer`."""

from pathlib import Path

import click

from patchseg.cli.options import overwrite, parameters, required
from patchseg.cli.terminal import Terminal
from patchseg.inference.infer import infer
from patchseg.parameters import InferParameters, Parameters


@click.command
@click.argument("infer__images", metavar="[IMAGE]...", nargs=-1)
@parameters(InferParameters)
@overwrite
def command(parameters: Parameters, overwrite: bool) -> None:
    """Segment images of any size, and videos: files, folders or globs.

    Each is cut into half-overlapping tiles, whose class probabilities are averaged into one mask of its size. The same
    command once more does what is missing: of many images, and of a large one.

    \b
    Example:
      patchseg infer new/*.tif -m checkpoints/patches/best.pt -o masks --overlay
      patchseg infer slide.tif -m a.pt,b.pt --roi tissue.geojson --areas
    """
    settings = parameters.infer
    images = required(settings.images, "infer.images", "IMAGE")
    checkpoint = required(settings.checkpoint, "infer.checkpoint", "--checkpoint (-m)")
    path = infer(
        list(images), checkpoint=split(checkpoint), parameters=settings, data=parameters.data, overwrite=overwrite,
        progress=Terminal(),
    )  # fmt: skip
    click.echo(path)


def split(checkpoints: str) -> list[str]:
    """Return the checkpoints of a list with commas; a file whose own name has one is that file."""
    if Path(checkpoints).exists():
        return [checkpoints]
    return [part.strip() for part in checkpoints.split(",") if part.strip()]
