"""Rows of class indices -> outlines of regions, as polygons with holes; a mask of any height passes through once.

A region is a set of pixels of one class that are joined by their sides. An outline has corners only, at corners of pixels:
horizontal edges join the corners of a region on one line of the grid two by two, vertical ones those in one column. So what
is kept of a mask are the corners of regions that may go on below, and one row; edges are found once a region is whole.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_BAND = 2**20  # pixels traced at a time
_FEW = 2**16  # corners that are worth no look for regions that are whole

_CORNER = np.dtype(
    [("region", np.int64), ("row", np.int32), ("column", np.int32), ("code", np.uint8), ("across", np.bool_)]
)
# The pixels around a point of the grid are northwest, southwest, northeast, southeast; where each has its neighbours:
_BESIDE, _OVER, _OPPOSITE = [2, 3, 0, 1], [1, 0, 3, 2], [3, 2, 1, 0]
_DOWN, _RIGHT = np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])


class Region(NamedTuple):
    """Pixels of one class that are joined by their sides.

    Its outlines are simple: none meets itself, though two may meet at a point. They join their last corner to the first,
    have no corner on a straight edge, begin with the topmost, of those the leftmost, and have the region on the right hand
    as one sees it, rows running down: the outer ring runs clockwise, holes counterclockwise.

    Attributes:
        class_index: Of all its pixels.
        outer: The ring around it, (n, 2) int64 corners of pixels: row and column.
        holes: The rings inside, alike.
        area: In pixels.
    """

    class_index: int
    outer: NDArray[np.int64]
    holes: tuple[NDArray[np.int64], ...]
    area: int


class Outliner:
    """Takes the rows of a mask from top to bottom, and gives back the regions that are whole.

    However the rows are cut, the same regions come in the same order: by their last row, then by their first pixel.
    They are looked for when it is worth it, so one may come later than the row below it.

    Args:
        width: Of the mask.
        wanted: The indices of the classes that are outlined, each below 255.

    >>> outliner = Outliner(3)
    >>> early = outliner.push(np.array([[0, 1, 0]], np.uint8))
    >>> late = outliner.push(np.array([[1, 1, 0]], np.uint8))
    >>> [region] = early + late + outliner.finish()
    >>> region.class_index, region.outer.tolist(), region.holes, region.area
    (1, [[0, 1], [0, 2], [2, 2], [2, 0], [1, 0], [1, 1]], (), 3)
    """

    def __init__(self, width: int, wanted: Iterable[int] = range(1, 255)) -> None:
        # 0 stands for all that is not wanted, and for what lies around the mask.
        self._codes = np.zeros(256, np.uint8)
        for index in wanted:
            self._codes[index] = index + 1
        self._rows = 0
        self._above = np.zeros((1, width + 2), np.uint8)  # codes of the last row
        self._regions = np.zeros(width + 2, np.int64)  # its regions; 0 is none
        self._parents = [0]  # of each region one that it is joined to, itself at the root
        # In the order of rows, columns, and from left to right of a point.
        self._corners = [np.zeros(0, _CORNER)]
        self._held = self._awaited = 0  # corners and parents; those that the last look left

    def push(self, rows: NDArray[np.uint8]) -> list[Region]:
        """Take rows, (n, W) uint8 class indices, and return regions that are whole."""
        step = max(1, _BAND // rows.shape[1])
        for top in range(0, len(rows), step):
            self._trace(np.pad(self._codes[rows[top : top + step]], ((0, 0), (1, 1))))
        # A look costs what is held, so that much is to come before the next.
        return self._whole() if self._held > 2 * self._awaited + _FEW else []

    def finish(self) -> list[Region]:
        """Return the regions that are left, as nothing follows."""
        self._trace(np.zeros_like(self._above))
        return self._whole()

    def _trace(self, codes: NDArray[np.uint8]) -> None:
        """Find the corners on the upper side of each of some rows, (n, W + 2) uint8, and how regions go on in them."""
        from skimage.measure import label

        block = np.concatenate([self._above, codes])
        labels, count = label(block, background=0, connectivity=1, return_num=True)  # type: ignore[no-untyped-call]
        numbers = np.concatenate([[0], np.arange(count) + len(self._parents)])
        self._parents.extend(numbers[1:].tolist())
        self._join(numbers[labels[0]])
        corners, pixels = _corners(block)
        corners["region"] = numbers[labels[pixels]]
        corners["row"] += self._rows
        self._corners.append(corners)
        self._held += len(corners) + count
        self._rows += len(codes)
        self._above, self._regions = block[-1:], numbers[labels[-1]]

    def _join(self, again: NDArray[np.int64]) -> None:
        """Say that the regions of the last row are those, (W + 2,) int64, that it has together with what follows."""
        begins = np.flatnonzero(np.diff(again)) + 1
        for pair in zip(self._regions[begins].tolist(), again[begins].tolist(), strict=True):
            older, newer = sorted(map(self._root, pair))
            self._parents[newer] = older

    def _root(self, region: int) -> int:
        while (parent := self._parents[region]) != region:
            self._parents[region] = self._parents[parent]
            region = parent
        return region

    def _whole(self) -> list[Region]:
        """Take out the regions that do not reach the last row, and number the others afresh."""
        roots = np.array(self._parents)
        while (roots != roots[roots]).any():
            roots = roots[roots]
        corners = np.concatenate(self._corners)
        corners["region"] = roots[corners["region"]]
        last = roots[self._regions]
        awaited = np.unique(last)  # 0 is there, beside the mask
        goes_on = np.isin(corners["region"], awaited)
        kept = corners[goes_on]
        kept["region"] = np.searchsorted(awaited, kept["region"])
        self._regions, self._parents = np.searchsorted(awaited, last), list(range(len(awaited)))
        self._corners, self._held = [kept], len(kept) + len(awaited)
        self._awaited = self._held
        return _regions(corners[~goes_on])


def _corners(
    block: NDArray[np.uint8],
) -> tuple[NDArray[np.void], tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return the corners between the rows of a block, (n + 1, W + 2) uint8, and a pixel of each one's region.

    A pixel has one where both neighbours at a point differ from it, and one where only the pixel opposite does.
    """
    across, down = block[:, 1:] != block[:, :-1], block[1:] != block[:-1]
    turning = (across[1:] | across[:-1]) & (down[:, 1:] | down[:, :-1])  # no edge runs straight through
    rows, columns = (places[:, None] for places in np.nonzero(turning))
    around = block[rows + _DOWN, columns + _RIGHT]  # (n, 4)
    beside, over, opposite = (around != around[:, order] for order in (_BESIDE, _OVER, _OPPOSITE))
    concave = ~beside & ~over & opposite
    point, place = np.nonzero(((beside & over) | concave) & (around != 0))
    corners = np.zeros(len(point), _CORNER)
    corners["row"], corners["column"] = rows[point, 0], columns[point, 0]
    corners["code"] = around[point, place]
    # With the region on the right hand, one leaves the corners of these two along the line, of the others in the column.
    corners["across"] = (_DOWN == _RIGHT)[place] != concave[point, place]
    return corners, (rows[point, 0] + _DOWN[place], columns[point, 0] + _RIGHT[place])


def _following(corners: NDArray[np.void]) -> NDArray[np.int64]:
    """Return the place of the corner that follows each on its ring; corners lie in the order of regions and points.

    Where a region meets itself at a point, with two corners, each edge on the line is joined to the edge in the column
    that is not of the same pixel. Otherwise the ring would meet itself there.
    """
    places = np.arange(len(corners))
    twice = np.ones(max(len(corners) - 1, 0), np.bool_)
    for field in ("region", "row", "column"):
        twice &= corners[field][1:] == corners[field][:-1]
    # The left corner has the edge to the left; it takes the upper one where pixels lie northeast and southwest.
    crossed = np.flatnonzero(twice & corners["across"][:-1])
    ranks = places.copy()
    ranks[crossed], ranks[crossed + 1] = crossed + 1, crossed
    down = np.lexsort((ranks, corners["column"], corners["region"]))
    partners = np.empty_like(places)
    partners[down[::2]], partners[down[1::2]] = down[1::2], down[::2]
    return np.where(corners["across"], places ^ 1, partners)


def _rings(following: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the cycles of a permutation, (n,) int64 one after the other, and where each begins.

    >>> _rings(np.array([2, 1, 3, 0]))
    (array([0, 2, 3, 1]), array([0, 3]))
    """
    cycles = np.empty_like(following)
    hops, put, seen = following.data, cycles.data, bytearray(len(following))
    begins, count, start = [], 0, seen.find(0)
    while start >= 0:
        begins.append(count)
        place = start
        while not seen[place]:
            seen[place] = 1
            put[count] = place
            count += 1
            place = hops[place]
        start = seen.find(0, start)
    return cycles, np.array(begins, np.int64)


def _regions(corners: NDArray[np.void]) -> list[Region]:
    """Return the regions that have these corners, by last row, then by first pixel."""
    if not len(corners):
        return []
    corners = corners[np.argsort(corners["region"], kind="stable")]
    following = _following(corners)
    cycles, begins = _rings(following)
    points = np.stack([corners["row"], corners["column"]], axis=1).astype(np.int64)
    left = points[:, 1] * (
        points[following, 0] - points[:, 0]
    )  # pixels left of the edge to the next corner, signed
    points, first = points[cycles], corners[cycles[begins]]
    # The ring of a region's first corner is around it, those that follow are holes.
    around = np.flatnonzero(np.diff(first["region"], prepend=-1))
    areas = np.add.reduceat(left[cycles], begins[around])
    last_rows = np.maximum.reduceat(points[:, 0], begins[around])
    codes, stops = first["code"].tolist(), [*around[1:].tolist(), len(begins)]
    ends = [*begins[1:].tolist(), len(points)]
    # Each ring is a copy: a region that is kept shall not keep all that were found with it.
    rings = [points[begin:end].copy() for begin, end in zip(begins.tolist(), ends, strict=True)]
    regions = []
    for place in np.lexsort((first["column"][around], first["row"][around], last_rows)).tolist():
        ring, stop = around[place], stops[place]
        regions.append(Region(codes[ring] - 1, rings[ring], tuple(rings[ring + 1 : stop]), int(areas[place])))
    return regions


def enclosed(ring: NDArray[np.int64]) -> int:
    """Return how many pixels a ring encloses, below 0 where it runs around a hole.

    >>> enclosed(np.array([[0, 0], [0, 3], [2, 3], [2, 0]]))
    6
    """
    rows, columns = ring.T
    return int(columns @ (np.roll(rows, -1) - rows))
