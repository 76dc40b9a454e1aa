"""LabelMe: a JSON file an image, with polygons, rectangles, circles and bitmaps.

https://github.com/wkentaro/labelme
"""

import base64
import binascii
import io
import math
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydantic import Field

from patchseg.errors import DataError
from patchseg.labels.content import Name, Part, Pixel, base_name, understood
from patchseg.labels.shapes import Annotations, Area, Drawing, Shape, bitmap, ellipse, outline, rectangle

_LARGEST = 2**26  # pixels of the bitmap of one shape
_NO_AREA = {"point", "points", "line", "linestrip"}
_KINDS = ("polygon", "rectangle", "circle", "mask")


class _Shape(Part):
    label: Name
    points: list[tuple[Pixel, Pixel]]
    shape_type: str | None = None  # the first versions knew only polygons
    mask: str | None = None


class _File(Part):
    shapes: list[_Shape]
    image: str = Field(alias="imagePath", min_length=1)
    height: int | None = Field(None, alias="imageHeight")
    width: int | None = Field(None, alias="imageWidth")


def accepts(content: Any) -> bool:
    """Tell whether content is a LabelMe file."""
    return isinstance(content, dict) and {"shapes", "imagePath"} <= set(content)


def read(content: Any, path: Path, _: str | None = None) -> Annotations:
    """Read the shapes of the image of a file.

    Raises:
        DataError: The content is damaged, or holds a shape that is not known.
    """
    file = understood(_File, content, path)
    left_out: Counter[str] = Counter()
    shapes = []
    for number, shape in enumerate(file.shapes, 1):
        if shape.shape_type in _NO_AREA:
            left_out[shape.shape_type] += 1
        else:
            shapes.append(Shape(shape.label, (_area(shape, f"{path}: shape {number}"),)))
    size = (file.height, file.width) if file.height and file.width else None
    drawing = Drawing(base_name(file.image), tuple(shapes), size)
    return Annotations(path, (drawing,), tuple(sorted({shape.label for shape in file.shapes})), left_out)


def _area(shape: _Shape, place: str) -> Area:
    kind, points = shape.shape_type or "polygon", shape.points
    if kind == "polygon":
        return outline(points)
    if kind not in _KINDS:
        raise DataError(f"{place}: is a {kind}; expected one of {', '.join(_KINDS)}, so draw it as one")
    if kind == "circle" and len(points) == 2:
        (x, y), (x1, y1) = points
        return ellipse(x, y, math.hypot(x1 - x, y1 - y), math.hypot(x1 - x, y1 - y))
    if kind == "rectangle" and len(points) == 4:
        return outline(points)
    if kind == "circle" or len(points) != 2:
        raise DataError(f"{place}: is a {kind} of {len(points)} points; expected 2, so draw it again")
    (left, top), (right, bottom) = points
    if kind == "rectangle":
        return rectangle(left, top, right, bottom)
    return _bitmap(shape.mask or "", (round(top), round(left), round(bottom), round(right)), place)


def _bitmap(text: str, corners: tuple[int, int, int, int], place: str) -> Area:
    """Return the area of a PNG in base64; both corners, given as top, left, bottom, right, belong to it."""
    top, left, bottom, right = corners
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if data[:8] != b"\x89PNG\r\n\x1a\n" or len(data) < 33:
        raise DataError(f"{place}: has no PNG for its mask; expected one in base64, so draw it again")
    width, height = struct.unpack(">II", data[16:24])
    if (height, width) != (bottom - top + 1, right - left + 1) or not 0 < height * width <= _LARGEST:
        raise DataError(
            f"{place}: its mask is {height} x {width} pixels, its box {bottom - top + 1} x {right - left + 1}; expected "
            f"them equal and no more than {_LARGEST} pixels, so draw it again"
        )
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            pixels = np.asarray(image.convert("L")) > 0
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise DataError(f"{place}: its mask is a damaged PNG ({error}); draw it again") from None
    return bitmap(pixels, top=top, left=left)
