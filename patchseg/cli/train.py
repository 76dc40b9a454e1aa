"""`patchseg train`."""

import click

from patchseg.cli.options import overwrite, parameters
from patchseg.cli.terminal import Terminal
from patchseg.parameters import ModelParameters, Parameters, TrainParameters
from patchseg.training.train import train


@click.command
@click.argument("prepare__output", metavar="[PATCHES]", required=False)
@parameters(TrainParameters, ModelParameters)
@click.option("--resume", is_flag=True, help="Go on with the run of that name.")
@overwrite
def command(parameters: Parameters, resume: bool, overwrite: bool) -> None:
    """Train a network on the patches of a file (patches.h5).

    Writes checkpoints/NAME/best.pt and last.pt, and runs/NAME for TensorBoard. Ctrl-C saves and stops; --resume
    goes on exactly.

    \b
    Example:
      patchseg train -e 100 -b 16
      patchseg train --time 20m --name quick
    """
    path = train(
        parameters.prepare.output, parameters=parameters.train, model=parameters.model, resume=resume,
        overwrite=overwrite, progress=Terminal(),
    )  # fmt: skip
    click.echo(path)
