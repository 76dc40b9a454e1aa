"""A drawing as a mask: shapes painted one over the other, seen by window like any image."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from patchseg.errors import DataError
from patchseg.imaging import Box, raster
from patchseg.imaging.source import Held
from patchseg.labels.naming import Values
from patchseg.labels.rasterize import cover
from patchseg.labels.shapes import Annotations, Area, Drawing, Runs

_BAND = 2**22  # pixels painted at a time


class Tally(NamedTuple):
    """What painting a drawing comes to.

    Attributes:
        pixels: How many pixels have each of the 256 values, (256,) int64.
        overwritten: Pixels that a later shape took from one of another value.
        empty: Shapes that hold no pixel's centre, or lie outside.
    """

    pixels: NDArray[np.int64]
    overwritten: int
    empty: int


@dataclass(frozen=True)
class Drawn:
    """What is drawn on an image, and the values that stand for it once they are known.

    Attributes:
        file: The annotation file.
        drawing: The shapes.
        shape: (H, W) of the image.
        values: The value of each name of a class in the file.
        unlabeled: The value where nothing is drawn.
    """

    file: Annotations
    drawing: Drawing
    shape: tuple[int, int]
    values: Values = field(default_factory=dict)
    unlabeled: int = 0

    def open(self) -> "DrawnSource":
        """Open the mask that the drawing is: uint8 values."""
        return DrawnSource(self)

    def tally(self) -> Tally:
        """Paint it once, band by band, to see what comes of it."""
        source = self.open()
        height, width = self.shape
        pixels, overwritten = np.zeros(256, np.int64), 0
        seen = np.zeros(len(self.drawing.shapes), np.bool_)
        for band in bands(Box(0, 0, height, width)):
            canvas, again = source.paint(band, seen)
            pixels += np.bincount(source.table[canvas].reshape(-1), minlength=256)
            overwritten += again
        return Tally(pixels, overwritten, int((~seen).sum()))


def bands(box: Box) -> list[Box]:
    """Cut a box into bands of rows that are painted at a time."""
    rows = max(1, _BAND // max(1, box.width))
    return [
        Box(top, box.left, min(rows, box.bottom - top), box.width) for top in range(box.top, box.bottom, rows)
    ]


def require_fit(drawing: Drawing, path: Path, image: Path, shape: tuple[int, int]) -> None:
    """Raise a `DataError` when a drawing was made on an image of another size."""
    size = drawing.size
    if size is None:
        inside = [part.box for s in drawing.shapes for part in s.parts if isinstance(part, Runs)]
        size = (max((box.bottom for box in inside), default=0), max((box.right for box in inside), default=0))
        if size[0] <= shape[0] and size[1] <= shape[1]:
            return
    if size != shape:
        text = f"{path}: {drawing.image} is {size[0]} x {size[1]} pixels, {image} is {shape[0]} x {shape[1]}"
        if size == shape[::-1] and raster.orientation(image) >= 5:
            raise DataError(
                f"{text} once turned upright by its EXIF orientation; save the image upright and draw on that"
            )
        raise DataError(f"{text}; rows x columns must be equal, so give the image that was drawn on")


class DrawnSource:
    """A drawing as an `ImageSource` of one channel; holds no pixel, and paints a window when it is read."""

    def __init__(self, drawn: Drawn) -> None:
        self.shape = (*drawn.shape, 1)
        self.dtype = np.dtype(np.uint8)
        self.palette: NDArray[np.uint8] | None = None
        self.held = Held()
        shades = sorted(set(drawn.values.values()))
        self.table = np.array([drawn.unlabeled, *shades], np.uint8)  # canvas -> values; 0 is unpainted
        self._parts: list[tuple[int, int, Area]] = [
            (number, 1 + shades.index(drawn.values[shape.name]), part)
            for number, shape in enumerate(drawn.drawing.shapes)
            for part in shape.parts
        ]
        self._bounds = np.array([part.bounds for _, _, part in self._parts], np.float64).reshape(-1, 4)

    def read(self, box: Box) -> NDArray[np.uint8]:
        """Return the values of a box inside the image, (h, w, 1) uint8."""
        painted = [self.table[self.paint(band)[0]] for band in bands(box)]
        return np.concatenate(painted)[:, :, None] if painted else np.zeros((0, box.width, 1), np.uint8)

    def paint(self, box: Box, seen: NDArray[np.bool_] | None = None) -> tuple[NDArray[np.uint8], int]:
        """Paint the shapes that reach a box, in order.

        Args:
            box: Inside the image.
            seen: (n,) bool; shape i is marked when it has a pixel in the box.

        Returns:
            The places in `table`, (h, w) uint8, and how many pixels a shape took from one of another value.
        """
        canvas, overwritten = np.zeros((box.height, box.width), np.uint8), 0
        top, left, bottom, right = self._bounds.T
        near = (bottom > box.top) & (top < box.bottom) & (right > box.left) & (left < box.right)
        for index in np.flatnonzero(near).tolist():
            number, shade, part = self._parts[index]
            within, pixels = cover(part, box)
            view = canvas[within.top - box.top :, within.left - box.left :][: within.height, : within.width]
            before = view[pixels]
            overwritten += int(((before != 0) & (before != shade)).sum())
            view[pixels] = shade
            if seen is not None and len(before):
                seen[number] = True
        return canvas, overwritten

    def valid(self, box: Box) -> NDArray[np.bool_] | None:
        """Return None: a drawing says something of every pixel."""

    def close(self) -> None:
        """Let go of nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
