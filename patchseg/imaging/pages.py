"""The pages of an open TIFF: which are read, how their segments lie, and which cannot be read rightly.

A `tifffile.TiffFile` flows in, `Part`s with their `Layout` flow out.
"""

import logging
import math
import re
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import tifffile

from patchseg.imaging.reading import Reading
from patchseg.imaging.segments import Part

ALPHA = ((tifffile.EXTRASAMPLE.ASSOCALPHA,), (tifffile.EXTRASAMPLE.UNASSALPHA,))
_PHOTOMETRIC = 262  # the tag
_MINISWHITE, _PALETTE, _YCBCR = 0, 3, 6
_COLORS = {
    5: "inks (CMYK)",
    8: "CIELab",
    9: "ICCLab",
    10: "ITULab",
    32803: "the mosaic of a sensor",
    32844: "LogL",
    32845: "LogLuv",
}
_TURN_TO_RGB = {6, 7, 33007, 34892, 50001}  # codecs that give RGB for YCbCr: JPEG, WebP
_APERIO_YCBCR = 33003
_JPEG_XR = {22610, 34934}

# The most bytes that one byte of a codec can become; it tells a header that lies before memory is asked for.
_EXPANSION = {1: 1, 5: 4096, 8: 1040, 32773: 64, 32946: 1040}
_ANY_EXPANSION = 2**17
_SMALL = 2**26  # bytes of an image that are never doubted
_SPARSE = 2**24  # bytes that a left out segment may stand for


# What tifffile logs of odd files is told here as an error, or is nothing to worry about.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


class Layout(NamedTuple):
    """How segments cover a page.

    Attributes:
        height: Rows of a segment.
        width: Columns of a segment.
        down: Segments from top to bottom.
        across: Segments from left to right.
        planes: 1 where the samples of a pixel lie together, else the number of samples.
    """

    height: int
    width: int
    down: int
    across: int
    planes: int

    @classmethod
    def of(cls, page: Any) -> "Layout":
        """Return the layout of a tifffile page."""
        height = page.tilelength if page.is_tiled else min(page.rowsperstrip, page.imagelength)
        width = page.tilewidth if page.is_tiled else page.imagewidth
        planes = page.samplesperpixel if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE else 1
        return cls(height, width, -(-page.imagelength // height), -(-page.imagewidth // width), planes)


def keep_to_itself(file: tifffile.TiffFile, path: Path) -> None:
    """Have a file that is open read for its own pages only, not for those in files that its description names."""
    # These kinds look for their pages in files beside them; each file has its own pages all the same.
    file.is_mmstack = file.is_ndtiff = False
    if file.is_ome:
        named = set(re.findall(r'FileName="([^"]*)"', file.ome_metadata or ""))
        if named - {path.name}:
            file.is_ome = False


def choose(file: tifffile.TiffFile, reading: Reading) -> list[Part] | str:
    """Return the pages to read, at their full size, or what is wrong with them.

    Raises:
        ValueError: The directory is damaged.
    """
    count = count_pages(file)
    series = file.series[0].levels[0]
    first = series.keyframe.aspage()
    pages = reading.pages
    if pages in (None, "stack") and count != 1:
        return (
            f"is a stack of {count} pages; expected one image a file, so choose a page by its number, or all as channels "
            'or as images, with data.pages (1, "channels" or "stack")'
        )
    if isinstance(pages, int) and count == 1:
        pages = 1  # what needs no choice is read as it is
    if isinstance(pages, int) and pages > count:
        return f"has {count} pages, data.pages asks for page {pages}; choose 1 to {count}"
    numbers = range(count) if pages == "channels" else [pages - 1 if isinstance(pages, int) else 0]
    parts = [_part(series, first, number) for number in numbers]
    return unreadable(parts) or parts


def count_pages(file: tifffile.TiffFile) -> int:
    """Return how many pages the first series has.

    Raises:
        ValueError: The directory is damaged.
    """
    _require_last(file)
    series = file.series[0].levels[0]
    if series.is_truncated:  # one directory for pages that lie one after the other
        return math.prod(series.get_shape(False)) // math.prod(series.keyframe.aspage().shape)
    return len(series)


def _require_last(file: tifffile.TiffFile) -> None:
    """Raise a `ValueError` where the last directory that can be read says that there is another one."""
    if file.is_ndpi:  # which has a chain of its own
        return
    count = len(file.pages)
    offsets = [file.pages[number].offset for number in range(count)]
    handle, wide = file.filehandle, file.is_bigtiff
    order: Literal["little", "big"] = "little" if file.byteorder == "<" else "big"
    handle.seek(offsets[-1])
    entries = int.from_bytes(handle.read(8 if wide else 2), order)
    handle.seek(entries * (20 if wide else 12), 1)
    following = int.from_bytes(handle.read(8 if wide else 4), order)
    if following and following not in offsets:
        raise ValueError(f"the directory of page {count + 1} is missing")


def others(file: tifffile.TiffFile) -> int:
    """Return how many images of other sizes a file holds that are no smaller copies of the first."""
    plain = file.series[0].kind in {"generic", "uniform", "shaped", "ome", "imagej"}
    return sum(
        not series.keyframe.is_reduced and not series.keyframe.is_mask for series in file.series[1:] if plain
    )


def _part(series: Any, first: Any, number: int) -> Part:
    if series.is_truncated:
        shift = number * first.nbytes
        return Part(first, [offset + shift for offset in first.dataoffsets], first.databytecounts)
    frame = series[number]
    if frame is None:
        raise ValueError(f"page {number + 1} is missing")
    virtual = isinstance(frame, tifffile.TiffFrame) and frame.is_virtual
    return Part(frame.keyframe if virtual else frame.aspage(), frame.dataoffsets, frame.databytecounts)


def unreadable(parts: list[Part]) -> str:
    """Say why pages cannot be read rightly, if so."""
    page = parts[0].page
    if page.imagedepth != 1:
        return f"is a volume {page.imagedepth} deep; expected a flat image, so save its slices one by one"
    if page.dtype is None or page.dtype.kind not in "buif":
        return f"holds samples of {page.dtype or f'{page.bitspersample} bits'}; expected whole or real numbers, so convert it"
    if page.compression in _JPEG_XR:
        return "is compressed as JPEG XR, whose decoder hides damage; save it with deflate, LZW or JPEG 2000"
    return _strange_colors(page) or _no_channels(parts)


def _strange_colors(page: Any) -> str:
    color = _COLORS.get(page.photometric)
    turned = page.compression in _TURN_TO_RGB and not page.extrasamples and Layout.of(page).planes == 1
    if page.photometric == _YCBCR and not turned:
        color = "YCbCr that no codec turns to RGB"
    if page.compression == _APERIO_YCBCR:
        color = "YCbCr in JPEG 2000"
    if color:
        return f"holds colours as {color}; expected gray, RGB or a palette, so convert it to RGB"
    if is_inverted(page) and page.dtype.kind in "if":
        return f"says that its least {page.dtype} is white, which has no greatest to turn it into; save it so that the least is black"
    return ""


def _no_channels(parts: list[Part]) -> str:
    page = parts[0].page
    if len(parts) > 1 and page.samplesperpixel > 1 and tuple(page.extrasamples or ())[-1:] in ALPHA:
        return "has pages with transparency, which cannot be channels; save them without alpha"
    if len({(p.page.shape, p.page.dtype, Layout.of(p.page), p.page.photometric) for p in parts}) > 1:
        return (
            "has pages of different kinds, which cannot be channels of one image; choose one with data.pages"
        )
    return ""


def is_inverted(page: Any) -> bool:
    """Tell whether the least is white; where the tag is missing, it is not, as other readers have it."""
    return page.photometric == _MINISWHITE and _PHOTOMETRIC in page.tags


def require_plausible(part: Part, size: int) -> None:
    """Raise a `ValueError` where a directory promises what a file of `size` bytes cannot hold.

    Nothing is read, and nothing of the promised size is asked for.
    """
    page, layout = part.page, Layout.of(part.page)
    sizes = (page.imagelength, page.imagewidth, page.samplesperpixel, *layout)
    if not all(isinstance(number, int) and number > 0 for number in sizes):
        raise ValueError(
            f"its size is {page.imagelength} x {page.imagewidth}, its segments' {layout[0]} x {layout[1]}"
        )
    segments = layout.planes * layout.down * layout.across
    if len(part.offsets) < segments or len(part.counts) < segments:
        raise ValueError(f"{min(len(part.offsets), len(part.counts))} of its {segments} segments are listed")
    offsets, counts = (np.asarray(numbers[:segments], np.float64) for numbers in (part.offsets, part.counts))
    beyond = np.flatnonzero((counts > 0) & (offsets + counts > size))
    if len(beyond):
        first = beyond[0]
        has = max(0, size - int(offsets[first]))
        raise ValueError(f"segment {first} has {has} of its {int(counts[first])} bytes")
    samples = page.samplesperpixel // layout.planes
    # The last strip ends with the image; tiles are filled.
    rows = layout.down * layout.height if page.is_tiled else page.imagelength
    columns = layout.across * layout.width
    claimed = layout.planes * rows * columns * samples * np.dtype(page.dtype).itemsize
    bits = page.bitspersample if isinstance(page.bitspersample, int) else 8
    stored = claimed / np.dtype(page.dtype).itemsize * bits / 8
    held = counts.sum() * _EXPANSION.get(page.compression, _ANY_EXPANSION) + _SPARSE * (counts == 0).sum()
    if claimed > _SMALL and stored > 1.01 * held + layout.height * segments:
        raise ValueError(
            f"its size of {page.imagelength} x {page.imagewidth} asks for {claimed} bytes, its segments have {int(counts.sum())}"
        )
