"""Segments (tiles or strips) of TIFF pages: bytes of the file in, decoded pixels out, the last ones kept.

Segments that are asked for together are decoded side by side, since the codecs let go of Python's lock.
"""

import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from patchseg.errors import DataError
from patchseg.imaging import lzw
from patchseg.imaging.source import Array

Key = tuple[int, int]  # which part, which of its segments
_THREADS = min(4, os.cpu_count() or 1)
BUSY = (
    3 * _THREADS + 1
)  # segments beside those that are kept, at most: bytes that are decoded, and what has become of some
_JPEG, _JPEG_2000 = {6, 7, 33007, 34892}, {33003, 33004, 33005, 34712}
_JPEG_WITH_END, _JPEG_END = _JPEG - {6}, b"\xff\xd9"  # the old kind keeps parts of its stream elsewhere


class Part(NamedTuple):
    """A page and where its segments lie.

    Attributes:
        page: The tifffile page that knows how they are decoded.
        offsets: Byte of the file at which each starts.
        counts: Bytes of each; 0 where a sparse file leaves it out.
    """

    page: Any
    offsets: Sequence[int]
    counts: Sequence[int]


def damaged(path: Path, error: object) -> DataError:
    """Return the error of a file that cannot be decoded."""
    return DataError(f"{path}: is truncated or damaged ({error}); replace it by a whole copy")


class Segments:
    """Decoded segments of an open file. Safe to use from several threads.

    Args:
        path: Of the file, for errors.
        handle: Its tifffile handle.
        parts: The pages.
        dtype: Of the pixels.
    """

    def __init__(self, path: Path, handle: Any, parts: list[Part], dtype: np.dtype[Any]) -> None:
        self._path, self._handle, self._parts, self._dtype = path, handle, parts, dtype
        # Making a decoder reads from the file, so it is not left to the threads.
        self._decoders = [part.page.decode for part in parts]
        self._tables = [
            {"jpegtables": part.page.jpegtables, "jpegheader": part.page.jpegheader} for part in parts
        ]
        self._reading, self._caching = threading.Lock(), threading.Lock()
        self._cache: dict[Key, Array] = {}  # in the order of decoding
        self._pool: ThreadPoolExecutor | None = None
        self._held = 0
        self.capacity = 0  # bytes of decoded segments to keep

    def fetch(self, keys: Sequence[Key]) -> Iterator[Array]:
        """Yield decoded segments, (h, w, S), in the order in which they are asked for.

        Raises:
            DataError: The file is truncated or damaged.
        """
        # Held at a time are the cache and as many segments as keep the threads busy.
        alone = len(keys) == 1
        coming: deque[tuple[Key, Array | Future[Array]]] = deque()
        for key in keys:
            coming.append((key, self._start(key, alone=alone)))
            if len(coming) > 2 * _THREADS:
                yield self._finish(*coming.popleft())
        while coming:
            yield self._finish(*coming.popleft())

    def close(self) -> None:
        """Let go of threads and pixels."""
        if self._pool:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None
        with self._caching:
            self._cache.clear()
            self._held = 0

    def _start(self, key: Key, *, alone: bool) -> "Array | Future[Array]":
        """Return a segment that is kept, or begin to decode it, in this thread where it is the only one."""
        with self._caching:
            kept = self._cache.get(key)
            if kept is not None:
                return kept
            if self._pool is None and not alone:
                self._pool = ThreadPoolExecutor(_THREADS, "tiff")
            pool = self._pool
        if alone or pool is None:
            return self._keep(key, self._decode(key))
        return pool.submit(self._decode, key)

    def _finish(self, key: Key, segment: "Array | Future[Array]") -> Array:
        if not isinstance(segment, Future):
            return segment
        return self._keep(key, segment.result())

    def _keep(self, key: Key, decoded: Array) -> Array:
        """Put a decoded segment into the cache; those decoded longest ago leave it."""
        with self._caching:
            if key not in self._cache:
                self._cache[key] = decoded
                self._held += decoded.nbytes
            while self._held > self.capacity and len(self._cache) > 1:
                self._held -= self._cache.pop(next(iter(self._cache))).nbytes
        return decoded

    def _decode(self, key: Key) -> Array:
        number, index = key
        try:
            data = self._bytes(key)
            if data is not None:
                self._require_fitting(key, data)
            decoder = self._decoders[number]
            if data is not None and lzw.decodes(self._parts[number].page):
                _, _, shape = decoder(None, index)
                return lzw.decode(self._parts[number].page, data, shape[1:])
            decoded, _, shape = decoder(data, index, **self._tables[number])
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - each of twenty codecs has an error class of its own
            raise damaged(self._path, error) from None
        if decoded is None:
            return np.broadcast_to(np.array(self._parts[number].page.nodata, self._dtype), shape[1:])
        return np.asarray(decoded[0])

    def _bytes(self, key: Key) -> bytes | None:
        """Return the bytes of a segment, None where a sparse file leaves it out."""
        number, index = key
        part = self._parts[number]
        size = int(part.counts[index])
        if not size:
            return None
        with self._reading:
            self._handle.seek(part.offsets[index])
            data: bytes = self._handle.read(size)
        if len(data) < size:
            raise ValueError(f"segment {index} has {len(data)} of its {size} bytes")
        return data

    def _require_fitting(self, key: Key, data: bytes) -> None:
        """Raise a `ValueError` where data end too early, or say that they are far larger than their segment."""
        page = self._parts[key[0]].page
        # libjpeg fills what is missing with gray; within the picture the mark of its end cannot occur.
        if page.compression in _JPEG_WITH_END and page.jpegheader is None and _JPEG_END not in data[-1024:]:
            raise ValueError(f"segment {key[1]} ends before its JPEG picture does")
        claimed = 0
        if page.compression in _JPEG:
            claimed = jpeg_pixels(data)
        elif page.compression in _JPEG_2000:
            claimed = jpeg_2000_pixels(data)
        expected = page.tilewidth * page.tilelength if page.is_tiled else page.imagewidth * page.rowsperstrip
        if claimed > 4 * max(expected, page.imagewidth * 16):
            raise ValueError(f"segment {key[1]} is {claimed} pixels in itself, {expected} in the directory")


def jpeg_pixels(data: bytes) -> int:
    """Return rows x columns as a JPEG stream's frame header (ITU-T T.81, B.2.2) says; 0 where there is none.

    >>> jpeg_pixels(bytes.fromhex("ffd8 ffc0 000b 08 0010 0020 01 011100"))
    512
    """
    place = 2
    while place + 9 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker in {0xFF, 0x01, *range(0xD0, 0xD9)}:  # filling, or markers without a length
            place += 1 if marker == 0xFF else 2
            continue
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            return int.from_bytes(data[place + 5 : place + 7]) * int.from_bytes(data[place + 7 : place + 9])
        if marker == 0xDA:  # the scan: no frame header will come
            break
        place += 2 + int.from_bytes(data[place + 2 : place + 4])
    return 0


def jpeg_2000_pixels(data: bytes) -> int:
    """Return rows x columns as a JPEG 2000 codestream's size marker (ITU-T T.800, A.5.1) says; 0 where there is none."""
    start = data.find(b"\xff\x4f\xff\x51")
    if start < 0 or start + 24 > len(data):
        return 0
    right, bottom, left, top = (int.from_bytes(data[at : at + 4]) for at in range(start + 8, start + 24, 4))
    return max(0, right - left) * max(0, bottom - top)
