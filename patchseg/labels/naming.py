"""Names of drawn shapes -> classes and the values that stand for them in masks."""

from collections import Counter

from patchseg.errors import DataError, UsageError, did_you_mean, listing
from patchseg.imaging import picture
from patchseg.labels.classes import IGNORE, MOST, Classes
from patchseg.labels.shapes import Annotations
from patchseg.parameters import DataParameters

BACKGROUND = {"background", "_background_"}
IGNORED = {"__ignore__", "ignore*"}  # LabelMe's and QuPath's names of what is not to be looked at
_ALONE = "object"

Values = dict[str | None, int]


def drawn_classes(files: list[Annotations], data: DataParameters) -> Classes:
    """Return the classes: those that are given, else the background and what the files name.

    Raises:
        UsageError: Those given do not work.
        DataError: There are not two classes, or more than 254.
    """
    if data.classes:
        return Classes.of(data.classes)
    used = {name for file in files for name in _counts(file) if name}
    names = list(dict.fromkeys(name for file in files for name in file.names if name in used))
    kept = [name for name in names if name.casefold() not in BACKGROUND | IGNORED]
    if not kept and any(None in _counts(file) for file in files):
        kept = [_ALONE]
    if data.unlabeled == "background" or any(name.casefold() in BACKGROUND for name in names):
        kept.insert(0, "background")
    if not 2 <= len(kept) <= MOST:
        raise DataError(
            f"{', '.join(str(file.path) for file in files[:3])}: draws {len(kept)} classes"
            f"{' (' + kept[0] + ')' if len(kept) == 1 else ''}; expected 2 to {MOST}"
            + (", so draw some background too" if data.unlabeled == "ignore" else ", the background included")
        )
    colors = tuple(picture.hexadecimal(color) for color in picture.palette(len(kept)))
    return Classes(tuple(kept), tuple(range(len(kept))), colors)


def unlabeled_value(classes: Classes, files: list[Annotations], data: DataParameters) -> int:
    """Return the value of pixels on which nothing is drawn.

    Raises:
        UsageError: They are to be ignored, but 255 is a class; or background, but the first class is drawn itself.
    """
    if data.unlabeled == "ignore":
        if IGNORE in classes.values:
            raise UsageError(
                f"data.unlabeled: ignored pixels are {IGNORE}, which is a class here; give it another value in data.classes"
            )
        return IGNORE
    background = background_place(classes)
    first = classes.names[background]
    if first.casefold() not in BACKGROUND and any(first in _counts(file) for file in files):
        raise UsageError(
            f"data.classes: begins with {first}, which is drawn itself, so it is open what the rest is; put the background "
            "first, or ignore the rest with --unlabeled ignore"
        )
    return _value(classes, background)


def values_by_name(classes: Classes, file: Annotations) -> Values:
    """Return the value that stands for each name in a file; shapes without one are of the only class there is.

    Raises:
        DataError: A name is no class, or the class of shapes without a name is open; all is listed.
    """
    counts = _counts(file)
    values: Values = {}
    mistakes = []
    for name, count in counts.items():
        if name is None:
            foreground = [i for i in range(len(classes)) if i != background_place(classes)]
            if len(counts) > 1 or len(foreground) > 1:
                known = ", ".join(classes.names)
                mistakes.append(
                    f"{file.path}: {_shapes(count)} without a class; expected one of {known}, so name or remove them"
                )
            values[None] = _value(classes, foreground[0])
        elif name in classes.names:
            values[name] = _value(classes, classes.names.index(name))
        elif name.casefold() in IGNORED:
            values[name] = IGNORE
        elif name.casefold() in BACKGROUND:
            values[name] = _value(classes, background_place(classes))
        else:
            hint = did_you_mean(name, classes.names) or "; add it to data.classes or rename it"
            mistakes.append(
                f"{file.path}: {_shapes(count)} of class {name}, which is none of {', '.join(classes.names)}{hint}"
            )
    if mistakes:
        raise DataError(listing(mistakes))
    return values


def notes(file: Annotations, classes: Classes, values: Values) -> list[str]:
    """Say what was taken from a file in a way that could have been meant otherwise, and what was left out."""
    told = list(file.notes)
    if None in values:
        places = [_value(classes, place) for place in range(len(classes))]
        told.append(
            f"{file.path}: its shapes name no class, so all are {classes.names[places.index(values[None])]}"
        )
    ignored = [name for name in values if name and values[name] == IGNORE and name not in classes.names]
    if ignored:
        told.append(f"{file.path}: shapes of class {', '.join(ignored)} are ignored")
    if file.left_out:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(file.left_out.items()))
        told.append(f"{file.path}: left out, as it has no area: {kinds}")
    return told


def _counts(file: Annotations) -> Counter[str | None]:
    """Return how many shapes of a file have each name."""
    return Counter(shape.name for drawing in file.drawings for shape in drawing.shapes)


def background_place(classes: Classes) -> int:
    """Return the place of the class called background, or the first."""
    named = [place for place, name in enumerate(classes.names) if name.casefold() in BACKGROUND]
    return named[0] if named else 0


def _value(classes: Classes, place: int) -> int:
    value = classes.values[place]
    return place if value is None else value


def _shapes(count: int) -> str:
    return f"draws {count} shape{'s' if count != 1 else ''}"
