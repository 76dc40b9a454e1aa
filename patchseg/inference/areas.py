"""How much of each image each class takes: rows of class indices in, a table of areas out.

Several processes may fill one folder, and a later run may add to it, so what is counted of an image is kept in a small file
of its own, and areas.csv is made anew of all of them.

    rows ──Areas──> AreaRecord ──keep──> FOLDER/.patchseg/areas/NAME.json ──write_table──> FOLDER/areas.csv
"""

import csv
import json
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from patchseg.errors import DataError
from patchseg.imaging.beside import Beside
from patchseg.imaging.files import refusal, whole
from patchseg.labels.classes import IGNORE, Classes
from patchseg.patches.pairs import natural

TABLE = "areas.csv"
_RECORDS = Path(".patchseg") / "areas"
_SCALE = 33550  # GeoTIFF 1.1, ModelPixelScaleTag: width, height and depth of a pixel in units of the map
_CENTIMETRE = 10_000.0  # in micrometres
_COUNTED = 2**16  # pixels at a time, which stay in the cache of the processor


class AreaRecord(NamedTuple):
    """What is counted of one image.

    Attributes:
        name: The path of the image relative to the folder it was found in, without suffix.
        height: Rows.
        width: Columns.
        pixels: Of each class.
        ignored: Pixels of no class.
        pixel: The area of a pixel, where it is known.
        unit: That of the area.
    """

    name: str
    height: int
    width: int
    pixels: dict[str, int]
    ignored: int
    pixel: float | None = None
    unit: str = ""


_READ = TypeAdapter(AreaRecord)


class Areas:
    """Counts the pixels of each class while the rows of an image pass by."""

    def __init__(self, classes: Classes) -> None:
        self._names = classes.names
        self._height, self._width = 0, 0
        self._indices = (*range(len(classes)), IGNORE)
        self._counts = np.zeros(len(self._indices), np.int64)

    def add(self, rows: NDArray[np.uint8]) -> None:
        """Count rows of class indices, (n, W) uint8, of which `IGNORE` is none."""
        self._height, self._width = self._height + len(rows), rows.shape[1]
        flat = rows.reshape(-1)
        for start in range(0, flat.size, _COUNTED):
            part = flat[start : start + _COUNTED]
            # For up to fifty classes faster than numpy's bincount, which takes the same time for any number.
            self._counts += [np.count_nonzero(part == index) for index in self._indices]

    def record(self, name: str, beside: Beside = Beside()) -> AreaRecord:
        """Return what is counted.

        Args:
            name: That of the image.
            beside: What its file says of the size of a pixel.
        """
        *counts, ignored = self._counts.tolist()
        pixels = dict(zip(self._names, counts, strict=True))
        return AreaRecord(name, self._height, self._width, pixels, ignored, *pixel_area(beside))


def pixel_area(beside: Beside) -> tuple[float | None, str]:
    """Return the area of a pixel and its unit, (None, "") where it is not known.

    >>> pixel_area(Beside(density=(20_000.0, 10_000.0))), pixel_area(Beside())
    ((0.5, 'µm²'), (None, ''))
    """
    sides, unit = pixel_sides(beside)
    return (None, "") if sides is None else (sides[0] * sides[1], f"{unit}²")


def pixel_sides(beside: Beside) -> tuple[tuple[float, float] | None, str]:
    """Return height and width of a pixel and their unit, (None, "") where they are not known.

    An image that lies on a map is measured on the map: the density that its file may state too is that of a print.

    >>> pixel_sides(Beside(density=(20_000.0, 10_000.0))), pixel_sides(Beside())
    (((1.0, 0.5), 'µm'), (None, ''))
    """
    for code, _, count, value, _ in beside.tags:
        if code == _SCALE and count > 1 and value[0] * value[1]:
            return (abs(value[1]), abs(value[0])), "map units"
    if beside.density is None:
        return None, ""
    across, down = beside.density
    return (_CENTIMETRE / down, _CENTIMETRE / across), "µm"


def record_file(folder: Path, name: str) -> Path:
    """Return where the record of an image is kept, among the masks of a folder.

    >>> record_file(Path("masks"), "18/7.3").as_posix()
    'masks/.patchseg/areas/18/7.3.json'
    """
    return folder / _RECORDS / f"{name}.json"


def keep(folder: Path, record: AreaRecord) -> None:
    """Write the record of an image, in place of an earlier one.

    Raises:
        UsageError: The folder cannot be written to.
        PatchsegError: The disk is full.
    """
    with whole(record_file(folder, record.name)) as part:
        part.write_text(json.dumps(record._asdict(), ensure_ascii=False), encoding="utf-8")


def write_table(folder: Path) -> Path:
    """Write areas.csv of all records in a folder: a line an image, in natural order.

    Whoever keeps a record has to call this afterwards. Then no line is lost, however many processes do so at once: the
    one that writes last looks once more whether there is a record that its table lacks.

    Raises:
        UsageError: The folder cannot be written to.
        PatchsegError: The disk is full.
        DataError: A record is damaged.
    """
    written: list[AreaRecord] | None = None
    while (records := _records(folder)) != written:
        # No two processes share this name, so that none writes into the table of the other.
        own = folder / _RECORDS.parent / f"{secrets.token_hex(8)}.csv"
        with whole(own) as part, part.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(table(records))
        try:
            own.replace(folder / TABLE)
        except OSError as error:
            own.unlink()
            raise refusal(folder / TABLE, error) from error
        written = records
    return folder / TABLE


def table(records: Sequence[AreaRecord]) -> list[list[str]]:
    """Return the lines of a table, below their header; what is not known is left empty.

    >>> header, line = table([AreaRecord("a", 2, 3, {"sky": 4, "tree": 1}, 1, 0.25, "µm²")])
    >>> header[3:8]
    ['sky pixels', 'tree pixels', 'ignored', 'sky share', 'tree share']
    >>> line
    ['a', '2', '3', '4', '1', '1', '0.8', '0.2', '1', '0.25', 'µm²']
    """
    names = list(dict.fromkeys(name for record in records for name in record.pixels))
    header = ["image", "height", "width", *(f"{name} pixels" for name in names), "ignored"]
    header += [*(f"{name} share" for name in names), *(f"{name} area" for name in names), "area unit"]
    return [header, *(_line(record, names) for record in records)]


def _line(record: AreaRecord, names: list[str]) -> list[str]:
    counted = sum(record.pixels.values())
    counts = [record.pixels.get(name) for name in names]
    shares = [None if count is None or not counted else count / counted for count in counts]
    areas = [None if count is None or record.pixel is None else count * record.pixel for count in counts]
    return [
        *(record.name, str(record.height), str(record.width)),
        *("" if count is None else str(count) for count in counts),
        str(record.ignored),
        *("" if number is None else f"{number:.12g}" for number in shares + areas),
        record.unit,
    ]


def _records(folder: Path) -> list[AreaRecord]:
    """Read what is kept of all images, in natural order of their names."""
    files = [path for path in (folder / _RECORDS).rglob("*.json") if path.is_file()]
    return sorted(map(_read, files), key=lambda record: natural(record.name))


def _read(file: Path) -> AreaRecord:
    try:
        return _READ.validate_json(file.read_bytes())
    except ValidationError:
        raise DataError(f"{file}: is no record of areas; remove it and segment its image again") from None
