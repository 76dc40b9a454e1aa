"""What a comparison comes to, in a sentence that needs no statistics to be read."""

from typing import Any

from patchseg.evaluation.statistics import least
from patchseg.progress import counted

CHANCE = 0.05  # p below which a difference is called unlikely to be chance


def verdict(comparison: dict[str, Any]) -> str:
    """Tell who is better, on how many images, by how much, and whether that may be chance.

    It is unlikely to be chance where p is below 0.05 and the interval leaves out 0 as well.

    Args:
        comparison: What `compare` returns; the mean over images of mean IoU decides.
    """
    decisive = comparison["images"]["mean_iou"]
    difference, images = decisive["value"], len(comparison["changes"])
    if difference is None:
        return "No image has a score in both A and B, so nothing can be compared."
    if comparison["better"] == comparison["worse"] == 0:
        return f"A and B have the same mean IoU on {_all(comparison['equal'])}."
    if images == 1:
        higher = "higher" if difference > 0 else "lower"
        return (
            f"B is {abs(difference):.3f} {higher} in mean IoU on the only image; "
            "one image cannot tell a difference from chance."
        )
    told = f"{_tally(comparison, better=difference >= 0)}; the difference of {difference:.3f}"
    return told + _chance(decisive, comparison["unit"])


def _chance(decisive: dict[str, Any], unit: str) -> str:
    """End the sentence with the interval, and whether the difference may be chance."""
    if decisive["low"] is None:
        return f" in mean IoU cannot be told from chance: all images that count are of one {unit}."
    told = f" ({decisive['low']:.3f} to {decisive['high']:.3f}) in mean IoU"
    p = "p < 0.001" if decisive["p"] < 0.001 else f"p = {decisive['p']:.2g}"
    if decisive["p"] < CHANCE and not decisive["low"] <= 0 <= decisive["high"]:
        return f"{told} is unlikely to be chance ({p})."
    told += f" cannot be told from chance ({p})"
    if least(decisive["units"]) >= CHANCE:
        return f"{told}; with {counted(decisive['units'], unit)} no difference could be."
    return f"{told}."


def _all(images: int) -> str:
    return f"all {images} images" if images > 1 else "the only image"


def _tally(comparison: dict[str, Any], *, better: bool) -> str:
    """Tell on how many images B is better, or worse, whichever the difference says.

    >>> _tally({"better": 6, "worse": 3, "changes": [None] * 10}, better=True)
    'B is better on 6 of 10 images and worse on 3'
    >>> _tally({"better": 0, "worse": 4, "changes": [None] * 4}, better=False)
    'B is worse on all 4 images'
    """
    words, images = ("better", "worse") if better else ("worse", "better"), len(comparison["changes"])
    first, second = (comparison[word] for word in words)
    told = f"B is {words[0]} on " + (
        f"all {images} images" if first == images else f"{first} of {images} images"
    )
    return f"{told} and {words[1]} on {second}" if second else told
