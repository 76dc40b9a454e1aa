"""How a network came to its scores, and where it would go, as sections of a report: training, certainty, learning curve, settings."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchseg.evaluation.documents import Scores
from patchseg.evaluation.sections import MEANS, interval, names_of, palette_of
from patchseg.page import (
    Html,
    Mean,
    element,
    forecast_chart,
    image,
    line_chart,
    reliability_chart,
    score,
    table,
)
from patchseg.page.shell import Content

MOST_POINTS = 300  # of a curve; more would run into each other
MOST_CURVES = 24
# What only a training with a teacher has.
_PARTS = {"of labels": "loss/labelled", "of the teacher": "loss/unlabelled"}
_OTHERS = {"mean, student": "mean_iou/student", "mean, teacher": "mean_iou/teacher"}


def training(scores: Scores, metrics: Sequence[Scores], taught: NDArray[np.uint8] | None = None) -> Html:
    """Return the curves of a training, and what its teacher has said.

    Args:
        scores: What scores.json holds; its classes have the same hue in the curves.
        metrics: A dictionary an epoch, see `documents.Run`.
        taught: See there.
    """
    step = max(1, -(-len(metrics) // MOST_POINTS))
    drawn = list(reversed(metrics[::-1][::step]))  # with the last one

    def curve(key: str) -> list[tuple[float, float | None]]:
        return [(line["epoch"], line.get(key)) for line in drawn]

    classes = list(dict.fromkeys(key for line in metrics for key in line if key.startswith("iou/")))[
        :MOST_CURVES
    ]

    def known(names: dict[str, str]) -> dict[str, list[tuple[float, float | None]]]:
        return {name: curve(key) for name, key in names.items() if any(key in line for line in metrics)}

    losses = {"training": curve("loss/train"), "validation": curve("loss/val"), **known(_PARTS)}
    ious = {
        "mean": curve("mean_iou"), **known(_OTHERS), **{key.removeprefix("iou/"): curve(key) for key in classes},
    }  # fmt: skip
    shares = known({"learned": "unlabelled/learned"})
    colors = dict(zip(names_of(scores), palette_of(scores), strict=True))
    charts = [
        line_chart(losses, title="Loss", x_label="epoch"),
        line_chart(
            ious, title="IoU on the validation images", x_label="epoch", y_range=(0, 1), colors=colors
        ),
        line_chart({"rate": curve("rate")}, title="Learning rate", x_label="epoch"),
    ]
    if shares:
        title = "Pixels without a label that are learned from"
        charts.append(line_chart(shares, title=title, x_label="epoch", y_range=(0, 1)))
    return element(
        "section",
        element("h2", "Training"),
        element("p", _best(metrics), class_="note"),
        element("div", *charts, class_="charts"),
        _taught(taught) if taught is not None else "",
    )


def _taught(picture: NDArray[np.uint8]) -> Html:
    """Return what the teacher has said last."""
    told = (
        "Patches without labels, at the end: as they are, the teacher's classes (gray where it is not sure), "
        "as the student sees them, and what it learns there."
    )
    return element(
        "figure", image(picture, "patches and what the teacher says about them"), element("figcaption", told)
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


def certainty(scores: Scores, calibration: Scores | None = None) -> Html | None:
    """Return how far the network's confidence can be trusted, and how well its probabilities rank pixels.

    Args:
        scores: What scores.json holds; its "certainty" where probabilities were given.
        calibration: What the checkpoint holds of one, or None.
    """
    known = scores.get("certainty") or {}
    charts = []
    if known.get("reliability"):
        charts.append(_reliability("On the images of this report", reliability_chart(known["reliability"])))
    if calibration and calibration.get("reliability_before"):
        chart = reliability_chart(calibration["reliability_before"], calibration.get("reliability_after"))
        charts.append(_reliability("On the images it was calibrated with", chart))
    rows: list[list[Content]] = [
        [item["name"], item.get("roc_auc"), item.get("average_precision")]
        for item in known.get("classes") or []
    ]
    if not charts and not rows:
        return None
    return element(
        "section",
        element("h2", "How sure the network is"),
        element(
            "p",
            "Of the pixels where the network says that it is 80 % sure, 80 % should be right; then the bars reach the dashed line. "
            "Where they stay below, the network is too sure of itself, above, not sure enough. The small bars tell how many "
            "pixels each stands for.",
            class_="note",
        ),
        element("p", _temperature(calibration), class_="note") if calibration else None,
        *charts,
        table(["class", "ROC AUC", "average precision"], rows, label="how well probabilities rank pixels")
        if rows
        else None,
    )


def _reliability(heading: str, chart: Html) -> Html:
    return element("div", element("h3", heading), chart)


def _temperature(calibration: Scores) -> str:
    before, after = calibration.get("ece_before"), calibration.get("ece_after")
    told = f"Calibrated with a temperature of {calibration['temperature']:.3g}"
    if before is not None and after is not None:
        told += f", which takes its error from {100 * before:.1f} to {100 * after:.1f} points of 100"
    return told + "."


def learning_curve(curve: Scores) -> Html:
    """Return a learning curve with its forecast, as a chart and as a table."""
    metric = str(curve["metric"])
    title = MEANS.get(metric, metric.replace("_", " "))
    means, forecast = (
        [Mean(entry["images"], entry[key], entry.get("low"), entry.get("high")) for entry in curve[part]]
        for part, key in (("means", "mean"), ("forecast", "value"))
    )
    points = [(entry["images"], entry["score"]) for entry in curve["points"]]
    rows: list[list[Content]] = [
        [f"{mean.images} images", told, mean.value, interval(mean._asdict())]
        for told, group in (("measured", means), ("expected", forecast))
        for mean in group
    ]
    fit = curve.get("fit") or {}
    return element(
        "section",
        element("h2", "Would more labels help?"),
        element("p", curve["note"], class_="note") if curve["note"] else None,
        element(
            "div",
            forecast_chart(points[:2000], means, forecast, title=f"{title} against labelled images"),
            element(
                "div",
                table(["labelled", "", title, "95 % interval"], rows, label="learning curve and forecast"),
            ),
            class_="charts",
        ),
        element("p", f"Fitted: {fit['text']}.", class_="note") if fit.get("text") else None,
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
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 2000 else f"{text[:2000]} ..."
