"""LZW segments by way of libtiff, whose decoder takes half the time of imagecodecs' own.

libtiff reads files, so a segment is wrapped as the only strip of a small TIFF in memory.
"""

import struct
from typing import Any

import imagecodecs

from patchseg.imaging.source import Array

LZW = 5  # the compression tag's value
_LONG = 4  # the type of all tags


def decodes(page: Any) -> bool:
    """Tell whether the segments of a tifffile page are of a kind that is decoded here."""
    return (
        page.compression == LZW
        and page.bitspersample in {8, 16, 32}
        and page.fillorder == 1
        and page.dtype is not None
        and page.dtype.kind in "uif"
        and bool(imagecodecs.TIFF.available)
    )


def decode(page: Any, data: bytes, shape: tuple[int, int, int]) -> Array:
    """Return the pixels of an LZW segment, in the page's dtype.

    Args:
        page: The tifffile page.
        data: The segment's bytes.
        shape: Its (h, w, S).

    Raises:
        imagecodecs.TiffError: It is damaged.
        ValueError: It is of another size.
    """
    height, width, samples = shape
    order = page.parent.byteorder
    start = 8 + len(data) + len(data) % 2
    # Samples are all of one kind, so one value a tag is enough.
    tags = {
        256: width, 257: height, 258: page.bitspersample, 259: LZW, 262: 1, 273: 8, 277: samples, 278: height,
        279: len(data), 284: 1, 317: page.predictor, 339: {"u": 1, "i": 2, "f": 3}[page.dtype.kind],
    }  # fmt: skip
    head = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, start)
    entries = [struct.pack(order + "HHII", tag, _LONG, 1, value) for tag, value in tags.items()]
    directory = struct.pack(order + "H", len(tags)) + b"".join(entries) + bytes(4)
    file = b"".join((head, data, bytes(len(data) % 2), directory))
    pixels: Array = imagecodecs.tiff_decode(file)
    return pixels.reshape(shape)
