"""`patchseg infer`."""

import click

from patchseg.cli.options import overwrite, parameters, required
from patchseg.cli.terminal import Terminal
from patchseg.inference.infer import infer
from patchseg.parameters import DataParameters, InferParameters, Parameters

# What the checkpoint knows of the images that it was trained on.
_OF_TRAINING = tuple(name for name in DataParameters.model_fields if name != "max_memory")


@click.command
@click.argument("infer__images", metavar="[IMAGE]...", nargs=-1)
@parameters(InferParameters, DataParameters, without=_OF_TRAINING)
@overwrite
def command(parameters: Parameters, overwrite: bool) -> None:
    """Segment images of any size: files, folders or globs.

    The image is cut into half-overlapping tiles, whose class probabilities are averaged into one mask of its size.

    \b
    Example:
      patchseg infer new/*.tif -m checkpoints/patches/best.pt -o masks --overlay
    """
    settings = parameters.infer
    images = required(settings.images, "infer.images", "IMAGE")
    checkpoint = required(settings.checkpoint, "infer.checkpoint", "--checkpoint (-m)")
    path = infer(
        list(images), checkpoint=checkpoint, parameters=settings, data=parameters.data, overwrite=overwrite,
        progress=Terminal(),
    )  # fmt: skip
    click.echo(path)
