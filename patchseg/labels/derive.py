"""Classes out of the masks themselves, where that is unambiguous; else an error that asks for them.

A survey lists what one mask holds; the decision is made over the surveys of the whole data set, so that one mask
that happens to hold only 0 and 255 decides nothing.
"""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from patchseg.errors import DataError
from patchseg.imaging import Box, ImageSource, picture
from patchseg.labels.classes import IGNORE, Classes, MaskReading, pack
from patchseg.labels.near import distances

_BAND = 2**24  # pixels surveyed at a time
_MOST = 32  # more are soft edges, JPEG noise or numbered objects, not classes
_NAMES = {0x000000: "background", 0xFF0000: "red", 0x00FF00: "green", 0x0000FF: "blue", 0xFFFF00: "yellow",
          0xFF00FF: "magenta", 0x00FFFF: "cyan", 0xFFFFFF: "white"}  # fmt: skip


class Survey(NamedTuple):
    """What one mask holds: its kind, its values (packed colours for colour masks), and the colours of indices.

    Attributes:
        path: The mask.
        kind: Whether it holds values, indices into a palette, or colours.
        values: The distinct ones.
        colors: (index, packed colour) of the indices.
        counts: (value, pixels) of each value, ascending.
    """

    path: Path
    kind: Literal["value", "palette", "color"]
    values: frozenset[int]
    colors: tuple[tuple[int, int], ...] = ()
    counts: tuple[tuple[int, int], ...] = ()


def survey(source: ImageSource, path: Path) -> Survey:
    """List the distinct values or colours of a mask and count their pixels, band by band."""
    height, width, channels = source.shape
    rows = max(1, _BAND // width)
    found: Counter[int] = Counter()
    for top in range(0, height, rows):
        pixels = source.read(Box(top, 0, min(rows, height - top), width))
        values, counts = np.unique(
            pack(pixels, path) if channels >= 3 else pixels[:, :, 0], return_counts=True
        )
        found.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
    distinct, counted = frozenset(found), tuple(sorted(found.items()))
    if channels >= 3:
        return Survey(path, "color", distinct, (), counted)
    if source.palette is None:
        return Survey(path, "value", distinct, (), counted)
    packed = pack(source.palette[None], path)[0].tolist()
    colors = tuple((value, packed[value]) for value in sorted(found) if value < len(packed))
    return Survey(path, "palette", distinct, colors, counted)


def derive(surveys: list[Survey], reading: MaskReading = MaskReading()) -> Classes:
    """Return the classes that the masks of a data set plainly have.

    Values {0, 255}: 255 is class 1. Values 0, 1, ... without a gap: each its own class, 255 ignored. Up to 32 colours:
    each a class, black first as background; where all are grays, they are values. Palettes that agree: by index, in
    their colours; palettes that do not: by colour.

    Args:
        surveys: What the masks hold.
        reading: What is ignored, how far values may be off (then 0 and 255 are looked for), and whether any value but 0
            is class 1.

    Raises:
        DataError: The masks leave the classes open.
    """
    if reading.binary:
        return _binary(surveys, reading)
    surveys = [_without(s, reading) for s in surveys]
    try:
        classes = _plain(surveys)
        _require_apart(classes, reading, surveys[0].path.parent)
    except DataError:
        if not (reading.tolerance and _near_black_and_white(surveys, reading.tolerance)):
            raise
        classes = _from_values([0, IGNORE], surveys)
    return replace(classes, reading=reading)


def _require_apart(classes: Classes, reading: MaskReading, folder: Path) -> None:
    """Raise a `DataError` where colours that were taken for classes are nearer to each other than the tolerance."""
    colors = np.array([int(color[1:], 16) for color in classes.colors])
    near = distances(colors, colors, color=True) < reading.tolerance
    if None in classes.values and near.sum() > len(colors):
        raise DataError(
            f"{folder}: the masks hold colours that lie within data.mask_tolerance {reading.tolerance:g} of each other; "
            "expected to know which are classes, so give data.classes with colours"
        )


def _plain(surveys: list[Survey]) -> Classes:
    """Return the classes of masks whose values are all meant."""
    painted = {color for s in surveys if s.kind == "color" for color in s.values}
    if all(color == _gray(color & 255) for color in painted):
        surveys = [_as_values(s) for s in surveys]
        if _by_color(surveys):
            colors = {color for s in surveys for _, color in s.colors}
            return _from_colors(sorted(colors), surveys[0].path.parent)
        return _from_values(sorted(set().union(*(s.values for s in surveys))), surveys)
    for s in surveys:
        # All background looks alike in either kind of mask.
        if s.kind == "value" and s.values != {0}:
            raise DataError(
                f"{s.path}: holds values, other masks in {s.path.parent} colours; expected one kind, so save them alike"
            )
        painted.update(color for _, color in s.colors)
    return _from_colors(sorted(painted), surveys[0].path.parent)


def _without(s: Survey, reading: MaskReading) -> Survey:
    """Return the survey without what is ignored."""
    if reading.ignore is None:
        return s
    if isinstance(reading.ignore, int):
        unwanted = {_gray(reading.ignore)} if s.kind == "color" else {reading.ignore}
        return s._replace(
            values=s.values - unwanted, colors=tuple(c for c in s.colors if c[0] != reading.ignore)
        )
    colors = tuple(c for c in s.colors if c[1] != reading.ignored_color)
    if s.kind == "color":
        return s._replace(values=s.values - {reading.ignored_color})
    return s._replace(values=s.values - ({v for v, _ in s.colors} - {v for v, _ in colors}), colors=colors)


def _near_black_and_white(surveys: list[Survey], tolerance: float) -> bool:
    """Tell whether all that the masks hold is black or white but for the tolerance, and both are there."""
    black, white = set(), set()
    for s in surveys:
        if s.kind == "palette":
            return False
        color = s.kind == "color"
        off = distances(np.array(sorted(s.values)), np.array([0, 0xFFFFFF if color else 255]), color=color)
        if off.size and not (off.min(axis=1) <= tolerance).all():
            return False
        black.add(bool((off[:, 0] <= tolerance).any()))
        white.add(bool((off[:, 1] <= tolerance).any()))
    return True in black and True in white


def _binary(surveys: list[Survey], reading: MaskReading) -> Classes:
    """Return background and foreground, where both are there."""
    known = [
        {c for _, c in s.colors} if s.kind == "palette" else set(s.values) - {reading.ignore} for s in surveys
    ]
    values = set().union(*known) - {reading.ignored_color}
    if 0 not in values or len(values) < 2:
        raise DataError(
            f"{surveys[0].path.parent}: the masks hold {'0 (black) only' if 0 in values else 'no 0 (black)'}; expected 0 "
            "for the background and anything else for the foreground, so look at the masks, or leave out --binary"
        )
    colors = tuple(picture.hexadecimal(color) for color in picture.palette(2))
    # As the masks have it, so that the values can be written back.
    white = values <= {0, IGNORE} or values == {0, 0xFFFFFF}
    return Classes(("background", "foreground"), (0, IGNORE if white else 1), colors, reading)


def _by_color(surveys: list[Survey]) -> bool:
    """Tell whether palettes disagree about an index, and every mask has colours to go by instead."""
    own: dict[int, set[int]] = {}
    for s in surveys:
        if not _only_grays(s):
            for value, color in s.colors:
                own.setdefault(value, set()).add(color)
    apart = any(len(colors) > 1 for colors in own.values())
    return apart and all(s.values == {0} or not _only_grays(s) for s in surveys)


def _only_grays(s: Survey) -> bool:
    """Tell whether a mask has no palette, or one that only spells out the grays, which says nothing of colours."""
    return all(color == _gray(value) for value, color in s.colors)


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
            "(for soft edges and JPEG also --mask-tolerance, and --binary where any colour but black is the object)"
        )
    if not colors or colors[0] != 0:
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
            f"{folder}: the masks hold only the value {values[0] if values else IGNORE:g}; expected at least two classes, so label some more"
        )
    if len(known) > _MOST:
        raise DataError(
            f"{folder}: the masks hold {len(known)} values; expected one a class, not one an object, and no "
            "JPEG noise or soft edges, so save them so, or give --binary for numbered objects, --mask-tolerance for soft "
            "edges (or are images and masks the wrong way round?)"
        )
    if known != list(range(len(known))):
        suggestion = ", ".join(f'{{"name": "class_{v:g}", "value": {v:g}}}' for v in known[:8])
        raise DataError(
            f"{folder}: the masks hold the values {', '.join(f'{v:g}' for v in values[:12])}; expected 0, 1, 2 ... without a "
            f'gap, so name them in parameters.json, "data": {{"classes": [{suggestion}]}}'
        )
    colors = _palette_colors(surveys, len(known))
    return Classes(("background", *(f"class_{v}" for v in known[1:])), tuple(known), colors)


def shown_by_index(surveys: list[Survey]) -> dict[int, int]:
    """Return the packed colour that palettes give each index.

    A palette that only spells out the grays, as some programs write with every image, says nothing of colours.

    Raises:
        DataError: They do not agree, so that an index alone means nothing.
    """
    own: dict[int, int] = {}
    for s in surveys:
        if _only_grays(s):
            continue
        for value, color in s.colors:
            if own.setdefault(value, color) != color:
                raise DataError(
                    f"{s.path}: its palette shows index {value} as #{color:06x}, other masks in {s.path.parent} as "
                    f"#{own[value]:06x}; give data.classes with colours (or with values, to go by index)"
                )
    return own


def _palette_colors(surveys: list[Survey], count: int) -> tuple[str, ...]:
    """Return the colours that the palettes agree on, or the default ones."""
    own = shown_by_index(surveys)
    colors = [own.get(value) for value in range(count)]
    if None in colors or len(set(colors)) < count:
        return tuple(picture.hexadecimal(color) for color in picture.palette(count))
    return tuple(f"#{color:06x}" for color in colors)


def _hex(colors: list[int]) -> str:
    return ", ".join(f"#{color:06x}" for color in colors)
