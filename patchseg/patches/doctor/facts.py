"""What one pass over a pair of files leaves behind: numbers, digests and thumbnails; never the pixels.

Files are read by bands of rows, one pair at a time, so that neither many images nor large ones fill the memory.
"""

import contextlib
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchseg.imaging import Box, ImageSource, raster
from patchseg.imaging.channels import are_gray, channel_names
from patchseg.imaging.resolution import pixel_size
from patchseg.imaging.scale import reduced
from patchseg.imaging.source import Array
from patchseg.labels.classes import IGNORE, pack
from patchseg.labels.derive import Survey, survey
from patchseg.patches.check import PixelDigest, require_finite, require_labels
from patchseg.patches.split import random

LONGEST = 512  # side of the thumbnails that the facts are taken from
BOXES = 100  # patches drawn from a mask to estimate what a random one holds
MOST_VALUES = 4096  # of a mask that are counted one by one
_BAND = 2**22  # pixels read at a time
_RARE = 0.05  # share of the pixels below which a value counts as rare


class ImageFacts(NamedTuple):
    """What an image holds.

    Attributes:
        path: Its file.
        shape: (H, W, C).
        dtype: Of its pixels.
        low: Least value of each channel.
        high: Greatest value of each channel.
        levels: Distinct values of the first channel, in a sample of its rows.
        at_top: Share of the samples that have the greatest value of all.
        digest: Of size, dtype and pixels; of gray in three channels that of one.
        pixel_size: Height and width of a pixel in micrometres, where the file tells.
        orientation: By EXIF, 1 for none.
        names: Of the channels.
        gray: Whether it is stored as three equal channels.
    """

    path: Path
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    low: tuple[float, ...]
    high: tuple[float, ...]
    levels: int
    at_top: float
    digest: bytes
    pixel_size: tuple[float, float] | None
    orientation: int
    names: tuple[str, ...]
    gray: bool


class MaskFacts(NamedTuple):
    """What a mask holds.

    Attributes:
        path: Its file.
        size: (H, W).
        survey: Its kind and values.
        counts: Pixels of each value (of each packed colour), the `MOST_VALUES` most frequent ones.
        total: Pixels.
        transparent: Share of the pixels that are no data.
        jpeg: Whether it was stored with losses.
        pieces: Connected regions of one value, background and 255 left out.
        between: Share of the pixels of rare values that have a lower and a higher value close by.
        presence: Share of random patches that hold each value.
        digest: Of its pixels.
        orientation: By EXIF, 1 for none.
    """

    path: Path
    size: tuple[int, int]
    survey: Survey
    counts: dict[int, int]
    total: int
    transparent: float
    jpeg: bool
    pieces: int
    between: float
    presence: dict[int, float]
    digest: bytes
    orientation: int

    @property
    def sparse(self) -> bool:
        """Whether 255 is most of an index mask, as where scribbles, points or a part are all that is labelled."""
        return self.survey.kind != "color" and 2 * self.counts.get(IGNORE, 0) > self.total


def bands(source: ImageSource) -> Iterator[Box]:
    """Yield the boxes of a few rows, top to bottom, that make up an image."""
    height, width, _ = source.shape
    rows = max(1, _BAND // width)
    for top in range(0, height, rows):
        yield Box(top, 0, min(rows, height - top), width)


def of_image(source: ImageSource, path: Path) -> ImageFacts:
    """Read all of an open image.

    Raises:
        DataError: It is damaged, or holds NaN or infinity.
    """
    tally, digest = _Tally(source.shape[2]), PixelDigest(source)
    gray = source.shape[2] == 3
    for box in bands(source):
        pixels = source.read(box)
        require_finite(pixels, path, top=box.top)
        tally.add(pixels)
        gray = gray and are_gray(pixels)
        digest.add(pixels)
    return ImageFacts(
        path, source.shape, source.dtype, tuple(tally.low.tolist()), tuple(tally.high.tolist()), tally.levels, tally.at_top(),
        digest.of(gray=gray), pixel_size(path), raster.orientation(path), channel_names(source), gray,
    )  # fmt: skip


def of_mask(source: ImageSource, path: Path, *, patch: int, seed: int, number: int) -> MaskFacts:
    """Read all of an open mask.

    Args:
        source: The mask as it is stored.
        path: Its file.
        patch: Side of the patches, in the mask's pixels.
        seed: Of the patches that are drawn.
        number: Of the mask in its set.

    Raises:
        DataError: It is damaged, or holds neither indices nor colours.
    """
    require_labels(source, path)
    height, width, channels = source.shape
    digest, counts, transparent = hashlib.blake2b(digest_size=16), _Counts(), 0
    digest.update(f"{source.shape}".encode())
    for box in bands(source):
        pixels = source.read(box)
        digest.update(pixels.data)
        valid = source.valid(box)
        values = pack(pixels, path) if channels >= 3 else pixels[:, :, 0]
        counts.add(values if valid is None else values[valid])
        transparent += 0 if valid is None else int((~valid).sum())
    boxes = random_boxes(height, width, patch, random(seed, 3, number))
    labels = labels_of(reduced(source, LONGEST, labels=True), path)
    return MaskFacts(
        path, (height, width), survey(source, path), counts.most(), height * width, transparent / (height * width),
        _lossy(path), pieces(labels), 0.0 if channels >= 3 else between(labels),
        presence(source, path, boxes), digest.digest(), raster.orientation(path),
    )  # fmt: skip


def labels_of(pixels: Array, path: Path) -> NDArray[Any]:
    """Return the value or the packed colour of each pixel of a mask, (h, w)."""
    return pack(pixels, path) if pixels.shape[2] >= 3 else np.asarray(pixels[:, :, 0])


def pieces(labels: NDArray[Any]) -> int:
    """Count the connected regions of one label each; 0 and 255 are no label.

    >>> pieces(np.array([[1, 1, 0, 2], [0, 0, 0, 2], [1, 0, 3, 2]]))
    4
    """
    from skimage.measure import label

    _, numbers = np.unique(labels, return_inverse=True)
    shown = np.where((labels == 0) | (labels == 255), 0, numbers.reshape(labels.shape) + 1)
    return int(label(shown, background=0, connectivity=2).max())  # type: ignore[no-untyped-call]


def between(labels: NDArray[Any]) -> float:
    """Return the share of the pixels of rare values that have both a lower and a higher value within two pixels.

    Resizing a mask with interpolation puts such values along every edge. 255 counts as a value here.

    >>> between(np.array([[0] * 20 + [4] + [9] * 20] * 9))
    1.0
    """
    values, numbers, counts = np.unique(labels, return_inverse=True, return_counts=True)
    rare = (counts < _RARE * labels.size)[numbers.reshape(labels.shape)]
    if len(values) < 3 or not rare.any():
        return 0.0
    lower = _extreme(labels, np.minimum) < labels
    higher = _extreme(labels, np.maximum) > labels
    return float((lower & higher)[rare].mean())


def _extreme(labels: NDArray[Any], choose: np.ufunc) -> NDArray[Any]:
    """Return the least or greatest label within two pixels of each, (h, w)."""
    (height, width), padded = labels.shape, np.pad(labels, 2, mode="edge")
    rows = functools.reduce(choose, [padded[start : start + height] for start in range(5)])
    result: NDArray[Any] = functools.reduce(choose, [rows[:, start : start + width] for start in range(5)])
    return result


def random_boxes(height: int, width: int, patch: int, generator: np.random.Generator) -> list[Box]:
    """Draw patches evenly over an image, top to bottom; one that is larger is cut at the border."""
    tops = np.sort(generator.integers(max(1, height - patch + 1), size=BOXES)).tolist()
    lefts = generator.integers(max(1, width - patch + 1), size=BOXES).tolist()
    boxes = [Box(top, left, patch, patch).clip(height, width) for top, left in zip(tops, lefts, strict=True)]
    return boxes if height > patch or width > patch else boxes[:1]


def presence(source: ImageSource, path: Path, boxes: list[Box]) -> dict[int, float]:
    """Return the share of the boxes that hold each value, for up to `MOST_VALUES` of them."""
    seen: dict[int, int] = {}
    for box in boxes:
        for value in np.unique(labels_of(source.read(box), path)).tolist():
            if value in seen or len(seen) < MOST_VALUES:
                seen[value] = seen.get(value, 0) + 1
    return {value: count / len(boxes) for value, count in seen.items()}


def _lossy(path: Path) -> bool:
    # What is no single file is no JPEG.
    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.read(3) == b"\xff\xd8\xff"
    return False


class _Tally:
    """Least and greatest value of each channel, and how many samples have the greatest of all."""

    def __init__(self, channels: int) -> None:
        self.low, self.high = np.full(channels, np.inf), np.full(channels, -np.inf)
        self._top, self._count, self._all, self.levels = -np.inf, 0, 0, 0

    def add(self, pixels: Array) -> None:
        """Count the samples of a band (h, w, C)."""
        self.low = np.minimum(self.low, pixels.min(axis=(0, 1)))
        self.high = np.maximum(self.high, pixels.max(axis=(0, 1)))
        top = float(pixels.max())
        if top > self._top:
            self._top, self._count = top, 0
        self._count += int((pixels == self._top).sum())
        self._all += pixels.size
        self.levels = max(self.levels, len(np.unique(pixels[::8, :, 0])))

    def at_top(self) -> float:
        """Return the share of samples that have the greatest value."""
        return self._count / self._all


class _Counts:
    """Pixels of each value, gathered band by band."""

    def __init__(self) -> None:
        self._values, self._counts = np.zeros(0), np.zeros(0, np.int64)

    def add(self, values: NDArray[Any]) -> None:
        """Count the values of a band."""
        found, counts = np.unique(values, return_counts=True)
        both, places = np.unique(np.concatenate([self._values, found]), return_inverse=True)
        weights = np.concatenate([self._counts, counts])
        self._values = both
        self._counts = np.bincount(places, weights, minlength=len(both)).astype(np.int64)

    def most(self) -> dict[int, int]:
        """Return the most frequent values with their pixels, the most frequent first."""
        order = np.argsort(-self._counts, kind="stable")[:MOST_VALUES]
        return dict(zip(self._values[order].tolist(), self._counts[order].tolist(), strict=True))
