"""What `patchseg evaluate` says besides the scores of pixels, where it was asked for: tables of 80 columns at most."""

import textwrap
from collections.abc import Sequence
from typing import Any

_NAME = 20  # columns of the longest name


def told_measures(scores: dict[str, Any]) -> list[str]:
    """Return the lines of what scores.json holds of outlines, objects, probabilities and the region."""
    lines = _surface(scores["surface"]) if "surface" in scores else []
    lines += _objects(scores["objects"]["classes"]) if "objects" in scores else []
    lines += _certainty(scores["certainty"]) if "certainty" in scores else []
    regions = [entry["region"] for entry in scores["images"] if "region" in entry]
    if regions:
        pixels = sum(region["pixels"] for region in regions)
        share = pixels / sum(region["pixels"] / region["share"] for region in regions)
        lines += ["", f"only inside the region: {pixels} pixels, {100 * share:.3g} % of the images"]
    return lines


def _surface(found: dict[str, Any]) -> list[str]:
    tolerance, unit = found["tolerance"], found["unit"]
    keys, head = ["hausdorff_95", "mean_distance"], ["95 % px", "mean px"]
    if unit is not None:
        short = "units" if unit == "map units" else unit
        keys += [f"{key}_in_units" for key in keys]
        head += [f"95 % {short}", f"mean {short}"]
    rows = [
        [item["name"], number(item["boundary_f1"]), *(_length(item[key]) for key in keys), _images(item)]
        for item in found["classes"]
    ]
    asked = f"{tolerance['value']:g} {tolerance['unit']}"
    return [
        "",
        *_table(["outlines", "F1", *head, "images"], rows, [7, *(10 for _ in keys), 7]),
        *textwrap.wrap(
            f"means over images; F1 at a tolerance of {asked}; distances between outlines, the 95th percentile and the "
            "mean, of the images where truth and mask both have one",
            80,
        ),
    ]


def _images(item: dict[str, Any]) -> str:
    """Return in how many images there are distances, of those in which there is an outline."""
    return f"{item['images_with_both']}/{item['images']}"


def _objects(classes: Sequence[dict[str, Any]]) -> list[str]:
    keys = ["precision", "recall", "f1", "panoptic_quality"]
    rows = [
        [item["name"], *(str(item[key]) for key in ("tp", "fp", "fn")), *(number(item[key]) for key in keys)]
        for item in classes
    ]
    head = ["objects", "found", "extra", "missed", "precision", "recall", "F1", "PQ"]
    return [
        "",
        *_table(head, rows, [7, 7, 7, 9, 7, 7, 7]),
        "found where truth and mask share more than half of what either covers",
    ]


def _certainty(found: dict[str, Any]) -> list[str]:
    rows = [
        [item["name"], number(item["roc_auc"]), number(item["average_precision"])]
        for item in found["classes"]
    ]
    return [
        "",
        *_table(["probabilities", "ROC-AUC", "average precision"], rows, [9, 18]),
        f"expected calibration error {number(found['ece'])}",
    ]


def _table(head: list[str], rows: list[list[str]], widths: list[int]) -> list[str]:
    """Return lines whose first column is as wide as the longest name, and the others as asked for."""
    first = min(_NAME, max(len(row[0]) for row in [head, *rows]))
    return [
        f"{row[0][:first]:<{first}}"
        + "".join(f" {cell:>{w}}" for cell, w in zip(row[1:], widths, strict=True))
        for row in [head, *rows]
    ]


def number(value: float | None) -> str:
    """Return a score with four decimals, - where it is undefined."""
    return "-" if value is None else f"{value:.4f}"


def _length(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
