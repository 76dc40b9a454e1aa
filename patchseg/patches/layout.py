"""How patches.h5 is laid out: the groups of patches, datasets that grow, and which files are of this format."""

from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np

from patchseg.errors import DataError, UsageError
from patchseg.imaging.source import Array
from patchseg.labels.classes import IGNORE
from patchseg.patches.split import Side

FORMAT = 1
UNLABELLED: Literal["unlabelled"] = "unlabelled"

Part = Side | Literal["unlabelled"]  # a group of patches


def add_group(file: h5py.File, part: Part, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> None:
    """Create an empty group of patches; the masks of unlabelled ones are 255 where nobody writes them.

    Args:
        file: Open for writing.
        part: Its name.
        shape: (S+2M, S+2M, C) of a stored patch.
        dtype: Of the images.
    """
    group = file.create_group(part)
    _add_growing(group, "images", shape, dtype)
    _add_growing(group, "masks", shape[:2], np.uint8, fill=IGNORE if part == UNLABELLED else 0)
    for name, inner in (("source", ()), ("box", (4,)), ("flip", ())):
        group.create_dataset(
            name,
            (0, *inner),
            np.uint8 if name == "flip" else np.int32,
            maxshape=(None, *inner),
            chunks=(1024, *inner),
        )


def open_patches(path: Path) -> h5py.File:
    """Open a patches file for reading.

    Raises:
        UsageError: There is no such file.
        DataError: The file is damaged, of another kind, or of a newer format.
    """
    cure = "make it with `patchseg prepare`"
    if not path.is_file():
        raise UsageError(f"{path}: is no file; {cure}")
    if not path.stat().st_size:
        raise DataError(f"{path}: is empty (0 bytes); {cure}")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise DataError(
            f"{path}: is no HDF5 file, or a damaged one ({str(error).split(' (')[0]}); {cure}"
        ) from None
    number = file.attrs.get("patchseg_format")
    if number == FORMAT:
        return file
    file.close()
    if number is None:
        raise DataError(f"{path}: is HDF5, but holds no patches (no attribute patchseg_format); {cure}")
    raise DataError(
        f"{path}: has format {number}, this patchseg reads {FORMAT}; install a newer patchseg or {cure}"
    )


def _add_growing(group: h5py.Group, name: str, shape: tuple[int, ...], dtype: Any, *, fill: int = 0) -> None:
    """Create an empty dataset that grows, one patch a chunk; what is never written is `fill`, and takes no room."""
    group.create_dataset(
        name, (0, *shape), dtype, maxshape=(None, *shape), chunks=(1, *shape), fillvalue=fill
    )


def append(dataset: h5py.Dataset, values: Array) -> None:
    """Make a dataset longer by some values, (n, ...)."""
    before = len(dataset)
    dataset.resize(before + len(values), axis=0)
    dataset[before:] = values
