"""Contradictions of one image -> suspects: where its given mask is likely wrong, how, and how likely.

One error is one suspect as far as that can be told: regions of an object that something crosses are put together, and a mask
that lies beside its image is one suspect, whatever regions come of it.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from patchseg.imaging import Box
from patchseg.studies.disagreement import BESIDE, SURE, Numbers, Trio, bands
from patchseg.studies.regions import Region, RegionFinder
from patchseg.studies.shift import Fit

# Every kind of error, and what it means.
KINDS = {
    "missing object": "the prediction sees an object where the given mask has background",
    "extra object": "the given mask has an object where the prediction sees background",
    "swapped class": "the given mask and the prediction have the same object, of different classes",
    "ragged outline": "an object of both goes farther in one of them",
    "shifted mask": "the whole given mask lies beside its image",
    "wrong mask": "hardly anything of the given mask is where the prediction sees it",
}
_SOME = 25  # pixels; a region of so many has half the weight of a large one
_SIDE = 0.8  # of its length that a region borders on an object of which it is a part
_POOR, _SEVERAL = 0.5, 4  # of the usual fit, and contradictions: then the whole mask is suspect
_CERTAINTY, _RELATIVE, _BESIDE = range(3)


@dataclass(frozen=True)
class Suspect:
    """A place where a given mask is likely wrong.

    Attributes:
        image: Name of the image.
        box: Around it.
        pixels: That contradict, without those along outlines.
        kind: A key of `KINDS`.
        given: Index of the class of the given mask, None where several are meant.
        predicted: Likewise of the prediction.
        confidence: Mean certainty there, by how much the predicted class is likelier than the given one.
        score: From 0 to 1: how sure the prediction is by the standards of its class, less for few pixels.
        shift: Of a shifted mask, by how many rows and columns it lies too far down and to the right.
    """

    image: str
    box: Box
    pixels: int
    kind: str
    given: int | None
    predicted: int | None
    confidence: float
    score: float
    shift: tuple[int, int] | None = None

    @property
    def note(self) -> str:
        """What there is to say besides, where there is something."""
        if self.shift is not None:
            return "the mask seems shifted by ({}, {}) pixels (rows, columns)".format(*self.shift)
        return "the mask may be of another image, flipped or turned" if self.kind == "wrong mask" else ""


class Seen(NamedTuple):
    """What the layers of an image hold against each other.

    Attributes:
        regions: Of contradictions, those along outlines left out.
        pixels: All that differ.
        certainty: Its sum over them.
        relative: Likewise, by the standards of the predicted class.
    """

    regions: list[Region]
    pixels: int
    certainty: float
    relative: float


class Usual(NamedTuple):
    """What is usual of a data set.

    Attributes:
        certainty: How sure predictions of each class are where they agree with the given masks, (K,) float32.
        dice: How well masks fit, the median over the images.
    """

    certainty: Numbers
    dice: float


def suspects_of(image: str, trio: Trio, fit: Fit, *, usual: Usual, tolerance: int) -> list[Suspect]:
    """Return what is suspect of one image, in no order.

    Args:
        image: Its name.
        trio: Its layers.
        fit: How its masks fit.
        usual: How those of other images do.
        tolerance: Pixels by which outlines may differ.
    """
    seen = look(trio, usual.certainty, tolerance)
    found, poor = joined(seen.regions, trio.classes), _POOR * usual.dice
    whole = []
    if fit.is_shifted and fit.moved >= poor and math.hypot(fit.down, fit.right) > tolerance:
        shift = fit.down, fit.right
        moved = look(trio.shifted(*shift), usual.certainty, tolerance)
        whole = [_of_image(image, trio.shape, seen, max(0, seen.pixels - moved.pixels), shift=shift)]
        # What is wrong besides is looked for with the mask in its place.
        found = joined(moved.regions, trio.classes)
    elif fit.dice < poor and len(found) >= _SEVERAL:
        return [_of_image(image, trio.shape, seen, seen.pixels)]
    return whole + [_of_regions(image, *regions, trio.classes) for regions in found]


def _of_image(
    image: str,
    shape: tuple[int, int],
    seen: Seen,
    pixels: int,
    *,
    shift: tuple[int, int] | None = None,
) -> Suspect:
    count = max(seen.pixels, 1)
    return Suspect(
        image, Box(0, 0, *shape), pixels, "wrong mask" if shift is None else "shifted mask", None, None,
        seen.certainty / count, score_of(seen.relative / count, pixels), shift,
    )  # fmt: skip


def look(trio: Trio, typical: Numbers, tolerance: int) -> Seen:
    """Find the regions of an image where the prediction is sure that the given mask is wrong."""
    usual = np.ones(256, np.float32)
    usual[: len(typical)] = typical
    finder, totals = RegionFinder(trio.shape[1], values=3), np.zeros(3)
    for band in bands(trio, tolerance):
        differs = band.differs
        relative = np.minimum(band.certainty / usual[band.predicted], 1)
        wrong = differs & ~band.tolerated & (relative >= SURE)
        codes = 1 + band.given.astype(np.uint16) * trio.classes + band.predicted
        finder.push(
            np.where(wrong, codes, 0).astype(np.uint16), np.stack([band.certainty, relative, band.beside])
        )
        totals += [
            differs.sum(),
            band.certainty[differs].sum(dtype=float),
            relative[differs].sum(dtype=float),
        ]
    return Seen(finder.finish(), int(totals[0]), float(totals[1]), float(totals[2]))


def joined(regions: list[Region], classes: int) -> list[tuple[Region, Region]]:
    """Put regions together that are likely of one error, the strongest first.

    Those of the same classes that come near each other, as an object does that something crosses; then each takes in weaker
    ones near it that have the given or the predicted class in common, as an object that is predicted in two classes.
    They in turn take in none, lest a whole image become one.

    Returns:
        Of each error all of it, with the code of its strongest region, and that region, which says what kind of error it is.

    >>> box = Box(0, 0, 1, 9)
    >>> one, two = Region(2, box, 9, (9.0, 9.0, 0.0), frozenset({1})), Region(3, box, 5, (4.0, 4.0, 0.0), frozenset({0}))
    >>> [(whole.code, whole.pixels, strongest.pixels) for whole, strongest in joined([one, two], 3)]
    [(2, 14, 9)]
    """
    groups = _of_same_code(regions)
    owner = {place: number for number, group in enumerate(groups) for place in group}
    whole = [_together([regions[place] for place in group]) for group in groups]
    near = [{owner[other] for place in group for other in regions[place].near} for group in groups]
    taken: set[int] = set()
    found = []
    for number in sorted(range(len(whole)), key=lambda number: (-_strength(whole[number]), number)):
        if number in taken:
            continue
        # All that are stronger have been taken before.
        others = [
            other
            for other in sorted(near[number] - taken - {number})
            if _alike(whole[other].code, whole[number].code, classes)
        ]
        taken |= {number, *others}
        found.append((_together([whole[number], *(whole[other] for other in others)]), whole[number]))
    return found


def score_of(certainty: float, pixels: int) -> float:
    """Return how suspect pixels are that are so certain on the average, from 0 to 1.

    Beyond some tens their number hardly counts, so that a small object that is missing comes before a large one that is
    merely doubted.

    >>> score_of(0.8, 25), round(score_of(0.8, 2500), 2), score_of(0.8, 0)
    (0.4, 0.79, 0.0)
    """
    return certainty * pixels / (pixels + _SOME)


def _of_same_code(regions: list[Region]) -> list[list[int]]:
    """Return the places of regions of one code that hang together by being near."""
    groups: list[list[int]] = []
    seen: set[int] = set()
    for start in range(len(regions)):
        if start in seen:
            continue
        group, waiting = [], [start]
        seen.add(start)
        while waiting:
            place = waiting.pop()
            group.append(place)
            fresh = {o for o in regions[place].near if regions[o].code == regions[place].code} - seen
            seen |= fresh
            waiting += sorted(fresh)
        groups.append(sorted(group))
    return groups


def _together(regions: list[Region]) -> Region:
    """Return regions as one, with the code of the first."""
    top, left = min(r.box.top for r in regions), min(r.box.left for r in regions)
    bottom, right = max(r.box.bottom for r in regions), max(r.box.right for r in regions)
    sums = tuple(math.fsum(values) for values in zip(*(r.sums for r in regions), strict=True))
    box = Box(top, left, bottom - top, right - left)
    return Region(regions[0].code, box, sum(r.pixels for r in regions), sums)


def _strength(region: Region) -> float:
    return region.sums[_RELATIVE]


def _pair(code: int, classes: int) -> tuple[int, int]:
    """Return the given and the predicted class of a code."""
    return divmod(code - 1, classes)


def _alike(one: int, other: int, classes: int) -> bool:
    return any(a == b for a, b in zip(_pair(one, classes), _pair(other, classes), strict=True))


def _of_regions(image: str, region: Region, strongest: Region, classes: int) -> Suspect:
    given, predicted = _pair(region.code, classes)
    # A part of what both masks hold borders on it along a whole side, another object that touches or crosses it does not.
    if strongest.sums[_BESIDE] / BESIDE >= _SIDE * max(strongest.box[2:]):
        kind = "ragged outline"
    elif given and predicted:
        kind = "swapped class"
    else:
        kind = "extra object" if given else "missing object"
    certainty = region.sums[_RELATIVE] / region.pixels
    return Suspect(
        image, region.box, region.pixels, kind, given, predicted,
        region.sums[_CERTAINTY] / region.pixels, score_of(certainty, region.pixels),
    )  # fmt: skip
