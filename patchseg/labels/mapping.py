"""What the values and colours of masks were taken for, with their pixels: surveys and classes in, plain records out."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchseg.errors import DataError
from patchseg.labels.classes import IGNORE, Classes
from patchseg.labels.derive import Survey

_MOST = 256  # entries kept; an attribute of HDF5 holds 64 KB


class Mapped(NamedTuple):
    """A value or "#rrggbb" of the masks, the class index it was taken for (255: ignored), and its pixels.

    `source` is None for all that are too many to be told one by one.
    """

    source: int | float | str | None
    target: int
    pixels: int


def encoded(values: Sequence[float], survey: Survey, classes: Classes) -> NDArray[np.uint8]:
    """Return the class index of each value (of each packed colour), (n,) uint8, 255 where it is ignored.

    Args:
        values: What stands in the mask.
        survey: Of that mask: whether values are values, indices into a palette, or colours.
        classes: What they may mean.

    Raises:
        DataError: A value is no class.
    """
    palette = None
    if survey.kind == "color":
        packed = np.array(values, np.int64)
        pixels = np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=-1).astype(np.uint8)[None]
    else:
        pixels = np.array(values)[None, :, None]
    if survey.kind == "palette":
        pixels = pixels.astype(np.uint8)
        palette = np.zeros((256, 3), np.uint8)
        for value, color in survey.colors:
            palette[value] = (color >> 16, color >> 8 & 255, color & 255)
    result: NDArray[np.uint8] = classes.encode(pixels, survey.path, palette)[0]
    return result


def indices(survey: Survey, classes: Classes) -> NDArray[np.uint8]:
    """Return the class index of each of a survey's values in ascending order, (n,) uint8, 255 where it is ignored.

    Raises:
        DataError: A value or colour is no class.
    """
    return encoded(sorted(survey.values), survey, classes)


def unknown(survey: Survey, classes: Classes) -> str | None:
    """Return what is wrong with a mask whose values or colours are no classes, or None."""
    try:
        indices(survey, classes)
    except DataError as error:
        return str(error)
    return None


def counted(survey: Survey, classes: Classes) -> NDArray[np.int64]:
    """Return the pixels of each class in a mask, (K,) int64; ignored ones count nowhere."""
    pixels = np.array([count for _, count in survey.counts], np.int64)
    return np.bincount(indices(survey, classes), pixels, minlength=256)[: len(classes)].astype(np.int64)


def mapping(surveys: list[Survey], classes: Classes) -> list[Mapped]:
    """Return what each value or colour was taken for, by class and then by number of pixels.

    Raises:
        DataError: A value or colour is no class.
    """
    found: Counter[tuple[int | float | str | None, int]] = Counter()
    for survey in surveys:
        shown = dict(survey.colors) if _by_color(survey, classes) else {}
        for (value, pixels), target in zip(survey.counts, indices(survey, classes).tolist(), strict=True):
            found[_source(survey, value, shown), target] += pixels
    entries = sorted(
        (Mapped(source, target, pixels) for (source, target), pixels in found.items()),
        key=lambda entry: (entry.target, -entry.pixels, str(entry.source)),
    )
    if len(entries) <= _MOST:
        return entries
    told = set(sorted(entries, key=lambda entry: -entry.pixels)[:_MOST])
    rest: Counter[int] = Counter()
    for entry in entries:
        if entry not in told:
            rest[entry.target] += entry.pixels
    return [entry for entry in entries if entry in told] + [
        Mapped(None, *item) for item in sorted(rest.items())
    ]


def pulled(entries: list[Mapped], classes: Classes) -> dict[int, int]:
    """Return the pixels by class that count as it though they have neither its value nor its colour.

    >>> pulled([Mapped(0, 0, 90), Mapped(3, 0, 7), Mapped(255, 1, 3)], Classes(("a", "b"), (0, 255), ("#000000", "#ffffff")))
    {0: 7}
    """
    found: Counter[int] = Counter()
    for source, target, pixels in entries:
        # Of numbered objects, each value means the class.
        if classes.reading.binary and target:
            continue
        if target != IGNORE and source not in _own(classes, target):
            found[target] += pixels
    return dict(found)


def sentences(entries: list[Mapped], classes: Classes, *, soft: int = 0) -> list[str]:
    """Return what masks were taken for though they do not say so plainly, a line each.

    Args:
        entries: What each value was taken for.
        classes: The classes.
        soft: Pixels at the soft edges of objects that have a file of their own.
    """
    reading, lines = classes.reading, []
    found = pulled(entries, classes)
    if found or soft:
        each = [f"{pixels} to {classes.names[index]}" for index, pixels in sorted(found.items())]
        each += [f"{soft} to an object or the background"] if soft else []
        total = sum(found.values()) + soft
        lines.append(f"  {total} pixels pulled within {reading.tolerance:g}: {', '.join(each)}")
    if reading.ignore is not None:
        ignored = sum(entry.pixels for entry in entries if entry.target == IGNORE)
        lines.append(f"  {ignored} pixels ignored ({reading.ignore}{'' if reading.binary else ' or 255'})")
    if reading.binary:
        values = len({entry.source for entry in entries if entry.target == 1})
        lines.append(f"  {values} values but 0 are all class 1, {classes.names[1]}")
    return lines


def _own(classes: Classes, target: int) -> set[int | float | str | None]:
    """Return what plainly means a class."""
    own = classes.values[target]
    value = target if own is None else own
    found: set[int | float | str | None] = {value, classes.colors[target]}
    if 0 <= value <= 255:
        found.add(f"#{value * 0x010101:06x}")
    return found


def _by_color(survey: Survey, classes: Classes) -> bool:
    return survey.kind == "palette" and (None in classes.values or classes.reading.binary)


def _source(survey: Survey, value: int, shown: dict[int, int]) -> int | float | str:
    """Return how a value of a mask is called: by itself, or by its colour."""
    if survey.kind == "color" or shown:
        return f"#{shown.get(value, 0) if shown else value:06x}"
    return value
