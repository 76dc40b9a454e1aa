"""NumPy's .npy files: (H, W) or (H, W, C), read by window through a memory map."""

from pathlib import Path

import numpy as np

from patchseg.errors import DataError
from patchseg.imaging.reading import Reading
from patchseg.imaging.source import ArraySource, trouble

SUFFIXES = (".npy",)


def accepts(head: bytes) -> bool:
    """Tell whether a file that starts so is a .npy file."""
    return head.startswith(b"\x93NUMPY")


def open_source(path: Path, reading: Reading = Reading()) -> ArraySource:
    """Open a .npy file by window.

    Raises:
        DataError: It is damaged, holds objects, or has other than two or three axes.
    """
    try:
        pixels = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # noqa: BLE001 - the header is parsed as Python, which fails in many ways
        raise DataError(f"{path}: is a damaged .npy file ({error}); write it again") from None
    if wrong := trouble(pixels.shape, pixels.dtype):
        raise DataError(f"{path}: {wrong}")
    return ArraySource(pixels.view(np.uint8) if pixels.dtype == bool else pixels, map=pixels._mmap)
