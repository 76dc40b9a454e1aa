"""`patchseg view`."""

import json
from pathlib import Path

import click

from patchseg.cli.options import as_json, parameters
from patchseg.cli.terminal import Terminal
from patchseg.parameters import DataParameters, Parameters
from patchseg.view import view
from patchseg.view.server import Server

_READING = {"pages", "channels", "max_memory", "ignore", "binary", "mask_tolerance"}


@click.command
@click.argument("image", type=click.Path(path_type=Path), metavar="IMAGE")
@click.argument("mask", type=click.Path(path_type=Path), metavar="[MASK]", required=False)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="To listen at.  [auto: any that is free]"
)
@click.option(
    "--open/--no-open", "browser", default=True, show_default=True, help="Open the page in the browser."
)
@parameters(DataParameters, without=tuple(set(DataParameters.model_fields) - _READING))
@as_json
def command(
    *, image: Path, mask: Path | None, port: int, browser: bool, parameters: Parameters, as_json: bool
) -> None:
    """Look at an image of any size in the browser, with its mask above it.

    Probabilities, confidence and disagreement that `infer` has laid beside the mask are found by themselves. The page is for this
    machine and for whoever knows its address; Ctrl-C ends it.

    \b
    Example:
      patchseg view slide.tif masks/slide.tif
    """

    def ready(server: Server) -> None:
        layers = [layer.title for layer in server.shown.layers]
        if as_json:
            click.echo(json.dumps({"url": server.url, "layers": layers}, indent=1))
        else:
            click.echo(server.url)
            click.echo(f"{', '.join(layers)}; Ctrl-C ends it", err=True)

    view(image, mask, data=parameters.data, port=port, browser=browser, ready=ready, progress=Terminal())
