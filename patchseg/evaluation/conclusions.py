"""What scores come to, in sentences that need no statistics to be read: scores.json and a learning curve -> text.

No sentence says more than the numbers do: without an interval it tells why there is none.
"""

from typing import Any

from patchseg.progress import counted

Scores = dict[str, Any]

SLIGHT = 0.01  # of a score; a smaller gain is worth nobody's evening of labelling
FAIR = 0.05  # of confidence; whoever is farther off should not be taken at its word
_AHEAD = 10  # images; the forecast that is told


def conclusions(scores: Scores, curve: Scores | None = None) -> list[str]:
    """Return what a reader should take away, the most important first.

    Args:
        scores: What scores.json holds.
        curve: What curve.json of a learning curve holds, where there is one.
    """
    told = [expectation(scores), *weakest(scores)]
    if curve:
        told.append(more_labels(curve))
    certainty = scores.get("certainty") or {}
    if certainty.get("ece") is not None:
        told.append(trust(certainty["ece"]))
    return told


def expectation(scores: Scores) -> str:
    """Say what to expect on images like these, and between what the truth may lie.

    >>> interval = {"value": 0.912, "low": 0.86, "high": 0.957, "units": 8}
    >>> expectation({"images": [], "statistics": {"unit": "image", "images": {"mean_iou": interval}}})
    'On images like these, expect a mean IoU of about 0.91; with 8 images the truth may lie anywhere between 0.86 and 0.96.'
    """
    statistics, images = scores.get("statistics"), scores["images"]
    if statistics is None:
        return _without_statistics(scores)
    score = statistics["images"]["mean_iou"]
    if score["value"] is None:
        return "No image has a mean IoU, so nothing is known of how good the masks are."
    value, units = figure(score["value"]), score["units"]
    # Blocks are the units of pooled scores; the mean over images still rests on images.
    among = _groups(units) if statistics["unit"] == "group" else counted(units, "image")
    if score["low"] is not None and score["high"] is not None:
        return (
            f"On images like these, expect a mean IoU of about {value}; with {among} the truth may lie anywhere "
            f"between {figure(score['low'])} and {figure(score['high'])}."
        )
    if statistics["unit"] == "block" and statistics["pooled"]["mean_iou"]["low"] is not None:
        return _within(statistics["pooled"]["mean_iou"], len(images))
    if len(images) == 1:
        return (
            f"On this one image the mean IoU is {value}; one image cannot tell how much images differ, so there is no "
            "interval: score more images."
        )
    return (
        f"On these {len(images)} images the mean IoU is {value} on average; they come from {among}, which cannot tell how much "
        "others differ, so there is no interval."
    )


def _within(score: Scores, images: int) -> str:
    """Say what blocks of images tell: how a score varies within them."""
    among = "this one image" if images == 1 else f"these {images} images"
    return (
        f"On {among} the mean IoU is {figure(score['value'])}; going by how it varies within, the truth may lie anywhere between "
        f"{figure(score['low'])} and {figure(score['high'])}, and other images may differ more."
    )


def _without_statistics(scores: Scores) -> str:
    """Say what scores of earlier versions tell, which have no intervals."""
    values = [entry["mean_iou"] for entry in scores["images"] if entry["mean_iou"] is not None]
    if not values:
        return "No image has a mean IoU, so nothing is known of how good the masks are."
    among = f"these {len(values)} images" if len(values) > 1 else "this one image"
    average = " on average" if len(values) > 1 else ""
    return (
        f"On {among} the mean IoU is {figure(sum(values) / len(values))}{average}; these scores hold no intervals, "
        "evaluate again to have them."
    )


def weakest(scores: Scores) -> list[str]:
    """Name the class and the image that score lowest, where there is a choice.

    >>> classes = [{"name": "ground", "iou": 0.9}, {"name": "line", "iou": 0.5}]
    >>> weakest({"classes": classes, "images": [{"name": "a", "mean_iou": 0.7}]})
    ['The weakest class is “line” (IoU 0.50).']
    """
    classes = [item for item in scores["classes"] if item["iou"] is not None]
    images = [entry for entry in scores["images"] if entry["mean_iou"] is not None]
    told = []
    if len(classes) > 1:
        low = min(classes, key=lambda item: item["iou"])
        told.append(f"the weakest class is “{low['name']}” (IoU {figure(low['iou'])})")
    if len(images) > 1:
        worst = min(images, key=lambda entry: entry["mean_iou"])
        told.append(f"the worst image is “{worst['name']}” (mean IoU {figure(worst['mean_iou'])})")
    sentence = ", ".join(told)
    return [f"{sentence[0].upper()}{sentence[1:]}."] if told else []


def more_labels(curve: Scores) -> str:
    """Say whether more labelled images would help, as far as a learning curve can tell.

    More help where even the lower end of the forecast lies above what has been reached, and a law could be fitted at all;
    they hardly do where its upper end lies less than 0.01 above. Anything between is not known, and said so.

    >>> forecast = [{"images": 18, "value": 0.93, "low": 0.92, "high": 0.94}]
    >>> more_labels({"means": [{"images": 8, "mean": 0.9}], "fit": {"a": 0.95}, "forecast": forecast, "note": ""})
    'More labels would help: with 10 more images, expect about 0.93 instead of 0.90 (between 0.92 and 0.94).'
    """
    means = [mean for mean in curve["means"] if mean["mean"] is not None]
    ahead = [
        entry for entry in curve["forecast"] if None not in (entry["value"], entry["low"], entry["high"])
    ]
    if not means or not ahead:
        return f"Whether more labels would help is not known: {curve['note'] or 'the learning curve has no forecast'}"
    now, then = means[-1], min(ahead, key=lambda entry: abs(entry["images"] - means[-1]["images"] - _AHEAD))
    more = f"with {counted(then['images'] - now['images'], 'more image')}"
    between = f"between {figure(then['low'])} and {figure(then['high'])}"
    if then["low"] > now["mean"] and curve["fit"]:
        return f"More labels would help: {more}, expect about {figure(then['value'])} instead of {figure(now['mean'])} ({between})."
    if then["high"] < now["mean"] + SLIGHT:
        return f"More labels of the same kind would hardly help: {more}, expect {between}, as now ({figure(now['mean'])})."
    return (
        f"Whether more labels would help cannot be told yet: {more}, the score may lie anywhere {between}; "
        f"now it is {figure(now['mean'])}."
    )


def trust(error: float) -> str:
    """Say how far the network's own confidence is to be trusted.

    Args:
        error: The expected calibration error, from 0 to 1.

    >>> trust(0.021)
    'How sure the network is can be taken at its word: it is off by 2.1 points of 100 on average.'
    """
    if error <= FAIR:
        return f"How sure the network is can be taken at its word: it is off by {100 * error:.1f} points of 100 on average."
    return (
        f"Do not take the network at its word on how sure it is: it is off by {100 * error:.1f} points of 100 on average; "
        "calibrate it."
    )


def figure(value: float) -> str:
    """Write a score as people say it; with four digits where two would make it perfect.

    >>> figure(0.912), figure(0.9973), figure(0.99999), figure(1.0)
    ('0.91', '0.9973', '0.9999', '1')
    """
    if value == 1:
        return "1"
    return f"{value:.2f}" if value < 0.995 else f"{min(value, 0.9999):.4f}"


def _groups(number: int) -> str:
    return f"{number} groups of images" if number != 1 else "one group of images"
