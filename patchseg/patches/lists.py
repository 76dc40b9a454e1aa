"""Which mask belongs to which image, as a list says: `image mask` a line (DeepDetect's train.txt), or CSV with a header.

The columns `image` and `mask` of a CSV file hold paths; `group` and `split`, where they are there, say what belongs
together and which side it is on. Relative paths are relative to the list.
"""

import csv
import difflib
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any, Literal, NamedTuple

from patchseg.errors import UsageError
from patchseg.imaging.address import is_there, plain_name
from patchseg.patches.pairs import Pair, Unpaired, name_of
from patchseg.patches.split import Side

_SPLIT = re.compile(r'"([^"]*)"|(\S+)')
_COLUMNS = ("image", "mask", "group", "split")
# What people call the sides.
_SIDES: dict[str, Side | Literal["test"]] = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip


class _Line(NamedTuple):
    """What a line of a list says: its number, the two paths, and what a CSV file adds."""

    number: int
    image: Path
    mask: Path
    group: str | None = None
    side: Side | Literal["test"] | None = None


class _List(NamedTuple):
    """The lines of a list, and what is wrong with the others, by line."""

    lines: list[_Line]
    findings: list[tuple[int, str]]
    columns: tuple[str, ...] = ("image", "mask")


def read_list(file: Path) -> list[Pair]:
    """Read a list of pairs: CSV where it is called .csv or .tsv or begins with a header, else `image mask` a line.

    Of lines, paths with blanks are quoted or separated by a tab, and # starts a comment. A pair is named by the stem of
    its image; where stems are equal, all are named by their paths relative to the folder that holds them all.

    Raises:
        UsageError: It cannot be read as text, or its header lacks a column.
        Unpaired: A line is no pair, a file is missing, or an image stands twice; all are listed.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")  # Windows' editors begin with a mark
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: cannot be read as a list of pairs ({error}); expected text") from None
    found = _table(file, text) if _is_table(file, text) else _plain(file, text)
    by_line, present = list(found.findings), []
    for line in found.lines:
        missing = [path for path in (line.image, line.mask) if not _is_there(path)]
        by_line += [(line.number, f"{path} is no file; mend the path") for path in missing]
        present += [line] if not missing else []
    findings = [f"{file}:{number}: {text}" for number, text in sorted(by_line, key=lambda item: item[0])]
    findings += _twice(present)
    names = _names([line.image for line in present])
    pairs = [
        Pair(name, line.image, line.mask, group=line.group, side=line.side)
        for name, line in zip(names, present, strict=True)
    ]
    findings += _clashes(pairs) + _torn(pairs)
    if not pairs and not findings:
        expected = "an image and a mask a line" if found.columns[2:] else "`image mask` a line"
        findings = [f"{file}: holds no pair; expected {expected}"]
    if findings:
        raise Unpaired(findings, pairs)
    return pairs


def split_line(line: str) -> list[str]:
    r"""Return the paths of a line of a list file.

    >>> split_line('a.png "my masks/a.png"'), split_line("my images/a.png\ta.png"), split_line("# note")
    (['a.png', 'my masks/a.png'], ['my images/a.png', 'a.png'], [])
    """
    line = line.strip()
    if line.startswith("#"):
        return []
    if "\t" in line:
        return [part.strip().strip('"') for part in line.split("\t") if part.strip()]
    return [quoted or plain for quoted, plain in _SPLIT.findall(line)]


def _is_there(path: Path) -> bool:
    """Tell whether a path is a file; what cannot be a path at all is none."""
    try:
        return is_there(path)
    except (OSError, ValueError):
        return False


def _plain(file: Path, text: str) -> _List:
    """Read `image mask` a line."""
    lines, findings = [], []
    for number, line in enumerate(text.splitlines(), 1):
        parts = split_line(line)
        if len(parts) == 2:
            lines.append(_Line(number, file.parent / parts[0], file.parent / parts[1]))
        elif parts:
            text = f"holds {len(parts)} paths; expected an image and a mask (quote paths with blanks)"
            findings.append((number, text))
    return _List(lines, findings)


def _is_table(file: Path, text: str) -> bool:
    """Tell whether a list is CSV: by its name, or because its first line names the columns."""
    if file.suffix.lower() in (".csv", ".tsv"):
        return True
    header = {name.strip().strip('"').lower() for name in re.split(r"[,;\t]", text.partition("\n")[0])}
    return {"image", "mask"} <= header


def _table(file: Path, text: str) -> _List:
    """Read CSV with a header; comma, semicolon (as spreadsheets of many countries write) or tab."""
    head = text.partition("\n")[0]
    rows = csv.reader(text.splitlines(), delimiter=max(",;\t", key=head.count), skipinitialspace=True)
    columns = tuple(name.strip().lower() for name in _next(rows, file) or [])
    _require_columns(file, columns)
    lines: list[_Line] = []
    findings: list[tuple[int, str]] = []
    while (row := _next(rows, file)) is not None:
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(columns):
            text = f"holds {len(row)} cells, the header {len(columns)}; mend the line (quote cells that hold commas)"
            findings.append((rows.line_num, text))
            continue
        cells = {name: cell.strip() for name, cell in zip(columns, row, strict=True) if name in _COLUMNS}
        wrong = _wrong(cells)
        findings += [(rows.line_num, text) for text in wrong]
        side = _SIDES.get(cells["split"].lower()) if "split" in cells else None
        if not wrong:
            image, mask = (file.parent / cells[name] for name in ("image", "mask"))
            lines.append(_Line(rows.line_num, image, mask, cells.get("group"), side))
    return _List(lines, findings, columns)


def _next(rows: Any, file: Path) -> list[str] | None:
    """Return the next row, or None at the end.

    Raises:
        UsageError: It is no CSV.
    """
    try:
        return next(rows, None)
    except csv.Error as error:
        raise UsageError(f"{file}:{rows.line_num}: is no line of CSV ({error}); mend it") from None


def _wrong(cells: dict[str, str]) -> list[str]:
    """Tell what is wrong with a line of a CSV file."""
    wrong = [f"has no {name}; fill in the cell" for name, cell in cells.items() if not cell]
    if cells.get("split") and cells["split"].lower() not in _SIDES:
        wrong.append(f"split is {cells['split']}; expected train, val or test (which is left out)")
    return wrong


def _require_columns(file: Path, columns: tuple[str, ...]) -> None:
    """Raise a `UsageError` where the columns of a pair are missing, stand twice, or one is all but spelled right."""
    told = f"columns {', '.join(filter(None, columns)) or 'without names'}"
    for name in _COLUMNS:
        if columns.count(name) > 1:
            raise UsageError(f"{file}: has {told}; expected one {name}, so rename the other")
        near = difflib.get_close_matches(name, set(columns) - set(_COLUMNS), n=1, cutoff=0.75)
        if name not in columns and (near or name in ("image", "mask")):
            hint = f'; did you mean "{name}" by "{near[0]}"?' if near else ", so name them in the first line"
            raise UsageError(f"{file}: has {told}; expected image, mask, and maybe group and split{hint}")


def _names(images: list[Path]) -> list[str]:
    """Return the stems of images, or, where some are equal, their paths relative to the folder of them all.

    >>> _names([Path("x/a.png"), Path("y/b.png")]), _names([Path("x/a.png"), Path("y/a.png")])
    (['a', 'b'], ['x/a', 'y/a'])
    """
    stems = [plain_name(image).stem for image in images]
    if len(set(stems)) == len({image.absolute() for image in images}):
        return stems
    places = [Path(os.path.normpath(image.absolute())) for image in images]
    above = Path(os.path.commonpath([place.parent for place in places]))
    return [name_of(place, above) for place in places]


def _twice(lines: list[_Line]) -> list[str]:
    """Name the images that stand in more than one line."""
    count = Counter(line.image.resolve() for line in lines)
    seen: set[Path] = set()
    findings = []
    for line in lines:
        place = line.image.resolve()
        if count[place] > 1 and place in seen:
            findings.append(f"{line.image}: stands twice; remove one of its lines")
        seen.add(place)
    return findings


def _clashes(pairs: list[Pair]) -> list[str]:
    """Name the images that have the same name as an earlier one, though they are other files."""
    first: dict[str, Path] = {}
    return [
        f"{pair.image}: has the same stem as {first[pair.name]}; rename or remove one of them"
        for pair in pairs
        if first.setdefault(pair.name, pair.image).resolve() != pair.image.resolve()
    ]


def _torn(pairs: list[Pair]) -> list[str]:
    """Name the groups that the list itself has on more than one side."""
    sides: dict[str, set[str | None]] = {}
    for pair in pairs:
        if pair.group is not None:
            sides.setdefault(pair.group, set()).add(pair.side)
    return [
        f"{group}: is a group on several sides of the column split; keep it on one"
        for group, found in sides.items()
        if len(found) > 1
    ]
