"""Arrays as pictures: colours of classes, images in 8 bits, masks over images."""

import colorsys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchseg.imaging.box import Box
from patchseg.imaging.source import Array

IGNORE = 255
IGNORE_COLOR = (128, 128, 128)

# Okabe and Ito's colours, told apart by colour-blind readers too (https://jfly.uni-koeln.de/color/).
_COLORS = ("#000000", "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")


def rgb(color: str) -> tuple[int, int, int]:
    """Return the three bytes of "#rrggbb".

    >>> rgb("#e69f00")
    (230, 159, 0)
    """
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def hexadecimal(color: Any) -> str:
    """Return three bytes as "#rrggbb".

    >>> hexadecimal((230, 159, 0))
    '#e69f00'
    """
    return "#{:02x}{:02x}{:02x}".format(*(int(part) for part in color))


def palette(classes: int) -> NDArray[np.uint8]:
    """Return distinct colours of classes, (K, 3) uint8; the first, the background's, is black.

    >>> palette(2).tolist()
    [[0, 0, 0], [230, 159, 0]]
    """
    colors = [rgb(color) for color in _COLORS[:classes]]
    for number in range(len(colors), classes):
        # Steps of the golden ratio never come near an earlier hue.
        parts = colorsys.hsv_to_rgb(
            number * 0.618034 % 1, 0.55 + 0.45 * (number % 2), 0.95 - 0.3 * (number // 2 % 2)
        )
        colors.append((round(255 * parts[0]), round(255 * parts[1]), round(255 * parts[2])))
    return np.array(colors, np.uint8).reshape(-1, 3)


def colorize(indices: NDArray[np.uint8], colors: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return class indices (H, W) in their colours, (H, W, 3) uint8; ignored pixels are gray.

    >>> colorize(np.array([[1, 255]], np.uint8), palette(2)).tolist()
    [[[230, 159, 0], [128, 128, 128]]]
    """
    table = np.zeros((256, 3), np.uint8)
    table[: len(colors)] = colors
    table[IGNORE] = IGNORE_COLOR
    return np.asarray(table[indices])


def to_rgb8(image: Array, low: float | None = None, high: float | None = None) -> NDArray[np.uint8]:
    """Return an image of any dtype and channels as a viewer would show it, (H, W, 3) uint8.

    Args:
        image: (H, W) or (H, W, C); of two channels or more than three, the first (three) are shown.
        low: The value shown black; by default 0 for 8 bits, else the first percentile.
        high: The value shown white; by default 255 for 8 bits, else the 99th percentile.
    """
    image = image if image.ndim == 3 else image[:, :, None]
    image = image[:, :, :3] if image.shape[2] >= 3 else np.repeat(image[:, :, :1], 3, axis=2)
    if image.dtype == np.uint8 and low is None and high is None:
        return image
    some = image[:: max(1, image.shape[0] // 512), :: max(1, image.shape[1] // 512)]
    low = float(np.percentile(some, 1)) if low is None else low
    high = float(np.percentile(some, 99)) if high is None else high
    scaled = (image.astype(np.float32) - low) / max(high - low, 1e-12)
    return np.asarray(np.clip(scaled * 255, 0, 255)).astype(np.uint8)


def overlay(
    image: NDArray[np.uint8], indices: NDArray[np.uint8], colors: NDArray[np.uint8], *, opacity: float = 0.5
) -> NDArray[np.uint8]:
    """Return the mask's classes over the image, (H, W, 3) uint8; class 0 shows the image as it is.

    Args:
        image: (H, W, 3) uint8, see `to_rgb8`.
        indices: (H, W) uint8 class indices.
        colors: (K, 3) uint8.
        opacity: Of the classes' colours.
    """
    painted = image + (colorize(indices, colors).astype(np.float32) - image) * opacity
    return np.where((indices == 0)[:, :, None], image, np.rint(painted).astype(np.uint8))


def framed(
    pixels: NDArray[np.uint8], box: Box, window: Box, colors: Sequence[tuple[int, int, int]], *, gap: int = 0
) -> NDArray[np.uint8]:
    """Return a picture of a window with a frame around a box, a line a colour; a box that is all of it has none.

    Args:
        pixels: (h, w, 3) uint8, the window at any size.
        box: In pixels of the image.
        window: Likewise.
        colors: Of the lines, the innermost first.
        gap: Pixels between the box and the first line.

    >>> pixels, lines = np.full((9, 9, 3), 9, np.uint8), [(0, 0, 0), (255, 255, 255)]
    >>> framed(pixels, Box(3, 3, 3, 3), Box(0, 0, 9, 9), lines)[:, 4, 0].tolist()
    [9, 255, 0, 9, 9, 9, 0, 255, 9]
    """
    if box == window:
        return pixels
    scale, result = pixels.shape[0] / window.height, pixels.copy()
    top, left = (round((a - b) * scale) for a, b in zip(box[:2], window[:2], strict=True))
    inner = Box(top, left, round(box.height * scale), round(box.width * scale))
    for distance, color in enumerate(colors, start=gap + 1):
        ring = inner.grown(distance)
        for edge in (
            Box(ring.top, ring.left, 1, ring.width),
            Box(ring.bottom - 1, ring.left, 1, ring.width),
            Box(ring.top, ring.left, ring.height, 1),
            Box(ring.top, ring.right - 1, ring.height, 1),
        ):
            result[edge.clip(*result.shape[:2]).slices] = color
    return result
