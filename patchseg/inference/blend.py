"""The average of overlapping tiles, finished row band by row band.

The probabilities of tiles come in, in the order of their `Grid`; finished rows of the whole width go out, top to
bottom. Between them stands one band of sums as high as a tile, whatever the height of the image.
"""

import torch
from torch import Tensor

from patchseg.errors import UsageError, did_you_mean
from patchseg.imaging.box import Box
from patchseg.inference.tiling import Grid
from patchseg.inference.windows import WINDOWS


class Blender:
    """Averages the class probabilities of overlapping tiles, weighed by a window.

    The band of sums starts where the current row of tiles does. When the first tile of the next row arrives,
    the rows above it are finished, because tiles come row-major and none reaches up there any more: they are
    divided by the sum of weights and handed out, and the band moves down.

        rows of the image   0 1 2 3 4 5 6 7
        row of tiles 0      ■ ■ ■ ■
        row of tiles 1          ■ ■ ■ ■         its first tile finishes rows 0 and 1; the band is then 2 to 5
        row of tiles 2              ■ ■ ■ ■

    The sum of weights at a pixel is the product of a sum over rows of tiles and one over columns of tiles, both
    known without counting, since windows are separable. A pixel's sum runs over its tiles in row-major order and
    in float32: the same bytes as adding up whole tiles in one full-size buffer. It strays from the true average
    by about 1e-7 at worst for each tile that covers the pixel, mostly by far less.

    Of a grid of a part only the pixels of that part are added up and handed out, and each has the bytes that it has in
    the whole: its tiles come in the same order.

    Memory: the band, K x tile x W x 4 bytes. The rows handed out are new, at most as much again; their weights
    are a K-th of that, for a moment. None of it depends on the height of the image.

    Args:
        grid: The tiles that will come.
        classes: Number of classes K.
        window: A key of `WINDOWS`.
        device: Where to add up; the finished rows stay there.

    Raises:
        UsageError: The window is unknown.
    """

    def __init__(
        self, grid: Grid, classes: int, window: str = "flat", device: torch.device | str = "cpu"
    ) -> None:
        if window not in WINDOWS:
            hint = did_you_mean(window, WINDOWS)
            raise UsageError(f'the window should be one of {", ".join(WINDOWS)} (got "{window}"){hint}')
        height, width = grid.tile_shape
        down, right = WINDOWS[window](height), WINDOWS[window](width)
        self._row_window = torch.from_numpy(down).to(device)  # (h,)
        column_window = torch.from_numpy(right).to(device)  # (w,)
        self._window = torch.outer(self._row_window, column_window)  # (h, w)
        # Where a tile is weighed; None where all pixels weigh 1.
        is_flat = bool((down == 1).all() and (right == 1).all())
        self._weighed = None if is_flat else torch.empty(classes, height, width, device=device)
        self._area = grid.area
        self._column_weights = torch.zeros(self._area.width, device=device)  # (W,)
        for left in grid.columns:
            inside, of_tile = self._columns(left, width)
            self._column_weights[inside] += column_window[of_tile]
        self._row_weights = torch.zeros(1, height, 1, device=device)  # (1, h, 1), moves down with the band
        self._band = torch.zeros(classes, height, self._area.width, device=device)  # (K, h, W) sums
        self._top = grid.rows[0]  # the image's row at which the band starts
        self._first = grid.columns[0]
        self._boxes = iter(grid)
        self._next = next(self._boxes, None)

    def add(self, box: Box, probabilities: Tensor) -> Tensor | None:
        """Add a tile and return the rows that it finishes, if it is the first of a new row of tiles.

        Args:
            box: The next box of the grid.
            probabilities: (K, h, w), any floating type.

        Returns:
            (K, rows, W) float32, the wanted rows below those returned before; no view of the band.

        Raises:
            ValueError: The box is not the grid's next one, or the tile has another shape.
        """
        if box != self._next:
            raise ValueError(f"tiles should come in the grid's order: {self._next} is next (got {box})")
        expected, shape = (len(self._band), box.height, box.width), tuple(probabilities.shape)
        if shape != expected:
            raise ValueError(f"the probabilities of {box} should have the shape {expected} (got {shape})")
        finished = self._release(box.top) if box.top > self._top else None
        if box.left == self._first:
            self._row_weights += self._row_window[:, None]
        # Product and sum are rounded one after the other on purpose: a fused addcmul may round by where in a vector
        # register a pixel lies, and its value would depend on the tile's place in the band.
        inside, of_tile = self._columns(box.left, box.width)
        part = probabilities.detach().to(self._band)[..., of_tile]
        if self._weighed is not None:
            part = torch.mul(part, self._window[:, of_tile], out=self._weighed[..., of_tile])
        self._band[:, :, inside] += part
        self._next = next(self._boxes, None)
        return finished

    def finish(self) -> Tensor:
        """Return the rows that are left, (K, rows, W) float32, once all tiles are in.

        Raises:
            ValueError: Tiles are missing, or the rows were returned before.
        """
        if self._next is not None:
            raise ValueError(f"all tiles should be added before the end: {self._next} is next (got finish)")
        if self._top >= self._area.bottom:
            raise ValueError("an image should be finished once (got finish again)")
        finished = self._release(self._area.bottom)
        assert finished is not None  # the last tiles touch the area
        return finished

    def to_host(self) -> None:
        """Go on adding up in the host's memory, where the device has none left."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value.cpu())

    def _columns(self, left: int, width: int) -> tuple[slice, slice]:
        """Return the columns of a tile that are wanted: among those of the band, and among the tile's."""
        start, stop = max(left, self._area.left), min(left + width, self._area.right)
        return slice(start - self._area.left, stop - self._area.left), slice(start - left, stop - left)

    def _release(self, bottom: int) -> Tensor | None:
        """Return the averages of the wanted rows above `bottom`, if any, and move the band down to it."""
        count, skipped = bottom - self._top, max(0, self._area.top - self._top)
        weights = self._row_weights[:, skipped:count] * self._column_weights
        # Rows above the area lack tiles that were never asked for.
        finished = self._band[:, skipped:count] / weights if skipped < count else None
        _shift(self._band, count)
        _shift(self._row_weights, count)
        self._top = bottom
        return finished


def _shift(band: Tensor, count: int) -> None:
    """Move the rows of a (K, h, W) band up by `count` in place and clear those that become free.

    >>> band = torch.arange(1.0, 6.0).reshape(1, 5, 1)
    >>> _shift(band, 2)
    >>> band.flatten().tolist()
    [3.0, 4.0, 5.0, 0.0, 0.0]
    """
    kept = band.shape[1] - count
    # Steps of `count` rows, because a copy must not overlap its source, and a second band is what we do without.
    for start in range(0, kept, count):
        rows = min(count, kept - start)
        band[:, start : start + rows] = band[:, start + count : start + count + rows]
    band[:, kept:] = 0
