"""Scores of boundaries and of objects, as a section of a report, where `evaluate` was asked for them."""

from collections.abc import Mapping
from typing import Any

from patchseg.evaluation.documents import Scores
from patchseg.page import Html, element, table
from patchseg.page.shell import Content

_OBJECTS = {
    "tp": "found",
    "fn": "missed",
    "fp": "made up",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "segmentation_quality": "IoU of the found",
    "panoptic_quality": "panoptic quality",
}


def further(scores: Scores) -> Html | None:
    """Return a table of boundaries and one of objects; None where there is neither.

    Args:
        scores: What scores.json holds; its "surface" and "objects" where they were asked for.
    """
    parts = [*_boundaries(scores.get("surface") or {}), *_objects(scores.get("objects") or {})]
    return element("section", element("h2", "Boundaries and objects"), *parts) if parts else None


def _boundaries(surface: Scores) -> list[Html]:
    unit = surface.get("unit") or "the image's unit"
    titles = {
        "boundary_f1": "boundary F1",
        "mean_distance": "mean distance, pixels",
        "hausdorff_95": "95 % Hausdorff, pixels",
        "mean_distance_in_units": f"mean distance, {unit}",
        "hausdorff_95_in_units": f"95 % Hausdorff, {unit}",
        "images_with_both": "images",
    }
    tolerance = surface.get("tolerance") or {}
    within = f" within {tolerance['value']:g} {tolerance['unit']}" if tolerance else ""
    note = (
        f"Boundary F1: how much of each boundary lies{within} of the other one; 1 is perfect. Distances are between boundaries, "
        "0 is perfect: on average, and what all but the farthest 5 % stay below. All are means over images, distances over those "
        "that have the class in truth and prediction."
    )
    return _part("Boundaries", note, surface, titles)


def _objects(objects: Scores) -> list[Html]:
    note = (
        "Connected regions instead of pixels: one counts as found where truth and prediction share more than half of what "
        "both cover. Objects that touch are one."
    )
    return _part("Objects", note, objects, _OBJECTS)


def _part(title: str, note: str, measured: Scores, titles: Mapping[str, str]) -> list[Html]:
    lines = measured.get("classes") or []
    keys = [key for key in titles if any(line.get(key) is not None for line in lines)]
    if not keys:
        return []
    rows: list[list[Content]] = [
        [str(line["name"]), *(_cell(key, line.get(key)) for key in keys)] for line in lines
    ]
    head = ["class", *(titles[key] for key in keys)]
    return [
        element("h3", title),
        element("p", note, class_="note"),
        table(head, rows, label=title.lower(), numbers=range(1, len(head))),
    ]


def _cell(key: str, value: Any) -> Content:
    """Write a distance with two decimals; it is no score, which ends at 1.

    >>> _cell("mean_distance", 12.345), _cell("f1", 0.5), _cell("tp", 3), _cell("hausdorff_95", None)
    ('12.35', 0.5, 3, None)
    """
    is_distance = key.startswith(("mean_distance", "hausdorff"))
    return f"{value:.2f}" if is_distance and value is not None else value
