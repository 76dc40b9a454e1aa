"""`patchseg export`."""

import click

from patchseg.cli.options import overwrite, parameters, required
from patchseg.cli.terminal import Terminal
from patchseg.export import export
from patchseg.parameters import ExportParameters, Parameters


@click.command
@parameters(ExportParameters)
@overwrite
def command(parameters: Parameters, overwrite: bool) -> None:
    """Write a checkpoint as ONNX, safetensors or a bioimage.io package.

    Each with a model card beside it, such as model.onnx.md. Graphs take raw pixels of any size; each is compared with torch before it is
    written. patchseg infer -m reads .onnx and .safetensors, too.

    \b
    Example:
      patchseg export -m checkpoints/patches/best.pt -o model.onnx
      patchseg export -m best.pt -o model.zip --patches patches.h5 --license MIT
    """
    settings = parameters.export
    checkpoint = required(settings.checkpoint, "export.checkpoint", "--checkpoint (-m)")
    click.echo(export(checkpoint, parameters=settings, overwrite=overwrite, progress=Terminal()))
