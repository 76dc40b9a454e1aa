"""`patchseg synth`."""

from pathlib import Path

import click

from patchseg.cli.options import overwrite, parameters
from patchseg.cli.terminal import Terminal
from patchseg.parameters import Parameters, SynthParameters
from patchseg.synth import synth


@click.command
@click.argument("directory", type=click.Path(path_type=Path), metavar="DIR")
@parameters(SynthParameters)
@overwrite
def command(directory: Path, parameters: Parameters, overwrite: bool) -> None:
    """Make the synthetic data set: lines and ellipses on noise, with masks.

    Writes DIR/train/{images,masks} and DIR/test/{images,masks}; with --large one big image and its mask.

    \b
    Example:
      patchseg synth data
      patchseg synth big --large 20000
    """
    click.echo(synth(directory, parameters=parameters.synth, overwrite=overwrite, progress=Terminal()))
