"""Which side every image of a data set is on, as parameters and lists say, and what that leaves unseen.

Pairs and what is known of them flow in; regions come out, and the sentences that `prepare` says about them.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from patchseg.errors import UsageError
from patchseg.imaging import Box, Reading
from patchseg.imaging.scale import ScaledSource, scaled_length
from patchseg.labels.classes import Classes
from patchseg.labels.derive import Survey
from patchseg.labels.mapping import counted as class_counts
from patchseg.parameters import PrepareParameters
from patchseg.patches.blocks import fits
from patchseg.patches.check import Inspection
from patchseg.patches.pairs import Pair
from patchseg.patches.split import Region, Strata, given, groups, split
from patchseg.progress import counted


def groups_of(pairs: list[Pair], pattern: str | None) -> list[str]:
    """Return the group of each pair: that of the list, else what the pattern finds in its name, else its name.

    Raises:
        UsageError: Both say so, or the pattern does not fit.
    """
    listed = [pair.group for pair in pairs if pair.group is not None]
    if not listed:
        return groups([pair.name for pair in pairs], pattern)
    if pattern is not None:
        raise UsageError("--group is given, and the list has a column group; leave one of them out")
    return listed


def without_test(pairs: list[Pair]) -> tuple[list[Pair], list[Pair]]:
    """Return the pairs that are not of the test set, and those that are."""
    kept, test = ([pair for pair in pairs if (pair.side == "test") == tested] for tested in (False, True))
    return kept, test


def decide(
    pairs: list[Pair],
    group: list[str],
    inspection: Inspection,
    parameters: PrepareParameters,
) -> list[Region]:
    """Decide the side of every image, or of its blocks.

    Args:
        pairs: All; those beyond the groups are given for validation.
        group: The group of each of the first.
        inspection: Of all.
        parameters: How to split, and the side of a patch, which is known.

    Raises:
        UsageError: The patch is larger than every image, or two ways to split are given.
        DataError: The groups leave none for one of the sides.
    """
    strata = strata_of(
        pairs[: len(group)], inspection.surveys, inspection.classes, parameters.scale, inspection.reading
    )
    return regions_of(pairs, group, inspection.shapes, parameters, strata)


def strata_of(
    pairs: list[Pair], surveys: list[Survey], classes: Classes, scale: float, reading: Reading
) -> Strata:
    """Return where the classes are in the masks of some pairs.

    Args:
        pairs: The pairs that are split.
        surveys: Of their masks, and maybe of more.
        classes: What their values mean.
        scale: Multiple of their size at which they are cut.
        reading: How files are read.

    Raises:
        DataError: A value is no class.
    """

    def profile(image: int) -> NDArray[np.bool_]:
        return _profile(pairs[image], classes, scale, reading)

    counts = np.stack([class_counts(survey, classes) for survey in surveys[: len(pairs)]])
    return Strata(counts > 0, profile)


def regions_of(
    pairs: list[Pair],
    group: list[str],
    sizes: list[tuple[int, int]],
    parameters: PrepareParameters,
    strata: Strata | None = None,
) -> list[Region]:
    """Decide the side of every image, or of its blocks, by their sizes.

    Args:
        pairs: All; those beyond the groups are given for validation.
        group: The group of each of the first.
        sizes: (H, W) of all images.
        parameters: How to split, and the side of a patch, which is known.
        strata: Where the classes are, for those that are to be on both sides; None where that is not known.

    Raises:
        UsageError: The patch is larger than every image, or two ways to split are given.
        DataError: The groups leave none for one of the sides.
    """
    shapes = [
        (scaled_length(height, parameters.scale), scaled_length(width, parameters.scale))
        for height, width in sizes
    ]
    largest, patch = max(shapes, key=max), parameters.patch
    assert patch is not None
    # What the plan chose is padded, and said.
    if patch > max(largest) and parameters.source("patch") != "plan":
        raise UsageError(
            f"prepare.patch: {patch} is larger than every image (the largest is {largest[0]} x {largest[1]}); "
            f"choose {max(largest) // 8 * 8 or 8} or less"
        )
    mine = len(group)
    sides = [pair.side for pair in pairs[:mine] if pair.side in ("train", "val")]
    _require_one_way(parameters, listed=bool(sides))
    if sides:
        return given(shapes, [side for side in sides if side in ("train", "val")])
    held = [Region(i, "val", Box(0, 0, *shapes[i])) for i in range(mine, len(shapes))]
    regions = split(
        shapes[:mine], group, validation=0.0 if held else parameters.validation, patch=patch,
        seed=parameters.seed, fold=parameters.fold, strata=strata,
    )  # fmt: skip
    return regions + held


def told(regions: list[Region], images: int, pairs: list[Pair], parameters: PrepareParameters) -> list[str]:
    """Return how the images are split, and what it means where nothing is validated though it was asked for."""
    train = sum(region.side == "train" for region in regions)
    blocks = len(regions) > images
    if not blocks and parameters.fold is None and parameters.validation and train == len(regions) == 1:
        (height, width), patch = regions[0].box[2:], parameters.patch
        assert patch is not None
        assert not fits((height, width), patch)
        return [
            "1 image to train on, 0 to validate",
            f"  {pairs[0].name} is the only image and too small to be split by blocks ({max(height, width)} px; "
            f"{3 * patch} are needed for patches of {patch}), so nothing tells how good the network "
            "is, and the last weights are kept, not the best; give --val-images, more images or a smaller --patch",
        ]
    noun = "block" if blocks else "image"
    how = " (of the same images, a guard band between)" if blocks else ""
    if parameters.fold is not None:
        how += f" (fold {parameters.fold.replace('/', ' of ')})"
    return [f"{counted(train, noun)} to train on, {len(regions) - train} to validate{how}"]


def lacking(seen: dict[str, NDArray[np.int64]], classes: Classes) -> list[str]:
    """Return a sentence for each class that is not on both sides.

    Args:
        seen: How many regions of each side hold each class, (K,).
        classes: The classes.
    """
    return [
        f"  {name}: {_lack(train, val)}"
        for name, train, val in zip(classes.names, seen["train"].tolist(), seen["val"].tolist(), strict=True)
        if not train or (not val and seen["val"].any())
    ]


def _profile(pair: Pair, classes: Classes, scale: float, reading: Reading) -> NDArray[np.bool_]:
    """Return where along its longer side a mask holds each class, (L, K) bool."""
    assert pair.mask is not None
    source = pair.open_mask(reading)
    with source if scale == 1 else ScaledSource(source, scale, labels=True) as labels:
        mask = classes.encode(labels.read(Box(0, 0, *labels.shape[:2])), pair.mask, labels.palette)
    across = 1 if mask.shape[0] >= mask.shape[1] else 0
    return np.stack([(mask == index).any(axis=across) for index in range(len(classes))], axis=1)


def _lack(train: int, val: int) -> str:
    if not train and not val:
        return "is nowhere, so it cannot be learned; label some, or take it out of data.classes"
    if not train:
        return f"is in {val} of what is kept for validation and in nothing to train on, so it cannot be learned; label more of it"
    return f"is in {train} of what is trained on and in nothing kept for validation, so its scores stay unknown until `evaluate`"


def _require_one_way(parameters: PrepareParameters, *, listed: bool) -> None:
    ways: Sequence[tuple[bool, str]] = (
        (listed, "the column split of the list"),
        (parameters.val_images is not None, "--val-images"),
        (parameters.fold is not None, "--fold"),
    )
    names = [name for chosen, name in ways if chosen]
    if len(names) > 1:
        raise UsageError(f"{' and '.join(names)} both say what to validate with; leave one of them out")
