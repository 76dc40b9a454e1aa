"""Regions -> GeoJSON in pixels, as QuPath imports it: a polygon a region, written as it comes.

https://qupath.readthedocs.io/en/stable/docs/advanced/exporting_annotations.html, RFC 7946. `geojson.py` reads it again.
"""

import json
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from patchseg.imaging import picture
from patchseg.imaging.files import whole
from patchseg.labels.classes import Classes
from patchseg.labels.outlines import Region


class GeoJsonWriter:
    """Takes regions; a context manager whose file appears whole, or not at all after an error.

    Args:
        path: Where the file shall appear; programs ask for the suffix .geojson.
        classes: The names and colours of the classes.
        pixel_size: Height and width of a pixel in micrometres, for areas in square micrometres beside those in pixels.

    Raises:
        UsageError: The folder cannot be written to.
        PatchsegError: The disk is full.
    """

    def __init__(self, path: Path, classes: Classes, pixel_size: tuple[float, float] | None = None) -> None:
        self._path, self._pixel_size = path, pixel_size
        self._classifications = [
            {"name": name, "color": list(picture.rgb(color))}
            for name, color in zip(classes.names, classes.colors, strict=True)
        ]
        self._files = ExitStack()
        self._before = ""  # what stands between a feature and the one before

    def write(self, regions: Iterable[Region]) -> None:
        """Append regions, a line each."""
        for region in regions:
            self._file.write(f"{self._before}{json.dumps(self._feature(region), ensure_ascii=False)}")
            self._before = ",\n"

    def __enter__(self) -> Self:
        part = self._files.enter_context(whole(self._path))
        self._file = self._files.enter_context(part.open("w", encoding="utf-8", newline="\n"))
        self._file.write('{"type": "FeatureCollection", "features": [\n')
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            with self._files:
                self._file.write("\n]}\n")
        else:
            self._files.__exit__(kind, error, trace)

    def _feature(self, region: Region) -> dict[str, Any]:
        areas: dict[str, float] = {"Area (pixels)": region.area}
        if self._pixel_size is not None:
            areas["Area (µm²)"] = region.area * self._pixel_size[0] * self._pixel_size[1]
        return {
            "type": "Feature",
            "geometry": {
                "type": "Polygon",
                "coordinates": [_closed(ring) for ring in (region.outer, *region.holes)],
            },
            "properties": {
                "objectType": "annotation",
                "classification": self._classifications[region.class_index],
                "isLocked": False,
                "measurements": areas,
            },
        }


def _closed(ring: NDArray[np.int64]) -> list[list[int]]:
    """Return a ring as GeoJSON has it: x and y of the corners, the first once more at the end.

    >>> _closed(np.array([[0, 1], [0, 3], [2, 3]]))
    [[1, 0], [3, 0], [3, 2], [1, 0]]
    """
    points: list[list[int]] = ring[:, ::-1].tolist()
    return [*points, points[0]]
