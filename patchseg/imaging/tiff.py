"""TIFF by window: only the segments (tiles or strips) that a box touches are decoded, and those decoded last are kept.

Built on tifffile's page decoder, because its Zarr view keeps no decoded segment and decodes each one again for
every overlapping window. The cache holds one row of segments, so that an image read band by band from top to
bottom is decoded once.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from patchseg.errors import DataError
from patchseg.imaging.box import Box
from patchseg.imaging.reading import Reading
from patchseg.imaging.source import Array

SUFFIXES = (".tif", ".tiff")
_MIN_CACHE = 4 * 2**20
_ALPHA = ((tifffile.EXTRASAMPLE.ASSOCALPHA,), (tifffile.EXTRASAMPLE.UNASSALPHA,))


def accepts(head: bytes) -> bool:
    """Tell whether a file that starts so is a TIFF or BigTIFF."""
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def open_source(path: Path, reading: Reading = Reading()) -> "TiffSource":
    """Open a TIFF by window.

    Raises:
        DataError: It is truncated or damaged, or no single upright 2-D image.
    """
    with ExitStack() as files:
        try:
            file = files.enter_context(tifffile.TiffFile(path))
            pages = file.series[0].levels[0].pages
            trouble = _unsupported(pages[0], len(pages))
            source = None if trouble else TiffSource(path, file, pages[0])
        except Exception as error:  # noqa: BLE001 - a damaged directory fails in any line that reads it
            raise _damaged(path, error) from None
        if source is None:
            raise DataError(f"{path}: {trouble}")
        files.pop_all()
    return source


def _unsupported(page: Any, count: int) -> str:
    if count != 1:
        return f"is a stack of {count} pages; expected one image a file, so save its pages one by one"
    if page.imagedepth != 1:
        return f"is a volume {page.imagedepth} deep; expected a flat image, so save its slices one by one"
    tag = page.tags.get("Orientation")
    if tag is not None and tag.value != 1:
        return (
            f"has the orientation tag {int(tag.value)}; expected upright pixels (1), so save it again upright"
        )
    if page.dtype is None or page.dtype.kind not in "buif":
        return f"holds samples of {page.dtype or f'{page.bitspersample} bits'}; expected whole or real numbers, so convert it"
    return ""


def _damaged(path: Path, error: object) -> DataError:
    return DataError(f"{path}: is truncated or damaged ({error}); replace it by a whole copy")


class TiffSource:
    """An open TIFF page; see `ImageSource`. Safe to read from several threads.

    Raises:
        ValueError: Its directory lists fewer segments than its size asks for.
    """

    def __init__(self, path: Path, file: tifffile.TiffFile, page: Any) -> None:
        self._path, self._file, self._page, self._lock = path, file, page, threading.Lock()
        self._alpha = page.samplesperpixel > 1 and tuple(page.extrasamples or ())[-1:] in _ALPHA
        self.shape = (page.imagelength, page.imagewidth, page.samplesperpixel - self._alpha)
        self.dtype = np.dtype(np.uint8 if page.dtype.kind == "b" else page.dtype)
        self.palette: NDArray[np.uint8] | None = None
        if page.photometric == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None:
            self.palette = (np.asarray(page.colormap).T >> 8).astype(np.uint8)
        tiled = page.is_tiled
        self._height = page.tilelength if tiled else min(page.rowsperstrip, page.imagelength)
        self._width = page.tilewidth if tiled else page.imagewidth
        self._down = -(-page.imagelength // self._height)
        self._across = -(-page.imagewidth // self._width)
        self._planes = page.samplesperpixel if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE else 1
        segments = self._planes * self._down * self._across
        if len(page.dataoffsets) < segments:
            raise ValueError(f"{len(page.dataoffsets)} of its {segments} segments are listed")
        row = self._height * self._across * self._width * page.samplesperpixel * self.dtype.itemsize
        self._capacity = max(_MIN_CACHE, int(1.25 * row))
        self._cache: OrderedDict[int, Array] = OrderedDict()
        self._held = 0

    def read(self, box: Box) -> Array:
        """Return the raw pixels of a box inside the image, (h, w, C)."""
        pixels = self._samples(box)
        if self._page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and self.dtype.kind == "u":
            pixels = self.dtype.type(2**self._page.bitspersample - 1) - pixels
        return pixels[:, :, : self.shape[2]]

    def valid(self, box: Box) -> NDArray[np.bool_] | None:
        """Return where alpha is not 0, (h, w) bool, or None where all is opaque."""
        if not self._alpha:
            return None
        opaque: NDArray[np.bool_] = self._samples(box)[:, :, -1] > 0
        return None if opaque.all() else opaque

    def close(self) -> None:
        """Let go of the file and of the cache."""
        self._file.close()
        self._cache.clear()

    def __enter__(self) -> "TiffSource":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _samples(self, box: Box) -> Array:
        """Return all samples of a box, alpha included, (h, w, S)."""
        pixels = np.empty((box.height, box.width, self._page.samplesperpixel), self.dtype)
        for row, column, plane, index in self._segments(box):
            segment = self._segment(index)
            top, left = row * self._height, column * self._width
            part = Box(top, left, *segment.shape[:2])
            shared = Box(
                max(part.top, box.top),
                max(part.left, box.left),
                min(part.bottom, box.bottom) - max(part.top, box.top),
                min(part.right, box.right) - max(part.left, box.left),
            )
            source = Box(shared.top - top, shared.left - left, shared.height, shared.width).slices
            target = Box(shared.top - box.top, shared.left - box.left, shared.height, shared.width).slices
            samples = slice(plane, plane + 1) if self._planes > 1 else slice(None)
            pixels[(*target, samples)] = segment[source]
        return pixels

    def _segments(self, box: Box) -> Iterator[tuple[int, int, int, int]]:
        """Yield row, column, plane and index of the segments that a box touches."""
        # Planes inside rows, so that the last row stays in the cache with all its planes.
        for row in range(box.top // self._height, -(-box.bottom // self._height)):
            for plane in range(self._planes):
                for column in range(box.left // self._width, -(-box.right // self._width)):
                    yield row, column, plane, (plane * self._down + row) * self._across + column

    def _segment(self, index: int) -> Array:
        """Return a decoded segment, (h, w, S), from the cache where it is there."""
        with self._lock:
            if index in self._cache:
                return self._cache[index]
            segment = self._decode(index)
            self._cache[index] = segment
            self._held += segment.nbytes
            while self._held > self._capacity and len(self._cache) > 1:
                self._held -= self._cache.popitem(last=False)[1].nbytes
        return segment

    def _decode(self, index: int) -> Array:
        page, handle = self._page, self._file.filehandle
        try:
            size = page.databytecounts[index]
            handle.seek(page.dataoffsets[index])
            data = handle.read(size) if size else None
            if data is not None and len(data) < size:
                raise ValueError(f"segment {index} has {len(data)} of its {size} bytes")
            decoded, _, shape = page.decode(data, index, jpegtables=page.jpegtables)
        except Exception as error:  # noqa: BLE001 - each of twenty codecs has an error class of its own
            raise _damaged(self._path, error) from None
        if decoded is None:  # a sparse file leaves empty segments out
            return np.full(shape[1:], page.nodata, self.dtype)
        return np.asarray(decoded[0])
