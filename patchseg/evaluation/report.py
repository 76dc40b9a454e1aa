"""scores.json and a run's folder -> one self-contained report.html.

The files are read here; `sections` makes parts of a page of what they hold.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patchseg.errors import DataError, UsageError
from patchseg.evaluation import sections
from patchseg.evaluation.panels import Example, read_panels
from patchseg.evaluation.sections import Scores
from patchseg.imaging import Reading
from patchseg.imaging.files import refuse_existing, whole
from patchseg.labels.classes import Classes
from patchseg.page import page

_KEYS = ["mean_iou", "mean_iou_foreground", "pixel_accuracy", "classes", "images", "confusion", "palette"]


@dataclass(frozen=True)
class Run:
    """What a training left behind.

    Attributes:
        name: Of the run.
        metrics: A dictionary an epoch: epoch, loss/train, loss/val, rate, mean_iou, iou/<class>.
        parameters: {key: {value, source}}.
    """

    name: str
    metrics: list[dict[str, Any]]
    parameters: dict[str, dict[str, Any]]


def report(
    scores: Path | str, run: Path | str | None = None, *, output: Path | str, overwrite: bool = False
) -> Path:
    """Write scores and the course of a training as one HTML file that needs no other.

    Args:
        scores: The scores.json of `evaluate`; the masks and images it names are read beside it.
        run: The folder of a run, such as runs/NAME; without it the page tells no training.
        output: The file to write.
        overwrite: Whether an existing file may be replaced.

    Returns:
        The path of the report.

    Raises:
        UsageError: The output exists or cannot be written, or a file is missing.
        DataError: A file holds something else.
    """
    scores, output = Path(scores), Path(output)
    refuse_existing([output], overwrite=overwrite)
    document = read_scores(scores)
    classes = _classes(document, scores)
    examples = [_example(rank, entry, scores.parent, classes) for rank, entry in telling(document["images"])]
    record = read_run(Path(run)) if run else None
    title = f"Report: {record.name if record else scores.resolve().parent.name}"
    text = report_html(document, record, title=title, examples=examples)
    with whole(output) as part:
        part.write_text(text, encoding="utf-8")
    return output


def read_scores(path: Path) -> Scores:
    """Read scores.json.

    Raises:
        UsageError: The file is missing.
        DataError: It is no scores.json.
    """
    document = _json(_text(path), str(path))
    missing = [key for key in _KEYS if not isinstance(document, dict) or key not in document]
    if missing:
        raise DataError(
            f"{path}: has no {', '.join(missing)}; expected the scores.json that `patchseg evaluate` writes"
        )
    strange = [color for color in document["palette"] if not re.fullmatch("#[0-9a-fA-F]{6}", str(color))]
    if strange or len(document["palette"]) != len(document["classes"]):
        raise DataError(
            f"{path}: palette holds {document['palette']}; expected a colour #rrggbb for each class"
        )
    return dict(document)


def read_run(folder: Path) -> Run:
    """Read the record of a training: metrics.jsonl and parameters.effective.json.

    Raises:
        UsageError: A file is missing.
        DataError: A file is no JSON.
    """
    metrics, parameters = folder / "metrics.jsonl", folder / "parameters.effective.json"
    text = _text(metrics)
    # A run that was killed, or that goes on, may have left its last line unfinished.
    lines = text[: text.rfind("\n") + 1].splitlines()
    return Run(
        folder.resolve().name,
        [_json(line, f"{metrics}: line {number}") for number, line in enumerate(lines, start=1)],
        _json(_text(parameters), str(parameters)),
    )


def telling(images: Sequence[Scores]) -> list[tuple[str, Scores]]:
    """Choose the best, the median and the worst image by mean IoU; none stands twice.

    >>> [(rank, entry["name"]) for rank, entry in telling([{"name": n, "mean_iou": n / 9} for n in range(5)])]
    [('Best', 4), ('Median', 2), ('Worst', 0)]
    """
    ranked = sorted(
        (entry for entry in images if entry["mean_iou"] is not None), key=lambda entry: -entry["mean_iou"]
    )
    if len(ranked) < 2:
        return [("The only image", entry) for entry in ranked]
    last = len(ranked) - 1
    places = {"Best": 0, "Median": (last + 1) // 2, "Worst": last}
    if last == 1:
        del places["Median"]
    return [(rank, ranked[place]) for rank, place in places.items()]


def report_html(
    scores: Scores, run: Run | None = None, *, title: str, examples: Sequence[Example] = ()
) -> str:
    """Return the report as a document.

    Args:
        scores: What scores.json holds.
        run: The training, where it is known.
        title: Of the page.
        examples: Images to show.
    """
    parts = [
        sections.headline(scores, title),
        sections.classes(scores),
        sections.training(scores, run.metrics) if run else None,
        sections.examples(scores, examples),
        sections.images(scores),
        sections.parameters(run.parameters) if run else None,
    ]
    return page(title, parts)


def _classes(document: Scores, path: Path) -> tuple[Classes, Classes]:
    """Return the classes of the true masks, and of the predicted ones, which hold places unless it says otherwise."""
    items = [
        {"name": item["name"], "value": item.get("value", place), "color": color}
        for place, (item, color) in enumerate(zip(document["classes"], document["palette"], strict=True))
    ]
    try:
        truth = Classes.from_json(items, document.get("reading"))
        if not (masks := document.get("masks")):
            return truth, truth.by_place()
        written = [item | {"value": value} for item, value in zip(items, masks["values"], strict=True)]
        return truth, Classes.from_json(written, masks["reading"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: does not say how masks are read ({error!r}); evaluate again") from None


def _example(rank: str, entry: Scores, folder: Path, classes: tuple[Classes, Classes]) -> Example:
    picture = folder / entry["image"] if entry["image"] else None
    mask, (true, predicted) = folder / entry["mask"], classes
    panels = read_panels(
        picture, folder / entry["truth"], mask, true, masks=predicted, reading=_reading(mask)
    )
    return Example(rank, entry["name"], entry["mean_iou"], panels)


def _reading(mask: Path) -> Reading:
    """Return how `infer` has read the image of a mask, as it is recorded in the folder of the masks."""
    records = (folder / "parameters.effective.json" for folder in mask.resolve().parents)
    record = next((record for record in records if record.exists()), None)
    return Reading.of(_json(_text(record), str(record))) if record else Reading()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be read ({(error.strerror or str(error)).lower()}); check the path"
        ) from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: is no text; expected JSON") from None


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise DataError(f"{where}: is no JSON ({error}); make it again") from None
