"""What stands in a file beside its pixels: where they lie on the earth, how large they are, what their values mean.

A mask has the pixels of its image, so it takes over the image's place and pixel size.
"""

import contextlib
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import tifffile

from patchseg.imaging import raster, tiff, zarr
from patchseg.imaging.address import TIFF_SUFFIXES, Address, is_zarr
from patchseg.imaging.resolution import pixel_size

# Scale, tie point, matrix, and the three of the coordinate system (GeoTIFF 1.1, OGC 19-008r4), which go together.
_PLACE = (33550, 33922, 34264, 34735, 34736, 34737)
_GDAL_METADATA, _GDAL_NODATA = 42112, 42113
# What GDAL knows of a band, such as its statistics, holds for the image's, not for the mask's.
_OF_A_BAND = re.compile(r"\s*<Item\b[^>]*\bsample=[^>]*>[^<]*</Item>")
_CENTIMETRE = 10_000.0  # in micrometres

Tag = tuple[int, int, int, Any, bool]  # code, type, count, value, once: as tifffile takes them


class Beside(NamedTuple):
    """What is written beside pixels.

    Attributes:
        description: Text in ASCII.
        density: Pixels a centimetre, across and down.
        tags: Of GeoTIFF; in a TIFF only.
        pyramid: Whether a TIFF holds the image in smaller sizes too.
    """

    description: str = ""
    density: tuple[float, float] | None = None
    tags: tuple[Tag, ...] = ()
    pyramid: bool = False

    @classmethod
    def of_image(cls, path: Path) -> "Beside":
        """Take over what the file of an image says; what it does not say, or not legibly, is left out."""
        file = Address.of(path).file
        path = file if file.suffix.lower() in TIFF_SUFFIXES else path
        size = zarr.pixel_size(path) if is_zarr(path) else pixel_size(path)
        turned = raster.orientation(path) if path.is_file() else 1
        if size is not None and turned >= 5:
            size = size[::-1]
        density = None if size is None else (_CENTIMETRE / size[1], _CENTIMETRE / size[0])
        # The place is that of the stored pixels; those that are turned upright lie elsewhere.
        return cls(density=density, tags=_place(path) if turned == 1 else ())

    def describing(self, classes: list[dict[str, Any]]) -> "Beside":
        """Return the same with the classes as a description in JSON, {"classes": [{name, value, color}]}."""
        return self._replace(description=json.dumps({"classes": classes}))


def _place(path: Path) -> tuple[Tag, ...]:
    """Return the tags of a GeoTIFF that hold for its mask too."""
    # What is damaged here is told by those who read the pixels.
    with contextlib.suppress(Exception), path.open("rb") as stream:
        if not tiff.accepts(stream.read(4)):
            return ()
        with tifffile.TiffFile(path) as file:
            tags: Any = file.pages[0].tags  # type: ignore[union-attr, unused-ignore]
            return tuple(
                _copy(tags[code]) for code in (*_PLACE, _GDAL_METADATA, _GDAL_NODATA) if code in tags
            )
    return ()


def _copy(tag: Any) -> Tag:
    value = tag.value
    if tag.code == _GDAL_METADATA:
        value = _OF_A_BAND.sub("", value)
    elif tag.code == _GDAL_NODATA:
        value = "255"  # in a mask
    ascii_text = isinstance(value, str)
    return tag.code, int(tag.dtype), 0 if ascii_text else tag.count, value, True
