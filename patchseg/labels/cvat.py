"""CVAT for images 1.1: one XML file for many images, with polygons, boxes, ellipses and bitmaps.

https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/. Shapes lie over each other by their z_order. The XML is
read as it comes, element by element; a document type, and with it every entity of its own, is refused.
"""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any
from xml.parsers import expat

import numpy as np
from pydantic import BeforeValidator, Field

from patchseg.errors import DataError
from patchseg.imaging import Box
from patchseg.labels.content import Length, Name, Part, Pixel, understood
from patchseg.labels.shapes import Annotations, Area, Drawing, Runs, Shape, ellipse, outline, rectangle

_HEAD = 10_000  # characters among which the first element stands
_NO_AREA = {"polyline", "points", "cuboid", "skeleton", "tag"}
_Count = Annotated[int, Field(ge=0, lt=2**31)]


def _split(mark: str) -> BeforeValidator:
    """Return what turns "1;2" into a list."""
    return BeforeValidator(lambda text: [part for part in text.split(mark) if part.strip()])


_Corner = Annotated[tuple[Pixel, Pixel], _split(",")]


class _Labelled(Part):
    label: Name
    z_order: int = 0


class _Polygon(_Labelled):
    points: Annotated[list[_Corner], _split(";")]

    def area(self) -> Area:
        return outline(self.points)


class _Box(_Labelled):
    xtl: Pixel
    ytl: Pixel
    xbr: Pixel
    ybr: Pixel
    rotation: Pixel = 0.0

    def area(self) -> Area:
        return rectangle(self.xtl, self.ytl, self.xbr, self.ybr, turned=self.rotation)


class _Ellipse(_Labelled):
    cx: Pixel
    cy: Pixel
    rx: Length
    ry: Length
    rotation: Pixel = 0.0

    def area(self) -> Area:
        return ellipse(self.cx, self.cy, self.rx, self.ry, turned=self.rotation)


class _Mask(_Labelled):
    rle: Annotated[list[_Count], _split(",")]
    left: _Count
    top: _Count
    width: Annotated[_Count, Field(ge=1)]
    height: Annotated[_Count, Field(ge=1)]

    def area(self) -> Area:
        box = Box(self.top, self.left, self.height, self.width)
        ends = np.cumsum(np.array(self.rle, np.int64))
        if len(ends) and ends[-1] > self.height * self.width:
            raise ValueError(f"its run lengths exceed its {self.height} x {self.width} pixels")
        return Runs(box, ends)


_SHAPES: dict[str, type[_Polygon | _Box | _Ellipse | _Mask]] = {
    "polygon": _Polygon, "box": _Box, "ellipse": _Ellipse, "mask": _Mask,
}  # fmt: skip


class _Image(Part):
    name: str = Field(min_length=1)
    width: int | None = None
    height: int | None = None


def accepts(content: Any) -> bool:
    """Tell whether content is XML whose root is <annotations>."""
    return isinstance(content, str) and content.lstrip()[:1] == "<" and "<annotations" in content[:_HEAD]


def read(content: Any, path: Path, _: str | None = None) -> Annotations:
    """Read the shapes of each image.

    Raises:
        DataError: The content is damaged XML, has a document type, or is of a video.
    """
    reader = _Reader(path)
    parser = expat.ParserCreate()
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.StartDoctypeDeclHandler = reader.refuse
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise DataError(f"{path}: is damaged XML ({error}); export it again") from None
    names = {shape.name for drawing in reader.drawings for shape in drawing.shapes if shape.name}
    return Annotations(path, tuple(reader.drawings), tuple(sorted(names)), reader.left_out)


class _Reader:
    """Gathers shapes while the parser goes through the elements."""

    def __init__(self, path: Path) -> None:
        self.drawings: list[Drawing] = []
        self.left_out: Counter[str] = Counter()
        self._path = path
        self._image: _Image | None = None
        self._shapes: list[tuple[int, Shape]] = []

    def start(self, element: str, attributes: dict[str, str]) -> None:
        """Take in an element: an image, or a shape of the image that is open."""
        if element == "track":
            raise DataError(
                f"{self._path}: is of a video; expected images, so export it as CVAT for images 1.1"
            )
        if element == "image":
            self._image = understood(_Image, attributes, f"{self._path}: image {len(self.drawings) + 1}")
            self._shapes = []
        elif self._image is not None and element in _SHAPES:
            place = f"{self._path}: {self._image.name}, {element} {len(self._shapes) + 1}"
            shape = understood(_SHAPES[element], attributes, place)
            try:
                area = shape.area()
            except ValueError as error:
                raise DataError(f"{place}: {error}; export it again") from None
            self._shapes.append((shape.z_order, Shape(shape.label, (area,))))
        elif self._image is not None and element in _NO_AREA:
            self.left_out[element] += 1

    def end(self, element: str) -> None:
        """Close an image: its shapes are painted in the order of z_order, equal ones as they stand in the file."""
        if element == "image" and self._image is not None:
            size = (self._image.height, self._image.width)
            ordered = tuple(shape for _, shape in sorted(self._shapes, key=lambda pair: pair[0]))
            self.drawings.append(
                Drawing(self._image.name, ordered, (size[0], size[1]) if size[0] and size[1] else None)
            )
            self._image = None

    def refuse(self, *_: Any) -> None:
        """Refuse a document type: entities that grow without bounds or read other files are defined there."""
        raise DataError(
            f"{self._path}: has a document type (DOCTYPE), which CVAT never writes; export it again"
        )
