"""GeoJSON in pixels, as QuPath exports annotations: a file an image, polygons with holes.

https://qupath.readthedocs.io/en/stable/docs/advanced/exporting_annotations.html, RFC 7946. A file says nothing of its
image, so it is named after it: slide1.geojson for slide1.tif. Coordinates on the globe or in a map's units are refused.
"""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from patchseg.errors import DataError
from patchseg.labels.content import Part, Pixel, name, understood
from patchseg.labels.shapes import Annotations, Drawing, Shape, outline

_Rings = list[
    list[
        Annotated[
            tuple[Pixel, Pixel],
            BeforeValidator(lambda point: point[:2] if isinstance(point, list) else point),
        ]
    ]
]


class _Polygon(Part):
    type: Literal["Polygon"]
    coordinates: _Rings


class _MultiPolygon(Part):
    type: Literal["MultiPolygon"]
    coordinates: list[_Rings]


class _NoArea(Part):
    type: Literal["Point", "MultiPoint", "LineString", "MultiLineString", "GeometryCollection"]


class _Feature(Part):
    type: Literal["Feature"]
    geometry: Annotated[_Polygon | _MultiPolygon | _NoArea, Field(discriminator="type")] | None = None
    properties: dict[str, Any] | None = None


class _Features(Part):
    features: list[_Feature]


def accepts(content: Any) -> bool:
    """Tell whether content is GeoJSON: a collection, a list, or one of features."""
    if isinstance(content, list):
        return bool(content) and isinstance(content[0], dict) and content[0].get("type") == "Feature"
    return isinstance(content, dict) and content.get("type") in ("FeatureCollection", "Feature")


def read(content: Any, path: Path, attribute: str | None = None) -> Annotations:
    """Read the features of the image that the file is named after.

    Args:
        content: As `accepts` took it.
        path: The file.
        attribute: The property that names the class; None takes QuPath's classification, "" none.

    Raises:
        DataError: The content is damaged, or in other coordinates than pixels.
    """
    if isinstance(content, dict) and content.get("crs") is not None:
        raise DataError(
            f"{path}: is in the coordinates of a map (it has a crs); expected pixels, so burn it into masks with the program "
            "of the map"
        )
    single = isinstance(content, dict) and content.get("type") == "Feature"
    tree = (
        content
        if isinstance(content, dict) and not single
        else {"features": [content] if single else content}
    )
    left_out: Counter[str] = Counter()
    shapes: list[Shape] = []
    for feature in understood(_Features, tree, path).features:
        geometry = feature.geometry
        if geometry is None or isinstance(geometry, _NoArea):
            left_out["feature without geometry" if geometry is None else geometry.type] += 1
            continue
        polygons = [geometry.coordinates] if isinstance(geometry, _Polygon) else geometry.coordinates
        kind = _class(
            feature.properties or {}, attribute, f"{path}: feature {len(shapes) + left_out.total() + 1}"
        )
        shapes.append(Shape(kind, tuple(outline(*rings) for rings in polygons)))
    names = sorted({shape.name for shape in shapes if shape.name})
    return Annotations(path, (Drawing(path.stem, tuple(shapes)),), tuple(names), left_out)


def _class(properties: dict[str, Any], attribute: str | None, place: str) -> str | None:
    value = properties.get("classification" if attribute is None else attribute)
    if isinstance(value, dict):
        value = value.get("name")
    try:
        return name(value)
    except ValueError as error:
        raise DataError(f"{place}: its {attribute or 'classification'} {error}; mend it there") from None
