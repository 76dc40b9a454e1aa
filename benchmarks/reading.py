"""Times windowed reads of a 20,000 x 20,000 RGB TIFF against rasterio and tifffile's aszarr + zarr.

Windows of 512 x 512 at half overlap, row-major, as sliding-window inference reads them: of tiles (512, deflate with
predictor), strips (16 rows, LZW) and tiles (512, JPEG). rasterio has a cache of 64 MiB. Each reading is a process of its
own; the readers take turns in one run; told are medians, and medians of the ratios of neighbours. The files (about
2.5 GB) are made once in the folder that is given.

    pip install rasterio zarr
    python benchmarks/reading.py FOLDER
"""

import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

SIDE, WINDOW, STEP = 20_000, 512, 256
ROUNDS = 5
WINDOWS = 512
# Without a cache every window costs the same, and of strips nearly a second.
WINDOWS_WITHOUT_CACHE = {"LZW strips": 24}
FILES: dict[str, dict[str, Any]] = {
    "deflate tiles": {"tile": (512, 512), "compression": "deflate", "predictor": True},
    "LZW strips": {"rowsperstrip": 16, "compression": "lzw"},
    "JPEG tiles": {"tile": (512, 512), "compression": "jpeg"},
}

Read = Callable[[int, int], Any]


def picture() -> np.ndarray[Any, Any]:
    """Return (SIDE, SIDE, 3) uint8: slow waves of three colours with a little noise, as in a photograph."""
    block = np.random.default_rng(0).normal(0, 4, (2000, 2000, 3))
    place = np.arange(2000) * 2 * np.pi / 2000
    for channel in range(3):
        block[:, :, channel] += 128 + 50 * np.sin((3 + channel) * place) + 50 * np.cos(5 * place)[:, None]
    return np.tile(block.clip(0, 255).astype(np.uint8), (SIDE // 2000, SIDE // 2000, 1))


def make(folder: Path) -> dict[str, Path]:
    """Write the files that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"{name.replace(' ', '_')}.tif" for name in FILES}
    missing = [name for name, path in paths.items() if not path.exists()]
    pixels = picture() if missing else None
    for name in missing:
        print(f"making {paths[name]}", flush=True)
        part = paths[name].with_suffix(".part")
        tifffile.imwrite(part, pixels, photometric="rgb", metadata=None, **FILES[name])
        part.replace(paths[name])
    return paths


def ours(path: Path) -> Iterator[Read]:
    """Yield how patchseg reads a window."""
    from patchseg.imaging import Box, open_image

    with open_image(path) as source:
        yield lambda top, left: source.read(Box(top, left, WINDOW, WINDOW))


def rasterio(path: Path) -> Iterator[Read]:
    """Yield how rasterio reads a window, turned to (h, w, C) as ours is."""
    import rasterio
    from rasterio.windows import Window

    with rasterio.Env(GDAL_CACHEMAX=64 * 2**20), rasterio.open(path) as file:
        yield lambda top, left: np.moveaxis(file.read(window=Window(left, top, WINDOW, WINDOW)), 0, 2)


def aszarr(path: Path) -> Iterator[Read]:
    """Yield how zarr reads a window through tifffile."""
    import zarr

    with tifffile.TiffFile(path) as file:
        array = zarr.open(file.aszarr(), mode="r")
        yield lambda top, left: array[top : top + WINDOW, left : left + WINDOW]


READERS = {"ours": ours, "rasterio": rasterio, "aszarr": aszarr}


def measure(reader: str, path: Path, windows: int) -> dict[str, float]:
    """Return milliseconds a window, the peak memory in MB, and the sum of a few pixels; in this process."""
    columns = range(0, SIDE - WINDOW + 1, STEP)
    checked = 0
    opened = READERS[reader](path)
    start = time.perf_counter()
    read = next(opened)
    for number in range(windows):
        row, column = divmod(number, len(columns))
        pixels = read(row * STEP, columns[column])
        checked += int(pixels[::100, ::100].sum())
    seconds = time.perf_counter() - start
    opened.close()
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    return {"ms": 1000 * seconds / windows, "peak": peak / 1024, "checked": checked}


def in_process(reader: str, path: Path, windows: int) -> dict[str, float]:
    """Measure in a process of its own, which holds no memory of others."""
    command = [sys.executable, __file__, "--one", reader, str(path), str(windows)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def compare(name: str, path: Path) -> None:
    """Print a line a reader: median time and peak, and how many times as fast ours is."""
    windows = {"ours": WINDOWS, "rasterio": WINDOWS, "aszarr": WINDOWS_WITHOUT_CACHE.get(name, WINDOWS)}
    rounds = [
        {reader: in_process(reader, path, windows[reader]) for reader in READERS} for _ in range(ROUNDS)
    ]
    if FILES[name]["compression"] != "jpeg":  # decoders of JPEG round differently
        assert all(r["ours"]["checked"] == r["rasterio"]["checked"] for r in rounds), "pixels differ"
    for reader in READERS:
        ms = statistics.median(r[reader]["ms"] for r in rounds)
        peak = max(r[reader]["peak"] for r in rounds)
        ratio = statistics.median(r[reader]["ms"] / r["ours"]["ms"] for r in rounds)
        print(f"{name:15}{reader:10}{ms:10.2f}{peak:10.0f}{ratio:14.2f}", flush=True)


def main(folder: Path) -> None:
    """Measure all files with all readers."""
    paths = make(folder)
    across = math.ceil((SIDE - WINDOW) / STEP)
    print(
        f"{SIDE} x {SIDE} RGB, {WINDOWS} windows of {WINDOW} at step {STEP}, {across} a row, {ROUNDS} rounds"
    )
    print(f"{'file':15}{'reader':10}{'ms/window':>10}{'peak MB':>10}{'time / ours':>14}")
    for name, path in paths.items():
        compare(name, path)


if __name__ == "__main__":
    if sys.argv[1] == "--one":
        print(json.dumps(measure(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))))
    else:
        main(Path(sys.argv[1]))
