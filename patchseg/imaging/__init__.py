"""Files <-> arrays, by window: every image format behind one `ImageSource`.

`FORMATS` is the registry; a format is a module with `accepts(head)` on the first bytes of a file, and
`open_source(path, reading)`. A file is read for what it is, whatever its name says.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from patchseg.errors import DataError
from patchseg.imaging import array, raster, tiff
from patchseg.imaging.box import Box
from patchseg.imaging.reading import Reading
from patchseg.imaging.source import ArraySource, ImageSource, PaletteColors

__all__ = [
    "FORMATS",
    "SUFFIXES",
    "ArraySource",
    "Box",
    "Format",
    "ImageSource",
    "Reading",
    "open_image",
    "open_raw",
]


class Format(NamedTuple):
    """How to recognise and open a family of files."""

    accepts: Callable[[bytes], bool]
    open_source: Callable[[Path, Reading], ImageSource]
    suffixes: tuple[str, ...]


FORMATS: dict[str, Format] = {
    "tiff": Format(tiff.accepts, tiff.open_source, tiff.SUFFIXES),
    "npy": Format(array.accepts, array.open_source, array.SUFFIXES),
    "raster": Format(raster.accepts, raster.open_source, raster.SUFFIXES),
}
SUFFIXES = tuple(suffix for format in FORMATS.values() for suffix in format.suffixes)


def open_raw(path: Path, reading: Reading = Reading()) -> ImageSource:
    """Open an image as it is stored: palette indices stay indices, as masks need them.

    Raises:
        DataError: The file is missing, damaged or of no known format.
    """
    try:
        with path.open("rb") as file:
            head = file.read(32)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({(error.strerror or str(error)).lower()}); check the path"
        ) from None
    for format in FORMATS.values():
        if format.accepts(head):
            return format.open_source(path, reading)
    found = "is empty (0 bytes)" if not head else "is no image of a known format"
    raise DataError(f"{path}: {found}; expected one of {', '.join(FORMATS)} ({' '.join(SUFFIXES)})")


def open_image(path: Path, reading: Reading = Reading()) -> ImageSource:
    """Open an image as a viewer shows it: upright, palettes resolved to colours, opaque alpha dropped."""
    source = open_raw(path, reading)
    return PaletteColors(source) if source.palette is not None else source
