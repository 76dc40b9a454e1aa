"""Which images, or which blocks of an image, are kept for validation: decided before anything is cut.

No pixel reaches both sides. Images are the unit, or groups of images (slices of one stack, fields of one sample);
where one to three large images are all there is, each gives a block, behind a guard band that is at least a patch
wide. Sizes, groups and the classes of each image flow in, regions come out.
"""

import re
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchseg.errors import DataError, UsageError
from patchseg.imaging import Box
from patchseg.patches.blocks import Block, Profile, at_an_end, boxes, fits, place, slice_of
from patchseg.patches.strata import choose, deal

Side = Literal["train", "val"]
_FEW = 3  # images that are split by blocks when they are large
_LARGE = 6  # patches along the longer side from which an image counts as large


class Region(NamedTuple):
    """A part of an image that belongs to one side."""

    image: int
    side: Side
    box: Box


def random(seed: int, *stream: int) -> np.random.Generator:
    """Return a generator that depends on nothing but the seed and the numbers of a stream."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *stream])))


def groups(names: list[str], pattern: str | None, *, key: str = "prepare.group") -> list[str]:
    r"""Return the group of each name: the first group of the pattern, its whole match, or the name.

    Args:
        names: Of images.
        pattern: A regular expression; without one each name is its own group.
        key: The parameter that it stands in, for errors.

    >>> groups(["s1_a", "s1_b", "s2_a"], r"s\d")
    ['s1', 's1', 's2']

    Raises:
        UsageError: The pattern is no regular expression, or a name does not match it.
    """
    if pattern is None:
        return list(names)
    try:
        matches = [re.search(pattern, name) for name in names]
    except re.error as error:
        raise UsageError(f"{key}: {pattern!r} is no regular expression ({error}); mend it") from None
    result = []
    for name, match in zip(names, matches, strict=True):
        if match is None:
            raise UsageError(f"{key}: {pattern!r} does not match {name!r}; every image must be in a group")
        result.append(match[1] if match.re.groups else match[0])
    return result


class Strata(NamedTuple):
    """Which classes are where.

    Attributes:
        presence: (images, K) bool.
        profile: Image -> (longer side, K) bool, where along it a class is; asked for images that are cut into blocks.
    """

    presence: NDArray[np.bool_]
    profile: Profile


def split(
    shapes: list[tuple[int, int]],
    group: list[str],
    *,
    validation: float,
    patch: int,
    seed: int,
    fold: str | None = None,
    strata: Strata | None = None,
) -> list[Region]:
    """Split images into regions for training and for validation.

    Args:
        shapes: (H, W) of each image.
        group: The group of each image.
        validation: Share of the groups (or of an image's length) kept for validation; 0 keeps none.
        patch: Side of the patches, which is the width of the guard band.
        seed: Seed of the choice.
        fold: "i/k" validates on the i-th of k parts instead of a share; "i/all" on the i-th group.
        strata: Which classes are where, to have all of them on both sides where that is possible.

    Returns:
        All for training where one small image is all there is.

    Raises:
        UsageError: There are fewer groups than folds.
        DataError: There is only one group of several images.
    """
    names = sorted(set(group))
    whole = [Region(i, "train", Box(0, 0, *shape)) for i, shape in enumerate(shapes)]
    if fold is None and validation == 0:
        return whole
    if len(names) < 2 and len(shapes) > 1:
        raise DataError(
            f"{names[0]}: is the group of all {len(shapes)} images, which leaves none to validate; expected two groups "
            "or more, so give another --group or --val-images"
        )
    presence = _of_groups(names, group, strata)
    own = len(names) == len(shapes) <= _FEW
    if fold is not None:
        chosen = _fold(fold, list(dict.fromkeys(group)), names, presence, seed)
        if chosen is None:
            return _folded_blocks(shapes, fold, patch, own=own)
        return _sides(shapes, group, chosen)
    if own and (len(shapes) == 1 or all(max(shape) >= _LARGE * patch for shape in shapes)):
        if not all(fits(shape, patch) for shape in shapes):
            return whole
        drawn = [
            at_an_end(max(shape), validation, patch, first=bool(random(seed, 1, i).integers(2)))
            for i, shape in enumerate(shapes)
        ]
        return _cut(shapes, place(shapes, drawn, patch, strata.profile) if strata else drawn, patch)
    count = min(len(names) - 1, max(1, round(validation * len(names))))
    order = random(seed, 0).permutation(len(names)).tolist()
    return _sides(shapes, group, {names[i] for i in choose(presence, order, count)})


def given(shapes: list[tuple[int, int]], sides: list[Side]) -> list[Region]:
    """Return whole images on the sides that a list gives them.

    Raises:
        DataError: None is to be trained on.
    """
    if "train" not in sides:
        raise DataError(f"all {len(sides)} images are given for validation; expected some to train on")
    return [Region(i, side, Box(0, 0, *shapes[i])) for i, side in enumerate(sides)]


def _sides(shapes: list[tuple[int, int]], group: list[str], chosen: set[str]) -> list[Region]:
    return [Region(i, "val" if group[i] in chosen else "train", Box(0, 0, *s)) for i, s in enumerate(shapes)]


def _of_groups(names: list[str], group: list[str], strata: Strata | None) -> NDArray[np.bool_]:
    """Return which groups hold which classes, (groups, K) bool."""
    if strata is None:
        return np.zeros((len(names), 0), bool)
    found, places = (
        np.zeros((len(names), strata.presence.shape[1]), bool),
        {n: i for i, n in enumerate(names)},
    )
    np.logical_or.at(found, [places[name] for name in group], strata.presence)
    return found


def _fold(
    fold: str, listed: list[str], names: list[str], presence: NDArray[np.bool_], seed: int
) -> set[str] | None:
    """Return the groups of a fold, or None where there are more folds than groups.

    Raises:
        UsageError: There are fewer folds than its number says, or only one.
    """
    number, _, of = fold.partition("/")
    chosen, folds = int(number), len(names) if of == "all" else int(of)
    if not (1 <= chosen <= folds and folds >= 2):
        raise UsageError(
            f"prepare.fold: {fold} is none of {folds} folds; expected 1/{folds} to {folds}/{folds}, of two or more"
        )
    if of == "all":
        return {listed[chosen - 1]}  # as the images are listed, so that one knows which
    if folds > len(names):
        return None
    order = random(seed, 3).permutation(len(names)).tolist()
    return {names[i] for i, its in enumerate(deal(presence, order, folds)) if its == chosen - 1}


def _folded_blocks(shapes: list[tuple[int, int]], fold: str, patch: int, *, own: bool) -> list[Region]:
    """Cut each of a few large images into as many slices as there are folds, of which one is for validation."""
    chosen, folds = (int(part) for part in fold.split("/"))
    found = [slice_of(max(shape), patch, chosen, folds) for shape in shapes] if own else []
    blocks = [block for block in found if block]
    if not blocks or len(blocks) < len(shapes):
        raise UsageError(
            f"prepare.fold: {fold} needs {folds} images (or groups), or one to three images of {folds} patches or more each "
            "with a patch between; choose fewer folds"
        )
    return _cut(shapes, blocks, patch)


def _cut(shapes: list[tuple[int, int]], blocks: list[Block], patch: int) -> list[Region]:
    regions = []
    for image, (shape, block) in enumerate(zip(shapes, blocks, strict=True)):
        training, validation = boxes(shape, block, patch)
        regions += [Region(image, "train", box) for box in training] + [Region(image, "val", validation)]
    return regions
