"""Values of masks that are no classes, and what made them so: JPEG, resizing, numbered objects, 0 and 255, palettes.

Each mask is looked at by itself (`spoilt`), then all of them together, because one file shows a part of the classes
only. Whether values are classes at all is decided by `labels.derive` and `Classes.encode`, as in `prepare`.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchseg.errors import DataError
from patchseg.labels.classes import IGNORE, Classes, MaskReading
from patchseg.labels.derive import derive
from patchseg.labels.mapping import unknown
from patchseg.patches.doctor.facts import ImageFacts, MaskFacts
from patchseg.patches.doctor.finding import Finding

FEW = 32  # values that may be classes
_NEAR = 16  # gray levels that JPEG moves most pixels by
_STRAYS = 4  # rare values from which noise is told from classes
_LEVELS = 8  # values that cover most of a mask, however it was spoilt; not so of a picture
_NUMBERED = 5  # objects from which numbers are told from classes

_JPEG = "JPEG, which stores edges with noise"
_RESIZED = "resizing with interpolation, which makes values between the classes"
_SPOILT = {
    "jpeg": (_JPEG, "save masks as PNG from the program that made them"),
    "interpolated": (_RESIZED, "make it again, and resize masks with nearest neighbour only"),
    "instances": (
        "one number an object, not one a class",
        "save one value a class, such as 1 for every object; touching objects then become one region",
    ),
    "swapped": (
        "images and masks the wrong way round, or a picture in the place of a mask",
        "change the two folders, or put a mask of class values there",
    ),
}


class Verdict(NamedTuple):
    """The classes, where they can be told in spite of all, and what is wrong with the values."""

    classes: Classes | None
    findings: list[Finding]


def judge(
    masks: Sequence[MaskFacts],
    given: Classes | None,
    images: Sequence[ImageFacts] = (),
    labels: MaskReading = MaskReading(),
) -> Verdict:
    """Hold the values of all masks against the classes.

    Args:
        masks: Of the whole data set.
        given: The classes that the user named, or None to derive them.
        images: Of the same data set; they tell whether the two kinds changed places.
        labels: How masks are read whose classes are derived.
    """
    if not masks:
        return Verdict(given, [])
    if _changed_places(images, masks):
        return Verdict(given, [_blame("swapped", mask) for mask in masks])
    if given is not None:
        findings = [*_against(masks, given), *_ignored_class(masks, given), *_palettes(masks, given)]
        return Verdict(given, findings)
    try:
        classes = derive([mask.survey for mask in masks], labels)
    except DataError:
        return _open(masks, labels)
    if are_instances(masks) and not labels.binary:
        return Verdict(classes, [_blame("instances", mask) for mask in masks])
    noisy = [_blame("jpeg", mask) for mask in masks if mask.jpeg and len(mask.survey.values) > 2]
    return Verdict(classes, [*noisy, *_two_conventions(masks), *_repainted(masks)])


def spoilt(mask: MaskFacts) -> str | None:
    """Return what made values of a mask that cannot all be classes, or None where that cannot be told."""
    distinct = len(mask.survey.values)
    values, pixels = np.array(list(mask.counts)), np.array(list(mask.counts.values())) / mask.total
    if mask.jpeg:
        return "jpeg"
    if distinct > FEW and mask.pieces <= 2 * distinct:
        return "instances"
    if distinct > FEW and pixels[:_LEVELS].sum() < 0.6:
        return "swapped"
    if (values != np.floor(values)).any():
        return "interpolated" if distinct > FEW else None
    main = (pixels >= 0.01) | (np.arange(len(pixels)) < 2)
    levels = _levels(values, mask.survey.kind)
    apart = len(levels) > 1 and (np.ptp(levels[main], axis=0) > 4 * _NEAR).any()
    if apart and (~main).sum() >= _STRAYS:
        distance = np.abs(levels[~main][:, None] - levels[main][None]).max(axis=2).min(axis=1)  # (strays,)
        near = pixels[~main][distance <= _NEAR].sum() / pixels[~main].sum()
        return "jpeg" if near >= 0.5 else "interpolated"
    return "interpolated" if distinct > FEW or mask.between > 0.8 else None


def spoilt_all(masks: Sequence[MaskFacts]) -> list[str | None]:
    """Return what spoilt each mask; between noise and interpolation, which look alike, most of them decide."""
    kinds: list[str | None] = (
        ["instances"] * len(masks) if are_instances(masks) else [spoilt(m) for m in masks]
    )
    alike = [kind for kind in kinds if kind in ("jpeg", "interpolated")]
    usual = max(alike, key=alike.count, default=None)
    return [
        usual if kind in ("jpeg", "interpolated") and not mask.jpeg else kind
        for mask, kind in zip(masks, kinds, strict=True)
    ]


def _changed_places(images: Sequence[ImageFacts], masks: Sequence[MaskFacts]) -> bool:
    """Tell whether the images have few values and the masks many."""
    many = np.median([len(mask.survey.values) for mask in masks]) > FEW
    return bool(many and images and np.median([image.levels for image in images]) <= FEW / 2)


def are_instances(masks: Sequence[MaskFacts]) -> bool:
    """Tell whether values number the objects of each mask: 1 to n, one region each, n differing between masks.

    A scribble a class is one region each, too, but what is around it is ignored.
    """
    marked = [(mask, _marks(mask)) for mask in masks if mask.survey.kind != "color" and not mask.sparse]
    marked = [(mask, values) for mask, values in marked if values]
    counts = {len(values) for _, values in marked}
    if not marked or max(counts) < _NUMBERED or (len(counts) == 1 and len(marked) > 1):
        return False
    without_gap = all(values == list(range(1, len(values) + 1)) for _, values in marked)
    return without_gap and all(mask.pieces <= 1.2 * len(values) for mask, values in marked)


def likely(masks: Sequence[MaskFacts]) -> tuple[str, str]:
    """Return kind and likely cause of values that leave the classes of a data set open."""
    if any(mask.survey.kind == "color" for mask in masks):
        return "color", ""
    if any(disagreeing(masks)):
        return "palette", "two programs, or two versions of a list of classes"
    kind, cause = _numbers(masks)
    return kind, cause or "a class that is in none of these masks, or numbers out of a longer list"


def _numbers(masks: Sequence[MaskFacts]) -> tuple[str, str]:
    """Return kind and likely cause of values that are not 0, 1, 2 ... without a gap."""
    found = sorted(set().union(*(mask.survey.values for mask in masks if mask.survey.kind == "value")))
    known = [value for value in found if value != IGNORE]
    if not known:
        return "gap", ""
    if any(value != np.floor(value) for value in found):
        return "value", "classes divided by their greatest number"
    if known[0] < 0:
        return "value", "negative numbers for what is not labelled"
    if known == list(range(1, len(known) + 1)):
        return "gap", "classes counted from 1, without a background"
    spread = np.rint(np.linspace(0, found[-1], len(found))).tolist()
    if len(found) > 2 and found[-1] > 64 and np.abs(np.subtract(found, spread)).max() <= 1:
        return "gap", "classes spread over the grays to be seen in a viewer"
    return "gap", ""


def _open(masks: Sequence[MaskFacts], labels: MaskReading) -> Verdict:
    """Tell why no classes can be derived; those masks that plainly are the reason are set aside for the rest."""
    kinds = spoilt_all(masks)
    findings = [_blame(kind, mask) for mask, kind in zip(masks, kinds, strict=True) if kind]
    rest = [mask for mask, kind in zip(masks, kinds, strict=True) if kind is None]
    if not rest:
        return Verdict(None, findings)
    try:
        return Verdict(derive([mask.survey for mask in rest], labels), findings)
    except DataError as error:
        kind, cause = likely(rest)
        return Verdict(None, [*findings, Finding.told(kind, str(error), cause=cause)])


def _blame(kind: str, mask: MaskFacts) -> Finding:
    cause, cure = _SPOILT[kind]
    what = "colours" if mask.survey.kind == "color" else "values"
    return Finding(kind, "error", (mask.path,), f"holds {len(mask.survey.values)} {what}", cure, cause)


def _against(masks: Sequence[MaskFacts], classes: Classes) -> Iterator[Finding]:
    """Name the masks with values that none of the given classes has."""
    cause = _numbers(masks)[1]
    for mask, kind in zip(masks, spoilt_all(masks), strict=True):
        told = unknown(mask.survey, classes)
        if told is None:
            continue
        if kind:
            yield _blame(kind, mask)
        elif mask.survey.kind == "color" and None not in classes.values:
            yield Finding.told(
                "color", told, mask.path, cause="a colour-coded mask, where data.classes goes by values"
            )
        elif mask.survey.kind == "value":
            yield Finding.told("value", told, mask.path, cause=cause)
        else:
            yield Finding.told("color", told, mask.path)


def _ignored_class(masks: Sequence[MaskFacts], classes: Classes) -> Iterator[Finding]:
    """Find 255 that is ignored though it is the only value beside the background's."""
    if IGNORE in classes.values or None in classes.values or len(classes) != 2:
        return
    painted = [mask for mask in masks if mask.survey.kind != "color" and IGNORE in mask.survey.values]
    if painted and not any(classes.values[1] in mask.survey.values for mask in masks):
        for mask in painted:
            yield Finding(
                "two-valued", "error", (mask.path,),
                f"holds 255, which is ignored, and nowhere {classes.values[1]} {classes.names[1]}",
                f'give the class {classes.names[1]} "value": 255 in data.classes, or leave data.classes out',
                "0 and 255 for background and foreground",
            )  # fmt: skip


def _two_conventions(masks: Sequence[MaskFacts]) -> Iterator[Finding]:
    """Find masks of 0 and 255 beside masks of 0 and 1, where 255 would be ignored."""
    if any({1, IGNORE} <= mask.survey.values for mask in masks):
        return  # where both are in one file, 255 is a value of its own
    if not any(1 in mask.survey.values for mask in masks):
        return
    more = not set().union(*(mask.survey.values for mask in masks)) <= {0, 1, IGNORE}
    for mask in masks:
        if mask.survey.kind != "color" and mask.survey.values == {0, IGNORE} and not (mask.sparse and more):
            cure = "save all masks alike, such as 0 and 1"
            yield Finding(
                "two-valued", "warning" if mask.sparse else "error", (mask.path,),
                "holds 0 and 255, other masks 0 and 1, so 255 would be ignored",
                f"{cure}, or leave it so where a part is all that is labelled" if mask.sparse else cure,
                "two programs with a habit each",
            )  # fmt: skip


def _palettes(masks: Sequence[MaskFacts], classes: Classes) -> Iterator[Finding]:
    """Find palettes that disagree where masks are read by their indices."""
    for mask, value, color, usual in () if None in classes.values else disagreeing(masks):
        yield Finding(
            "palette", "warning", (mask.path,), f"its palette shows index {value} as #{color:06x}, others as #{usual:06x}",
            "masks are read by index here; give data.classes colours and no values to go by colour",
        )  # fmt: skip


def _repainted(masks: Sequence[MaskFacts]) -> Iterator[Finding]:
    """Find palettes that disagree where masks are read by their colours for that reason."""
    for mask, value, color, usual in disagreeing(masks):
        yield Finding(
            "palette", "warning", (mask.path,), f"its palette shows index {value} as #{color:06x}, others as #{usual:06x}",
            "masks are read by colour here, so name the classes with their colours in data.classes to be sure",
        )  # fmt: skip


def disagreeing(masks: Sequence[MaskFacts]) -> Iterator[tuple[MaskFacts, int, int, int]]:
    """Yield masks whose palettes differ from the first one's: mask, index, its colour there, and the usual one.

    A palette that only spells out the grays says nothing of colours.
    """
    own: dict[int, int] = {}
    for mask in masks:
        plain = all(color == value * 0x010101 for value, color in mask.survey.colors)
        colors = () if plain else mask.survey.colors
        other = [(value, color) for value, color in colors if own.setdefault(value, color) != color]
        if other:
            yield mask, *other[0], own[other[0][0]]


def _marks(mask: MaskFacts) -> list[int]:
    return sorted(mask.survey.values - {0, IGNORE})


def _levels(values: NDArray[np.float64], kind: str) -> NDArray[np.int64]:
    """Return values as gray levels or as colours, (n, 1 or 3)."""
    packed = values.astype(np.int64)
    if kind != "color":
        return packed[:, None]
    return np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=1)
