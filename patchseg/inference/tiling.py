"""Where the tiles of an image lie.

The size of an image goes in, the boxes of its tiles come out, row by row. Nothing here touches a pixel, so
that the plan of a job costs neither memory nor an import.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from patchseg.errors import UsageError
from patchseg.imaging.box import Box


@dataclass(frozen=True)
class Grid:
    """The tiles that cover an image, in the order in which they are predicted and blended: row-major.

    Along each axis tiles start at the multiples of the stride; the last one is shifted inside, so that it ends
    at the border and every tile has the same size. Where the image is smaller than the tile, so are the tiles.
    Nine columns with tiles of 4 and half of each shared, hence a stride of 2:

        column    0 1 2 3 4 5 6 7 8
        tile 0    ■ ■ ■ ■
        tile 1        ■ ■ ■ ■
        tile 2            ■ ■ ■ ■
        tile 3              ■ ■ ■ ■    starts at 5, not 6: shifted inside

    >>> grid = Grid((3, 9), tile=4)
    >>> grid.rows, grid.columns, grid.tile_shape
    ((0,), (0, 2, 4, 5), (3, 4))
    >>> len(grid), list(grid)[-1]
    (4, Box(top=0, left=5, height=3, width=4))

    A grid of a part of the image has those of these tiles that touch it, so that any part can be had alone.

    Args:
        shape: Rows and columns of the image.
        tile: Side of the square tiles in pixels.
        overlap: Share of a tile that its neighbour covers too; the stride is the rest, and at least one pixel.
        part: The pixels that are wanted, inside the image; None for all.

    Raises:
        UsageError: No two sizes, a size below one pixel, or an overlap outside [0, 1).
    """

    shape: tuple[int, int]
    tile: int
    overlap: float = 0.5
    part: Box | None = None

    def __post_init__(self) -> None:
        sides = list(self.shape)
        if len(sides) != 2 or min(sides) < 1:
            raise UsageError(
                f"an image's shape should be its rows and columns, 1 or more each (got {self.shape})"
            )
        if self.tile < 1:
            raise UsageError(f"the side of a tile should be 1 pixel or more (got {self.tile})")
        if not 0 <= self.overlap < 1:
            raise UsageError(f"the overlap of tiles should be 0 or more and below 1 (got {self.overlap})")

    @property
    def stride(self) -> int:
        """Pixels from the start of a tile to that of the next."""
        return max(1, round(self.tile * (1 - self.overlap)))

    @property
    def tile_shape(self) -> tuple[int, int]:
        """Rows and columns of every tile."""
        height, width = self.shape
        return min(self.tile, height), min(self.tile, width)

    @property
    def area(self) -> Box:
        """The pixels that are wanted."""
        return self.part or Box(0, 0, *self.shape)

    @property
    def span(self) -> Box:
        """The pixels that the tiles cover."""
        top, left, (height, width) = self.rows[0], self.columns[0], self.tile_shape
        return Box(top, left, self.rows[-1] + height - top, self.columns[-1] + width - left)

    @property
    def row_ranges(self) -> list[tuple[int, int]]:
        """First row, and the one after the last, of each row of tiles."""
        return [(top, top + self.tile_shape[0]) for top in self.rows]

    @cached_property
    def rows(self) -> tuple[int, ...]:
        """The first row of each row of tiles, ascending."""
        starts = _starts(self.shape[0], self.tile_shape[0], self.stride)
        return tuple(
            top for top in starts if top < self.area.bottom and top + self.tile_shape[0] > self.area.top
        )

    @cached_property
    def columns(self) -> tuple[int, ...]:
        """The first column of each column of tiles, ascending."""
        starts = _starts(self.shape[1], self.tile_shape[1], self.stride)
        return tuple(
            left for left in starts if left < self.area.right and left + self.tile_shape[1] > self.area.left
        )

    def __len__(self) -> int:
        return len(self.rows) * len(self.columns)

    def __iter__(self) -> Iterator[Box]:
        return (Box(top, left, *self.tile_shape) for top in self.rows for left in self.columns)


def _starts(size: int, tile: int, stride: int) -> tuple[int, ...]:
    """Return the starts of tiles along one axis.

    >>> _starts(9, 4, 2)
    (0, 2, 4, 5)
    """
    last = size - tile
    return (*range(0, last, stride), last)
