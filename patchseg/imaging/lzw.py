"""LZW segments by way of libtiff, whose decoder takes half the time of imagecodecs' own.

libtiff reads files, so a segment is wrapped as the only strip of a small TIFF in memory.
"""

import struct
from typing import Any

import imagecodecs

from patchseg.imaging.source import Array

LZW = 5  # the compression tag's value
_SHORT, _LONG = 3, 4


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
    kind = {"u": 1, "i": 2, "f": 3}[page.dtype.kind]
    # Of one value a tag, else they lie elsewhere; libtiff takes the first one's for all samples.
    tags = [
        (256, _LONG, width), (257, _LONG, height), (258, _SHORT, page.bitspersample), (259, _SHORT, LZW),
        (262, _SHORT, 1), (273, _LONG, 8), (277, _SHORT, samples), (278, _LONG, height), (279, _LONG, len(data)),
        (284, _SHORT, 1), (317, _SHORT, page.predictor), (339, _SHORT, kind),
    ]  # fmt: skip
    head = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, start)
    entries = [
        struct.pack(
            order + ("HHIHH" if kind == _SHORT else "HHII"), tag, kind, 1, value, *([0] * (kind == _SHORT))
        )
        for tag, kind, value in tags
    ]
    directory = struct.pack(order + "H", len(tags)) + b"".join(entries) + bytes(4)
    file = b"".join((head, data, bytes(len(data) % 2), directory))
    pixels: Array = imagecodecs.tiff_decode(file)
    if pixels.size != height * width * samples or pixels.dtype != page.dtype:
        raise ValueError(f"libtiff gives {pixels.dtype} of shape {pixels.shape}")
    return pixels.reshape(shape)
