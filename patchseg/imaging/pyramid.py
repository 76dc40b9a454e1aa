"""An image in all the sizes that its file holds, opened so that little of it is kept: for looking at parts of it.

TIFF holds smaller sizes as reduced pages (GDAL, OME, `infer --pyramid`), OME-Zarr as further arrays. What is stored
without compression in pieces that are too large to be read whole is mapped into memory instead.
"""

import contextlib
import math
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile

from patchseg.imaging import Reading, as_shown, open_raw, zarr
from patchseg.imaging.address import Address, is_zarr
from patchseg.imaging.pages import Layout, count_pages, is_inverted, require_plausible, unreadable
from patchseg.imaging.segments import Part
from patchseg.imaging.source import ArraySource, ImageSource
from patchseg.imaging.tiff import TiffSource

_LARGE = 2**22  # bytes of a piece that is mapped where it can be
_KEPT = 2**22  # bytes of decoded chunks of Zarr, at least


class Size(NamedTuple):
    """An image at 1 / step of its size.

    Attributes:
        step: A power of two: its pixels are those of every `step`-th row and column, or means around them.
        source: Its pixels.
        wide: Whether it is stored in pieces as wide as itself, so that a narrow box costs as much as a wide one.
    """

    step: int
    source: ImageSource
    wide: bool


def open_sizes(path: Path, reading: Reading = Reading(), *, raw: bool = False) -> list[Size]:
    """Open an image in all its sizes, the full one first.

    Args:
        path: Of the image.
        reading: Which pages and channels.
        raw: Whether palette indices stay such, as in masks.

    Raises:
        DataError: The file is missing, damaged or of no known format.
    """
    sources: list[tuple[ImageSource, bool]]
    if is_zarr(path):
        sources = [(source, source.is_wide) for source in zarr.open_levels(path, _KEPT)]
    else:
        full = open_raw(path, reading._replace(downwards=True))
        sources = [_mapped(path, full)]
        if isinstance(full, TiffSource) and full.orientation == 1 and Address.of(path).inside is None:
            sources += _reduced_pages(path)
    try:
        if not raw:
            sources = [(as_shown(source, reading, path), wide) for source, wide in sources]
    except Exception:
        for source, _ in sources:
            source.close()
        raise
    return _stepped(sources)


def _stepped(sources: list[tuple[ImageSource, bool]]) -> list[Size]:
    """Return the sizes that are 1, 1/2, 1/4 ... of the first, within a pixel; others are closed."""
    (height, width, channels), dtype = sources[0][0].shape, sources[0][0].dtype
    sizes: list[Size] = []
    for source, wide in sources:
        step = 2 ** round(math.log2(max(1.0, height / source.shape[0])))
        near = abs(height / step - source.shape[0]) <= 1 and abs(width / step - source.shape[1]) <= 1
        alike = (source.shape[2], source.dtype) == (channels, dtype)
        if near and alike and step not in {size.step for size in sizes}:
            sizes.append(Size(step, source, wide))
        else:
            source.close()
    return sizes


def _reduced_pages(path: Path) -> list[tuple[ImageSource, bool]]:
    """Open the smaller sizes of the only image of a TIFF, each by an opening of its own; those that are odd are left out."""
    sources: list[tuple[ImageSource, bool]] = []
    with tifffile.TiffFile(path) as file:
        count = len(file.series[0].levels) if count_pages(file) == 1 else 0
    for number in range(1, count):
        # They are a convenience, and the full size has been opened: a damaged one is passed over.
        with contextlib.suppress(ValueError), ExitStack() as files:
            file = files.enter_context(tifffile.TiffFile(path))
            page = file.series[0].levels[number].keyframe.aspage()
            part = Part(page, page.dataoffsets, page.databytecounts)
            require_plausible(part, file.filehandle.size)
            if not unreadable([part]):
                sources.append((TiffSource(path, file, [part], downwards=True), Layout.of(page).across == 1))
                files.pop_all()
    return sources


def _mapped(path: Path, source: ImageSource) -> tuple[ImageSource, bool]:
    """Return a source, mapped in place of read where it is stored plainly and in large pieces, and whether it is wide."""
    if not isinstance(source, TiffSource):
        return source, False
    if source.segment_bytes > _LARGE and Address.of(path).inside is None and source.orientation == 1:
        with tifffile.TiffFile(path) as file:
            page = file.series[0].levels[0].keyframe.aspage()
            plain = page.is_memmappable and not is_inverted(page) and Layout.of(page).planes == 1
            if plain and count_pages(file) == 1 and not page.is_tiled:
                height, width, channels = source.shape
                shape = (height, width, page.samplesperpixel)
                dtype = np.dtype(page.dtype).newbyteorder(file.byteorder)
                pixels = np.memmap(path, dtype, "r", page.dataoffsets[0], shape)
                mapped = ArraySource(pixels[:, :, :channels], palette=source.palette, map=pixels._mmap)  # type: ignore[attr-defined, unused-ignore]
                source.close()
                return mapped, False
    return source, source.is_wide
