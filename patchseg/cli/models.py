"""`patchseg models`."""

import json
import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import click

from patchseg.cli.options import as_json, parameters
from patchseg.errors import PatchsegError, UsageError, did_you_mean
from patchseg.models import MODELS, defaults, spec_of
from patchseg.models.facts import SIDE, Encoder, Facts, encoders, facts_of
from patchseg.parameters import ModelParameters, Parameters
from patchseg.progress import counted
from patchseg.section import flag_of

_CONVENTION = f"GFLOPs of an image of {SIDE} x {SIDE}, a multiply-add counted as 2 operations"
_HEAD = ("network", "parameters", "GFLOPs", "field", "exact", "pretrained")
_ROW = "{:<24} {:>13} {:>9} {:>7} {:>6} {:>11}"
_ENCODER = "{:<36} {:>13} {:>9}  {}"


@click.command
@click.argument("name", metavar="[NETWORK]", required=False)
@click.option("--encoders", "text", is_flag=False, flag_value="", metavar="[TEXT]", help=(
    "List the encoders for smp/... instead, whose names hold TEXT; those of timm where it begins with tu-."
))  # fmt: skip
@click.option("--channels", type=click.IntRange(1), default=3, show_default=True, help="Of the images.")
@click.option("--classes", type=click.IntRange(1), default=2, show_default=True, help="Of the masks.")
@parameters(ModelParameters, without=("name", "pretrained", "encoder_weights"))
@as_json
def command(
    parameters: Parameters,
    *,
    name: str | None,
    text: str | None,
    channels: int,
    classes: int,
    as_json: bool,
) -> None:
    """List the networks for --model: size, work, receptive field, exact blending, weights.

    Of one NETWORK all settings are told, too. What is left to a plan by the patches has the network's own default here.
    GFLOPs are those of an image of 512 x 512, a multiply-add counted as 2 operations. The receptive field (field) is the
    mean number of rows of the input that decide a row of the output; "all" is the whole tile, or hundreds of rows to each
    side. Exact blending (patchseg infer --blend exact) gives what the whole image in one pass gives.

    \b
    Example:
      patchseg models
      patchseg models unet --levels 5
      patchseg models --encoders resnet
    """
    if text is not None:
        if name is not None:
            raise UsageError(f"--encoders: lists all that fit; leave out {name}")
        for key in ModelParameters.model_fields:
            if parameters.model.source(key) == "flag":
                raise UsageError(
                    f"{flag_of(f'model.{key}')}: encoders have no such setting; leave it out, or --encoders"
                )
        _tell_encoders(encoders(text, channels=channels), channels, as_json)
    elif name is not None:
        _tell_one(name, parameters.model, channels, classes, as_json)
    else:
        _tell_all(parameters.model, channels, classes, as_json)


def _tell_all(model: ModelParameters, channels: int, classes: int, as_json: bool) -> None:
    """Print a line a network, each as soon as it is known, and last what keeps others from being looked at."""
    settings, found, missing = model.model_dump(), [], {}
    if not as_json:
        click.echo(_head(channels, classes) + "\n" + _ROW.format(*_HEAD))
    for name in MODELS:
        try:
            facts = facts_of(spec_of(settings | {"name": name}, channels, classes))
        except PatchsegError as error:
            missing[name] = str(error)
            continue
        found.append(facts)
        if not as_json:
            click.echo(_row(name, facts))
    if as_json:
        others = [{"name": name, "error": reason} for name, reason in missing.items()]
        click.echo(_document(networks=[_as_dict(facts) for facts in found] + others))
        return
    for reason in dict.fromkeys(missing.values()):
        names = ", ".join(name for name, other in missing.items() if other == reason)
        click.echo("\n" + textwrap.fill(f"left out: {names} ({reason})", 80))


def _tell_one(name: str, model: ModelParameters, channels: int, classes: int, as_json: bool) -> None:
    """Print a line a fact of one network, its settings first."""
    if name not in MODELS:
        hint = did_you_mean(name, MODELS) or f"; there are {', '.join(MODELS)}"
        raise UsageError(f"{name}: is no network{hint}")
    known = defaults(name)
    for key in ModelParameters.model_fields:
        if model.source(key) == "flag" and key not in known:
            raise UsageError(
                f"{flag_of(f'model.{key}')}: {name} has no such setting; it has {', '.join(known) or 'none'}"
            )
    facts = facts_of(spec_of(model.model_dump() | {"name": name}, channels, classes))
    if as_json:
        click.echo(_document(**_as_dict(facts)))
        return
    field = "all of the tile" if facts.receptive_field is None else f"{facts.receptive_field:g} rows"
    rows = {
        "parameters": f"{facts.parameters:,}", f"GFLOPs ({SIDE} x {SIDE})": f"{facts.gflops:,.4g}",
        "receptive field": field, "exact blending": _yes(facts.exact),
        "pretrained": ", ".join(facts.weights) or "no",
    }  # fmt: skip
    told = {key: value for key, value in facts.spec.items() if value is not None} | rows
    for key, value in told.items():
        click.echo(f"{key:<20} {_yes(value) if isinstance(value, bool) else value}")
    click.echo("a multiply-add is counted as 2 operations")


def _tell_encoders(found: Iterator[Encoder], channels: int, as_json: bool) -> None:
    if as_json:
        click.echo(_document(encoders=[asdict(encoder) for encoder in found]))
        return
    told = False
    for encoder in found:
        if not told:
            click.echo(_head(channels) + "\n" + _ENCODER.format("encoder", *_HEAD[1:3], "pretrained"))
        told = True
        cells = f"{encoder.parameters:,}", f"{encoder.gflops:,.2f}"
        click.echo(_ENCODER.format(encoder.name, *cells, _fitting(encoder.weights)))


def _row(name: str, facts: Facts) -> str:
    """Return the line of a network, 76 columns."""
    seen = "all" if facts.receptive_field is None else f"{facts.receptive_field:.0f}"
    cells = (
        f"{facts.parameters:,}",
        f"{facts.gflops:,.2f}",
        seen,
        _yes(facts.exact),
        _yes(bool(facts.weights)),
    )
    return _ROW.format(name, *cells)


def _head(channels: int, classes: int | None = None) -> str:
    sizes = [counted(channels, "channel")] + ([] if classes is None else [counted(classes, "class")])
    return f"{_CONVENTION}\n{', '.join(sizes)}"


def _fitting(names: tuple[str, ...], width: int = 18) -> str:
    """Return as many names as there is room for; --json has all.

    >>> _fitting(("imagenet", "ssl", "swsl")), _fitting(("imagenet", "instagram", "ssl")), _fitting(())
    ('imagenet ssl swsl', 'imagenet +2', 'no')
    """
    text = " ".join(names) or "no"
    return text if len(text) <= width else f"{names[0][: width - 4]} +{len(names) - 1}"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _as_dict(facts: Facts) -> dict[str, Any]:
    """Return the facts of a network as plain values, its name first."""
    return {"name": facts.spec["name"]} | asdict(facts)


def _document(**content: Any) -> str:
    return json.dumps({"image": [SIDE, SIDE], "operations_a_multiply_add": 2} | content, indent=1)
