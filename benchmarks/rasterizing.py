"""Times the filling of outlines against Pillow, scikit-image and, where it is installed, rasterio (GDAL).

300 outlines of 20 to 300 corners on 4096 x 4096 pixels. All take turns in one run; told are medians, and in how many
pixels each differs from ours. Pillow counts a pixel that the outline touches, the others one whose centre lies inside.

    python benchmarks/rasterizing.py
"""

import importlib.util
import statistics
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from skimage.draw import polygon

from patchseg.imaging import Box
from patchseg.labels.rasterize import cover
from patchseg.labels.shapes import Outline

SIDE = 4096
ROUNDS = 5
Ring = NDArray[np.float64]
Mask = NDArray[np.bool_]


def outlines() -> list[Ring]:
    """Return rough circles, (n, 2) x and y each."""
    draw = np.random.default_rng(0)
    rings = []
    for _ in range(300):
        corners = draw.integers(20, 300)
        angles = np.sort(draw.uniform(0, 2 * np.pi, corners))
        radii = draw.uniform(30, 200) * draw.uniform(0.8, 1.2, corners)
        rings.append(
            draw.uniform(0, SIDE, 2) + np.stack([np.cos(angles) * radii, np.sin(angles) * radii], axis=1)
        )
    return rings


def ours(rings: list[Ring]) -> Mask:
    """Fill them as patchseg does."""
    mask = np.zeros((SIDE, SIDE), np.bool_)
    for ring in rings:
        box, pixels = cover(Outline((ring,)), Box(0, 0, SIDE, SIDE))
        mask[box.slices] |= pixels
    return mask


def pillow(rings: list[Ring]) -> Mask:
    """Fill them with ImageDraw."""
    image = Image.new("L", (SIDE, SIDE))
    draw = ImageDraw.Draw(image)
    for ring in rings:
        draw.polygon(list(map(tuple, ring.tolist())), fill=1)
    return np.asarray(image) > 0


def scikit_image(rings: list[Ring]) -> Mask:
    """Fill them with skimage.draw, whose pixels have their centres at whole numbers."""
    mask = np.zeros((SIDE, SIDE), np.bool_)
    for ring in rings:
        mask[polygon(ring[:, 1] - 0.5, ring[:, 0] - 0.5, mask.shape)] = True
    return mask


def rasterio(rings: list[Ring]) -> Mask:
    """Fill them with GDAL."""
    features = importlib.import_module("rasterio.features")
    shapes = [{"type": "Polygon", "coordinates": [[*ring.tolist(), ring[0].tolist()]]} for ring in rings]
    return np.asarray(features.rasterize(shapes, out_shape=(SIDE, SIDE))) > 0


def main() -> None:
    """Print a line a library: the median in milliseconds, and the pixels in which it differs from ours."""
    fillers: list[Callable[[list[Ring]], Mask]] = [ours, pillow, scikit_image]
    if importlib.util.find_spec("rasterio"):
        fillers.append(rasterio)
    rings, times, masks = outlines(), {filler: [] for filler in fillers}, {}
    for number in range(ROUNDS):
        for filler in fillers:
            if filler is scikit_image and number:
                continue  # takes as long as all the others together
            start = time.perf_counter()
            masks[filler] = filler(rings)
            times[filler].append(1000 * (time.perf_counter() - start))
    for filler in fillers:
        different = int((masks[filler] != masks[ours]).sum())
        print(
            f"{filler.__name__:<13} {statistics.median(times[filler]):8.0f} ms  {different:7} pixels differ from ours"
        )


if __name__ == "__main__":
    main()
