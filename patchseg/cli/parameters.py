"""`patchseg parameters`."""

import json
from pathlib import Path

import click

from patchseg.cli.options import as_json
from patchseg.loading import FILE, load, schema
from patchseg.parameters import effective


@click.command
@click.option(
    "--parameters",
    "file",
    type=click.Path(path_type=Path),
    help=f"Parameters file.  [default: {FILE} if it is here]",
)
@click.option("--schema", "as_schema", is_flag=True, help="Print the JSON schema of parameters.json instead.")
@as_json
def command(file: Path | None, as_schema: bool, as_json: bool) -> None:
    """Show every parameter, its value and where it comes from.

    What is null is left to the data, or to a plan that each verb makes and records beside its output.

    \b
    A parameters.json in the working folder holds those that shall differ:
      {"data": {"classes": ["ground", "road"]}, "train": {"batch": 8}}

    \b
    Example:
      patchseg parameters
      patchseg parameters --schema > parameters.schema.json
    """
    if as_schema:
        click.echo(json.dumps(schema(), indent=1))
        return
    table = effective(*load(file).sections())
    if as_json:
        click.echo(json.dumps(table, indent=1))
        return
    width = max(map(len, table))
    for key, entry in table.items():
        click.echo(f"{key:<{width}}  {_short(json.dumps(entry['value'])):<26}  {entry['source']}")


def _short(text: str) -> str:
    """Fit a value into its column; --json has the whole."""
    return text if len(text) <= 26 else f"{text[:23]}..."
