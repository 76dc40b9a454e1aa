"""`patchseg report`."""

from pathlib import Path

import click

from patchseg.cli.options import overwrite
from patchseg.evaluation.report import report

_PATH = click.Path(path_type=Path)


@click.command
@click.argument("scores", type=_PATH, metavar="SCORES")
@click.option("--run", type=_PATH, help="Folder of the training, such as runs/NAME.")
@click.option(
    "--curve", type=_PATH, help="curve.json of learning-curve [default: the one beside SCORES, if any]."
)
@click.option("--suspects", type=_PATH, help="suspects.json of audit [default: likewise].")
@click.option("--suggestions", type=_PATH, help="suggestions.json of suggest [default: likewise].")
@click.option("--checkpoint", type=_PATH, help="Checkpoint whose calibration is shown.")
@click.option(
    "-o",
    "--output",
    type=_PATH,
    default=Path("report.html"),
    show_default=True,
    help="Page to write.",
)
@overwrite
def command(
    *,
    scores: Path,
    run: Path | None,
    curve: Path | None,
    suspects: Path | None,
    suggestions: Path | None,
    checkpoint: Path | None,
    output: Path,
    overwrite: bool,
) -> None:
    """Turn scores.json, and what else is known, into one self-contained HTML page of less than 5 MB.

    It begins with what the scores come to. Beside them it shows images to look at, the training (--run), whether more labels
    would help (--curve), masks that may be wrong (--suspects) and what to label next (--suggestions).

    \b
    Example:
      patchseg report masks/scores.json --run runs/patches
    """
    click.echo(
        report(
            scores, run, output=output, overwrite=overwrite,
            curve=curve, suspects=suspects, suggestions=suggestions, checkpoint=checkpoint,
        )
    )  # fmt: skip
