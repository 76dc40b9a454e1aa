"""scores.json of masks out of fold -> crossval.json: every fold, means over images with their intervals, the worst images."""

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from patchseg.evaluation.averages import MEANS, statistics_of
from patchseg.evaluation.metrics import Confusion
from patchseg.studies.folder import write_json

_WORST = 5  # images that are named


def regroup(scores: Path, group: Mapping[str, str]) -> dict[str, Any]:
    """Let the intervals of scores.json rest on the groups that the folds were dealt by, and return what it says.

    Args:
        scores: The file; it is written anew where there are groups.
        group: The group of each image, which is its name where images stand alone.
    """
    document: dict[str, Any] = json.loads(scores.read_text(encoding="utf-8"))
    entries = document["images"]
    labels = [group[entry["name"]] for entry in entries]
    if len(set(labels)) == len(labels):
        return document
    for entry, label in zip(entries, labels, strict=True):
        entry["group"] = label
    counts = np.array([entry["confusion"] for entry in entries])
    document["statistics"] = statistics_of(counts, labels, [item["name"] for item in document["classes"]])
    write_json(scores, document)
    return document


def summarize(folds: Sequence[dict[str, Any]], scores: Mapping[str, Any]) -> dict[str, Any]:
    """Return what crossval.json says.

    Args:
        folds: [{fold, images, checkpoint}].
        scores: What scores.json says of all masks.
    """
    names = [item["name"] for item in scores["classes"]]
    entries = {entry["name"]: entry for entry in scores["images"]}
    fold_of = {name: fold["fold"] for fold in folds for name in fold["images"]}
    parts = [fold | {"scores": _pooled([entries[name] for name in fold["images"]], names)} for fold in folds]
    known = scores["statistics"]
    ranked = sorted(
        (entry for entry in entries.values() if entry["mean_iou"] is not None),
        key=lambda entry: (entry["mean_iou"], entry["name"]),
    )
    worst = [
        {"name": entry["name"], "fold": fold_of[entry["name"]], "mean_iou": entry["mean_iou"]}
        for entry in ranked[:_WORST]
    ]
    ious = [[part["scores"]["classes"][place]["iou"] for part in parts] for place in range(len(names))]
    return {
        "folds": parts,
        "unit": known["unit"],
        "units": known["units"],
        "note": f"{known['note']}; {_SPREAD}",
        **{
            key: _average(known["images"][key], known["pooled"][key], [part["scores"][key] for part in parts])
            for key in MEANS
        },
        "classes": [
            {
                "name": name,
                "iou": _average(known["images"]["iou"][place], known["pooled"]["iou"][place], ious[place]),
            }
            for place, name in enumerate(names)
        ],
        "worst": worst,
    }


_SPREAD = (
    "mean is over images, pooled over all their pixels, spread is the standard deviation over folds, which share training "
    "images, so it is no standard error"
)


def _pooled(entries: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    """Return the scores over all pixels of some images."""
    counts = [Confusion(np.array(entry["confusion"])) for entry in entries]
    return sum(counts, Confusion.empty(len(names))).as_dict(names)


def _average(
    images: Mapping[str, Any], pooled: Mapping[str, Any], folds: Sequence[float | None]
) -> dict[str, Any]:
    known = [score for score in folds if score is not None]
    return {
        "mean": images["value"], "low": images["low"], "high": images["high"], "units": images["units"],
        "spread": statistics.stdev(known) if len(known) > 1 else None, "pooled": dict(pooled),
    }  # fmt: skip
