"""Classes over images: which are rare, nowhere, or on one side of the split only; masks that are empty or full."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchseg.errors import DataError
from patchseg.labels.classes import IGNORE, Classes
from patchseg.labels.mapping import encoded
from patchseg.patches.doctor.facts import MaskFacts
from patchseg.patches.doctor.finding import Finding

FEW = 3  # images
RARE = 0.001  # of the labelled pixels


class Census(NamedTuple):
    """How much of each class there is.

    Attributes:
        pixels: (n, K) int64, pixels of each class in each mask.
        chance: (n, K) float64, share of random patches of each image that hold the class.
        masks: The n masks that could be counted.
        sides: On which sides of the split each of them is.
    """

    pixels: NDArray[np.int64]
    chance: NDArray[np.float64]
    masks: list[MaskFacts]
    sides: list[frozenset[str]]

    @property
    def share(self) -> NDArray[np.float64]:
        """Share of each class in the labelled pixels, (K,)."""
        return np.asarray(self.pixels.sum(axis=0) / max(1, int(self.pixels.sum())))

    @property
    def images(self) -> NDArray[np.int64]:
        """Images that hold each class, (K,)."""
        return np.asarray((self.pixels > 0).sum(axis=0))


def take(masks: Sequence[tuple[MaskFacts, frozenset[str]]], classes: Classes) -> Census:
    """Count the classes of masks; those that hold something else are left out."""
    pixels, chance, kept = [], [], []
    for mask, sides in masks:
        try:
            pixels.append(_sums(mask.counts, mask, classes).astype(np.int64))
            chance.append(np.minimum(1.0, _sums(mask.presence, mask, classes, together=np.maximum)))
        except DataError:
            continue
        kept.append((mask, sides))
    shape = (len(kept), len(classes))
    return Census(
        np.array(pixels, np.int64).reshape(shape), np.array(chance).reshape(shape),
        [mask for mask, _ in kept], [sides for _, sides in kept],
    )  # fmt: skip


def judge(census: Census, classes: Classes) -> Iterator[Finding]:
    """Find classes that are hard or impossible to learn, and masks of one class."""
    if not census.masks:
        return
    yield from _one_class(census, classes)
    yield from _transparent(census, classes)
    for index in range(len(classes)):
        yield from _class(census, classes, index)


def _class(census: Census, classes: Classes, index: int) -> Iterator[Finding]:
    """Find out whether one class is nowhere, on one side only, or rare."""
    name, total = classes.names[index], len(census.masks)
    holders = np.flatnonzero(census.pixels[:, index])
    files = tuple(census.masks[i].path for i in holders)
    known = set().union(*census.sides)
    sides = set().union(*(census.sides[i] for i in holders))
    if not len(holders):
        fewer = int((census.images > 0).sum()) < 2
        yield Finding(
            "missing", "error" if fewer else "warning", (), f"class {name} is in none of the {total} masks",
            "label some of it, or take it out of data.classes",
        )  # fmt: skip
    elif "train" in known and "train" not in sides:
        yield Finding(
            "missing", "error", files, f"class {name} is in validation images only, so it would never be learned",
            "label more images with it, or choose another --seed",
        )  # fmt: skip
    elif len(holders) < min(FEW, total):
        where = ", none of them kept for validation" if "val" in known - sides else ""
        yield Finding(
            "rare", "warning", files, f"class {name} is in {len(holders)} of {total} images only{where}",
            f"label it in {FEW} images or more, so that it can be learned and validated",
        )  # fmt: skip
    elif "val" in known - sides:
        yield Finding(
            "rare", "warning", files, f"class {name} is in no validation image, so its score will be undefined",
            "choose another --seed, or keep more for --validation",
        )  # fmt: skip
    elif census.share[index] < RARE:
        yield Finding(
            "rare", "warning", (), f"class {name} covers {100 * census.share[index]:.2g} % of the labelled pixels",
            "raise --foreground, so that more patches are cut around it, and expect a score that varies",
        )  # fmt: skip


def _one_class(census: Census, classes: Classes) -> Iterator[Finding]:
    """Find masks that hold one class only, or none at all; where most is ignored, the little that is labelled may be so."""
    for mask, pixels in zip(census.masks, census.pixels, strict=True):
        present = np.flatnonzero(pixels)
        if len(present) and 2 * int(pixels.sum()) < mask.total:
            continue
        if not len(present):
            yield Finding(
                "empty", "warning", (mask.path,), "is ignored everywhere",
                "label some of it, or leave the image out",
            )  # fmt: skip
        elif len(present) == 1 and present[0] == 0:
            yield Finding(
                "empty", "warning", (mask.path,), f"holds nothing but {classes.names[0]}",
                "keep it if there is nothing to see in the image, else label it",
            )  # fmt: skip
        elif len(present) == 1:
            yield Finding(
                "full", "warning", (mask.path,), f"holds nothing but {classes.names[present[0]]}",
                "keep it if that is true of the whole image, else label it",
            )  # fmt: skip


def _transparent(census: Census, classes: Classes) -> Iterator[Finding]:
    """Find masks of which a part is transparent, and thus ignored."""
    background = bool(census.pixels[:, 0].any())
    for mask in census.masks:
        if mask.transparent:
            yield Finding(
                "alpha", "warning" if background else "error", (mask.path,),
                f"is transparent in {100 * mask.transparent:.2g} % of its pixels, which are ignored",
                f"fill what is {classes.names[0]} with its value",
                "" if background else "a mask painted on a transparent layer",
            )  # fmt: skip


def _sums(
    numbers: dict[int, int] | dict[int, float],
    mask: MaskFacts,
    classes: Classes,
    *,
    together: np.ufunc = np.add,
) -> NDArray[np.float64]:
    """Join numbers by value to numbers by class, (K,).

    Raises:
        DataError: A value is no class.
    """
    places = encoded(list(numbers), mask.survey, classes)
    joined = np.zeros(256)
    together.at(joined, places, np.array(list(numbers.values()), np.float64))
    joined[IGNORE] = 0
    return joined[: len(classes)]
