"""Areas -> pixels: a pixel belongs to an area where its centre lies inside; the even-odd rule decides what is inside.

A centre on an edge belongs to what is left of a slanted or upright edge, and below a level one. So areas that share an
edge never share a pixel nor leave one out. It is the rule of GDAL's polygon filler too, except that GDAL also fills level
edges which run exactly through centres, when they run to the left.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from patchseg.imaging import Box
from patchseg.labels.shapes import Area, Outline, Ring, Runs

_CROSSINGS = 2**20  # of edges with rows, held at a time


def cover(area: Area, window: Box) -> tuple[Box, NDArray[np.bool_]]:
    """Return which pixels of a window belong to an area.

    Args:
        area: Of any extent; what lies outside the window takes neither time nor memory beyond its edges.
        window: A box of the image.

    Returns:
        The box of the window that the area can reach, and its pixels, (h, w) bool.

    >>> from patchseg.labels.shapes import rectangle
    >>> cover(rectangle(1, 0, 3, 2), Box(0, 0, 4, 4))
    (Box(top=0, left=1, height=2, width=2), array([[ True,  True],
           [ True,  True]]))
    """
    box = _meeting(area.bounds, window)
    if not box.height or not box.width:
        return box, np.zeros((box.height, box.width), np.bool_)
    return box, (_fill(area.rings, box) if isinstance(area, Outline) else _spread(area, box))


def _meeting(bounds: tuple[float, float, float, float], window: Box) -> Box:
    """Return the part of a window that reaches all pixels within some bounds."""
    low = np.maximum(np.floor(bounds[:2]), (window.top, window.left))
    high = np.minimum(np.ceil(bounds[2:]), (window.bottom, window.right))
    height, width = np.maximum(high - low, 0).astype(np.int64).tolist()
    top, left = np.minimum(low, (window.bottom, window.right)).astype(np.int64).tolist()
    return Box(top, left, height, width)


def _fill(rings: tuple[Ring, ...], box: Box) -> NDArray[np.bool_]:
    """Return the pixels of a box that lie inside an odd number of rings, (h, w) bool.

    Each edge that crosses the line through the centres of a row turns over all pixels to its right.
    """
    turns = np.zeros((box.height, box.width + 1), np.uint8)  # the last column takes what is right of the box
    for rows, x in _crossings(rings, box):
        # The first pixel whose centre is right of x; rounding x + 0.5 instead would go wrong just below a half.
        columns = np.minimum(np.maximum(np.floor(x - 0.5) + (1 - box.left), 0), box.width).astype(np.int64)
        np.add.at(turns.reshape(-1), (rows - box.top) * (box.width + 1) + columns, 1)
    np.add.accumulate(turns, axis=1, out=turns)  # runs over at 256, which keeps odd numbers odd
    return (turns[:, :-1] & 1).view(np.bool_)


def _crossings(rings: tuple[Ring, ...], box: Box) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Yield the rows of a box whose centre line an edge crosses, and the x of the crossings, some at a time."""
    xa, ya = np.concatenate(rings).T
    xb, yb = np.concatenate([part for ring in rings for part in (ring[1:], ring[:1])]).T
    # Upward and downward edges give the same x to the last bit, so that neighbours agree on a common edge.
    up = ya > yb
    x0, y0, x1, y1 = np.where(up, xb, xa), np.where(up, yb, ya), np.where(up, xa, xb), np.where(up, ya, yb)
    first, stop = _row(y0, box), _row(y1, box)
    for some in _portions(stop - first):
        count = stop[some] - first[some]
        which, before = np.repeat(some, count), np.cumsum(count) - count
        rows = np.arange(len(which)) - np.repeat(before - first[some], count)
        yield rows, (rows + 0.5 - y0[which]) * (x1[which] - x0[which]) / (y1[which] - y0[which]) + x0[which]


def _row(y: NDArray[np.float64], box: Box) -> NDArray[np.int64]:
    """Return the first row of a box whose centre line lies at y or below, the one after the last if none does."""
    return np.minimum(np.maximum(np.ceil(y - 0.5), box.top), box.bottom).astype(np.int64)


def _portions(count: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return which edges cross any rows, so many at a time that their crossings are few.

    >>> [part.tolist() for part in _portions(np.array([1, 0, 2]))]
    [[0, 2]]
    """
    crossing = np.flatnonzero(count)
    total = np.cumsum(count[crossing])
    if not len(total) or total[-1] <= _CROSSINGS:
        return [crossing]
    return np.split(crossing, np.flatnonzero(np.diff(total // _CROSSINGS)) + 1)


def _spread(runs: Runs, box: Box) -> NDArray[np.bool_]:
    """Return the pixels of a box, itself in that of the runs, that the runs hold, (h, w) bool."""
    lines, along = (box.top - runs.box.top, box.height), (box.left - runs.box.left, box.width)
    length = runs.box.width
    if runs.down:
        lines, along, length = along, lines, runs.box.height
    starts = (lines[0] + np.arange(lines[1])) * length + along[0]
    turns = np.zeros((lines[1], along[1]), np.uint8)
    turns[:, 0] = np.searchsorted(runs.ends, starts, side="right") & 1
    line, place = np.divmod(runs.ends, length)
    line, place = line - lines[0], place - along[0]
    here = (line >= 0) & (line < lines[1]) & (place > 0) & (place < along[1])
    np.add.at(turns.reshape(-1), line[here] * along[1] + place[here], 1)
    np.add.accumulate(turns, axis=1, out=turns)
    pixels = (turns & 1).view(np.bool_)
    return pixels.T if runs.down else pixels
