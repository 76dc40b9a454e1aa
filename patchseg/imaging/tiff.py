"""TIFF by window: only the segments (tiles or strips) that a box touches are decoded, and those decoded last are kept.

Built on tifffile's page decoder, because its Zarr view keeps no decoded segment and decodes each one again for
every overlapping window. The cache holds what the next box of a sweep needs again: the last row of segments where
boxes are as wide as the image, all rows of segments that a narrower box touches, and a quarter more.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile
from numpy.typing import NDArray

from patchseg.errors import DataError
from patchseg.imaging.address import TIFF_SUFFIXES, Address, is_zarr
from patchseg.imaging.box import Box
from patchseg.imaging.pages import (
    ALPHA,
    Layout,
    choose,
    count_pages,
    is_inverted,
    keep_to_itself,
    others,
    require_plausible,
)
from patchseg.imaging.reading import Reading
from patchseg.imaging.segments import BUSY, Key, Part, Segments, damaged
from patchseg.imaging.source import Array, Held, ImageSource
from patchseg.imaging.upright import BOTTOM_FIRST, RIGHT_FIRST, TURNS, UprightSource
from patchseg.progress import counted, megabytes

SUFFIXES = TIFF_SUFFIXES
_ORIENTATION = 274  # the tag
_BANDS, _WINDOWS = (
    4 * 2**20,
    64 * 2**20,
)  # bytes to keep at least, of boxes as wide as the image and of narrower ones
_LARGE = 2**28  # bytes of one segment, or of a turned image of strips, that are worth a word


def accepts(head: bytes) -> bool:
    """Tell whether a file that starts so is a TIFF or BigTIFF."""
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def open_source(path: Path, reading: Reading = Reading()) -> ImageSource:
    """Open a TIFF by window, upright.

    Raises:
        DataError: It is truncated or damaged, or cannot be read as one image.
    """
    place, inside = Address.of(path)
    if inside is not None:
        if not inside.isdecimal() or not int(inside):
            raise DataError(f"{path}: names no page of {place}; expected its number, such as {place}:/1")
        reading = reading._replace(pages=int(inside))
    with ExitStack() as files:
        try:
            file = files.enter_context(tifffile.TiffFile(place))
            keep_to_itself(file, place)
            found = choose(file, reading)
            if not isinstance(found, str):
                for part in found:
                    require_plausible(part, file.filehandle.size)
                source = TiffSource(path, file, found, downwards=reading.downwards)
                _tell(path, file, source, reading)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - a damaged directory fails in any line that reads it
            raise damaged(path, error) from None
        if isinstance(found, str):
            raise DataError(f"{path}: {found}")
        files.pop_all()
    return UprightSource(source, source.orientation) if source.orientation in TURNS else source


def page_count(path: Path) -> int:
    """Return how many pages a stack has; 1 where the file is no TIFF.

    Raises:
        DataError: It is damaged, or cannot be read at all.
    """
    if Address.of(path).inside is not None or is_zarr(path):
        return 1
    try:
        with path.open("rb") as stream:
            if not accepts(stream.read(4)):
                return 1
        with tifffile.TiffFile(path) as file:
            keep_to_itself(file, path)
            return count_pages(file)
    except Exception as error:  # noqa: BLE001 - a damaged directory fails in any line that reads it
        raise damaged(path, error) from None


def _tell(path: Path, file: tifffile.TiffFile, source: "TiffSource", reading: Reading) -> None:
    """Say what reading costs more than it should, and what is not read."""
    if source.segment_bytes > _LARGE:
        reading.tell(
            f"{path}: is stored in pieces of {megabytes(source.segment_bytes)}, which are decoded whole; "
            "save it as a tiled TIFF to read it in little memory"
        )
    elif source.orientation >= 5 and source.column_bytes > _LARGE:
        reading.tell(
            f"{path}: is stored on its side, so {megabytes(source.column_bytes)} of it are kept while it is read; "
            "save it upright to read it in little memory"
        )
    if number := others(file):
        reading.tell(
            f"{path}: holds {counted(number, 'image')} of another size or kind too, not read; save them apart"
        )


class _Piece(NamedTuple):
    """A segment, the pixels of a box that it holds, and where it holds them."""

    key: Key
    target: tuple[slice, slice, slice]
    source: tuple[slice, slice]


class TiffSource:
    """Open TIFF pages as they are stored; see `ImageSource`. Safe to read from several threads.

    Args:
        path: Of the file.
        file: Taken over.
        parts: Pages of one kind; more than one are channels, one after the other.
        downwards: Whether boxes come in one column of them, see `Reading`.
    """

    def __init__(
        self, path: Path, file: tifffile.TiffFile, parts: list[Part], *, downwards: bool = False
    ) -> None:
        self._file, page = file, parts[0].page
        self._layout, self._samples = Layout.of(page), page.samplesperpixel
        self._parts = len(parts)
        self._alpha = page.samplesperpixel > 1 and tuple(page.extrasamples or ())[-1:] in ALPHA
        self.shape = (page.imagelength, page.imagewidth, self._samples * self._parts - self._alpha)
        self.dtype: np.dtype[Any] = np.dtype(np.uint8 if page.dtype.kind == "b" else page.dtype).newbyteorder(
            "="
        )
        self.palette = _palette(page) if self._parts == 1 else None
        self.orientation = int(page.tags.valueof(_ORIENTATION, 1))
        # Upright boxes that go down go to the side where the image is stored on its side.
        self._downwards = downwards and self.orientation < 5
        self._sideways = downwards and self.orientation >= 5
        self._white = self.dtype.type(2**page.bitspersample - 1) if is_inverted(page) else None
        self._segments = Segments(path, file.filehandle, parts, self.dtype)
        self.held = self._held()

    @property
    def segment_bytes(self) -> int:
        """Bytes of a decoded segment."""
        height, width, _, _, planes = self._layout
        size: int = height * width * (self._samples // planes) * self.dtype.itemsize
        return size

    @property
    def column_bytes(self) -> int:
        """Bytes of a decoded column of segments."""
        return self.segment_bytes * self._layout.down * self._layout.planes * self._parts

    @property
    def is_wide(self) -> bool:
        """Whether segments are as wide as the image."""
        return self._layout.across == 1

    def read(self, box: Box) -> Array:
        """Return the raw pixels of a box inside the image, (h, w, C)."""
        pixels = self._read(box)
        if self._white is not None:
            pixels = self._white - pixels
        return pixels[:, :, : self.shape[2]]

    def valid(self, box: Box) -> NDArray[np.bool_] | None:
        """Return where alpha is not 0, (h, w) bool, or None where all is opaque."""
        if not self._alpha:
            return None
        opaque: NDArray[np.bool_] = self._read(box)[:, :, -1] > 0
        return None if opaque.all() else opaque

    def close(self) -> None:
        """Let go of the file and of the cache."""
        self._segments.close()
        self._file.close()

    def __enter__(self) -> "TiffSource":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, box: Box) -> Array:
        """Return all samples of a box, alpha included, (h, w, S)."""
        pixels = np.empty((box.height, box.width, self._samples * self._parts), self.dtype)
        self._segments.capacity = self._capacity(box)
        pieces = self._pieces(box)
        decoded = self._segments.fetch([piece.key for piece in pieces])
        for (_, target, source), segment in zip(pieces, decoded, strict=True):
            pixels[target] = segment[source]
        return pixels

    def _pieces(self, box: Box) -> list[_Piece]:
        """Return the segments that a box touches, those that the next box of a sweep touches too last."""
        height, width, down, across, planes = self._layout
        samples = self._samples // planes
        rows = list(_spans(box.top, box.bottom, height))
        columns = list(_spans(box.left, box.right, width))
        if self.orientation in BOTTOM_FIRST:
            rows.reverse()
        if self.orientation in RIGHT_FIRST:
            columns.reverse()
        rightward = self._sideways or (box.height == self.shape[0] and box.width < self.shape[1])
        places = (
            [(r, c) for c in columns for r in rows] if rightward else [(r, c) for r in rows for c in columns]
        )
        channels = [
            (part, plane, slice(first, first + samples))
            for part in range(self._parts)
            for plane in range(planes)
            for first in (part * self._samples + plane * samples,)
        ]
        return [
            _Piece(
                (part, (plane * down + row.number) * across + column.number),
                (row.target, column.target, mine),
                (row.source, column.source),
            )
            for row, column in places
            for part, plane, mine in channels
        ]

    def _capacity(self, box: Box) -> int:
        """Return the bytes of segments to keep for the box that comes after this one in a sweep."""
        height, width, down, across, planes = self._layout
        rows = min(down, (box.height - 2) // height + 2)  # the most that a box so high can touch
        one = self.segment_bytes * planes * self._parts
        if self._sideways:
            return max(_BANDS, int(1.25 * one * rows))
        if box.width == self.shape[1]:
            return max(_BANDS, int(1.25 * one * across))
        if self._downwards:
            return max(_BANDS, int(1.25 * one * min(across, (box.width - 2) // width + 2)))
        if box.height == self.shape[0]:
            return max(_WINDOWS, int(1.25 * one * down))
        return max(_WINDOWS, int(1.25 * one * across * rows))

    def _held(self) -> Held:
        """Return what is kept of boxes in one column of them, with what is being decoded meanwhile."""
        height, width, down, across, planes = self._layout
        one, length, number = self.segment_bytes * planes * self._parts, width, across
        if self.orientation >= 5:
            length, number = height, down
        # A box touches a segment more than fit into it, two where it begins and ends amid them.
        kept, column = (
            (_BANDS + 1.25 * 2 * one, 1.25 * one / length) if number > 1 else (_BANDS + 1.25 * one, 0.0)
        )
        busy = min(BUSY, down * across * planes * self._parts)
        return Held(int(min(kept, one * down * across)) + busy * self.segment_bytes, column)


class _Span(NamedTuple):
    number: int
    target: slice
    source: slice


def _spans(start: int, stop: int, length: int) -> Iterator[_Span]:
    """Yield the segments along one axis that the pixels start..stop touch: their numbers, and which pixels they share."""
    for number in range(start // length, -(-stop // length)):
        first = number * length
        low, high = max(start, first), min(stop, first + length)
        yield _Span(number, slice(low - start, high - start), slice(low - first, high - first))


def _palette(page: tifffile.TiffPage) -> NDArray[np.uint8] | None:
    """Return the colours of a palette image, (K, 3) uint8."""
    if page.photometric != tifffile.PHOTOMETRIC.PALETTE or page.colormap is None:
        return None
    colors = np.asarray(page.colormap).T
    # Some programs write 8 bits where 16 are asked for.
    return (colors if colors.max() < 256 else colors >> 8).astype(np.uint8)
