"""Scores averaged in two ways, each with its interval: over the pooled pixels of all images, and over images.

Confusion matrices of images flow in, and the group that each image belongs to; what scores.json holds under
"statistics" flows out. Scores are laid out in a row: mean IoU, mean IoU of the foreground, pixel accuracy, then the IoU of
each class, then its Dice coefficient.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from patchseg.evaluation.statistics import FEW, Interval, Values, divided, jackknife, ratio
from patchseg.progress import counted

MEANS = ("mean_iou", "mean_iou_foreground", "pixel_accuracy")
KINDS = ("iou", "dice")  # a score a class

Item = TypeVar("Item")
Margins = NDArray[np.int64]  # (..., 3, K): pixels right, pixels true, pixels predicted of each class


def margins(counts: NDArray[np.int64]) -> Margins:
    """Return what scores need of confusion matrices: (..., K, K) -> (..., 3, K).

    >>> margins(np.array([[3, 1], [0, 4]])).tolist()
    [[3, 4], [4, 4], [3, 5]]
    """
    return np.stack([counts.diagonal(axis1=-2, axis2=-1), counts.sum(axis=-1), counts.sum(axis=-2)], axis=-2)


def scores(sums: NDArray[Any], among: NDArray[np.bool_] | None = None) -> Values:
    """Return the row of scores of each sum of margins; NaN is undefined.

    Args:
        sums: (n, 3, K).
        among: (K,), the classes that a mean IoU is taken over, which is undefined where one of them is; without it,
            those that occur, as in `Confusion.mean_iou`.

    Returns:
        (n, 3 + 2 K).

    >>> scores(margins(np.array([[[3, 1], [0, 4]]]))).round(3).tolist()
    [[0.775, 0.8, 0.875, 0.75, 0.8, 0.857, 0.889]]
    """
    hits, true, predicted = sums[:, 0], sums[:, 1], sums[:, 2]
    iou, dice = divided(hits, true + predicted - hits), divided(2 * hits, true + predicted)
    means = [_mean(iou[:, start:], None if among is None else among[start:]) for start in (0, 1)]
    accuracy = divided(hits.sum(axis=1), true.sum(axis=1))
    return np.concatenate([np.stack([*means, accuracy], axis=1), iou, dice], axis=1)


def _mean(iou: Values, among: NDArray[np.bool_] | None) -> Values:
    taken = ~np.isnan(iou) if among is None else np.broadcast_to(among, iou.shape)
    return divided(np.where(taken, iou, 0).sum(axis=1), taken.sum(axis=1))


def occurring(rows: Margins) -> NDArray[np.bool_]:
    """Tell in which rows a class is, in the truth or as a prediction: (..., 3, K) -> (..., K)."""
    return rows[..., 1, :] + rows[..., 2, :] > 0


def presence(classes: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which units say something about which score, (n, K) -> (n, 3 + 2 K): about a mean, those with any class."""
    anything = [classes.any(axis=1), classes[:, 1:].any(axis=1), classes.any(axis=1)]
    return np.concatenate([np.stack(anything, axis=1), classes, classes], axis=1)


def named(row: Sequence[Item], classes: int) -> dict[str, Any]:
    """Give the items of a row of scores their names.

    >>> named([1, 2, 3, 4, 5, 6, 7], 2)
    {'mean_iou': 1, 'mean_iou_foreground': 2, 'pixel_accuracy': 3, 'iou': [4, 5], 'dice': [6, 7]}
    """
    kinds = {kind: list(row[3 + i * classes : 3 + (i + 1) * classes]) for i, kind in enumerate(KINDS)}
    return dict(zip(MEANS, row, strict=False)) | kinds


def summed(rows: NDArray[Any], groups: Sequence[str]) -> NDArray[Any]:
    """Add up the rows of each group, in the order in which groups first come.

    >>> summed(np.array([1, 10, 100]), ["b", "a", "b"]).tolist()
    [101, 10]
    """
    places = {group: place for place, group in enumerate(dict.fromkeys(groups))}
    result = np.zeros((len(places), *rows.shape[1:]), rows.dtype)
    np.add.at(result, [places[group] for group in groups], rows)
    return result


def pooled(rows: Margins, groups: Sequence[str]) -> list[Interval]:
    """Return the scores over all pixels, with jackknife-t intervals over groups.

    Args:
        rows: (images, 3, K).
        groups: Of each image; images that belong to no group are one each.
    """
    units = summed(rows, groups)
    among = occurring(units.sum(axis=0))
    return jackknife(units, lambda sums: scores(sums, among), present=presence(occurring(units)))


def over_images(
    values: Values, groups: Sequence[str], *, bounds: tuple[float, float] = (0.0, 1.0)
) -> list[Interval]:
    """Return means over images, with intervals over groups; those of t where every image is a group of its own.

    Args:
        values: (images, S); NaN is left out.
        groups: Of each image.
        bounds: Of the values.
    """
    units = sums_of(values, groups)
    return jackknife(units, ratio, present=units[:, 1] > 0, bounds=bounds)


def sums_of(values: Values, groups: Sequence[str]) -> Values:
    """Return the sum of scores and their number for each group: (images, S) -> (groups, 2, S)."""
    defined = ~np.isnan(values)
    return summed(np.stack([np.where(defined, values, 0), defined], axis=1), groups)


def statistics_of(
    counts: NDArray[np.int64],
    groups: Sequence[str] | None,
    names: Sequence[str],
    blocks: NDArray[np.int64] | None = None,
) -> dict[str, Any]:
    """Return both averages with their intervals, as scores.json holds them.

    Args:
        counts: (images, K, K), a confusion matrix an image.
        groups: Of each image; None where every image stands for itself.
        names: Of the classes.
        blocks: (blocks, K, K), those of blocks of the images, which are then the units of pooled scores.
    """
    alone, parts = [str(place) for place in range(len(counts))], counts if blocks is None else blocks
    labels = list(groups or alone)
    own = labels if blocks is None else [str(place) for place in range(len(blocks))]
    unit = "block" if blocks is not None else "image" if groups is None else "group"
    pixels, images = pooled(margins(parts), own), over_images(scores(margins(counts)), labels)
    units = len(set(own))
    lone = [name for name, interval in zip(names, pixels[3:], strict=False) if interval.units == 1]
    return {
        "unit": unit,
        "units": units,
        "note": note(unit, units, len(counts), lone),
        "pooled": named([interval.as_dict() for interval in pixels], len(names)),
        "images": named([interval.as_dict() for interval in images], len(names)),
    }


def note(unit: str, units: int, images: int, lone: Sequence[str] = ()) -> str:
    """Say in a sentence what intervals rest on, and how far they are to be trusted.

    Args:
        unit: What is independent: image, group or block.
        units: How many there are.
        images: How many images.
        lone: Classes that are in one unit only.

    >>> note("image", 10, 10)
    '95 % intervals over 10 images; approximate: fewer than 30'
    >>> note("group", 40, 120, ["crack"])
    '95 % intervals over 40 groups of 120 images; crack is in one group only, which leaves it, and mean IoU, without one'
    """
    if units == 1:
        what = "one image is" if images == 1 else f"all {images} images are of one group, which is"
        return f"no intervals: {what} all there is, and nothing tells how others would differ"
    told = f"95 % intervals over {counted(units, unit)}"
    told += f" of {counted(images, 'image')}" if unit != "image" else ""
    told += f"; approximate: fewer than {FEW}" if units < FEW else ""
    if lone:
        verb, they = ("is", "it") if len(lone) == 1 else ("are", "them")
        told += (
            f"; {', '.join(lone)} {verb} in one {unit} only, which leaves {they}, and mean IoU, without one"
        )
    if unit == "block":
        told += "; they tell how scores vary within, other images may differ more"
    return told
