"""`patchseg parameters`."""

import json
import textwrap
from pathlib import Path

import click

from patchseg.cli.options import as_json
from patchseg.loading import FILE, load, preset, presets, schema
from patchseg.parameters import effective


@click.command
@click.option(
    "--parameters",
    "file",
    type=click.Path(path_type=Path),
    help=f"Parameters file.  [default: {FILE} if it is here]",
)
@click.option("--schema", "as_schema", is_flag=True, help="Print the JSON schema of parameters.json instead.")
@click.option(
    "--preset", "name", metavar="NAME", help="Print the parameters.json of an older system's setting instead."
)
@click.option("--presets", "as_presets", is_flag=True, help="List these settings instead.")
@as_json
def command(file: Path | None, as_schema: bool, name: str | None, as_presets: bool, as_json: bool) -> None:
    """Show every parameter, its value and where it comes from.

    What is null is left to the data, or to a plan that each verb makes and records beside its output.

    \b
    A parameters.json in the working folder holds those that shall differ:
      {"data": {"classes": ["ground", "road"]}, "train": {"batch": 8}}

    \b
    Example:
      patchseg parameters
      patchseg parameters --schema > parameters.schema.json
      patchseg parameters --preset nnunet > nnunet.json
      patchseg prepare images masks --parameters nnunet.json
      patchseg train --parameters nnunet.json
    """
    if name is not None:
        click.echo(preset(name), nl=False)
        return
    if as_presets:
        lines = presets()
        width = max(map(len, lines))
        told = [
            textwrap.fill(line, 80, initial_indent=f"{name:<{width}}  ", subsequent_indent=" " * (width + 2))
            for name, line in lines.items()
        ]
        click.echo(json.dumps(lines, indent=1) if as_json else "\n".join(told))
        return
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
