"""Classes out of the masks themselves, where that is unambiguous; else an error that asks for them.

A survey lists what one mask holds; the decision is made over the surveys of the whole data set, so that one mask
that happens to hold only 0 and 255 decides nothing.
"""

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from patchseg.errors import DataError
from patchseg.imaging import Box, ImageSource, picture
from patchseg.labels.classes import IGNORE, Classes, pack

_BAND = 2**24  # pixels surveyed at a time
_MOST = 32  # more are soft edges, JPEG noise or numbered objects, not classes
_NAMES = {0x000000: "background", 0xFF0000: "red", 0x00FF00: "green", 0x0000FF: "blue", 0xFFFF00: "yellow",
          0xFF00FF: "magenta", 0x00FFFF: "cyan", 0xFFFFFF: "white"}  # fmt: skip


class Survey(NamedTuple):
    """What one mask holds: its kind, its values (packed colours for colour masks), and the colours of indices."""

    path: Path
    kind: Literal["value", "palette", "color"]
    values: frozenset[int]
    colors: tuple[tuple[int, int], ...] = ()


def survey(source: ImageSource, path: Path) -> Survey:
    """List the distinct values or colours of a mask, band by band."""
    height, width, channels = source.shape
    rows = max(1, _BAND // width)
    found: set[int] = set()
    for top in range(0, height, rows):
        pixels = source.read(Box(top, 0, min(rows, height - top), width))
        found.update(np.unique(pack(pixels, path) if channels >= 3 else pixels[:, :, 0]).tolist())
    if channels >= 3:
        return Survey(path, "color", frozenset(found))
    if source.palette is None:
        return Survey(path, "value", frozenset(found))
    packed = pack(source.palette[None], path)[0].tolist()
    colors = tuple((value, packed[value]) for value in sorted(found) if value < len(packed))
    return Survey(path, "palette", frozenset(found), colors)


def derive(surveys: list[Survey]) -> Classes:
    """Return the classes that the masks of a data set plainly have.

    Values {0, 255}: 255 is class 1. Values 0, 1, ... without a gap: each its own class, 255 ignored. Up to 32 colours:
    each a class, black first as background; where all are grays, they are values. Palettes that agree: by index, in
    their colours.

    Raises:
        DataError: The masks leave the classes open.
    """
    painted = {color for s in surveys if s.kind == "color" for color in s.values}
    if all(color == _gray(color & 255) for color in painted):
        surveys = [_as_values(s) for s in surveys]
        return _from_values(sorted(set().union(*(s.values for s in surveys))), surveys)
    for s in surveys:
        # All background looks alike in either kind of mask.
        if s.kind == "value" and s.values != {0}:
            raise DataError(
                f"{s.path}: holds values, other masks in {s.path.parent} colours; expected one kind, so save them alike"
            )
        painted.update(color for _, color in s.colors)
    return _from_colors(sorted(painted), surveys[0].path.parent)


def _gray(value: int) -> int:
    """Return the packed colour of a gray value."""
    return value * 0x010101


def _as_values(s: Survey) -> Survey:
    """Return the survey of an index mask that may have been stored as gray RGB."""
    return Survey(s.path, "value", frozenset(c & 255 for c in s.values)) if s.kind == "color" else s


def _from_colors(colors: list[int], folder: Path) -> Classes:
    if len(colors) > _MOST:
        raise DataError(
            f"{folder}: the masks hold {len(colors)} colours; expected one a class, so give data.classes with colours "
            "(soft edges and JPEG masks must be repainted)"
        )
    if colors[0] != 0:
        raise DataError(
            f"{folder}: none of the masks' colours {_hex(colors)} is black, so it is open which is the background; "
            f"list them in data.classes, the background first"
        )
    return Classes(
        tuple(_NAMES.get(c, f"#{c:06x}") for c in colors),
        (None,) * len(colors),
        tuple(_hex(colors).split(", ")),
    )


def _from_values(values: list[int], surveys: list[Survey]) -> Classes:
    folder = surveys[0].path.parent
    if values == [0, IGNORE]:
        colors = tuple(picture.hexadecimal(color) for color in picture.palette(2))
        return Classes(("background", "foreground"), (0, IGNORE), colors)
    known = [value for value in values if value != IGNORE]
    if len(known) < 2:
        raise DataError(
            f"{folder}: the masks hold only the value {values[0]:g}; expected at least two classes, so label some more"
        )
    if len(known) > _MOST:
        raise DataError(
            f"{folder}: the masks hold {len(known)} values; expected one a class, not one an object, and no "
            "JPEG noise or soft edges, so save them so (or are images and masks the wrong way round?)"
        )
    if known != list(range(len(known))):
        suggestion = ", ".join(f'{{"name": "class_{v:g}", "value": {v:g}}}' for v in known[:8])
        raise DataError(
            f"{folder}: the masks hold the values {', '.join(f'{v:g}' for v in values[:12])}; expected 0, 1, 2 ... without a "
            f'gap, so name them in parameters.json, "data": {{"classes": [{suggestion}]}}'
        )
    colors = _palette_colors(surveys, len(known), folder)
    return Classes(("background", *(f"class_{v}" for v in known[1:])), tuple(known), colors)


def _palette_colors(surveys: list[Survey], count: int, folder: Path) -> tuple[str, ...]:
    """Return the colours that the palettes agree on, or the default ones.

    A palette that only spells out the grays, as some programs write with every image, says nothing of colours.
    """
    own: dict[int, int] = {}
    for s in surveys:
        if all(color == _gray(value) for value, color in s.colors):
            continue
        for value, color in s.colors:
            if own.setdefault(value, color) != color:
                raise DataError(
                    f"{s.path}: its palette shows index {value} as #{color:06x}, other masks in {folder} as "
                    f"#{own[value]:06x}; give data.classes with colours (or with values, to go by index)"
                )
    colors = [own.get(value) for value in range(count)]
    if None in colors or len(set(colors)) < count:
        return tuple(picture.hexadecimal(color) for color in picture.palette(count))
    return tuple(f"#{color:06x}" for color in colors)


def _hex(colors: list[int]) -> str:
    return ", ".join(f"#{color:06x}" for color in colors)
