"""Small pictures of places: what `audit` and `suggest` list -> arrays for a gallery.

A picture that is missing or cannot be read is left out, since a report is to be had even where files have moved.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchseg.errors import PatchsegError
from patchseg.imaging import Box, Reading, open_image, open_raw
from patchseg.imaging.picture import overlay, to_rgb8
from patchseg.imaging.scale import ScaledSource, reduced
from patchseg.imaging.source import Array, ImageSource
from patchseg.labels.classes import Classes

Pixels = NDArray[np.uint8]  # (h, w, 3)

_LEAST = 64  # pixels of an image that are shown at least, around a small suspect
_AROUND = 0.3  # of a suspect's longer side that is shown around it
_FRAME = ((0, 0, 0), (255, 255, 255))  # two lines, of which one is seen on any ground


def picture_of(path: Path, longest: int) -> Pixels | None:
    """Return a whole picture, no longer than `longest` pixels; None where it cannot be had."""
    try:
        with open_image(path) as source:
            return to_rgb8(reduced(source, longest))
    except (PatchsegError, OSError, ValueError):
        return None


def clips_of(
    entry: dict[str, Any], folder: Path, classes: tuple[Classes, Classes], side: int, reading: Reading
) -> dict[str, Pixels]:
    """Return the pictures of a suspect: the place in its image, and there the given and the predicted mask.

    Args:
        entry: Of suspects.json: picture (the image), box, and perhaps truth and mask.
        folder: That its files are relative to.
        classes: What the pixels of given and of predicted masks mean.
        side: Most pixels of a picture.
        reading: How images are read.
    """
    try:
        box = Box(*entry["box"])
        with open_image(folder / entry["picture"], reading) as source:
            window = _around(box).clip(*source.shape[:2])
            if not window.height or not window.width:
                return {}
            ground = to_rgb8(_read(source, window, side, labels=False))
    except (PatchsegError, OSError, ValueError, TypeError):
        return {}
    shown = {"image": ground}
    for what, key, meaning, kind in (
        ("given", "truth", classes[0], reading.of_masks),
        ("predicted", "mask", classes[1], Reading()),
    ):
        mask = _mask(folder / entry[key], window, side, meaning, kind) if entry.get(key) else None
        if mask is not None and mask.shape == ground.shape[:2]:
            shown[what] = overlay(ground, mask, meaning.palette)
    scale = ground.shape[0] / window.height
    return {what: _framed(pixels, box, window, scale) for what, pixels in shown.items()}


def _mask(path: Path, window: Box, side: int, classes: Classes, reading: Reading) -> NDArray[np.uint8] | None:
    """Return a window of a mask, None where it cannot be had."""
    try:
        with open_raw(path, reading) as source:
            return classes.encode(_read(source, window, side, labels=True), path, source.palette)
    except (PatchsegError, OSError, ValueError, TypeError):
        return None


def _around(box: Box) -> Box:
    longer = max(box.height, box.width)
    return box.grown(max(_LEAST - longer, round(_AROUND * longer)) // 2)


def _read(source: ImageSource, window: Box, side: int, *, labels: bool) -> Array:
    """Read a window, no longer than `side` either way; only what it shows is decoded."""
    scale = min(1.0, side / max(window.height, window.width))
    if scale == 1:
        return source.read(window)
    shown = ScaledSource(source, scale, labels=labels)
    top, left, height, width = (int(part * scale) for part in window)
    return shown.read(Box(top, left, max(1, height), max(1, width)).clip(*shown.shape[:2]))


def _framed(pixels: Pixels, box: Box, window: Box, scale: float) -> Pixels:
    """Draw a frame around a box; a box that is all that is shown has none.

    >>> _framed(np.full((9, 9, 3), 9, np.uint8), Box(3, 3, 3, 3), Box(0, 0, 9, 9), 1.0)[:, 4, 0].tolist()
    [9, 255, 0, 9, 9, 9, 0, 255, 9]
    """
    framed = pixels.copy()
    top, left = (round((a - b) * scale) for a, b in zip(box[:2], window[:2], strict=True))
    inner = Box(top, left, round(box.height * scale), round(box.width * scale))
    for distance, color in enumerate(_FRAME, start=1):
        ring = inner.grown(distance)
        for edge in (
            Box(ring.top, ring.left, 1, ring.width),
            Box(ring.bottom - 1, ring.left, 1, ring.width),
            Box(ring.top, ring.left, ring.height, 1),
            Box(ring.top, ring.right - 1, ring.height, 1),
        ):
            if box != window:
                framed[edge.clip(*framed.shape[:2]).slices] = color
    return framed
