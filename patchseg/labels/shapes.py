"""What people draw on images: areas with the name of a class; every annotation format is read into these types.

x runs right and y down from the top left corner of the image, in pixels: pixel (row r, column c) is the square from
(c, r) to (c + 1, r + 1), and its centre lies at (c + 0.5, r + 0.5).
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchseg.imaging import Box

FARTHEST = 1e9  # pixels from the corner; what lies farther out is no coordinate of an image
_SAGITTA = 0.01  # pixels by which an outline may cut off a curve
_MOST = 2**14  # corners of a curve

Ring = NDArray[np.float64]  # (n, 2): x, y of each corner; the last is joined to the first


class Outline(NamedTuple):
    """An area by its rings: what lies in an odd number of them is inside, so that a ring in a ring is a hole."""

    rings: tuple[Ring, ...]

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Top, left, bottom and right of the area; an empty one has none of its pixels inside."""
        corners = np.concatenate([*self.rings, np.empty((0, 2))])
        if not len(corners):
            return 0.0, 0.0, 0.0, 0.0
        (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
        return float(top), float(left), float(bottom), float(right)


class Runs(NamedTuple):
    """An area as stretches of the pixels of a box, outside and inside in turns.

    Args:
        box: The box whose pixels are counted.
        ends: (n,) int64, where each stretch ends; the first is outside. What follows the last is outside too.
        down: Whether pixels are counted down the columns, not along the rows.
    """

    box: Box
    ends: NDArray[np.int64]
    down: bool = False

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Top, left, bottom and right of the box."""
        return self.box.top, self.box.left, self.box.bottom, self.box.right


Area = Outline | Runs


class Shape(NamedTuple):
    """An area, or the union of several, with the name of its class; None where the file names none."""

    name: str | None
    parts: tuple[Area, ...]


class Drawing(NamedTuple):
    """The shapes of one image in the order in which they are painted.

    Args:
        image: The image as the file calls it; never opened, only compared with the names of the images there are.
        shapes: The last one lies on top.
        size: (H, W) of the image where the file says so.
    """

    image: str
    shapes: tuple[Shape, ...]
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Annotations:
    """What one annotation file holds.

    Attributes:
        path: The file.
        drawings: One an image.
        names: The names of the classes in the order in which the file lists them.
        left_out: What has no area, by kind, such as {"point": 3}.
        notes: What else there is to say of the file, a sentence each.
    """

    path: Path
    drawings: tuple[Drawing, ...]
    names: tuple[str, ...] = ()
    left_out: Counter[str] = field(default_factory=Counter)
    notes: tuple[str, ...] = ()


def outline(*rings: Sequence[tuple[float, float]] | Ring) -> Outline:
    """Return the area of some rings.

    >>> outline([(0, 0), (2, 0), (2, 1)]).bounds
    (0.0, 0.0, 1.0, 2.0)
    """
    return Outline(tuple(np.asarray(ring, np.float64).reshape(-1, 2) for ring in rings))


def rectangle(left: float, top: float, right: float, bottom: float, *, turned: float = 0.0) -> Outline:
    """Return a rectangle, turned clockwise about its middle by an angle in degrees.

    >>> rectangle(1, 2, 4, 6).rings[0].tolist()
    [[1.0, 2.0], [4.0, 2.0], [4.0, 6.0], [1.0, 6.0]]
    """
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float64)
    middle = np.array([(left + right) / 2, (top + bottom) / 2])
    return Outline((corners if not turned else middle + (corners - middle) @ _turn(turned),))


def ellipse(x: float, y: float, across: float, down: float, *, turned: float = 0.0) -> Outline:
    """Return an ellipse, as an outline that misses it by less than a hundredth of a pixel.

    Args:
        x: Of the middle.
        y: Of the middle.
        across: The radius along x, before it is turned.
        down: The radius along y.
        turned: Clockwise, in degrees.

    >>> [round(bound, 2) for bound in ellipse(10, 20, 5, 3).bounds]
    [17.0, 5.0, 23.0, 15.0]
    """
    radius = max(abs(across), abs(down), 1.0)
    corners = min(_MOST, 4 * math.ceil(math.pi / 4 / math.acos(1 - _SAGITTA / radius)))
    angles = np.arange(corners) * (2 * math.pi / corners)
    flat = np.stack([np.cos(angles) * across, np.sin(angles) * down], axis=1)
    return Outline((np.array([x, y]) + flat @ _turn(turned),))


def bitmap(pixels: NDArray[np.bool_], *, top: int, left: int) -> Runs:
    """Return an area that is given pixel by pixel.

    Args:
        pixels: (h, w) bool.
        top: The row of its first pixel.
        left: The column of its first pixel.

    >>> bitmap(np.array([[False, True], [True, False]]), top=3, left=4).ends.tolist()
    [1, 3]
    """
    flat = np.concatenate([[False], pixels.reshape(-1), [False]])
    return Runs(Box(top, left, *pixels.shape), np.flatnonzero(flat[1:] != flat[:-1]).astype(np.int64))


def _turn(degrees: float) -> NDArray[np.float64]:
    """Return the matrix that turns rows (x, y) clockwise, as seen with y down."""
    angle = math.radians(degrees)
    return np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
