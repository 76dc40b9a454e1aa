"""Scores of trainings -> curve.json: means with intervals, the power law through them, a forecast, and a sentence about it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from patchseg.evaluation.statistics import mean_interval
from patchseg.progress import counted
from patchseg.studies.power_law import Forecast, Points, fit, forecast, is_identified

MORE = (5, 10, 50)  # images that the forecast adds
_HARDLY = 0.005  # a rise that is none to speak of

Point = Mapping[str, Any]


def curve(points: Sequence[Point], held_out: Sequence[str]) -> dict[str, Any]:
    """Return what curve.json says.

    Args:
        points: {images, share, repeat, score} of each training.
        held_out: The images that all are scored on.
    """
    means = _means(points)
    known = Points.of([point["images"] for point in points], [point["score"] for point in points])
    law, most = fit(known), int(max(known.images))
    identified = is_identified(known, law)
    found = [forecast(known, law, most + more) for more in MORE]
    expected = [each for each in found if each is not None]
    text = f"mean IoU = {law}"
    return {
        "metric": "mean_iou", "held_out": list(held_out), "points": list(points), "means": means,
        "fit": {**law._asdict(), "text": text} if identified else None,
        "forecast": [each._asdict() for each in expected],
        "verdict": verdict(means[-1], expected, most, identified=identified),
        "note": _note(known, len(held_out), identified=identified),
    }  # fmt: skip


def verdict(now: Point, expected: Sequence[Forecast], images: int, *, identified: bool) -> str:
    """Return the sentence that says whether to label more.

    >>> verdict({"mean": 0.89}, [Forecast(25, 0.9, 0.88, 0.92), Forecast(30, 0.91, 0.88, 0.93)], 20, identified=True)
    'With 10 more images expect 0.91 (0.88 to 0.93), now 0.89.'
    """
    told = next((each for each in expected if each.images == images + 10), None)
    if told is None:
        return f"Mean IoU {now['mean']:.2f} with {images} images; these trainings cannot tell what more would bring."
    numbers = f"{told.value:.2f} ({told.low:.2f} to {told.high:.2f}), now {now['mean']:.2f}"
    if not identified:
        return f"The scores do not rise clearly; with 10 more images expect {numbers}."
    if told.value < now["mean"] + _HARDLY:
        return f"10 more images like these would hardly help: expect {numbers}."
    return f"With 10 more images expect {numbers}."


def _means(points: Sequence[Point]) -> list[dict[str, Any]]:
    """Return the mean and its interval over the repeats of each share, the smallest first."""
    found = []
    for share in sorted({point["share"] for point in points}):
        mine = [point for point in points if point["share"] == share]
        mean, low, high, _ = mean_interval(np.array([point["score"] for point in mine]))
        images = round(sum(point["images"] for point in mine) / len(mine))
        found.append({"images": images, "repeats": len(mine), "mean": mean, "low": low, "high": high})
    return found


def _note(points: Points, held_out: int, *, identified: bool) -> str:
    """Return what the numbers mean, and what they do not know."""
    parts = [
        f"all are scored on the same {counted(held_out, 'held-out image')}, and others would move the whole curve",
        "intervals of means are over repeats, which share images, and with all images over seeds alone",
    ]
    if points.freedom < 1:
        parts.append("no forecast, since nothing tells how scores scatter (give --repeats 3, or more images)")
    else:
        parts.append("forecasts hold for one more training on images like these")
    if points.sizes < 3:
        parts.append(f"no law is fitted to {points.sizes} numbers of images")
    elif not identified:
        parts.append("no law is fitted, since the scores do not rise more than they scatter")
    return "; ".join(parts)
