"""`patchseg demo`."""

from pathlib import Path

import click

from patchseg.cli.evaluate import told
from patchseg.cli.terminal import Terminal
from patchseg.demo import demo


@click.command
@click.argument("directory", type=click.Path(path_type=Path), metavar="[DIR]", default=Path("demo"))
def command(directory: Path) -> None:
    """Do the whole job on synthetic lines and ellipses: about 5 minutes on two cores.

    Everything goes to DIR (demo): images, patches, checkpoint, masks, scores and report.html.

    \b
    Example:
      patchseg demo
    """
    result = demo(directory, progress=Terminal())
    click.echo(told(result.scores))
    click.echo(f"report: {result.report}")
