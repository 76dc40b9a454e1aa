"""The files that a report is made of -> plain values that are known to hold what the report asks for.

scores.json of `evaluate`, a run's folder of `train`, curve.json of `learning-curve`, suspects.json of `audit` and
suggestions.json of `suggest`.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchseg.errors import DataError, UsageError
from patchseg.imaging import Box, Reading, open_image
from patchseg.imaging.picture import to_rgb8
from patchseg.labels.classes import Classes
from patchseg.patches.pairs import RECORD

Scores = dict[str, Any]

_KEYS = ["mean_iou", "mean_iou_foreground", "pixel_accuracy", "classes", "images", "confusion", "palette"]
CURVE, SUSPECTS, SUGGESTIONS = "curve.json", "suspects.json", "suggestions.json"
_WRITERS = {CURVE: "learning-curve", SUSPECTS: "audit", SUGGESTIONS: "suggest"}
_NEEDED = {
    CURVE: {"": ["metric", "points", "means", "fit", "forecast", "note"], "means": ["images", "mean"]},
    SUSPECTS: {"": ["suspects"], "suspects": ["rank", "image", "box", "kind", "score", "picture"]},
    SUGGESTIONS: {"": ["suggestions"], "suggestions": ["rank", "image", "box", "score", "picture"]},
}


@dataclass(frozen=True)
class Run:
    """What a training left behind.

    Attributes:
        name: Of the run.
        metrics: A dictionary an epoch: epoch, loss/train, loss/val, rate, mean_iou, iou/<class>.
        parameters: {key: {value, source}}.
        taught: (H, W, 3) uint8: what a teacher has said last about patches without labels; None where none has.
    """

    name: str
    metrics: list[dict[str, Any]]
    parameters: dict[str, dict[str, Any]]
    taught: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Found:
    """What another verb has written, and where: the files it names are relative to that folder."""

    folder: Path
    content: dict[str, Any]


def read_scores(path: Path) -> Scores:
    """Read scores.json.

    Raises:
        UsageError: The file is missing.
        DataError: It is no scores.json.
    """
    document = parsed(text_of(path), str(path))
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
    text = text_of(metrics)
    # A run that was killed, or that goes on, may have left its last line unfinished.
    lines = text[: text.rfind("\n") + 1].splitlines()
    return Run(
        folder.resolve().name,
        [parsed(line, f"{metrics}: line {number}") for number, line in enumerate(lines, start=1)],
        parsed(text_of(parameters), str(parameters)),
        _picture(folder / "unlabelled.png"),
    )


def _picture(path: Path) -> NDArray[np.uint8] | None:
    """Return a picture that may be there, (H, W, 3) uint8."""
    if not path.exists():
        return None
    with open_image(path) as source:
        return to_rgb8(source.read(Box(0, 0, *source.shape[:2])))


def find(name: str, given: Path | None, beside: Path) -> Found | None:
    """Read curve.json, suspects.json or suggestions.json: where it was given, else where it lies beside the scores.

    Args:
        name: Of the file.
        given: The file or its folder, or None.
        beside: The folder of scores.json.

    Returns:
        None where nothing was given and nothing lies there.

    Raises:
        UsageError: The file that was given is missing.
        DataError: It holds something else.
    """
    path = given / name if given and given.is_dir() else given or beside / name
    if given is None and not path.is_file():
        return None
    content = parsed(text_of(path), str(path))
    for place, keys in _NEEDED[name].items():
        entries = content[place] if place else [content]
        for entry in entries if isinstance(entries, list) else [None]:
            missing = [key for key in keys if not isinstance(entry, dict) or key not in entry]
            if missing:
                raise DataError(
                    f"{path}: {place and f'one of the {place} '}has no {', '.join(missing)}; expected the {name} that "
                    f"`patchseg {_WRITERS[name]}` writes"
                )
    return Found(path.parent, content)


def classes_of(document: Scores, path: Path) -> tuple[Classes, Classes]:
    """Return the classes of the true masks, and of the predicted ones, which hold places unless it says otherwise.

    Raises:
        DataError: scores.json does not say.
    """
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


def record_of(mask: Path) -> Path | None:
    """Return what `infer` recorded beside a mask, or in a folder above it; None where there is nothing."""
    records = (folder / RECORD for folder in mask.resolve().parents)
    return next((record for record in records if record.exists()), None)


def reading_of(record: Path | None) -> Reading:
    """Return how `infer` has read images, as it is recorded in the folder of their masks."""
    return Reading.of(parsed(text_of(record), str(record))) if record else Reading()


def text_of(path: Path) -> str:
    """Read a text file.

    Raises:
        UsageError: It cannot be read.
        DataError: It is no text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be read ({(error.strerror or str(error)).lower()}); check the path"
        ) from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: is no text; expected JSON") from None


def parsed(text: str, where: str) -> Any:
    """Read JSON.

    Raises:
        DataError: It is none.
    """
    try:
        return json.loads(text)
    except ValueError as error:
        raise DataError(f"{where}: is no JSON ({error}); make it again") from None
