"""Where patches are cut: at random, a share of them centred on a pixel of a class that is drawn evenly."""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from patchseg.imaging import Box
from patchseg.imaging.source import Array
from patchseg.labels.classes import IGNORE

_TRIES = 20  # for a patch with at least one labelled pixel


def sample_boxes(
    mask: NDArray[np.uint8], patch: int, number: int, *, foreground: float, random: np.random.Generator
) -> list[Box]:
    """Draw boxes of `patch` x `patch` pixels.

    The last round(foreground * number) of them are centred on a pixel of a foreground class, drawn evenly from those
    that are present (nnU-Net's sampling), and moved inside where they would leave the mask. Along an axis shorter than
    the patch, the box is centred and leaves it on both sides.

    Args:
        mask: (H, W) uint8 class indices.
        patch: Side of a box.
        number: Boxes to draw.
        foreground: Share of centred boxes.
        random: Where the draws come from.

    Returns:
        Boxes with at least one labelled pixel each; none where the whole mask is ignored.
    """
    places = {int(index): _Places.of(mask, index) for index in _present(mask)}
    if not places:
        return []
    present = [index for index in places if index != 0]
    forced = round(foreground * number) if present else 0
    boxes = [_labelled(mask, patch, places, random) for _ in range(number - forced)]
    for _ in range(forced):
        drawn = places[present[random.integers(len(present))]]
        boxes.append(_around(drawn.draw(mask, random), patch, mask.shape))
    return boxes


class _Places(NamedTuple):
    """Where a class is, as the running number of its pixels by row: a pixel is found without listing them all."""

    label: int
    running: NDArray[np.int64]  # (H,)

    @classmethod
    def of(cls, mask: NDArray[np.uint8], index: int) -> Self:
        return cls(index, np.cumsum((mask == index).sum(axis=1, dtype=np.int64)))

    def draw(self, mask: NDArray[np.uint8], random: np.random.Generator) -> tuple[int, int]:
        """Draw one of the pixels evenly."""
        number = int(random.integers(self.running[-1]))
        row = int(np.searchsorted(self.running, number, side="right"))
        before = int(self.running[row - 1]) if row else 0
        return row, int(np.flatnonzero(mask[row] == self.label)[number - before])


def _present(mask: NDArray[np.uint8]) -> list[int]:
    """Return the class indices that a mask holds, in ascending order."""
    seen = np.zeros(256, bool)
    for row in mask:
        seen[row] = True
    seen[IGNORE] = False
    return [int(index) for index in np.flatnonzero(seen)]


def cut(pixels: Array, box: Box, *, fill: int | None = None) -> Array:
    """Return the pixels of a box that may leave the image, (h, w, ...).

    What stands at a place outside does not depend on the box, so that a larger box holds the pixels of a smaller one.

    Args:
        pixels: (H, W, ...).
        box: The window; it may be larger than the image.
        fill: What stands outside the image; None reflects the image at its borders, as often as it takes.

    >>> cut(np.arange(3)[None], Box(0, -3, 1, 9)).tolist(), cut(np.arange(3)[None], Box(-1, 1, 2, 3), fill=9).tolist()
    ([[1, 2, 1, 0, 1, 2, 1, 0, 1]], [[9, 9, 9], [1, 2, 9]])
    """
    height, width = pixels.shape[:2]
    part = box.clip(height, width)
    if part == box:
        return pixels[box.slices]
    if fill is None:
        rows, columns = _mirrored(box.top, box.bottom, height), _mirrored(box.left, box.right, width)
        return np.asarray(pixels[rows[:, None], columns])
    window = np.full((box.height, box.width, *pixels.shape[2:]), fill, pixels.dtype)
    window[Box(part.top - box.top, part.left - box.left, *part[2:]).slices] = pixels[part.slices]
    return window


def flips(pixels: Array) -> list[Array]:
    """Return a patch as it is, flipped left-right, up-down, and both ways, in the order of the `flip` codes 0 to 3."""
    return [pixels, pixels[:, ::-1], pixels[::-1], pixels[::-1, ::-1]]


def _labelled(
    mask: NDArray[np.uint8], patch: int, places: dict[int, _Places], random: np.random.Generator
) -> Box:
    """Draw a box anywhere that holds a labelled pixel; after some tries, one around such a pixel."""
    for _ in range(_TRIES):
        box = Box(
            _anywhere(mask.shape[0], patch, random), _anywhere(mask.shape[1], patch, random), patch, patch
        )
        if (mask[box.clip(*mask.shape).slices] != IGNORE).any():
            return box
    drawn = list(places.values())[int(random.integers(len(places)))]
    return _around(drawn.draw(mask, random), patch, mask.shape)


def _around(pixel: tuple[int, int], patch: int, shape: tuple[int, ...]) -> Box:
    """Return the box centred on a pixel, moved inside the mask."""
    top, left = (_inside(at - patch // 2, patch, length) for at, length in zip(pixel, shape, strict=True))
    return Box(top, left, patch, patch)


def _anywhere(length: int, patch: int, random: np.random.Generator) -> int:
    return int(random.integers(length - patch + 1)) if length >= patch else (length - patch) // 2


def _mirrored(start: int, stop: int, length: int) -> NDArray[np.intp]:
    """Return which of `length` pixels stand at the places start..stop between two mirrors; one pixel is everywhere."""
    there_and_back = 2 * (length - 1)
    places = np.arange(start, stop) % max(1, there_and_back)
    return np.minimum(places, there_and_back - places)


def _inside(start: int, patch: int, length: int) -> int:
    return min(max(start, 0), length - patch) if length >= patch else (length - patch) // 2
