"""Images and masks that are in a data set twice: byte for byte, flipped, recompressed, resized or brightened.

Every image leaves a signature of 32 x 32 fine details; those that correlate are looked at again, larger.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchseg.errors import DataError
from patchseg.imaging.scale import reduced, weights
from patchseg.imaging.source import Array
from patchseg.patches.doctor.doors import Doors
from patchseg.patches.doctor.finding import Finding
from patchseg.patches.doctor.placement import TURNS, Grid, resized
from patchseg.patches.pairs import Pair

_SIDE, _COARSE = 32, 4
_CANDIDATE, _TWIN = 0.9, 0.9  # correlation of the signatures, and of the larger ones
_LARGE = 128
_ROWS = 512  # signatures compared at a time
_MOST = 500  # candidates that are looked at again


class Portrait(NamedTuple):
    """What twins are known by.

    Attributes:
        pair: Its files.
        digest: Of the pixels of the image.
        signature: (1024,) float32 of length 1, or None for an image without content.
        mask: The mask's file, or None where it cannot be read.
        mask_digest: Of its pixels; None for a mask of one value, which is like any other.
        sides: On which sides of the split the image is.
    """

    pair: Pair
    digest: bytes
    signature: Grid | None
    mask: Path | None
    mask_digest: bytes | None
    sides: frozenset[str]


def signature(gray: Grid, side: int = _SIDE) -> Grid | None:
    """Return the fine details of an image as a vector of length 1, (side * side,) float32.

    Args:
        gray: (h, w) float32.
        side: Of the square that it is resampled to.
    """
    small = resized(gray, side)
    back = weights(0, side, _COARSE, side)
    fine = small - back @ resized(gray, _COARSE) @ back.T
    length = np.linalg.norm(fine)
    # Rounding leaves traces of structure in an image without any.
    return None if length <= 1e-4 * max(1.0, float(np.abs(small).max())) else (fine / length).ravel()


def judge(portraits: Sequence[Portrait], doors: Doors) -> Iterator[Finding]:
    """Find images and masks that are there twice; across the sides of the split that is an error."""
    first: dict[bytes, Portrait] = {}
    for portrait in portraits:
        twin = first.setdefault(portrait.digest, portrait)
        if twin is not portrait:
            other = "" if portrait.mask_digest == twin.mask_digest else ", with another mask"
            yield _twins(portrait, twin, f"holds the same pixels as {twin.pair.image}{other}")
    known = set()
    for portrait, twin, how in near(list(first.values()), doors):
        known.add(portrait.pair.image)
        yield _twins(portrait, twin, f"shows the same as {twin.pair.image}{how}")
    yield from _copied([portrait for portrait in portraits if portrait.pair.image not in known])


def near(portraits: Sequence[Portrait], doors: Doors) -> Iterator[tuple[Portrait, Portrait, str]]:
    """Yield images that show the same as an earlier one, that one, and how they differ."""
    known = [portrait for portrait in portraits if portrait.signature is not None]
    told: set[int] = set()
    if not known:
        return
    signatures = np.stack([portrait.signature for portrait in known if portrait.signature is not None])
    for later, earlier, turn in itertools.islice(candidates(signatures), _MOST):
        if later not in told and _alike(known[later].pair, known[earlier].pair, turn, doors):
            told.add(later)
            how = f", {turn}" if turn else " (recompressed, resized or brightened)"
            yield known[later], known[earlier], how


def candidates(signatures: Grid) -> Iterator[tuple[int, int, str]]:
    """Yield the places of two signatures (n, 1024) that correlate, the later one first, and the turn between them."""
    turns: dict[str, Callable[[Array], Array]] = {"": lambda pixels: pixels, **TURNS}
    for name, turn in turns.items():
        other = np.stack([turn(one.reshape(_SIDE, _SIDE)).ravel() for one in signatures])
        for start in range(0, len(other), _ROWS):
            close = signatures[start : start + _ROWS] @ other.T > _CANDIDATE
            for later, earlier in np.argwhere(close).tolist():
                if earlier < start + later:
                    yield start + later, earlier, name


def _alike(later: Pair, earlier: Pair, turn: str, doors: Doors) -> bool:
    """Compare two images again with more details."""
    try:
        grays = [gray_of(pair, doors) for pair in (later, earlier)]
    except DataError:
        return False
    # A smaller copy has no finer details than its pixels.
    side = max(_SIDE, min(_LARGE, *(length for gray in grays for length in gray.shape)))
    one, other = (signature(gray, side) for gray in grays)
    if one is None or other is None:
        return False
    if turn:
        other = TURNS[turn](other.reshape(side, side)).ravel()
    return float(one @ other) > _TWIN


def gray_of(pair: Pair, doors: Doors) -> Grid:
    """Return an image in gray, no longer than 256 pixels either way, (h, w) float32.

    Raises:
        DataError: It cannot be read.
    """
    with doors.image(pair) as source:
        pixels: NDArray[np.float32] = reduced(source, 256).astype(np.float32).mean(axis=2)
    return pixels


def _twins(portrait: Portrait, twin: Portrait, found: str) -> Finding:
    if len(portrait.sides | twin.sides) > 1:
        return Finding(
            "twins", "error", (portrait.pair.image,), f"{found}, on the other side of the split",
            "keep one of the two, or both on one side by --group, or scores on validation images mean nothing",
        )  # fmt: skip
    return Finding("twins", "warning", (portrait.pair.image,), found, "keep one of the two")


def _copied(portraits: Sequence[Portrait]) -> Iterator[Finding]:
    """Find masks that are the same though their images are not."""
    first: dict[bytes, Portrait] = {}
    for portrait in portraits:
        if portrait.mask_digest is None or portrait.mask is None:
            continue
        twin = first.setdefault(portrait.mask_digest, portrait)
        if twin.digest != portrait.digest:
            yield Finding(
                "copied", "warning", (portrait.mask,), f"is the same as {twin.mask}, though their images differ",
                "look which image it belongs to",
            )  # fmt: skip
