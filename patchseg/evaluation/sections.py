"""The sections of a report: plain values, as they stand in scores.json and in a run's folder -> parts of a page."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from patchseg.evaluation.metrics import METRICS
from patchseg.evaluation.panels import Example, chip, class_legend, draw, error_legend
from patchseg.imaging.picture import rgb
from patchseg.page import Html, element, line_chart, matrix, score, table
from patchseg.progress import counted

_TITLES = {"iou": "IoU", "dice": "Dice"}
MANY = 30  # images; a longer table is folded

Scores = dict[str, Any]


def headline(scores: Scores, title: str) -> Html:
    """Return the few numbers that matter, and what they mean."""
    images, names = scores["images"], _names(scores)
    numbers = {
        "mean IoU": scores["mean_iou"],
        "mean IoU without background": scores["mean_iou_foreground"],
        "pixel accuracy": scores["pixel_accuracy"],
    }
    return element(
        "header",
        element("h1", title),
        element(
            "p", f"{counted(len(images), 'image')}, {len(names)} classes: {', '.join(names)}", class_="note"
        ),
        element(
            "dl",
            *(
                element("div", element("dt", what), element("dd", score(value)))
                for what, value in numbers.items()
            ),
            class_="headline",
        ),
        element("p", *_explanation(images), class_="note"),
    )


def _explanation(images: Sequence[Scores]) -> list[str]:
    told = [
        "IoU (intersection over union): of the pixels that truth or prediction give to a class, the share that both "
        "do; 1 is perfect. The pixels of all images are counted together."
    ]
    ranked = sorted(entry["mean_iou"] for entry in images if entry["mean_iou"] is not None)
    if len(ranked) > 1:
        told.append(
            f" Image by image, mean IoU runs from {score(ranked[0])} to {score(ranked[-1])}, "
            f"median {score(float(np.median(ranked)))}."
        )
    return told


def classes(scores: Scores) -> Html:
    """Return the scores of each class, and which classes are mistaken for which."""
    rows = [
        [element("span", chip(color), item["name"]), *(item[metric] for metric in METRICS)]
        for item, color in zip(scores["classes"], _palette(scores), strict=True)
    ]
    head = ["class", *(_TITLES.get(metric, metric) for metric in METRICS)]
    return element(
        "section",
        element("h2", "Classes"),
        element(
            "div",
            element("div", table(head, rows, label="scores of each class", bars={1})),
            element(
                "div",
                matrix(scores["confusion"], _names(scores)),
                element(
                    "p", "Each row is a true class and sums to 100 %: where its pixels went.", class_="note"
                ),
            ),
            class_="columns",
        ),
    )


def training(scores: Scores, metrics: Sequence[Scores]) -> Html:
    """Return the curves of a training.

    Args:
        scores: What scores.json holds; its classes have the same hue in the curves.
        metrics: A dictionary an epoch, see `report.Run`.
    """

    def curve(key: str) -> list[tuple[float, float | None]]:
        return [(line["epoch"], line.get(key)) for line in metrics]

    classes = dict.fromkeys(key for line in metrics for key in line if key.startswith("iou/"))
    losses = {"training": curve("loss/train"), "validation": curve("loss/val")}
    ious = {"mean": curve("mean_iou"), **{key.removeprefix("iou/"): curve(key) for key in classes}}
    colors = dict(zip(_names(scores), _palette(scores), strict=True))
    charts = [
        line_chart(losses, title="Loss", x_label="epoch"),
        line_chart(
            ious, title="IoU on the validation images", x_label="epoch", y_range=(0, 1), colors=colors
        ),
        line_chart({"rate": curve("rate")}, title="Learning rate", x_label="epoch"),
    ]
    return element(
        "section",
        element("h2", "Training"),
        element("p", _best(metrics), class_="note"),
        element("div", *charts, class_="charts"),
    )


def _best(metrics: Sequence[Scores]) -> str:
    scored = [line for line in metrics if line.get("mean_iou") is not None]
    if not scored:
        return "No epoch has been validated."
    best = max(scored, key=lambda line: line["mean_iou"])
    return (
        f"Highest mean IoU on the validation images: {score(best['mean_iou'])}, "
        f"in epoch {best['epoch']} of {metrics[-1]['epoch']}."
    )


def examples(scores: Scores, examples: Sequence[Example]) -> Html | None:
    """Return images side by side with their masks and errors."""
    if not examples:
        return None
    colors = np.array([rgb(color) for color in _palette(scores)], np.uint8)
    shown = [
        element(
            "article",
            element("h3", f"{example.rank}: {example.name}", element("span", _subtitle(example))),
            draw(example.panels, colors, name=example.name),
            class_="example",
        )
        for example in examples
    ]
    return element(
        "section",
        element("h2", "Images to look at"),
        element(
            "div",
            class_legend(_names(scores), colors, [example.panels for example in examples]),
            error_legend(),
            class_="key",
        ),
        *shown,
    )


def _subtitle(example: Example) -> str:
    scale = example.panels.scale
    return f"mean IoU {score(example.mean_iou)}" + (f", shown at {100 * scale:.2g} %" if scale < 1 else "")


def images(scores: Scores) -> Html:
    """Return the scores of each image, the worst first."""
    images = sorted(
        scores["images"], key=lambda entry: -1 if entry["mean_iou"] is None else entry["mean_iou"]
    )
    head = ["image", "mean IoU", *(f"IoU {name}" for name in _names(scores)), "pixel accuracy"]
    rows = [
        [
            entry["name"],
            entry["mean_iou"],
            *(item["iou"] for item in entry["classes"]),
            entry["pixel_accuracy"],
        ]
        for entry in images
    ]
    return element(
        "section",
        element("h2", "Every image"),
        element(
            "details",
            element("summary", f"{counted(len(images), 'image')}, the worst first"),
            table(head, rows, label="scores of each image", bars={1}),
            open="" if len(images) <= MANY else None,
        ),
    )


def parameters(parameters: dict[str, dict[str, Any]]) -> Html:
    """Return the parameters that somebody or something has set, and all of them on demand."""
    rows = [[key, _value(entry["value"]), entry["source"]] for key, entry in parameters.items()]
    chosen = [row for row in rows if row[2] != "default"]
    head = ["parameter", "value", "set by"]
    return element(
        "section",
        element("h2", "Parameters"),
        table(head, chosen, label="parameters that are no defaults")
        if chosen
        else element("p", "All are defaults."),
        element("details", element("summary", f"all {len(rows)}"), table(head, rows, label="all parameters")),
    )


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _names(scores: Scores) -> list[str]:
    return [str(item["name"]) for item in scores["classes"]]


def _palette(scores: Scores) -> list[str]:
    return [str(color) for color in scores["palette"]]
