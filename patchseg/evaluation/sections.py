"""What the scores say, as sections of a report: scores.json -> parts of a page."""

from collections.abc import Sequence

import numpy as np

from patchseg.evaluation.documents import Scores
from patchseg.evaluation.metrics import METRICS
from patchseg.page import Html, Strip, chip, element, matrix, score, strips, table
from patchseg.page.shell import Content
from patchseg.progress import counted

_TITLES = {"iou": "IoU", "dice": "Dice"}
MEANS = {
    "mean_iou": "mean IoU",
    "mean_iou_foreground": "mean IoU without background",
    "pixel_accuracy": "pixel accuracy",
}
MANY = 30  # images; a longer table is folded
MOST_CELLS = 10_000  # of the table of images; the rest is in scores.csv
MOST_CLASSES = 24  # in the confusion matrix, and in the strips


def headline(scores: Scores, title: str, told: Sequence[str] = ()) -> Html:
    """Return the conclusions, the few numbers that matter, and what they mean.

    Args:
        scores: What scores.json holds.
        title: Of the page.
        told: The conclusions, the most important first.
    """
    images, names = scores["images"], names_of(scores)
    averaged = (scores.get("statistics") or {}).get("images")
    numbers = [
        (name, averaged[key]["value"], interval(averaged[key])) if averaged else (name, scores[key], None)
        for key, name in MEANS.items()
    ]
    return element(
        "header",
        element("h1", title),
        element("div", *(element("p", sentence) for sentence in told), class_="verdict") if told else None,
        element(
            "dl",
            *(
                element(
                    "div", element("dt", what), element("dd", score(value), ends and element("small", ends))
                )
                for what, value, ends in numbers
            ),
            class_="headline",
        ),
        element("p", *_explanation(images, averaged=bool(averaged)), class_="note"),
        _region(images),
        element(
            "p", f"{counted(len(images), 'image')}, {len(names)} classes: {', '.join(names)}", class_="note"
        ),
    )  # fmt: skip


def _explanation(images: Sequence[Scores], *, averaged: bool) -> list[str]:
    told = [
        "IoU (intersection over union): of the pixels that truth or prediction give to a class, the share that both "
        "do; 1 is perfect. ",
        "Each number is a mean over the images, all of which count alike, with its 95 % interval."
        if averaged
        else "The pixels of all images are counted together.",
    ]
    ranked = sorted(entry["mean_iou"] for entry in images if entry["mean_iou"] is not None)
    if len(ranked) > 1:
        told.append(
            f" Image by image, mean IoU runs from {score(ranked[0])} to {score(ranked[-1])}, "
            f"median {score(float(np.median(ranked)))}."
        )
    return told


def _region(images: Sequence[Scores]) -> Html | None:
    """Say where only a part of the images was scored."""
    shares = [entry["region"]["share"] for entry in images if "share" in (entry.get("region") or {})]
    if not shares:
        return None
    mean = 100 * sum(shares) / len(shares)
    return element(
        "p", f"Only what lies inside of a region counts: {mean:.3g} % of an image on average.", class_="note"
    )


def averages(scores: Scores) -> Html | None:
    """Return both ways of averaging side by side, each with its intervals; None for scores that have none."""
    statistics = scores.get("statistics")
    if not statistics:
        return None
    pooled, images = statistics["pooled"], statistics["images"]
    lines: list[tuple[Content, Scores, Scores]] = [
        (name, pooled[key], images[key]) for key, name in MEANS.items()
    ]
    for key in ("iou", "dice"):
        for name, color, one, other in zip(
            names_of(scores), palette_of(scores), pooled[key], images[key], strict=True
        ):
            lines.append((element("span", chip(color), f"{_TITLES[key]} {name}"), one, other))
    rows = [
        [name, one["value"], interval(one), other["value"], interval(other)] for name, one, other in lines
    ]
    head = ["score", "all pixels together", "95 % interval", "mean over images", "95 % interval"]
    note = str(statistics.get("note") or "")
    return element(
        "section",
        element("h2", "Scores and how sure they are"),
        element("p", f"{note[:1].upper()}{note[1:]}".rstrip(".") + "." if note else None, class_="note"),
        table(head, rows, label="scores with their intervals"),
        element(
            "p",
            "All pixels together: large images and large objects count more. Mean over images: every image counts alike, which "
            "is what to expect of the next one. Where the two differ much, images differ much. An interval is the range in "
            "which the score of all images like these lies, nineteen times out of twenty.",
            class_="note",
        ),
    )


def spread(scores: Scores) -> Html | None:
    """Return a dot an image: mean IoU, and the IoU of each class; None where nothing is scored."""
    images = scores["images"]
    averaged = (scores.get("statistics") or {}).get("images") or {}
    means = averaged.get("iou") or [None] * len(scores["classes"])
    rows = [
        _strip("mean IoU", [(entry["name"], entry["mean_iou"]) for entry in images], averaged.get("mean_iou"))
    ]
    for place, (name, color) in enumerate(zip(names_of(scores), palette_of(scores), strict=True)):
        dots = [(entry["name"], entry["classes"][place]["iou"]) for entry in images]
        row = _strip(name, dots, means[place])
        rows.append(row._replace(style=f"--series: var(--series-{1 + place % 6}); --own: {color}"))
    rows = [row for row in rows if row.dots][: 1 + MOST_CLASSES]
    if not rows:
        return None
    has_intervals = any(row.interval for row in rows)
    return element(
        "section",
        element("h2", "Image by image"),
        element(
            "p",
            "Each dot is an image; point at it to read its name."
            + (
                " The bar is the 95 % interval of the mean over images, the line in it that mean."
                if has_intervals
                else ""
            ),
            class_="note",
        ),
        strips(rows, title="IoU of each image"),
    )


def _strip(label: str, dots: Sequence[tuple[str, float | None]], mean: Scores | None) -> Strip:
    known = [(str(name), value) for name, value in dots if value is not None]
    if not mean:
        return Strip(label, known)
    ends = (mean["low"], mean["high"])
    return Strip(label, known, mean["value"], None if None in ends else ends)


def classes(scores: Scores) -> Html:
    """Return the scores of each class, and which classes are mistaken for which."""
    rows = [
        [element("span", chip(color), item["name"]), *(item[metric] for metric in METRICS)]
        for item, color in zip(scores["classes"], palette_of(scores), strict=True)
    ]
    head = ["class", *(_TITLES.get(metric, metric) for metric in METRICS)]
    shown = most_mistaken(scores["confusion"])
    left_out = len(rows) - len(shown)
    note = "Each row is a true class and sums to 100 %: where its pixels went."
    if left_out:
        note = f"The {len(shown)} classes that are mistaken most; {left_out} more are in scores.json. {note}"
    return element(
        "section",
        element("h2", "Classes"),
        element(
            "p",
            "The pixels of all images together. Precision: of what is predicted as a class, the share that is; recall: of what "
            "is of a class, the share that is found.",
            class_="note",
        ),
        element(
            "div",
            element("div", table(head, rows, label="scores of each class", bars={1})),
            element(
                "div",
                matrix(scores["confusion"], names_of(scores), shown=shown),
                element("p", note, class_="note"),
            ),
            class_="columns",
        ),
    )


def most_mistaken(confusion: Sequence[Sequence[int]], most: int = MOST_CLASSES) -> list[int]:
    """Return the classes with the most wrong pixels, in their own order; all of them where they are few.

    >>> most_mistaken([[9, 0, 1], [0, 9, 0], [0, 0, 9]], 2)
    [0, 2]
    """
    counts = np.array(confusion, np.int64)
    wrong = counts.sum(axis=0) + counts.sum(axis=1) - 2 * counts.diagonal()
    return sorted(int(place) for place in np.argsort(-wrong, kind="stable")[:most])


def images(scores: Scores) -> Html:
    """Return the scores of each image, the worst first."""
    images = sorted(
        scores["images"], key=lambda entry: -1 if entry["mean_iou"] is None else entry["mean_iou"]
    )
    head = ["image", "mean IoU", *(f"IoU {name}" for name in names_of(scores)), "pixel accuracy"]
    listed = images[: max(1, MOST_CELLS // len(head))]
    rows = [
        [
            entry["name"],
            entry["mean_iou"],
            *(item["iou"] for item in entry["classes"]),
            entry["pixel_accuracy"],
        ]
        for entry in listed
    ]
    more = len(images) - len(listed)
    return element(
        "section",
        element("h2", "Every image"),
        element(
            "details",
            element("summary", f"{counted(len(images), 'image')}, the worst first"),
            table(head, rows, label="scores of each image", bars={1}),
            element("p", f"{counted(more, 'more image')} in scores.csv.", class_="note") if more else None,
            open="" if len(images) <= MANY else None,
        ),
    )


def names_of(scores: Scores) -> list[str]:
    """Return the names of the classes."""
    return [str(item["name"]) for item in scores["classes"]]


def palette_of(scores: Scores) -> list[str]:
    """Return the colours of the classes, "#rrggbb" each."""
    return [str(color) for color in scores["palette"]]


def interval(ends: Scores) -> str | None:
    """Write the ends of an interval, as a table holds them; None where there is none.

    >>> interval({"low": 0.5, "high": 0.75}), interval({"low": None, "high": None})
    ('0.5000 – 0.7500', None)
    """
    return None if None in (ends["low"], ends["high"]) else f"{score(ends['low'])} – {score(ends['high'])}"
