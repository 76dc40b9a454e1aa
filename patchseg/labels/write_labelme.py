"""A mask of class indices -> polygons as LabelMe opens them: a JSON file an image. `labelme.py` reads it again.

LabelMe knows no holes and no class of what nobody has drawn. So a hole is joined to the outline around it by a slit of no
width, the background stays undrawn, and what is left open is drawn as `__ignore__`, beneath the classes.

https://github.com/wkentaro/labelme
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchseg.labels.classes import IGNORE, Classes
from patchseg.labels.naming import background_place
from patchseg.labels.outlines import Outliner, Region

OPEN = "__ignore__"  # LabelMe's own name of what is not to be looked at
_VERSION = "5.5.0"  # of the format
_OFF = 0.75  # pixels by which an outline may miss corners: less than a line of one pixel is wide, more than most stairs


def labelme_tree(mask: NDArray[np.uint8], classes: Classes, image: str) -> dict[str, Any]:
    """Return what a LabelMe file says of an image, a polygon a region; read again, it misses the mask by a pixel at most.

    Args:
        mask: (H, W) uint8 class indices; 255 is left open.
        classes: Their names; the one called background, or the first, is not drawn.
        image: Where the image lies, as seen from the file.
    """
    drawn = [place for place in range(len(classes)) if place != background_place(classes)]
    # Simple outlines leave gaps between neighbours: grown by a pixel, and exact, what is open lies beneath them.
    grown = _regions(_grown(mask == IGNORE).view(np.uint8), [1])
    shapes = [_shape(OPEN, [region.outer, *region.holes]) for region in grown]
    for region in _regions(mask, drawn):
        rings = [simplified(ring, mask.shape) for ring in (region.outer, *region.holes)]
        shapes.append(_shape(classes.names[region.class_index], rings))
    height, width = mask.shape
    return {
        "version": _VERSION, "flags": {}, "shapes": shapes, "imagePath": image, "imageData": None,
        "imageHeight": height, "imageWidth": width,
    }  # fmt: skip


def _regions(mask: NDArray[np.uint8], wanted: Iterable[int]) -> Iterator[Region]:
    outliner = Outliner(mask.shape[1], wanted)
    yield from outliner.push(mask)
    yield from outliner.finish()


def _shape(label: str, rings: list[NDArray[np.int64]]) -> dict[str, Any]:
    points = slit(rings[0], rings[1:])[:, ::-1]
    return {
        "label": label, "points": points.astype(float).tolist(), "group_id": None, "description": "",
        "shape_type": "polygon", "flags": {}, "mask": None,
    }  # fmt: skip


def simplified(ring: NDArray[np.int64], shape: tuple[int, int]) -> NDArray[np.int64]:
    """Return a ring (n, 2) with the fewer corners that Douglas and Peucker (1973) leave; one that would vanish as it is.

    Args:
        ring: Corners of pixels.
        shape: Rows and columns of the image, along whose border the ring stays.

    >>> stairs = np.array([[1, 1], [1, 9], [2, 9], [2, 8], [3, 8], [3, 7], [4, 7], [4, 1]])
    >>> simplified(stairs, (20, 20)).tolist()
    [[1, 1], [1, 9], [2, 9], [4, 7], [4, 1]]
    """
    from skimage.measure import approximate_polygon

    fixed = np.flatnonzero(((ring == 0) | (ring == shape)).any(axis=1))
    start = int(fixed[0]) if len(fixed) else 0
    turned = np.roll(ring, -start, axis=0)
    ends = [*(fixed - start).tolist(), len(ring)] if len(fixed) else [0, len(ring)]
    closed = np.concatenate([turned, turned[:1]])
    chains = [
        approximate_polygon(closed[one : other + 1], _OFF)[:-1]  # type: ignore[no-untyped-call]
        for one, other in itertools.pairwise(ends)
    ]
    fewer = np.concatenate(chains).astype(np.int64)
    return fewer if len(fewer) > 2 else ring


def slit(outer: NDArray[np.int64], holes: Iterable[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return one ring for an outline and its holes, each joined by an edge that is walked there and back.

    >>> slit(np.array([[0, 0], [0, 9], [9, 9]]), [np.array([[1, 8], [2, 8], [2, 7]])]).tolist()
    [[0, 0], [0, 9], [1, 8], [2, 8], [2, 7], [1, 8], [0, 9], [9, 9]]
    """
    ring = outer
    for hole in holes:
        at = int(np.argmin(np.square(ring - hole[0]).sum(axis=1)))
        ring = np.concatenate([ring[: at + 1], hole, hole[:1], ring[at:]])
    return ring


def _grown(pixels: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return pixels (H, W) and all that touch them.

    >>> _grown(np.array([[True, False, False]])).tolist()
    [[True, True, False]]
    """
    for axis in (0, 1):
        padded = np.pad(pixels, [(1, 1) if axis == along else (0, 0) for along in (0, 1)])
        before, here, after = (
            np.take(padded, np.arange(start, start + pixels.shape[axis]), axis) for start in (0, 1, 2)
        )
        pixels = before | here | after
    return pixels
