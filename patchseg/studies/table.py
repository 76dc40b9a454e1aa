"""Suggestions and suspects as lines of a table: for a spreadsheet, and for a terminal of 80 columns."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from patchseg.imaging.files import whole

_COLUMNS = ("rank", "image", "top", "left", "height", "width", "score", "unsure", "why", "crop", "mask")
_NAME, _WIDTH = 20, 80


def write_table(path: Path, entries: Sequence[dict[str, Any]], columns: Sequence[str] = _COLUMNS) -> None:
    """Write entries as CSV, a line each; a box takes four columns."""
    with whole(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        for entry in entries:
            box = dict(zip(("top", "left", "height", "width"), entry["box"], strict=True))
            writer.writerow(entry | box)


def told(suggestions: Sequence[dict[str, Any]]) -> str:
    """Return suggestions as a table of 80 columns at most.

    >>> print(told([{"rank": 1, "image": "new/a.png", "box": [0, 64, 256, 256], "score": 0.0312, "unsure": 0.125,
    ...              "why": "line or background"}]))
    rank  image  box               score  unsure  why
       1  a.png  0,64,256,256     0.0312    12 %  line or background
    """
    boxes = [",".join(map(str, item["box"])) for item in suggestions]
    names = [_short(item["image"]) for item in suggestions]
    wide, name_wide = max([15, *map(len, boxes)]), max(map(len, ["image", *names]))
    lines = [f"rank  {'image':<{name_wide}}  {'box':<{wide}}   score  unsure  why"]
    for item, name, box in zip(suggestions, names, boxes, strict=True):
        line = (
            f"{item['rank']:>4}  {name:<{name_wide}}  {box:<{wide}}  {item['score']:.4f}  "
            f"{100 * item['unsure']:>4.0f} %  {item['why']}"
        )
        lines.append(line if len(line) <= _WIDTH else line[: _WIDTH - 1] + "…")
    return "\n".join(lines)


def _short(image: str) -> str:
    """Return the last letters of the name of an image's file.

    >>> _short("new/a_very_long_name_of_an_image_12.tif")
    '…_of_an_image_12.tif'
    """
    name = Path(image).name
    return name if len(name) <= _NAME else "…" + name[-_NAME + 1 :]
