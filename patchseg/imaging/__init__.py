"""Files <-> arrays, by window: every image format behind one `ImageSource`.

`FORMATS` is the registry; a format is a module with `accepts(head)` on the first bytes of a file, and
`open_source(path, reading)`. A file is read for what it is, whatever its name says.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from patchseg.errors import DataError
from patchseg.imaging import array, hdf5, raster, tiff, zarr
from patchseg.imaging.address import HDF5_SUFFIXES, Address, is_zarr
from patchseg.imaging.box import Box
from patchseg.imaging.channels import choose
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
    "as_shown",
    "is_image",
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
    "hdf5": Format(hdf5.accepts, hdf5.open_source, hdf5.SUFFIXES),
    "raster": Format(raster.accepts, raster.open_source, raster.SUFFIXES),
}
SUFFIXES = tuple(suffix for format in FORMATS.values() for suffix in format.suffixes)


def is_image(path: Path) -> bool:
    """Tell by its name whether a path in a folder of images is one; files of patches are none."""
    suffix = path.suffix.lower()
    if path.name.startswith(".") or (suffix in HDF5_SUFFIXES and hdf5.is_of_patches(path)):
        return False
    return suffix in SUFFIXES or is_zarr(path)


def open_raw(path: Path, reading: Reading = Reading()) -> ImageSource:
    """Open an image as it is stored: palette indices stay indices, as masks need them.

    Raises:
        DataError: The file is missing, damaged or of no known format.
    """
    if is_zarr(path):
        return zarr.open_source(path, reading)
    try:
        with Address.of(path).file.open("rb") as file:
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
    """Open an image as a viewer shows it: upright, palettes resolved to colours, opaque alpha dropped.

    Of its channels those that `reading` names.
    """
    return as_shown(open_raw(path, reading), reading, path)


def as_shown(source: ImageSource, reading: Reading, path: Path) -> ImageSource:
    """Return what `open_image` makes of the image as it is stored, which this takes over.

    Raises:
        DataError: It has no such channel.
    """
    try:
        source = PaletteColors(source) if source.palette is not None else source
        return source if reading.channels is None else choose(source, reading.channels, path)
    except DataError:
        source.close()
        raise
