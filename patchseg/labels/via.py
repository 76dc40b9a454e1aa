"""VGG Image Annotator, version 2 (and 1): JSON or CSV of regions, and whole projects.

https://www.robots.ox.ac.uk/~vgg/software/via/. The class of a region is one of its attributes, which the annotator
named freely.
"""

import csv
import io
import math
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from patchseg.errors import DataError, UsageError
from patchseg.labels.content import Length, Part, Pixel, base_name, name, parse_json, understood
from patchseg.labels.shapes import Annotations, Drawing, Outline, Shape, ellipse, outline, rectangle

_COLUMN = "region_shape_attributes"
_PROJECT = "_via_img_metadata"


class _Points(Part):
    name: Literal["polygon", "polyline"]
    all_points_x: list[Pixel]
    all_points_y: list[Pixel]


class _Rectangle(Part):
    name: Literal["rect"]
    x: Pixel
    y: Pixel
    width: Length
    height: Length


class _Circle(Part):
    name: Literal["circle"]
    cx: Pixel
    cy: Pixel
    r: Length


class _Ellipse(Part):
    name: Literal["ellipse"]
    cx: Pixel
    cy: Pixel
    rx: Length
    ry: Length
    theta: Pixel = 0.0  # clockwise, in radians


class _Point(Part):
    name: Literal["point"]


class _Region(Part):
    shape_attributes: Annotated[
        _Points | _Rectangle | _Circle | _Ellipse | _Point, Field(discriminator="name")
    ]
    region_attributes: dict[str, Any] = Field(default_factory=dict)


def _listed(regions: Any) -> Any:
    """Turn the regions of version 1, an object by number, into a list."""
    return list(regions.values()) if isinstance(regions, dict) else regions


class _Image(Part):
    filename: str
    regions: Annotated[list[_Region], BeforeValidator(_listed)] = Field(default_factory=list)


class _Images(Part):
    images: dict[str, _Image]


def accepts(content: Any) -> bool:
    """Tell whether content is that of VIA: a project, a JSON export, or a CSV one by its header."""
    if isinstance(content, str):
        return _COLUMN in content.lstrip().split("\n", 1)[0]
    if not isinstance(content, dict):
        return False
    first = next(iter(content.values()), None)
    return _PROJECT in content or (isinstance(first, dict) and {"filename", "regions"} <= set(first))


def read(content: Any, path: Path, attribute: str | None = None) -> Annotations:
    """Read the regions of each image.

    Args:
        content: As `accepts` took it.
        path: The file, for messages.
        attribute: The region attribute that names the class; None takes the only one there is, "" none.

    Raises:
        DataError: The content is damaged.
        UsageError: It is open, or wrong, which attribute names the class.
    """
    tree = _tree(content, path) if isinstance(content, str) else content.get(_PROJECT, content)
    images = understood(_Images, {"images": tree}, path).images.values()
    regions = [region.region_attributes for image in images for region in image.regions]
    attribute = _only_attribute(regions, path) if attribute is None else attribute
    left_out: Counter[str] = Counter()
    drawings: dict[str, Drawing] = {}
    for image in images:
        file = base_name(image.filename)
        shapes = []
        for number, region in enumerate(image.regions, 1):
            place = f"{path}: {file}, region {number}"
            area = _area(region.shape_attributes, place)
            if area is None:
                left_out[region.shape_attributes.name] += 1
            else:
                shapes.append(Shape(_class(region.region_attributes, attribute, place), (area,)))
        if file in drawings:
            raise DataError(f"{path}: holds two images called {file}; leave one of them")
        drawings[file] = Drawing(file, tuple(shapes))
    names = {shape.name for drawing in drawings.values() for shape in drawing.shapes if shape.name}
    if attribute and regions and not any(attribute in region for region in regions):
        known = sorted({key for region in regions for key in region})
        raise UsageError(
            f"data.attribute: no region of {path} has {attribute}; the attributes are {', '.join(known) or 'none'}"
        )
    return Annotations(path, tuple(drawings.values()), tuple(sorted(names)), left_out)


def _tree(text: str, path: Path) -> dict[str, Any]:
    """Return a CSV export as the tree that the JSON export would be."""
    before = csv.field_size_limit(
        max(len(text), 1)
    )  # a region may have more corners than the usual limit allows
    try:
        rows = list(csv.DictReader(io.StringIO(text.lstrip().removeprefix("#")), restval=""))
    except csv.Error as error:
        raise DataError(f"{path}: is damaged CSV ({error}); export it again") from None
    finally:
        csv.field_size_limit(before)
    tree: dict[str, Any] = {}
    for number, row in enumerate(rows, 2):
        name = row.get("filename") or ""
        if not name:
            raise DataError(f"{path}:{number}: names no image; expected its filename, so export it again")
        regions = tree.setdefault(name, {"filename": name, "regions": []})["regions"]
        place = f"{path}:{number}"
        shape = parse_json(row.get(_COLUMN) or "{}", place)
        if shape:
            attributes = parse_json(row.get("region_attributes") or "{}", place)
            regions.append({"shape_attributes": shape, "region_attributes": attributes})
    return tree


def _only_attribute(regions: list[dict[str, Any]], path: Path) -> str | None:
    """Return the attribute that names the class where that is plain; None where regions have none."""
    known = sorted({key for region in regions for key in region})
    if len(known) < 2 or all(len({str(region.get(key)) for key in known}) == 1 for region in regions):
        return known[0] if known else None
    raise UsageError(
        f"data.attribute: the regions of {path} have the attributes {', '.join(known)}; say which of them names "
        f"the class, such as --attribute {known[0]}"
    )


def _class(attributes: dict[str, Any], attribute: str | None, place: str) -> str | None:
    """Return the class of a region; a group of checkboxes names it by the only one that is ticked."""
    value = attributes.get(attribute) if attribute else None
    if isinstance(value, dict):
        ticked = [key for key, on in value.items() if on]
        if len(ticked) > 1:
            raise DataError(f"{place}: is {' and '.join(ticked)} at once; expected one class, so choose one")
        value = ticked[0] if ticked else None
    try:
        return name(value)
    except ValueError as error:
        raise DataError(f"{place}: its {attribute} {error}; mend it there") from None


def _area(shape: Any, place: str) -> Outline | None:
    """Return the area of a region, or None where it has none: points, and lines whose ends do not meet."""
    match shape:
        case _Points():
            if len(shape.all_points_x) != len(shape.all_points_y):
                raise DataError(
                    f"{place}: has {len(shape.all_points_x)} x and {len(shape.all_points_y)} y; expected as many of each, "
                    "so export it again"
                )
            corners = list(zip(shape.all_points_x, shape.all_points_y, strict=True))
            is_line = shape.name == "polyline" and corners[:1] != corners[-1:]
            return None if is_line else outline(corners)
        case _Rectangle():
            return rectangle(shape.x, shape.y, shape.x + shape.width, shape.y + shape.height)
        case _Circle():
            return ellipse(shape.cx, shape.cy, shape.r, shape.r)
        case _Ellipse():
            return ellipse(shape.cx, shape.cy, shape.rx, shape.ry, turned=math.degrees(shape.theta))
    return None
