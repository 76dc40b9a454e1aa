"""The size of a pixel in micrometres, where a file tells it: TIFF, OME-TIFF, ImageJ, PNG and JPEG."""

import contextlib
import re
from pathlib import Path
from typing import Any

import tifffile
from PIL import Image

from patchseg.imaging import tiff

_INCH, _CENTIMETRE = 25400.0, 10000.0
# What screens, scanners and printers write into any file says nothing of the object in the picture.
_CUSTOMARY = (72, 96, 100, 120, 144, 150, 180, 200, 240, 300, 350, 400, 600, 720, 1200)
_UNITS = {"nm": 1e-3, "µm": 1.0, "um": 1.0, "micron": 1.0, "\\u00B5m": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6}


def pixel_size(path: Path) -> tuple[float, float] | None:
    """Return height and width of a pixel in micrometres, or None where the file does not tell.

    A resolution of 72, 96, 300 ... dots an inch is what programs write when they know nothing; it counts as none.
    """
    # What is damaged here is told by those who read the pixels.
    with contextlib.suppress(Exception), path.open("rb") as file:
        size = _of_tiff(path) if tiff.accepts(file.read(4)) else _of_picture(path)
        return size if size and all(0 < length < 1e9 for length in size) else None
    return None


def of_density(across: float, down: float, unit: float) -> tuple[float, float] | None:
    """Return the size of a pixel out of pixels an inch or a centimetre, which has so many micrometres.

    >>> of_density(20000, 20000, 10000.0), of_density(72, 72, 25400.0)
    ((0.5, 0.5), None)
    """
    inch = across * _INCH / unit
    usual = across in (0, 1) or any(abs(inch - usual) < 0.6 for usual in _CUSTOMARY)
    return None if usual else (unit / down, unit / across)


def _of_picture(path: Path) -> tuple[float, float] | None:
    with Image.open(path) as image:
        across, down = image.info.get("dpi", (0, 0))
        return of_density(float(across), float(down), _INCH)


def _of_tiff(path: Path) -> tuple[float, float] | None:
    with tifffile.TiffFile(path) as file:
        if file.ome_metadata:
            return _of_ome(file.ome_metadata)
        tags: Any = file.pages[0].tags  # type: ignore[union-attr, unused-ignore]
        density = [tags[name].value for name in ("XResolution", "YResolution") if name in tags]
        if len(density) < 2:
            return None
        across, down = (top / bottom for top, bottom in density)
        about = file.imagej_metadata or {}
        if about.get("unit") in _UNITS:
            return _UNITS[about["unit"]] / down, _UNITS[about["unit"]] / across
        unit = {2: _INCH, 3: _CENTIMETRE}.get(
            int(tags["ResolutionUnit"].value) if "ResolutionUnit" in tags else 2
        )
        return of_density(across, down, unit) if unit else None


def _of_ome(text: str) -> tuple[float, float] | None:
    sizes = []
    for axis in "YX":
        size = re.search(rf'PhysicalSize{axis}="([^"]+)"', text)
        unit = re.search(rf'PhysicalSize{axis}Unit="([^"]+)"', text)
        if size is None:
            return None
        sizes.append(float(size[1]) * _UNITS[unit[1] if unit else "µm"])
    return sizes[0], sizes[1]
