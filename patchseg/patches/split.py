"""Which images, or which blocks of an image, are kept for validation: decided before anything is cut.

No pixel reaches both sides. Images are the unit, or groups of images (slices of one stack, fields of one sample);
where one to three large images are all there is, each gives a block at one end, behind a guard band that is at least
a patch wide.
"""

import re
from typing import Literal, NamedTuple

import numpy as np

from patchseg.errors import DataError, UsageError
from patchseg.imaging import Box

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


def groups(names: list[str], pattern: str | None) -> list[str]:
    r"""Return the group of each name: the first group of the pattern, its whole match, or the name.

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
        raise UsageError(f"prepare.group: {pattern!r} is no regular expression ({error}); mend it") from None
    result = []
    for name, match in zip(names, matches, strict=True):
        if match is None:
            raise UsageError(
                f"prepare.group: {pattern!r} does not match {name!r}; every image must be in a group"
            )
        result.append(match[1] if match.re.groups else match[0])
    return result


def split(
    shapes: list[tuple[int, int]], group: list[str], *, validation: float, patch: int, seed: int
) -> list[Region]:
    """Split images into regions for training and for validation.

    Args:
        shapes: (H, W) of each image.
        group: The group of each image.
        validation: Share of the groups (or of an image's length) kept for validation; 0 keeps none.
        patch: Side of the patches, which is the width of the guard band.
        seed: Seed of the choice.

    Raises:
        DataError: There is only one group, or one image that is too small to be cut into blocks.
    """
    names = sorted(set(group))
    if validation == 0:
        return [Region(i, "train", Box(0, 0, *shape)) for i, shape in enumerate(shapes)]
    large = all(max(shape) >= _LARGE * patch for shape in shapes)
    if len(shapes) <= _FEW and large and len(names) == len(shapes):
        return [
            region for i, shape in enumerate(shapes) for region in _blocks(i, shape, validation, patch, seed)
        ]
    if len(names) < 2 and len(shapes) > 1:
        raise DataError(
            f"{names[0]}: is the group of all {len(shapes)} images, which leaves none to validate; expected two groups "
            "or more, so give another --group or --val-images"
        )
    if len(names) < 2:
        raise DataError(
            f"{names[0]}: is the only image and too small to be split by blocks ({max(shapes[0])} px; "
            f"{_LARGE * patch} are needed for patches of {patch}); give --val-images, more images or a smaller --patch"
        )
    count = min(len(names) - 1, max(1, round(validation * len(names))))
    chosen = {names[i] for i in random(seed, 0).permutation(len(names))[:count]}
    return [Region(i, "val" if group[i] in chosen else "train", Box(0, 0, *s)) for i, s in enumerate(shapes)]


def _blocks(image: int, shape: tuple[int, int], validation: float, patch: int, seed: int) -> list[Region]:
    """Cut the longer axis of an image into a training block, a guard band and a validation block.

    |  training ...              | guard |  val  |     or its mirror image, by the seed
    """
    length = max(shape)
    val = min(max(round(validation * length), patch), length - 3 * patch)
    first = bool(random(seed, 1, image).integers(2))
    train_start, val_start = (val + patch, 0) if first else (0, length - val)

    def box(start: int, size: int) -> Box:
        return Box(start, 0, size, shape[1]) if shape[0] >= shape[1] else Box(0, start, shape[0], size)

    return [
        Region(image, "train", box(train_start, length - val - patch)),
        Region(image, "val", box(val_start, val)),
    ]
