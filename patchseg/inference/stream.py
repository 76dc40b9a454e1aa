"""One image through the network: tiles in row-major batches, averaged or joined rows out, top to bottom.

Held at a time: the rows of the source that a row of tiles touches and those of the next, which a thread reads while the
network computes; one batch; and the band of sums. Validation during training and `infer` both go through here.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Self

import torch
from torch import Tensor

from patchseg import device as devices
from patchseg.imaging import Box, ImageSource
from patchseg.inference.blend import Blender
from patchseg.inference.tiling import Grid
from patchseg.inference.zones import Joiner, Zones

Predict = Callable[[Tensor], Tensor]
Known = Callable[[Box, Tensor], Tensor | None]
_MOST = 4096  # tiles that wait: where nearly all are known, the few others do not hold back the rows for long


def stream(
    source: ImageSource,
    predict: Predict,
    grid: Grid | Zones,
    *,
    classes: int,
    window: str,
    batch: int,
    device: torch.device,
    known: Known | None = None,
) -> Iterator[Tensor]:
    """Yield the finished rows of class probabilities of an image, (K, rows, W) float32, on the device.

    Where the device has no memory for a batch, not even a small one (`Predictor`), sums move to the host.

    Args:
        source: The image; its rows are read once, in order.
        predict: Raw tiles (N, h, w, C) to probabilities (N, K, h, w).
        grid: The tiles of the image, or of a part of it, whose rows are yielded then.
        classes: Number of classes K, or of whatever `predict` gives for each pixel.
        window: A key of `WINDOWS`; of no meaning to zones.
        batch: Most tiles a call of `predict`, see `filled`. The last batch is filled up with zeros, because its size may change
            the rounding.
        device: Where to gather and blend.
        known: What is known of a tile without predicting it: its box and raw pixels (h, w, C) to what is added for it,
            of a shape that fits (K, h, w), or None.
    """
    blender = (
        Joiner(grid, classes, device) if isinstance(grid, Zones) else Blender(grid, classes, window, device)
    )
    waiting = _Waiting(predict, filled(len(replace(grid, part=None)), batch), blender.to_host)
    with _Band(source, grid.row_ranges, grid.span, device) as band:
        for box, probabilities in _predicted(grid, band, waiting, known):
            rows = blender.add(box, probabilities)
            del probabilities  # not to be held beside the next batch
            if rows is not None:
                yield rows
                del rows
    last = blender.finish()
    if last is not None:
        yield last


def filled(tiles: int, most: int) -> int:
    """Return the size of the batches, 2 at least, that hold the tiles of a whole image with least left empty.

    It is the same for all parts of an image.

    >>> [filled(tiles, 4) for tiles in (1, 4, 5, 961)]
    [2, 4, 3, 4]
    """
    return max(2, -(-tiles // -(-tiles // most)))


def _predicted(
    grid: Grid | Zones, band: "_Band", waiting: "_Waiting", known: Known | None
) -> Iterator[tuple[Box, Tensor]]:
    """Yield each tile with its probabilities, (K, h, w), in the order of the grid."""
    for box in grid:
        pixels = band.read(box)
        answer = known(box, pixels) if known else None
        if answer is None and not waiting.fits(pixels):
            yield from waiting.answered()
        waiting.put(box, pixels, answer)
        if waiting.long_enough:
            yield from waiting.answered()
    yield from waiting.answered()


class _Waiting:
    """Tiles of one shape that wait to be predicted together, and those between them that are known already."""

    def __init__(self, predict: Predict, batch: int, make_room: Callable[[], None]) -> None:
        self._predict, self._batch, self._make_room = predict, batch, make_room
        self._boxes: list[tuple[Box, Tensor | None]] = []
        self._tiles, self._count = torch.empty(0), 0

    @property
    def long_enough(self) -> bool:
        """Whether nothing more should wait: the batch is full, or what is known has nothing to wait for."""
        return self._count in (0, self._batch) or len(self._boxes) == _MOST

    def fits(self, pixels: Tensor) -> bool:
        """Tell whether a tile has the shape of those that wait."""
        return self._count == 0 or self._tiles.shape[1:] == pixels.shape

    def put(self, box: Box, pixels: Tensor, answer: Tensor | None) -> None:
        """Let a tile wait: its pixels (h, w, C), or what is known of it."""
        self._boxes.append((box, answer))
        if answer is None:
            if self._tiles.shape[1:] != pixels.shape:
                self._tiles = pixels.new_empty((self._batch, *pixels.shape))
            self._tiles[self._count] = pixels
            self._count += 1

    def answered(self) -> Iterator[tuple[Box, Tensor]]:
        """Yield all that wait with their probabilities, and have none left."""
        found: Iterator[Tensor] = iter(())
        if self._count:
            self._tiles[self._count :] = 0
            found = iter(self._in_memory()[: self._count])
        boxes, self._boxes, self._count = self._boxes, [], 0
        for box, answer in boxes:
            yield box, next(found) if answer is None else answer.expand(-1, box.height, box.width)

    def _in_memory(self) -> Tensor:
        try:
            return self._predict(self._tiles)
        except devices.OUT_OF_MEMORY as error:
            if not devices.is_out_of_memory(error) or self._tiles.device.type == "cpu":
                raise
        self._make_room()
        return self._predict(self._tiles)


class _Band:
    """The rows of a source that row-major tiles touch, on the device; each is read once, the next ones ahead of time.

    Args:
        source: The image.
        ranges: First row, and the one after the last, of each row of tiles.
        span: The pixels that the tiles cover: no others are read.
        device: Where the rows shall lie.
    """

    def __init__(
        self, source: ImageSource, ranges: Sequence[tuple[int, int]], span: Box, device: torch.device
    ) -> None:
        self._source, self._span, self._device = source, span, device
        self._ranges, self._number = ranges, 0
        self._top = self._bottom = span.top
        self._rows = torch.empty((0, span.width, source.shape[2]))
        self._thread = ThreadPoolExecutor(1, "reading ahead")
        self._ahead = self._thread.submit(self._read, span.top, ranges[0][1])

    def read(self, box: Box) -> Tensor:
        """Return the pixels of a box, (h, w, C) as stored, a view; no later one may start above it."""
        while box.bottom > self._bottom:
            self._advance()
        left = box.left - self._span.left
        return self._rows[box.top - self._top : box.bottom - self._top, left : left + box.width]

    def _advance(self) -> None:
        """Move down to the next row of tiles, and have the rows of the one below it read."""
        top, bottom = self._ranges[self._number]
        fresh = self._ahead.result()
        self._number += 1
        if self._number < len(self._ranges):
            self._ahead = self._thread.submit(self._read, bottom, self._ranges[self._number][1])
        kept = self._rows[top - self._top :]
        rows = fresh.new_empty((bottom - top, *fresh.shape[1:]), device=self._device)
        if len(kept):
            rows[: len(kept)] = kept
        rows[len(kept) :] = fresh
        self._rows, self._top, self._bottom = rows, top, bottom

    def _read(self, top: int, bottom: int) -> Tensor:
        pixels = self._source.read(Box(top, self._span.left, bottom - top, self._span.width))
        return torch.from_numpy(pixels if pixels.flags.writeable else pixels.copy())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(cancel_futures=True)
