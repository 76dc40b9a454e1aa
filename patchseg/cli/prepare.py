"""`patchseg prepare`."""

import click

from patchseg.cli.options import overwrite, parameters, refuse_more_paths, required
from patchseg.cli.terminal import Terminal
from patchseg.parameters import DataParameters, Parameters, PrepareParameters
from patchseg.patches.prepare import prepare


@click.command(context_settings={"allow_extra_args": True})
@click.argument("data__images", metavar="[IMAGES]", required=False)
@click.argument("data__masks", metavar="[MASKS]", required=False)
@parameters(PrepareParameters, DataParameters)
@overwrite
def command(parameters: Parameters, overwrite: bool) -> None:
    """Cut random patches, with flips, out of each image and its mask into one HDF5 file.

    IMAGES and MASKS are folders, matched by name (a.tif and a.png, Img_7 and Mask_7, a and a_mask), nested ones by their
    paths; or IMAGES is one folder with both, or a list: `image mask` a line, or CSV; or MASKS is a file of annotations
    (see patchseg import -h). The classes are read off the masks; to name them, or where that
    leaves doubts, list data.classes in parameters.json.

    \b
    Example:
      patchseg prepare images masks --patch 128 --per-image 40
    """
    refuse_more_paths()
    data = parameters.data
    images = required(data.images, "data.images", "IMAGES")
    path = prepare(
        images, data.masks, parameters=parameters.prepare, data=data, overwrite=overwrite, progress=Terminal()
    )
    click.echo(path)
