"""What is left to do of an area of an image when some boxes of it are done: boxes in, boxes out.

The edges of all boxes cut the area into cells, each of which is covered as a whole or not at all, so that the work
depends on the number of boxes and not on their size:

    done      cells          left
    ■ ■ ·     ■ ■ | · ·      · · 0 0
    ■ ■ ·     ----+----      · · 0 0
    · · ·     · · | · ·      1 1 1 1
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from patchseg.imaging.box import Box

Numbers = NDArray[np.int64]


def uncovered(area: Box, done: Sequence[Box], *, whole_rows: bool = False) -> list[Box]:
    """Return what some boxes leave of an area, as boxes that do not overlap, from top to bottom and left to right.

    Args:
        area: What is to be covered.
        done: May overlap and reach out of the area.
        whole_rows: Whether to return all of the rows of which anything is left, as boxes as wide as the area.

    >>> uncovered(Box(0, 0, 3, 4), [Box(0, 0, 2, 2)])
    [Box(top=0, left=2, height=2, width=2), Box(top=2, left=0, height=1, width=4)]
    >>> uncovered(Box(0, 0, 3, 4), [Box(0, 0, 2, 4), Box(1, 0, 2, 3)], whole_rows=True)
    [Box(top=2, left=0, height=1, width=4)]
    """
    sides = np.array([(box.top, box.bottom, box.left, box.right) for box in done], np.int64).reshape(-1, 4)
    down = np.clip(sides[:, :2], area.top, area.bottom)
    across = np.clip(sides[:, 2:], area.left, area.right)
    rows, columns = _edges(area.top, area.bottom, down), _edges(area.left, area.right, across)
    left = _empty_cells(
        np.searchsorted(rows, down), np.searchsorted(columns, across), len(rows), len(columns)
    )
    if whole_rows:
        left, columns = np.asarray(left.any(axis=1, keepdims=True)), np.array([area.left, area.right])
    return _joined(left, rows.tolist(), columns.tolist())


def _edges(first: int, last: int, inside: Numbers) -> Numbers:
    """Return the places where cells begin, ascending, and the end of the last one."""
    return np.unique(np.concatenate([[first, last], inside.reshape(-1)]))


def _empty_cells(down: Numbers, across: Numbers, rows: int, columns: int) -> NDArray[np.bool_]:
    """Return which cells no box covers, (rows - 1, columns - 1) bool.

    Args:
        down: (n, 2) the numbers of the edges where each box begins and ends.
        across: (n, 2) the same from left to right.
        rows: Number of edges.
        columns: Number of edges.
    """
    # A box adds 1 to all that is below and right of its corner, and takes it back beyond its ends.
    boxes = np.zeros((rows, columns), np.int64)
    for row, column, sign in ((0, 0, 1), (0, 1, -1), (1, 0, -1), (1, 1, 1)):
        np.add.at(boxes, (down[:, row], across[:, column]), sign)
    return np.asarray(boxes.cumsum(axis=0).cumsum(axis=1)[:-1, :-1] == 0)


def _joined(cells: NDArray[np.bool_], rows: list[int], columns: list[int]) -> list[Box]:
    """Join cells that lie beside each other, and then what has the same columns in rows that follow each other."""
    finished: list[Box] = []
    growing: dict[tuple[int, int], Box] = {}
    for number, (top, bottom) in enumerate(pairwise(rows)):
        turns = np.flatnonzero(np.diff(cells[number], prepend=False, append=False)).tolist()
        spans = [(columns[begin], columns[end]) for begin, end in zip(turns[::2], turns[1::2], strict=True)]
        grown = {}
        for left, right in spans:
            above = growing.pop((left, right), Box(top, left, 0, right - left))
            grown[left, right] = above._replace(height=bottom - above.top)
        finished += growing.values()
        growing = grown
    return sorted([*finished, *growing.values()])
