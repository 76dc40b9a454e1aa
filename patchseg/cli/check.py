"""`patchseg check`."""

import json
from pathlib import Path

import click

from patchseg.cli.options import as_json, overwrite, parameters, refuse_more_paths, required
from patchseg.cli.terminal import Terminal
from patchseg.errors import DataError
from patchseg.parameters import DataParameters, Parameters, PrepareParameters
from patchseg.patches.doctor.checkup import check


@click.command(context_settings={"allow_extra_args": True})
@click.argument("data__images", metavar="[IMAGES]", required=False)
@click.argument("data__masks", metavar="[MASKS]", required=False)
@parameters(
    PrepareParameters, DataParameters, without=("output", "per_image", "foreground", "flips", "margin")
)
@click.option("--html", type=click.Path(path_type=Path), help="Page to write, with images and their masks.")
@as_json
@overwrite
def command(parameters: Parameters, html: Path | None, as_json: bool, overwrite: bool) -> int:
    """Find everything wrong with images and masks, the worst first.

    Looks at every file once, tells the likely cause and the cure, and ends with code 3 where training would fail
    or go wrong, with 0 where there are doubts only. The flags are those of `prepare`, whose split it looks at.

    \b
    Example:
      patchseg check images masks --html check.html
    """
    refuse_more_paths()
    data = parameters.data
    images = required(data.images, "data.images", "IMAGES")
    report = check(
        images,
        data.masks,
        parameters=parameters.prepare,
        data=data,
        html=html,
        overwrite=overwrite,
        progress=Terminal(),
    )
    click.echo(json.dumps(report.to_json(), indent=1) if as_json else report)
    return DataError.exit_code if report.errors else 0
