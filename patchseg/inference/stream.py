"""One image through the network: tiles in row-major batches, blended rows out, top to bottom.

Held at a time: two bands of the source as high as a tile, one batch, and the blender's band of sums. Validation
during training and `infer` both go through here.
"""

from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from patchseg.imaging import Box, ImageSource
from patchseg.imaging.source import Array
from patchseg.inference.blend import Blender
from patchseg.inference.tiling import Grid

Predict = Callable[[Tensor], Tensor]


def stream(
    source: ImageSource,
    predict: Predict,
    grid: Grid,
    *,
    classes: int,
    window: str,
    batch: int,
    device: torch.device,
) -> Iterator[Tensor]:
    """Yield the finished rows of class probabilities of an image, (K, rows, W) float32, on the device.

    Args:
        source: The image; its rows are read once, in order.
        predict: Raw tiles (N, h, w, C) to probabilities (N, K, h, w).
        grid: The tiles of the image.
        classes: Number of classes K.
        window: A key of `WINDOWS`.
        batch: Tiles a call of `predict`; the last batch is filled up with zeros, because the size of a batch may
            change the rounding of its tiles.
        device: Where to blend.
    """
    blender = Blender(grid, classes, window, device)
    band = _Band(source)
    tiles = np.zeros((batch, *grid.tile_shape, source.shape[2]), source.dtype)
    remaining = iter(grid)
    while boxes := list(islice(remaining, batch)):
        for place, box in enumerate(boxes):
            tiles[place] = band.read(box)
        tiles[len(boxes) :] = 0
        probabilities = predict(torch.from_numpy(tiles))
        for place, box in enumerate(boxes):
            rows = blender.add(box, probabilities[place])
            if rows is not None:
                yield rows
        del probabilities, rows  # not to be held beside the next batch
    yield blender.finish()


class _Band:
    """The rows of a source that row-major tiles touch; each is read once."""

    def __init__(self, source: ImageSource) -> None:
        self._source, self._top = source, 0
        self._rows: Array = np.empty((0, *source.shape[1:]), source.dtype)

    def read(self, box: Box) -> Array:
        """Return the pixels of a box; no later one may start above it."""
        bottom = self._top + len(self._rows)
        if box.bottom > bottom:
            fresh = self._source.read(Box(bottom, 0, box.bottom - bottom, self._source.shape[1]))
            self._rows = np.concatenate([self._rows[box.top - self._top :], fresh])
            self._top = box.top
        return self._rows[box.top - self._top : box.bottom - self._top, box.left : box.right]
