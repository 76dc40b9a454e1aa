"""20,000 x 20,000 pixels: the process stays below 200 MB; with -s it tells after how many seconds there is what to see."""

import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import tifffile

import patchseg

SIDE, TILE = 20_000, 256
MOST_BYTES = 200e6


def write(path: Path, make, **options: object) -> None:
    """Write a tiled TIFF without smaller sizes, tile by tile."""
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        number = (-(-SIDE // TILE)) ** 2
        file.write(
            (make(index) for index in range(number)), shape=(SIDE, SIDE, *make(0).shape[2:]), dtype=make(0).dtype,
            tile=(TILE, TILE), compression="deflate", buffersize=2**22, metadata=None, **options,
        )  # fmt: skip


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> tuple[Path, Path]:
    """Write an image of noise, a mask of stripes, and a confidence in float16."""
    folder = tmp_path_factory.mktemp("large")
    (folder / "masks/confidence").mkdir(parents=True)
    noise = np.random.default_rng(0).integers(100, 200, (8, TILE, TILE)).astype(np.uint8)
    stripes = np.tile((np.arange(TILE) // 64 % 3).astype(np.uint8), (TILE, 1))
    sure = np.linspace(0, 1, TILE * TILE).reshape(TILE, TILE).astype(np.float16)
    write(folder / "a.tif", lambda index: noise[index % 8])
    write(folder / "masks/a.tif", lambda _: stripes)
    write(folder / "masks/confidence/a.tif", lambda _: sure)
    yield folder / "a.tif", folder / "masks/a.tif"
    for file in folder.rglob("*.tif"):
        file.unlink()


class Viewer:
    """A server in a process of its own."""

    def __init__(self, image: Path, mask: Path) -> None:
        self.start = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "patchseg", "view", str(image), str(mask), "--no-open"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=Path(patchseg.__file__).parents[1],
        )  # fmt: skip
        self.url = self.process.stdout.readline().strip()

    def get(self, name: str) -> bytes:
        with urllib.request.urlopen(self.url + name, timeout=60) as answer:
            return answer.read()

    def first_look(self) -> float:
        """Return the seconds from the start to the overview of image and mask."""
        for name in ("", "viewer.js", "about.json", "tiles/image/8/0_0.png", "tiles/mask/8/0_0.png"):
            assert self.get(name)
        return time.monotonic() - self.start

    def all_of_it(self) -> float:
        """Return the seconds from the start to what a browser of 1400 pixels draws of the whole image."""
        for layer in ("image", "mask", "confidence"):
            for place in range(25):
                self.get(f"tiles/{layer}/11/{place % 5}_{place // 5}.png")
        return time.monotonic() - self.start

    def walk(self) -> None:
        """Zoom in and move while the overviews become true."""
        for level in (12, 13, 14, 15):
            for place in range(8):
                for layer in ("image", "mask", "confidence"):
                    self.get(f"tiles/{layer}/{level}/{place}_{place}.png")
                self.get(f"pixel.json?row={place * 999}&column={place * 1999}")
        while not all(layer["finished"] for layer in json.loads(self.get("about.json"))["layers"]):
            assert time.monotonic() - self.start < 120
            time.sleep(0.2)

    def peak(self) -> int:
        """Return the most bytes that the process has held."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_20000_x_20000_takes_less_than_200_mb(large):
    looks = []
    for last in (False, False, True):
        viewer = Viewer(*large)
        try:
            looks.append(viewer.first_look())
            if last:
                drawn = viewer.all_of_it()
                viewer.walk()
                done, memory = time.monotonic() - viewer.start, viewer.peak()
        finally:
            viewer.close()
    print(
        f"first look after {', '.join(f'{look:.2f}' for look in looks)} s, all of it drawn {drawn:.2f} s, "
        f"overviews true {done:.2f} s after the start; peak {memory / 1e6:.0f} MB"
    )
    assert memory < MOST_BYTES
