"""The verb `compare`: two results on the same images -> how much better one is, and whether that may be chance.

Two scores.json flow in, or two folders of masks that are first held against the truth; a document of plain values flows
out. Every difference is B minus A, image by image, so what makes an image hard for both falls out of it.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchseg.errors import DataError, UsageError, listing
from patchseg.evaluation.averages import (
    Margins,
    margins,
    named,
    note,
    occurring,
    presence,
    scores,
    summed,
    sums_of,
)
from patchseg.evaluation.documents import read_scores
from patchseg.evaluation.evaluate import evaluate
from patchseg.evaluation.statistics import Interval, Values, exchange_test, jackknife, ratio
from patchseg.evaluation.units import groups_by_pattern, groups_in
from patchseg.evaluation.verdict import verdict
from patchseg.imaging.files import refuse_existing, whole
from patchseg.parameters import DataParameters, EvaluateParameters
from patchseg.patches.pairs import natural
from patchseg.progress import Progress

SCORES = "scores.json"
_BOUNDS = (-1.0, 1.0)  # of a difference of scores


class _Side(NamedTuple):
    """One of the two: where it comes from, its classes, and the entries of its images by name."""

    path: Path
    classes: list[str]
    images: dict[str, dict[str, Any]]


def compare(
    a: Path | str,
    b: Path | str,
    *,
    truth: Path | str | None = None,
    parameters: EvaluateParameters = EvaluateParameters(),
    data: DataParameters = DataParameters(),
    output: Path | str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Compare two results on the same images; differences are B minus A.

    Args:
        a: A scores.json, or a folder that holds one, or, where the truth is given, a folder of masks.
        b: Likewise.
        truth: The true masks, as `evaluate` takes them; folders are then held against them.
        parameters: Which images are one independent unit (`parameters.group`).
        data: As for `evaluate`, where the truth is given.
        output: A JSON file to write the document to; without it nothing is written.
        overwrite: Whether an existing file may be replaced.
        progress: Told what happens.

    Returns:
        "verdict" (a sentence), "better", "worse", "equal" (images), "pooled" and "images" (differences with intervals and
        p-values, named as in scores.json), "changes" (an entry an image, the largest change first), "unit", "units",
        "note".

    Raises:
        UsageError: A path is missing, or the output exists.
        DataError: The two are not of the same images and classes.
    """
    progress = progress or Progress()
    if output is not None:
        refuse_existing([Path(output)], overwrite=overwrite)
    first, second = (_side(Path(path), truth, data, progress) for path in (a, b))
    _require_alike(first, second)
    document = _document(first, second, parameters.group, progress)
    if output is not None:
        with whole(Path(output)) as part:
            part.write_text(json.dumps(document, indent=1), encoding="utf-8")
    return document


def _side(path: Path, truth: Path | str | None, data: DataParameters, progress: Progress) -> _Side:
    """Read what one of the two scored; masks are scored into a folder that is gone afterwards."""
    if path.is_dir() and truth is not None:
        with TemporaryDirectory() as folder:
            settings = EvaluateParameters(output=folder)
            file = evaluate(path, truth, parameters=settings, data=data, progress=progress)
            return _read(path, file)
    file = path / SCORES if path.is_dir() else path
    if not file.exists():
        what = f"holds no {SCORES}" if path.is_dir() else "is no file or folder"
        raise UsageError(
            f"{path}: {what}; expected the masks of `infer` with --truth, or what `patchseg evaluate` wrote of them"
        )
    return _read(path, file)


def _read(path: Path, file: Path) -> _Side:
    document = read_scores(file)
    if any("confusion" not in entry for entry in document["images"]):
        raise DataError(f"{file}: has no confusion of each image, as of an older patchseg; evaluate again")
    names = [str(item["name"]) for item in document["classes"]]
    return _Side(path, names, {str(entry["name"]): entry for entry in document["images"]})


def _require_alike(a: _Side, b: _Side) -> None:
    if a.classes != b.classes:
        raise DataError(
            f"{a.path}: has the classes {', '.join(a.classes)}, {b.path} has {', '.join(b.classes)}; "
            "only results of the same classes can be compared"
        )
    missing = [
        f"{name}: is in {one.path}, not in {other.path}; compare results on the same images"
        for one, other in ((a, b), (b, a))
        for name in sorted(one.images.keys() - other.images.keys(), key=natural)
    ]
    if missing:
        raise DataError(listing(missing))


def _document(a: _Side, b: _Side, pattern: str | None, progress: Progress) -> dict[str, Any]:
    names = list(a.images)
    entries = [[side.images[name] for name in names] for side in (a, b)]
    counts = [np.array([entry["confusion"] for entry in its], np.int64) for its in entries]
    recorded = groups_in(entries[0]) or groups_in(entries[1])
    labels = groups_by_pattern(names, pattern, None, progress) or recorded or names
    groups = labels if len(set(labels)) < len(labels) else None
    rows_a, rows_b = (margins(each) for each in counts)
    scores_a, scores_b = scores(rows_a), scores(rows_b)
    classes, units = len(a.classes), len(set(labels))
    pixels = _pooled(rows_a, rows_b, labels)
    lone = [name for name, one in zip(a.classes, pixels[3:], strict=False) if one["units"] == 1]
    changes = _changes(names, groups, a.classes, scores_a, scores_b)
    document = {
        "a": str(a.path),
        "b": str(b.path),
        "classes": a.classes,
        "unit": "image" if groups is None else "group",
        "units": units,
        "note": _note(groups, units, lone, names, *counts),
        "better": sum((change["difference"] or 0) > 0 for change in changes),
        "worse": sum((change["difference"] or 0) < 0 for change in changes),
        "equal": sum(change["difference"] == 0 for change in changes),
        "pooled": named(pixels, classes),
        "images": named(_over_images(scores_a, scores_b, labels), classes),
        "changes": changes,
    }
    return {"verdict": verdict(document), **document}


def _note(
    groups: list[str] | None, units: int, lone: list[str], names: list[str], *counts: NDArray[np.int64]
) -> str:
    """Say what the intervals rest on, and where the two were not held against the same pixels."""
    told = note("image" if groups is None else "group", units, len(names), lone)
    true = [each.sum(axis=2) for each in counts]
    other = [
        name for name, first, second in zip(names, *true, strict=True) if not np.array_equal(first, second)
    ]
    if other:
        more = f" and {len(other) - 1} more" if len(other) > 1 else ""
        told += f"; {other[0]}{more}: A and B were held against other true pixels, so look whether the truth is the same"
    return told


def _changes(
    names: list[str], groups: list[str] | None, classes: list[str], a: Values, b: Values
) -> list[dict[str, Any]]:
    """Return the mean IoU of each image in both, and the IoU of each class, the largest change of the mean first."""
    entries = []
    for place, name in enumerate(names):
        means = named(list(map(_change, a[place], b[place])), len(classes))
        group = {"group": groups[place]} if groups else {}
        ious = [{"name": each, **iou} for each, iou in zip(classes, means["iou"], strict=True)]
        entries.append({"name": name, **group, **means["mean_iou"], "classes": ious})
    return sorted(entries, key=lambda entry: -abs(entry["difference"] or 0))


def _change(a: float, b: float) -> dict[str, float | None]:
    """Return two scores and their difference; None is undefined."""
    first, second = (None if np.isnan(one) else float(one) for one in (a, b))
    return {
        "a": first,
        "b": second,
        "difference": None if first is None or second is None else second - first,
    }


def _pooled(a: Margins, b: Margins, labels: Sequence[str]) -> list[dict[str, Any]]:
    """Return the differences of scores over all pixels: jackknife-t intervals, p by exchanging the pixels of units."""
    pairs = summed(np.stack([a, b], axis=1), labels)  # (units, 2, 3, K)
    among = occurring(pairs.sum(axis=0))

    def difference(sums: NDArray[Any]) -> Values:
        return scores(sums[:, 1], among[1]) - scores(sums[:, 0], among[0])

    classes = occurring(pairs)  # (units, 2, K)
    present = presence(classes[:, 0] | classes[:, 1])
    intervals = jackknife(pairs, difference, present=present, bounds=_BOUNDS)
    total = pairs.sum(axis=0)
    values = scores(total[:1])[0], scores(total[1:])[0]
    return _told(values, intervals, exchange_test(pairs, scores))


def _over_images(a: Values, b: Values, labels: Sequence[str]) -> list[dict[str, Any]]:
    """Return the differences of means over the images in which both are defined: t intervals, p by flipping signs."""
    both = ~np.isnan(a) & ~np.isnan(b)
    pairs = np.stack([sums_of(np.where(both, x, np.nan), labels) for x in (a, b)], axis=1)  # (units, 2, 2, S)

    def difference(sums: NDArray[Any]) -> Values:
        return ratio(sums[:, 1]) - ratio(sums[:, 0])

    intervals = jackknife(pairs, difference, present=pairs[:, 0, 1] > 0, bounds=_BOUNDS)
    total = pairs.sum(axis=0)
    values = ratio(total[:1])[0], ratio(total[1:])[0]
    return _told(values, intervals, exchange_test(pairs, ratio))


def _told(
    values: tuple[Values, Values], intervals: list[Interval], chances: list[float | None]
) -> list[dict[str, Any]]:
    a, b = ([None if np.isnan(value) else float(value) for value in row] for row in values)
    return [
        {"a": first, "b": second, **interval.as_dict(), "p": p if interval.units > 1 else None}
        for first, second, interval, p in zip(a, b, intervals, chances, strict=True)
    ]
