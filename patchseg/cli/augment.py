"""`patchseg augment`."""

from pathlib import Path

import click

from patchseg.cli.options import overwrite, parameters
from patchseg.cli.terminal import Terminal
from patchseg.parameters import AugmentParameters, Parameters
from patchseg.training.sheet import augment


@click.command
@click.argument("prepare__output", metavar="[PATCHES]", required=False)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    default="augment.png",
    show_default=True,
    help="The picture.",
)
@parameters(AugmentParameters)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Of the patches shown and of their variations.",
)
@overwrite
def command(parameters: Parameters, output: Path, seed: int, overwrite: bool) -> None:
    """Show what a network will see of the patches of a file (patches.h5), as a picture.

    A row a patch: as it is stored, then varied as in training; masks below. The switches are keys of the section augment
    in parameters.json, where `patchseg train` finds them, too.

    \b
    Example:
      patchseg augment patches.h5 --strength strong -o sheet.png
    """
    path = augment(
        parameters.prepare.output, parameters=parameters.augment, output=output, seed=seed, overwrite=overwrite,
        progress=Terminal(),
    )  # fmt: skip
    click.echo(path)
