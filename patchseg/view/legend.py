"""What the pixels of a mask are called and how they are painted: a mask and what is known of it in, indices and colours out.

A viewer shows what is there: a value that is no class is gray, not an error.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile
from numpy.typing import NDArray

from patchseg.errors import DataError
from patchseg.imaging import picture
from patchseg.imaging.address import TIFF_SUFFIXES, Address, is_zarr
from patchseg.imaging.source import Array
from patchseg.labels.classes import IGNORE, Classes, MaskReading, pack
from patchseg.labels.near import UNKNOWN, nearest
from patchseg.parameters import DataParameters
from patchseg.patches.pairs import RECORD

Bytes = NDArray[np.uint8]
_LISTED = 40  # values of a mask without classes that a legend names


class Entry(NamedTuple):
    """A line of the legend."""

    place: int
    name: str
    color: str


class Legend(NamedTuple):
    """How a mask is shown.

    Attributes:
        entries: Classes, or values that were seen.
        indices: From pixels of the mask (h, w, C) to indices (h, w) uint8.
        colors: Of the indices, (256, 3) uint8.
    """

    entries: tuple[Entry, ...]
    indices: Callable[[Array], Bytes]
    colors: Bytes

    def name(self, index: int) -> str | None:
        """Return what an index is called; None where it has no name."""
        names = {entry.place: entry.name for entry in self.entries} | {IGNORE: "ignored"}
        return names.get(index)


def find_classes(mask: Path, data: DataParameters) -> Classes | None:
    """Return the classes of a mask: of the record of `infer` beside it, of data.classes, of the mask's own file, or none.

    Raises:
        DataError: The record is no JSON.
    """
    record = read_record(mask)
    if record is not None:
        classes = Classes.from_json(record["data.classes"]["value"])
        ignored = record.get("infer.ignored", {}).get("value")
        own = "infer.ignored" in record
        return classes.read_by(MaskReading(ignored)) if own else classes.by_place()
    if data.classes is not None:
        return Classes.of(data.classes, MaskReading.of(data))
    told = _described(mask)
    return Classes.from_json(told) if told else None


def record_folder(mask: Path) -> Path | None:
    """Return the folder of masks that `infer` has written a mask into, perhaps some folders below it."""
    for folder in list(Address.of(mask).file.absolute().parents)[:6]:
        if (folder / RECORD).is_file():
            return folder
    return None


def read_record(mask: Path) -> dict[str, Any] | None:
    """Return what `infer` has recorded beside a mask, {key: {value, source}}; None where nothing, or by another verb.

    Raises:
        DataError: It is no JSON.
    """
    folder = record_folder(mask)
    if folder is None:
        return None
    try:
        content: dict[str, Any] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return content if "infer.images" in content and "data.classes" in content else None
    except (ValueError, TypeError) as error:
        raise DataError(f"{folder / RECORD}: is no record of `infer` ({error}); remove it") from None


def of_classes(classes: Classes, path: Path, palette: Bytes | None) -> Legend:
    """Return how a mask of known classes is shown.

    Args:
        classes: As the mask holds them.
        path: Its file, for errors.
        palette: (n, 3) colours, where its pixels are indices into them.
    """
    colors = picture.colorize(np.arange(256, dtype=np.uint8)[None], classes.palette)[0]
    colors[UNKNOWN] = picture.IGNORE_COLOR

    def indices(pixels: Array) -> Bytes:
        try:
            return classes.encode(pixels, path, palette)
        except DataError:  # a value that is no class: the rest is shown all the same
            values = [place if value is None else value for place, value in enumerate(classes.values)]
            targets = {IGNORE: IGNORE} | {value: place for place, value in enumerate(values)}
            if pixels.shape[2] < 3:
                return nearest(pixels[:, :, 0], targets, 0.0)
            painted = {int(color[1:], 16): place for place, color in enumerate(classes.colors)}
            return nearest(pack(pixels, path), painted, 0.0, color=True)

    entries = zip(classes.names, classes.colors, strict=True)
    return Legend(tuple(Entry(place, *entry) for place, entry in enumerate(entries)), indices, colors)


def of_values(sample: Array, path: Path, palette: Bytes | None) -> Legend:
    """Return how a mask of which nothing is known is shown: its palette or colours, else a colour a value.

    Args:
        sample: Some of its pixels, (h, w, C).
        path: Its file, for errors.
        palette: (n, 3) colours, where its pixels are indices into them.
    """
    if sample.shape[2] >= 3:
        return _of_colors(sample, path)
    values = np.unique(sample[:, :, 0])
    colors = np.concatenate([picture.palette(IGNORE), [picture.IGNORE_COLOR]]).astype(np.uint8)
    if palette is not None:
        colors[: len(palette)] = palette[:256]
    elif values.tolist() in ([255], [0, 255]):
        colors[IGNORE] = colors[1]  # black and white: white is the class
    small = sample.dtype == np.uint8

    def indices(pixels: Array) -> Bytes:
        layer = pixels[:, :, 0]
        if small:
            return np.asarray(layer)
        whole = np.nan_to_num(layer).astype(
            np.int64
        )  # numbers of objects: as many colours as there are, in turns
        return np.where(whole == 0, 0, 1 + (whole - 1) % (IGNORE - 2)).astype(np.uint8)

    listed = values if small else values[:0]
    entries = [Entry(int(v), f"value {v}", picture.hexadecimal(colors[v])) for v in listed[:_LISTED]]
    return Legend(tuple(entries), indices, colors)


def _of_colors(sample: Array, path: Path) -> Legend:
    packed, counts = np.unique(pack(sample, path), return_counts=True)
    most = np.sort(packed[np.argsort(-counts)][: UNKNOWN - 1])
    most = np.concatenate([[0], most[most != 0]])  # black lies below, as a background does
    colors = np.full((256, 3), picture.IGNORE_COLOR, np.uint8)
    colors[: len(most)] = np.stack([most >> 16, most >> 8 & 255, most & 255], axis=1)

    def indices(pixels: Array) -> Bytes:
        numbers = pack(pixels, path)
        place = np.searchsorted(most, numbers).clip(0, len(most) - 1)
        return np.where(most[place] == numbers, place, UNKNOWN).astype(np.uint8)

    names = [f"#{number:06x}" for number in most.tolist()]
    seen = [Entry(place, name, name) for place, name in enumerate(names) if place or 0 in packed]
    return Legend(tuple(seen[:_LISTED]), indices, colors)


def _described(mask: Path) -> list[dict[str, Any]] | None:
    """Return the classes that `infer` has written into the file of a mask, [{name, value, color}]."""
    file = Address.of(mask).file
    try:
        if is_zarr(file):
            content = json.loads((file / "zarr.json").read_text(encoding="utf-8"))["attributes"]["patchseg"]
        elif file.suffix.lower() in TIFF_SUFFIXES:
            with tifffile.TiffFile(file) as opened:
                content = json.loads(opened.pages[0].description)  # type: ignore[union-attr, unused-ignore]
        else:
            return None
        classes: list[dict[str, Any]] = content["classes"]
        Classes.from_json(classes)
        return [
            item | {"value": place if item["value"] is None else item["value"]}
            for place, item in enumerate(classes)
        ]
    except Exception:  # noqa: BLE001 - what others wrote there, or damage that those who read the pixels tell
        return None
