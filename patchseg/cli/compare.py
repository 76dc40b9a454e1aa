"""`patchseg compare`."""

import json
from pathlib import Path
from typing import Any

import click

from patchseg.cli.evaluate import MEANS, wrapped
from patchseg.cli.measured import number
from patchseg.cli.options import as_json, overwrite, parameters
from patchseg.cli.terminal import Terminal
from patchseg.evaluation.compare import compare
from patchseg.parameters import DataParameters, Parameters

_KINDS = {"IoU": "iou", "Dice": "dice"}
_LISTED = 20  # images; --json has all


@click.command
@click.argument("a", type=click.Path(path_type=Path), metavar="A")
@click.argument("b", type=click.Path(path_type=Path), metavar="B")
@click.option(
    "--truth", type=click.Path(path_type=Path), help="True masks, where A and B are folders of masks."
)
@click.option(
    "--group",
    "evaluate__group",
    help="Regular expression; images whose names give the same match (or first group) are one unit of the "
    "intervals.  [default: as evaluated]",
)
@parameters(DataParameters)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="JSON file to write it to, too.")
@as_json
@overwrite
def command(
    parameters: Parameters,
    *,
    a: Path,
    b: Path,
    truth: Path | None,
    output: Path | None,
    as_json: bool,
    overwrite: bool,
) -> None:
    """Tell whether B is better than A on the same images, or whether that may be chance.

    A and B are what `patchseg evaluate` wrote (scores.json, or its folder), or, with --truth, folders of masks. Differences
    are B minus A, with 95 % intervals; p is how often a difference as large comes about where A and B are exchanged at random.

    \b
    Example:
      patchseg compare masks-a masks-b --truth truth
      patchseg compare masks-a/scores.json masks-b/scores.json --json
    """
    document = compare(
        a, b, truth=truth, parameters=parameters.evaluate, data=parameters.data, output=output, overwrite=overwrite,
        progress=Terminal(),
    )  # fmt: skip
    click.echo(json.dumps(document, indent=1) if as_json else told(document))


def told(document: dict[str, Any]) -> str:
    """Return a comparison as tables of 80 columns at most, the verdict last."""
    parts = [
        f"A: {document['a']}\nB: {document['b']}",
        _table("mean over images", document["images"], document["classes"]),
        _table("all pixels pooled", document["pooled"], document["classes"]),
        _images(document["changes"]),
        wrapped(document["note"] + ". Of 20 such p, one is below 0.05 by chance alone."),
        wrapped(document["verdict"]),
    ]
    return "\n\n".join(parts)


def _table(title: str, scores: dict[str, Any], classes: list[str]) -> str:
    rows = [(label, scores[key]) for label, key in MEANS.items()]
    rows += [
        (f"{kind} {name}", item)
        for kind, key in _KINDS.items()
        for name, item in zip(classes, scores[key], strict=True)
    ]
    lines = [f"{title:<20}  {'A':>7} {'B':>7}  {'B - A':>7}  {'95 % interval':^18}  {'p':>7}"]
    for label, one in rows:
        ends = "-" if one["low"] is None else f"{one['low']:+.4f} to {one['high']:+.4f}"
        lines.append(
            f"{label[:20]:<20}  {number(one['a']):>7} {number(one['b']):>7}  {_change(one['value']):>7}  "
            f"{ends:^18}  {_chance(one['p']):>7}"
        )
    return "\n".join(line.rstrip() for line in lines)


def _images(changes: list[dict[str, Any]]) -> str:
    """Return a line an image, the largest change of mean IoU first."""
    width = min(49, max(len("image, by change"), *(len(change["name"]) for change in changes)))
    lines = [f"{'image, by change':<{width}}  {'A':>7} {'B':>7}  {'B - A':>7}"]
    lines += [
        f"{change['name'][-width:]:<{width}}  {number(change['a']):>7} {number(change['b']):>7}  "
        f"{_change(change['difference']):>7}"
        for change in changes[:_LISTED]
    ]
    if len(changes) > _LISTED:
        lines.append(f"... and {len(changes) - _LISTED} more, which --json has")
    return "\n".join(lines)


def _change(value: float | None) -> str:
    return "-" if value is None else f"{value:+.4f}"


def _chance(p: float | None) -> str:
    return "-" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"
