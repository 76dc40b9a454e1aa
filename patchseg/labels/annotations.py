"""Annotation files of every format -> what is drawn on each image.

`ANNOTATIONS` is the registry; a format is a module with `accepts(content)` and `read(content, path, attribute)`. A file is
read for what it is, whatever its name says.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from patchseg.errors import DataError, UsageError, listing
from patchseg.labels import coco, cvat, geojson, labelme, via
from patchseg.labels.content import read_content
from patchseg.labels.shapes import Annotations

SUFFIXES = (".json", ".geojson", ".xml", ".csv")


class Format(NamedTuple):
    """How to recognise and read annotations, what people call them, and whether an attribute names the class."""

    accepts: Callable[[Any], bool]
    read: Callable[[Any, Path, str | None], Annotations]
    title: str
    by_attribute: bool = False


ANNOTATIONS: dict[str, Format] = {
    "via": Format(via.accepts, via.read, "VIA (JSON, CSV)", by_attribute=True),
    "labelme": Format(labelme.accepts, labelme.read, "LabelMe"),
    "coco": Format(coco.accepts, coco.read, "COCO"),
    "geojson": Format(geojson.accepts, geojson.read, "GeoJSON in pixels (QuPath)", by_attribute=True),
    "cvat": Format(cvat.accepts, cvat.read, "CVAT for images 1.1"),
}


def annotation_files(folder: Path) -> list[Path]:
    """Return the files of a folder that may be annotations by their names, without hidden ones."""
    return sorted(
        file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
    )


def read_annotations(path: Path, *, attribute: str | None = None) -> list[Annotations]:
    """Read an annotation file, or all of those in a folder.

    Args:
        path: A file, or a folder of them.
        attribute: The attribute that names the class, for formats whose annotators choose it; "" where it does not
            matter, so that their shapes have none.

    Raises:
        UsageError: There is no such path, no file in it, or it is open which attribute names the class.
        DataError: Files are damaged or of no known format; all are listed.
    """
    if not path.exists():
        raise UsageError(f"{path}: is neither a file nor a folder of annotations; check the path")
    files = annotation_files(path) if path.is_dir() else [path]
    if not files:
        raise UsageError(f"{path}: holds no annotations; expected files ending in {' '.join(SUFFIXES)}")
    found, mistakes = [], []
    for file in files:
        try:
            found.append(read_annotation_file(file, attribute=attribute))
        except DataError as error:
            mistakes.append(str(error))
    if mistakes:
        raise DataError(listing(mistakes))
    return found


def read_annotation_file(file: Path, *, attribute: str | None = None) -> Annotations:
    """Read one annotation file.

    Raises:
        DataError: It is damaged or of no known format.
        UsageError: It is open, or wrong, which attribute names the class.
    """
    content = read_content(file)
    for format in ANNOTATIONS.values():
        if format.accepts(content):
            if attribute and not format.by_attribute:
                raise UsageError(
                    f"data.attribute: {file} is {format.title}, whose labels are the classes; leave data.attribute out"
                )
            return format.read(content, file, attribute)
    known = ", ".join(format.title for format in ANNOTATIONS.values())
    raise DataError(f"{file}: holds annotations of no known format; expected one of {known}")
