"""Small pictures of places: what `audit` and `suggest` list -> arrays for a gallery.

A picture that is missing or cannot be read is left out, since a report is to be had even where files have moved.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchseg.errors import PatchsegError
from patchseg.imaging import Box, Reading, open_image, open_raw
from patchseg.imaging.picture import framed, overlay, to_rgb8
from patchseg.imaging.scale import reduced
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
            ground = to_rgb8(reduced(source, side, window=window))
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
    return {what: framed(pixels, box, window, _FRAME) for what, pixels in shown.items()}


def _mask(path: Path, window: Box, side: int, classes: Classes, reading: Reading) -> NDArray[np.uint8] | None:
    """Return a window of a mask, None where it cannot be had."""
    try:
        with open_raw(path, reading) as source:
            return classes.encode(reduced(source, side, window=window, labels=True), path, source.palette)
    except (PatchsegError, OSError, ValueError, TypeError):
        return None


def _around(box: Box) -> Box:
    longer = max(box.height, box.width)
    return box.grown(max(_LEAST - longer, round(_AROUND * longer)) // 2)
