"""Scores of boundaries, of objects and inside of a region, as a section of a report, where `evaluate` was asked for them.

Whatever numbers an image has by class are shown, under their own names: measures come and go, and the page follows.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from patchseg.evaluation.documents import Scores
from patchseg.page import Html, element, table
from patchseg.page.shell import Content

_KINDS = {
    "surface": (
        "Boundaries",
        "How far the boundaries of masks and truth are apart; means over the images that have them.",
    ),
    "objects": (
        "Objects",
        "Connected regions of a class, matched where they overlap enough; counts of all images.",
    ),
    "region": (
        "Inside of the region",
        "The scores inside of the region of interest alone; means over the images.",
    ),
}
_COUNTS = {"tp": "found (tp)", "fp": "made up (fp)", "fn": "missed (fn)"}
_WORDS = {"hausdorff_95": "Hausdorff distance (95 %)", "f1": "F1", "iou": "IoU", "mean_iou": "mean IoU", "boundary_f1": "boundary F1"}  # fmt: skip


def further(scores: Scores) -> Html | None:
    """Return a table for each kind of further scores; None where there are none."""
    parts = [part for kind in _KINDS for part in _part(scores, kind)]
    return element("section", element("h2", "Boundaries, objects and regions"), *parts) if parts else None


def _part(scores: Scores, kind: str) -> list[Html]:
    values = (
        [scores[kind]] if scores.get(kind) else [entry[kind] for entry in scores["images"] if entry.get(kind)]
    )
    lines = [line for value in values for line in _lines(value)]
    if not lines:
        return []
    keys = list(dict.fromkeys(key for line in lines for key, value in line.items() if _is_number(value)))
    rows: list[list[Content]] = []
    for name in dict.fromkeys(str(line.get("name", "all")) for line in lines):
        group = [line for line in lines if str(line.get("name", "all")) == name]
        rows.append([name, *(combined([line.get(key) for line in group]) for key in keys)])
    title, note = _KINDS[kind]
    head = ["class", *(_COUNTS.get(key) or _WORDS.get(key) or key.replace("_", " ") for key in keys)]
    return [
        element("h3", title),
        element("p", note, *_settings(values), class_="note"),
        table(head, rows, label=title.lower()),
    ]


def _lines(value: Any) -> Iterator[dict[str, Any]]:
    """Yield a dictionary a class, whether they are a list, or one under "classes"."""
    if isinstance(value, dict):
        value = value.get("classes", [value])
    if isinstance(value, list):
        yield from (line for line in value if isinstance(line, dict))


def _settings(values: Sequence[Any]) -> Iterator[str]:
    """Tell what was measured with: numbers and words beside the classes, such as a tolerance and a unit."""
    first = values[0]
    if isinstance(first, dict) and "classes" in first:
        for key, value in first.items():
            if isinstance(value, str) or _is_number(value):
                yield f" {key.replace('_', ' ').capitalize()}: {value}."


def combined(values: Sequence[Any]) -> float | int | str | None:
    """Add up counts; return the mean of all else, as a score where it is one.

    >>> combined([1, 2, None]), combined([0.5, None, 1.0]), combined([1.5, 2.0]), combined([None])
    (3, 0.75, '1.75', None)
    """
    known = [value for value in values if _is_number(value)]
    if not known:
        return None
    if all(isinstance(value, int) for value in known):
        return int(sum(known))
    mean = float(sum(known) / len(known))
    return mean if 0 <= mean <= 1 else f"{mean:.4g}"  # a distance is no score


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
