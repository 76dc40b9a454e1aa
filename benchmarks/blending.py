"""Times Grid + Blender against the plain way: one full-size buffer of sums, one of weights, divided at the end.

Both average the tiles of a 4000 x 4000 image, 3 classes, 256 pixels wide and half overlapping. The network is left
out, so the same noise stands for every tile. The two take turns in one run; told are medians.

    python benchmarks/blending.py
"""

import statistics
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from patchseg.inference.blend import Blender
from patchseg.inference.tiling import Grid
from patchseg.inference.windows import WINDOWS

GRID = Grid((4000, 4000), tile=256)
CLASSES = 3
PAIRS = 7


def streamed(tile: Tensor, window: str) -> Iterator[Tensor]:
    """Yield the averages in bands (K, rows, W), as a `Blender` finishes them."""
    blender = Blender(GRID, CLASSES, window)
    for box in GRID:
        rows = blender.add(box, tile)
        if rows is not None:
            yield rows
    yield blender.finish()


def in_full_size(tile: Tensor, window: str) -> Iterator[Tensor]:
    """Yield the averages (K, H, W) at once, from buffers as large as the image."""
    weights = torch.outer(*(torch.from_numpy(WINDOWS[window](side)) for side in GRID.tile_shape))
    total, count = torch.zeros(CLASSES, *GRID.shape), torch.zeros(GRID.shape)
    for box in GRID:
        total[:, *box.slices] += tile * weights
        count[box.slices] += weights
    yield total.div_(count)


def seconds(average: Callable[[Tensor, str], Iterator[Tensor]], tile: Tensor, window: str) -> float:
    """Return how long it takes until the last row is out; each band is dropped at once."""
    start = time.perf_counter()
    for _ in average(tile, window):
        pass
    return time.perf_counter() - start


def main() -> None:
    """Print a line a window: both medians, their ratio, and the milliseconds that blending adds to a tile."""
    height, width = GRID.shape
    tile = torch.randn(CLASSES, *GRID.tile_shape, generator=torch.Generator().manual_seed(0)).softmax(0)
    band, full = CLASSES * GRID.tile * width * 4, (CLASSES + 1) * height * width * 4
    print(
        f"{height} x {width}, {CLASSES} classes, {len(GRID)} tiles of {GRID.tile}, medians of {PAIRS} pairs"
    )
    print(f"threads {torch.get_num_threads()}; buffers {band / 2**20:.0f} and {full / 2**20:.0f} MiB")
    print(f"{'window':10}{'streamed s':>12}{'full size s':>13}{'ratio':>8}{'ms a tile':>11}")
    for window in WINDOWS:
        # Not the same bytes: the plain way counts the weights pixel by pixel.
        torch.testing.assert_close(torch.cat([*streamed(tile, window)], 1), *in_full_size(tile, window))
        pairs = [(seconds(streamed, tile, window), seconds(in_full_size, tile, window)) for _ in range(PAIRS)]
        ours, theirs = (statistics.median(times) for times in zip(*pairs, strict=True))
        ratio = statistics.median(a / b for a, b in pairs)
        print(f"{window:10}{ours:12.3f}{theirs:13.3f}{ratio:8.2f}{1000 * ours / len(GRID):11.3f}")


if __name__ == "__main__":
    main()
