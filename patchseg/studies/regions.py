"""Rows of codes -> connected regions with what is counted in them; a mask of any height passes through once.

Unlike `labels.outlines`, which keeps corners and gives polygons, this keeps sums, boxes, and where regions come near each
other. What is held grows with the regions, not with the mask.
"""

from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchseg.imaging import Box

CELL = 8  # pixels; regions that are in one square of so many, or in neighbouring ones, are near each other
_CODE, _TOP, _LEFT, _BOTTOM, _RIGHT, _PIXELS, _SUMS = range(7)


class Region(NamedTuple):
    """Pixels of one code that are joined by their sides or corners.

    Attributes:
        code: Of all its pixels.
        box: Around it.
        pixels: How many it has.
        sums: Of each of the values that came with its pixels.
        near: The places, in the list of regions, of others that come within 8 to 16 pixels of it.
    """

    code: int
    box: Box
    pixels: int
    sums: tuple[float, ...]
    near: frozenset[int] = frozenset()


class RegionFinder:
    """Takes rows of codes from top to bottom, and gives the regions at the end.

    However the rows are cut, the same regions come in the same order: by their first pixel.

    Args:
        width: Of the rows.
        values: How many values come with each pixel.

    >>> finder = RegionFinder(4, values=1)
    >>> for row in ([[0, 7, 0, 9]], [[7, 0, 0, 9]]):
    ...     finder.push(np.array(row, np.uint16), np.full((1, 1, 4), 0.5, np.float32))
    >>> [(region.code, tuple(region.box), region.pixels, region.sums) for region in finder.finish()]
    [(7, (0, 0, 2, 2), 2, (1.0,)), (9, (0, 3, 2, 1), 2, (1.0,))]
    """

    def __init__(self, width: int, *, values: int) -> None:
        self._rows = self._count = 0
        self._above = np.zeros((1, width), np.uint16)  # codes of the last row
        self._numbers = np.zeros(width, np.int64)  # its regions, from 1 on
        self._joined = [np.zeros((0, 2), np.int64)]  # regions that are one
        self._parts = [np.zeros((_SUMS + values, 0))]  # of each region code, box, pixels and sums
        self._cells = [np.zeros((0, 3), np.int64)]  # row, column, region

    def push(self, codes: NDArray[np.uint16], values: NDArray[np.float32]) -> None:
        """Take rows.

        Args:
            codes: (n, W); 0 belongs to no region.
            values: (V, n, W), to be summed over each region.
        """
        from skimage.measure import label

        # The last row comes again, and with it the regions that go on under new numbers.
        block = np.concatenate([self._above, codes])
        labels, count = label(block, background=0, connectivity=2, return_num=True)  # type: ignore[no-untyped-call]
        numbers = np.where(labels > 0, labels + self._count, 0)
        again = np.stack([self._numbers, numbers[0]], axis=1)
        self._joined.append(np.unique(again[self._numbers > 0], axis=0))
        rows, columns = np.nonzero(codes)
        places = labels[1:][rows, columns] - 1
        parts = _empty(count, len(values))
        parts[_CODE][places] = codes[rows, columns]
        parts[_PIXELS] = np.bincount(places, minlength=count)
        for number, value in enumerate(values):
            parts[_SUMS + number] = np.bincount(places, value[rows, columns], minlength=count)
        rows += self._rows
        np.minimum.at(parts[_TOP], places, rows)
        np.minimum.at(parts[_LEFT], places, columns)
        np.maximum.at(parts[_BOTTOM], places, rows + 1)
        np.maximum.at(parts[_RIGHT], places, columns + 1)
        self._parts.append(parts)
        cells = np.stack([rows // CELL, columns // CELL, places + self._count + 1], axis=1)
        self._cells.append(np.unique(cells, axis=0))
        self._rows, self._count = self._rows + len(codes), self._count + count
        self._above, self._numbers = block[-1:], numbers[-1]

    def finish(self) -> list[Region]:
        """Return the regions."""
        owners, count = self._owners()
        parts = np.concatenate(self._parts, axis=1)
        whole = _empty(count, len(parts) - _SUMS)
        for column, least in ((_TOP, True), (_LEFT, True), (_BOTTOM, False), (_RIGHT, False), (_CODE, False)):
            (np.minimum if least else np.maximum).at(whole[column], owners, parts[column])
        for column in range(_PIXELS, len(parts)):
            whole[column] = np.bincount(owners, parts[column], minlength=count)
        near = self._near(owners, count)
        return [_region(whole[:, place], near[place]) for place in range(count)]

    def _owners(self) -> tuple[NDArray[np.int64], int]:
        """Return the place of the whole region that each part belongs to, in the order of first pixels."""
        parents = list(range(self._count + 1))

        def root(number: int) -> int:
            while (parent := parents[number]) != number:
                parents[number] = parents[parent]
                number = parent
            return number

        for one, other in np.concatenate(self._joined).tolist():
            first, second = sorted((root(one), root(other)))
            parents[second] = first
        roots = np.array([root(number) for number in range(1, self._count + 1)], np.int64)
        names, owners = np.unique(roots, return_inverse=True)
        return owners, len(names)

    def _near(self, owners: NDArray[np.int64], count: int) -> list[set[int]]:
        """Return for each region those that have a cell beside one of its own."""
        cells = np.concatenate(self._cells)
        held: dict[tuple[int, int], list[int]] = {}
        for row, column, number in cells.tolist():
            held.setdefault((row, column), []).append(int(owners[number - 1]))
        near: list[set[int]] = [set() for _ in range(count)]
        for (row, column), here in held.items():
            for down, right in product((-1, 0, 1), repeat=2):
                there = held.get((row + down, column + right), ())
                for owner in here:
                    near[owner].update(there)
        return [others - {place} for place, others in enumerate(near)]


def _empty(count: int, values: int) -> NDArray[np.float64]:
    """Return columns for so many regions that hold no pixel yet."""
    parts = np.zeros((_SUMS + values, count))
    parts[_TOP], parts[_LEFT] = np.inf, np.inf
    return parts


def _region(column: NDArray[np.float64], near: set[int]) -> Region:
    code, top, left, bottom, right, pixels = (int(value) for value in column[:_SUMS])
    box = Box(top, left, bottom - top, right - left)
    return Region(code, box, pixels, tuple(column[_SUMS:].tolist()), frozenset(near))
