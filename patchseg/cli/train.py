"""`patchseg train`."""

import click

from patchseg import device as devices
from patchseg.cli.options import overwrite, parameters
from patchseg.cli.terminal import Terminal
from patchseg.parameters import AugmentParameters, ModelParameters, Parameters, TrainParameters
from patchseg.training.train import train

_SWITCHES = tuple(name for name in AugmentParameters.model_fields if name not in ("strength", "match"))


@click.command
@click.argument("prepare__output", metavar="[PATCHES]", required=False)
@parameters(TrainParameters, ModelParameters, AugmentParameters, without=_SWITCHES)
@click.option("--resume", is_flag=True, help="Go on with the run of that name.")
@overwrite
def command(parameters: Parameters, resume: bool, overwrite: bool) -> None:
    """Train a network on the patches of a file (patches.h5).

    Writes checkpoints/NAME/best.pt and last.pt, and runs/NAME for TensorBoard. Ctrl-C saves and stops; --resume
    goes on exactly. A file runs/NAME/stop lets the rate decay to its end, and the run end well, early. What is not set is
    planned, and told with its reason; `patchseg augment` shows what --strength does.

    \b
    Example:
      patchseg train -e 100 -b 16
      patchseg train --time 20m --name quick --strength strong
      torchrun --nproc-per-node 2 -m patchseg train -b 32
    """
    path = train(
        parameters.prepare.output, parameters=parameters.train, model=parameters.model,
        augment=parameters.augment, resume=resume, overwrite=overwrite, progress=Terminal(),
    )  # fmt: skip
    if devices.leads():
        click.echo(path)
