"""Tiles with a halo instead of an overlap: put together, their middles equal one big forward pass.

A pixel of the output depends on pixels of the input up to a halo away. A tile is predicted with that halo around
the zone that is kept of it, and the zones lie side by side. Where a tile ends at the border of the image it has no halo
there: the network pads as it would pad the whole.

Source: the tiles with a border as wide as the radius of the receptive field of the National Institute of Standards
and Technology's semantic segmentation U-Net (https://github.com/usnistgov/semantic-segmentation-unet).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from patchseg.errors import UsageError
from patchseg.imaging.box import Box


class Span(NamedTuple):
    """A tile along one axis, and the zone of it that is kept, as first pixels and those after the last.

    Attributes:
        start: Of the tile.
        stop: Of the tile.
        zone_start: Of the zone.
        zone_stop: Of the zone.
    """

    start: int
    stop: int
    zone_start: int
    zone_stop: int


def spans(size: int, tile: int, halo: int, factor: int) -> list[Span]:
    """Return the tiles along one axis of `size` pixels; see `Zones`.

    Tiles of 8 with a halo of 2, a network that halves once: zones of 4 between, of 6 at the ends.

    >>> [tuple(span) for span in spans(15, 8, 2, 2)]
    [(0, 8, 0, 6), (4, 12, 6, 10), (8, 15, 10, 15)]
    """
    if size <= tile:
        return [Span(0, size, 0, size)]
    last = -(-size // factor) * factor - tile
    found, edge = [], 0
    while (start := max(0, edge - halo)) < last:
        found.append(Span(start, start + tile, edge, start + tile - halo))
        edge = found[-1].zone_stop
    return [*found, Span(last, size, edge, size)]


@dataclass(frozen=True)
class Zones:
    """The tiles that cover an image without overlap but for their halos, row-major.

    Tiles start at multiples of `factor`, the multiple to which the network pads its input, so that its poolings fall on the
    same pixels as in one big forward; so do the edges of the zones. The last tile ends at the border, and is smaller where the
    image's size is no multiple. Where the image is smaller than the tile, it is one tile.

    Args:
        shape: Rows and columns of the image.
        tile: Side of the square tiles in pixels, a multiple of `factor`.
        halo: Pixels of a tile beyond its zone, a multiple of `factor`.
        factor: What the network's input is padded to a multiple of.
        part: The pixels that are wanted, inside the image; None for all.

    Raises:
        UsageError: The tile is no multiple of `factor`, or no larger than both its halos.
    """

    shape: tuple[int, int]
    tile: int
    halo: int
    factor: int
    part: Box | None = None

    def __post_init__(self) -> None:
        smallest = 2 * self.halo + self.factor
        if self.tile % self.factor or (self.tile < smallest and max(self.shape) > self.tile):
            raise UsageError(
                f"tiles of {self.tile} pixels cannot be exact with this network; expected a multiple of {self.factor}, "
                f"{smallest} or more, so choose another --tile"
            )

    @property
    def area(self) -> Box:
        """The pixels that are wanted."""
        return self.part or Box(0, 0, *self.shape)

    @property
    def tile_shape(self) -> tuple[int, int]:
        """Rows and columns of the largest tiles."""
        height, width = self.shape
        return min(self.tile, height), min(self.tile, width)

    @property
    def span(self) -> Box:
        """The pixels that the tiles cover."""
        top, left = self.row_spans[0].start, self.column_spans[0].start
        return Box(top, left, self.row_spans[-1].stop - top, self.column_spans[-1].stop - left)

    @property
    def row_ranges(self) -> list[tuple[int, int]]:
        """First row, and the one after the last, of each row of tiles."""
        return [(span.start, span.stop) for span in self.row_spans]

    @cached_property
    def row_spans(self) -> tuple[Span, ...]:
        """The rows of tiles, from the top down."""
        return self._touching(0, self.area.top, self.area.bottom)

    @cached_property
    def column_spans(self) -> tuple[Span, ...]:
        """The columns of tiles, from left to right."""
        return self._touching(1, self.area.left, self.area.right)

    def _touching(self, axis: int, start: int, stop: int) -> tuple[Span, ...]:
        found = spans(self.shape[axis], self.tile, self.halo, self.factor)
        return tuple(span for span in found if span.zone_start < stop and span.zone_stop > start)

    def __len__(self) -> int:
        return len(self.row_spans) * len(self.column_spans)

    def __iter__(self) -> Iterator[Box]:
        return (
            Box(row.start, column.start, row.stop - row.start, column.stop - column.start)
            for row, column in product(self.row_spans, self.column_spans)
        )


class Joiner:
    """Lays the zones of tiles side by side; the counterpart of `Blender`.

    Memory: the rows of one row of zones, K x zone x W x 4 bytes, and those handed out.

    Args:
        zones: The tiles that will come.
        classes: Number of classes K.
        device: Where to gather the rows; they stay there.
    """

    def __init__(self, zones: Zones, classes: int, device: torch.device | str = "cpu") -> None:
        self._area, self._classes, self._device = zones.area, classes, device
        self._coming = iter(product(zones.row_spans, zones.column_spans))
        self._last = zones.column_spans[-1]
        self._band = torch.empty(0)

    def add(self, box: Box, probabilities: Tensor) -> Tensor | None:
        """Keep the zone of the next tile; return the rows that it completes, if it is the last of a row of tiles.

        Args:
            box: The next box of the zones.
            probabilities: (K, h, w), any floating type.

        Returns:
            (K, rows, W) float32, the wanted rows below those returned before.
        """
        row, column = next(self._coming)
        assert (box.top, box.left) == (row.start, column.start), f"tiles should come in order (got {box})"
        top, bottom = max(row.zone_start, self._area.top), min(row.zone_stop, self._area.bottom)
        left, right = max(column.zone_start, self._area.left), min(column.zone_stop, self._area.right)
        if left == self._area.left:
            self._band = torch.empty(self._classes, bottom - top, self._area.width, device=self._device)
        zone = probabilities[:, top - box.top : bottom - box.top, left - box.left : right - box.left]
        self._band[:, :, left - self._area.left : right - self._area.left] = zone
        return self._band if column == self._last else None

    def finish(self) -> None:
        """Return nothing: all rows were returned with the last tile of their row."""
        assert next(self._coming, None) is None, "all tiles should be added before the end"

    def to_host(self) -> None:
        """Go on in the host's memory, where the device has none left."""
        self._device, self._band = "cpu", self._band.cpu()
