"""Rows -> files: images that are written from top to bottom and appear whole or not at all."""

import math
import mmap
import queue
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, Self

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from patchseg.imaging.beside import Beside
from patchseg.imaging.files import whole
from patchseg.imaging.source import Array, forget
from patchseg.imaging.write_zarr import CHUNK, ZarrWriter

PNG_PIXELS = 16 * 10**6  # above this a mask is a tiled TIFF, which can be read by window
_TILE = 256
_INCH = 2.54  # centimetres
_BUFFER = 2**22  # of tiles that are deflated side by side; tifffile would gather 512 MB of them


class RowWriter(Protocol):
    """Takes rows from top to bottom; a context manager that leaves no half file behind."""

    def write(self, rows: Array) -> None:
        """Append rows, (h, W) or (h, W, C)."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Finish the file, or remove it after an error."""
        ...


def open_writer(
    path: Path,
    shape: tuple[int, ...],
    dtype: Any = np.uint8,
    *,
    palette: NDArray[np.uint8] | None = None,
    beside: Beside = Beside(),
) -> RowWriter:
    """Return a writer by the suffix of the path: .png is held whole, .tif and .zarr are streamed in tiles.

    Args:
        path: Where the file shall appear.
        shape: (H, W) or (H, W, C).
        dtype: uint8 for PNG, anything for TIFF and Zarr.
        palette: (K, 3) uint8 colours of class indices.
        beside: What is written beside the pixels. Of it PNG takes the density; a pyramid is for class indices, of which
            each smaller size keeps every second row and column.
    """
    writers: dict[str, type[_PngWriter | _TiffWriter | ZarrWriter]] = {
        ".png": _PngWriter,
        ".zarr": ZarrWriter,
    }
    writer = writers.get(path.suffix, _TiffWriter)
    return writer(path, shape, np.dtype(dtype), palette, beside)


def buffered(path: Path, shape: tuple[int, ...], dtype: Any, rows: int) -> int:
    """Return the bytes that the writer of a file holds, at most.

    Args:
        path: Of the file.
        shape: (H, W) or (H, W, C).
        dtype: Of its pixels.
        rows: How many it is given at a time.
    """
    height, width, *channels = shape
    row: int = width * math.prod(channels) * np.dtype(dtype).itemsize
    if path.suffix == ".png":  # whole, and once more as Pillow holds it: colours in 4 bytes
        return height * (row + (4 * width if channels else row))
    if path.suffix == ".zarr":  # rows that wait for chunks to be full, once more put together, and encoded
        return 3 * row * (CHUNK + rows)
    # A row of tiles, rows in the queue and at both of its ends, and tiles before and after they are deflated.
    return row * (_TILE + 4 * rows) + 2 * min(_BUFFER, row * height)


def palette_image(indices: NDArray[np.uint8], palette: NDArray[np.uint8]) -> Image.Image:
    """Return class indices (H, W) as a Pillow image that carries its colours; 255 is gray."""
    colors = np.full((256, 3), 128, np.uint8)
    colors[: len(palette)] = palette
    image = Image.fromarray(indices)
    image.putpalette(colors.tobytes())
    return image


class _PngWriter:
    def __init__(
        self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], palette: Array | None, beside: Beside
    ) -> None:
        self._path, self._palette, self._top = path, palette, 0
        density = beside.density
        self._options = {} if density is None else {"dpi": (density[0] * _INCH, density[1] * _INCH)}
        self._pixels = np.empty(shape, dtype)

    def write(self, rows: Array) -> None:
        self._pixels[self._top : self._top + len(rows)] = rows
        self._top += len(rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if kind is None:
            pixels, palette = self._pixels, self._palette
            assert self._top == len(pixels), f"{self._top} of {len(pixels)} rows written"
            image = Image.fromarray(pixels) if palette is None else palette_image(pixels, palette)
            with whole(self._path) as part:
                image.save(part, "PNG", **self._options)


class _TiffWriter:
    """Streams rows through a thread, because tifffile pulls tiles where we push rows."""

    def __init__(
        self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], palette: Array | None, beside: Beside
    ) -> None:
        self._shape, self._dtype, self._beside = shape, dtype, beside
        self._options: dict[str, Any] = {"photometric": "minisblack"}
        if palette is not None:
            colors = np.full((3, 256), 128 * 257, np.uint16)
            colors[:, : len(palette)] = palette.T.astype(np.uint16) * 257
            self._options = {"photometric": "palette", "colormap": colors}
        elif len(shape) == 3:
            self._options = {
                "photometric": "rgb" if shape[2] == 3 else "minisblack",
                "planarconfig": "contig",
            }
        self._path, self._queue = path, queue.Queue[Array | None](maxsize=2)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._files = ExitStack()

    def write(self, rows: Array) -> None:
        if len(rows):
            self._put(rows)

    def __enter__(self) -> Self:
        self._part = self._files.enter_context(whole(self._path))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            try:
                self._put(None)
                self._thread.join()
                if self._failure:
                    raise self._failure
            except BaseException as failure:
                self._files.__exit__(type(failure), failure, failure.__traceback__)
                raise
        else:
            self._failure = self._failure or error
            self._drain()
        self._files.__exit__(kind, error, trace)

    def _put(self, rows: Array | None) -> None:
        while self._failure is None:
            try:
                self._queue.put(rows, timeout=0.2)
            except queue.Full:
                if self._thread.is_alive():
                    continue
                break  # it has had all the rows that there are
            return
        if rows is not None:
            assert self._failure is not None, "more rows than the image has"
            raise self._failure

    def _drain(self) -> None:
        """Let the thread end early: its tiles run out."""
        while self._thread.is_alive():
            try:
                self._queue.put_nowait(None)
            except queue.Full:
                self._queue.get_nowait()
        self._thread.join()

    def _work(self) -> None:
        try:
            size = math.prod(self._shape) * self._dtype.itemsize
            with (
                tempfile.TemporaryFile(dir=self._part.parent) as halved,
                tifffile.TiffWriter(self._part, bigtiff=size > 2**31) as file,
            ):
                bands = self._halving(halved) if self._beside.pyramid else self._bands()
                self._write_page(file, bands, self._shape, **_described(self._beside))
                for shape, rows in self._levels(halved) if self._beside.pyramid else ():
                    self._write_page(file, rows, shape, subfiletype=1)
        except BaseException as error:  # noqa: BLE001 - raised again where the rows come from
            self._failure = self._failure or error

    def _write_page(
        self, file: tifffile.TiffWriter, bands: Iterator[Array], shape: tuple[int, ...], **more: Any
    ) -> None:
        file.write(
            _tiles(bands), shape=shape, dtype=self._dtype, tile=(_TILE, _TILE), compression="deflate", metadata=None,
            buffersize=_BUFFER, software="patchseg", **self._options, **more,
        )  # fmt: skip

    def _halving(self, halved: IO[bytes]) -> Iterator[Array]:
        """Yield the bands, and keep every second row and column of them on the disk."""
        for band in self._bands():
            halved.write(np.ascontiguousarray(band[::2, ::2]).data)
            yield band

    def _levels(self, halved: IO[bytes]) -> Iterator[tuple[tuple[int, ...], Iterator[Array]]]:
        """Yield the shapes and bands of the smaller sizes of the image, down to one tile."""
        height, width = self._shape[:2]
        if max(height, width) <= _TILE:
            return
        halved.flush()
        mapped = mmap.mmap(halved.fileno(), 0, access=mmap.ACCESS_READ)
        level: Array = np.frombuffer(mapped, self._dtype)
        level = level.reshape(-(-height // 2), -(-width // 2), *self._shape[2:])
        while True:
            yield level.shape, _read(level, mapped)
            if max(level.shape[:2]) <= _TILE:
                return
            level = level[::2, ::2]

    def _bands(self) -> Iterator[Array]:
        """Gather queued rows to bands of a tile's height, each in place of the one before; the last may be lower."""
        band: Array = np.empty((_TILE, *self._shape[1:]), self._dtype)
        filled = 0
        while (rows := self._queue.get()) is not None:
            while len(rows):
                taken, rows = rows[: _TILE - filled], rows[_TILE - filled :]
                band[filled : filled + len(taken)] = taken
                filled += len(taken)
                if filled == _TILE:
                    yield band
                    filled = 0
        if filled:
            yield band[:filled]


def _read(level: Array, mapped: mmap.mmap) -> Iterator[Array]:
    """Yield the rows of a mapped image in bands as high as a tile."""
    for top in range(0, len(level), _TILE):
        yield level[top : top + _TILE]
        forget(mapped)


def _tiles(bands: Iterator[Array]) -> Iterator[Array]:
    """Yield tiles in row-major order out of bands as high as a tile; those at the border are filled with zeros."""
    for band in bands:
        for left in range(0, band.shape[1], _TILE):
            tile = np.zeros((_TILE, _TILE, *band.shape[2:]), band.dtype)
            part = band[:, left : left + _TILE]
            tile[: part.shape[0], : part.shape[1]] = part
            yield tile


def _described(beside: Beside) -> dict[str, Any]:
    """Return what stands beside the pixels as tifffile takes it."""
    options: dict[str, Any] = {"description": beside.description or None, "extratags": beside.tags}
    if beside.density is not None:
        options |= {"resolution": beside.density, "resolutionunit": tifffile.RESUNIT.CENTIMETER}
    return options
