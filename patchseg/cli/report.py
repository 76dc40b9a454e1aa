"""`patchseg report`."""

from pathlib import Path

import click

from patchseg.cli.options import overwrite
from patchseg.evaluation.report import report


@click.command
@click.argument("scores", type=click.Path(path_type=Path), metavar="SCORES")
@click.option("--run", type=click.Path(path_type=Path), help="Folder of the training, such as runs/NAME.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("report.html"),
    show_default=True,
    help="Page to write.",
)
@overwrite
def command(scores: Path, run: Path | None, output: Path, overwrite: bool) -> None:
    """Turn scores.json, and the run that led to it, into one self-contained HTML page.

    \b
    Example:
      patchseg report masks/scores.json --run runs/patches
    """
    click.echo(report(scores, run, output=output, overwrite=overwrite))
