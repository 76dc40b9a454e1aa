"""Rows of an image as they are predicted -> sums over the cells of a grid -> what is known of each crop.

Crops lie like tiles at half overlap, so they share cells; memory goes with the number of cells, never with the image.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchseg.imaging import Box
from patchseg.inference.tiling import Grid

Floats = NDArray[np.float64]


class Candidates(NamedTuple):
    """Crops of an image that may be suggested.

    Attributes:
        boxes: Where they lie.
        means: (n, F) means of each plane of numbers over the pixels of each crop.
    """

    boxes: list[Box]
    means: Floats


class Cells:
    """Adds up planes of numbers over the cells between all borders of crops.

    Args:
        shape: Rows and columns of the image.
        crop: Side of the crops; where the image is smaller, so are they.
        planes: How many numbers a pixel has.

    >>> cells = Cells((2, 3), crop=2, planes=1)
    >>> cells.add(0, 0, np.array([[1, 2, 5], [1, 2, 5]]), top=0)
    >>> found = cells.candidates()
    >>> [box.left for box in found.boxes], found.means.tolist()
    ([0, 1], [[1.5], [3.5]])
    """

    def __init__(self, shape: tuple[int, int], crop: int, planes: int) -> None:
        self._grid = Grid(shape, crop)
        height, width = self._grid.tile_shape
        self._rows, self._columns = _borders(self._grid.rows, height), _borders(self._grid.columns, width)
        self._sums = np.zeros((planes, len(self._rows) - 1, len(self._columns) - 1))

    def add(self, plane: int, left: int, numbers: NDArray[np.generic], *, top: int) -> None:
        """Add numbers of a plane, (h, w), that begin at a row and a column of the image."""
        first_row, down = _parts(self._rows, top, numbers.shape[0])
        first_column, across = _parts(self._columns, left, numbers.shape[1])
        lines = np.add.reduceat(numbers, across, axis=1, dtype=np.float64)
        sums = np.add.reduceat(lines, down, axis=0)
        self._sums[plane, first_row : first_row + len(down), first_column : first_column + len(across)] += (
            sums
        )

    def candidates(self) -> Candidates:
        """Return all crops, row by row, with the means of each plane."""
        height, width = self._grid.tile_shape
        table = np.pad(self._sums.cumsum(1).cumsum(2), ((0, 0), (1, 0), (1, 0)))  # (F, rows + 1, columns + 1)
        tops, bottoms = (np.searchsorted(self._rows, np.add(self._grid.rows, far)) for far in (0, height))
        lefts, rights = (
            np.searchsorted(self._columns, np.add(self._grid.columns, far)) for far in (0, width)
        )
        sums = (
            table[:, bottoms][:, :, rights] - table[:, tops][:, :, rights]
            - table[:, bottoms][:, :, lefts] + table[:, tops][:, :, lefts]
        )  # fmt: skip
        return Candidates(list(self._grid), sums.reshape(len(sums), -1).T / (height * width))


def _borders(starts: tuple[int, ...], length: int) -> NDArray[np.int64]:
    """Return where crops begin or end along an axis, ascending.

    >>> _borders((0, 2, 3), 4).tolist()
    [0, 2, 3, 4, 6, 7]
    """
    return np.unique([*starts, *(start + length for start in starts)])


def _parts(borders: NDArray[np.int64], start: int, length: int) -> tuple[int, NDArray[np.int64]]:
    """Return the first cell that a stretch touches, and where in the stretch each cell begins.

    >>> first, begins = _parts(np.array([0, 2, 3, 7]), 1, 4)
    >>> first, begins.tolist()
    (0, [0, 1, 2])
    """
    first = int(np.searchsorted(borders, start, side="right")) - 1
    stop = int(np.searchsorted(borders, start + length))
    return first, np.maximum(borders[first:stop] - start, 0)
