"""Datasets of HDF5 files as images, (H, W) or (H, W, C), read by window: `file.h5:/path`, or a file that holds just one."""

import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from patchseg.errors import DataError, did_you_mean
from patchseg.imaging.address import HDF5_SUFFIXES as SUFFIXES
from patchseg.imaging.address import Address
from patchseg.imaging.box import Box
from patchseg.imaging.reading import Reading
from patchseg.imaging.source import Array, Held, trouble

__all__ = ["SUFFIXES", "Hdf5Source", "accepts", "is_of_patches", "open_source"]
_MIN_CACHE = 8 * 2**20
_SLOTS = 12421  # a prime far above the number of chunks in a row, as HDF5 advises
_LISTED = 20


def accepts(head: bytes) -> bool:
    """Tell whether a file that starts so is HDF5."""
    return head.startswith(b"\x89HDF\r\n\x1a\n")


def is_of_patches(path: Path) -> bool:
    """Tell whether a file is one of patches, which `prepare` has written, and no image."""
    try:
        with h5py.File(path, "r") as file:
            return "patchseg_format" in file.attrs
    except OSError:
        return False


def open_source(path: Path, reading: Reading = Reading()) -> "Hdf5Source":
    """Open a dataset by window.

    Raises:
        DataError: The file is damaged, has no such dataset, or the dataset is no image.
    """
    place, inside = Address.of(path)
    try:
        file = h5py.File(place, "r")
    except OSError as error:
        raise _damaged(place, error) from None
    try:
        return Hdf5Source(path, file, _name(file, place, inside))
    except DataError:
        file.close()
        raise
    except Exception as error:  # noqa: BLE001 - a damaged file fails in any line that reads it
        file.close()
        raise _damaged(place, error) from None


def _name(file: h5py.File, place: Path, inside: str | None) -> str:
    """Return the path of the dataset that is named, or of the only one that may be an image."""
    if inside is not None:
        if isinstance(file.get(inside), h5py.Dataset):
            return inside
        names = _datasets(file)
        hint = did_you_mean(f"/{inside}", names)
        raise DataError(f"{place}: holds no dataset /{inside}; {_known(names, place)}{hint}")
    if "patchseg_format" in file.attrs:
        raise DataError(f"{place}: holds patches that prepare has cut, no image; give the images themselves")
    names = _datasets(file)
    if len(names) != 1:
        raise DataError(f"{place}: holds {len(names)} datasets that may be images; {_known(names, place)}")
    return names[0]


def _datasets(file: h5py.File) -> list[str]:
    """Return the paths of the datasets that may be images."""
    names: list[str] = []

    def look(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim in (2, 3) and item.dtype.kind in "buif" and item.size:
            names.append(f"/{name}")

    file.visititems(look)
    return names


def _known(names: list[str], place: Path) -> str:
    if not names:
        return "expected one of numbers of shape (H, W) or (H, W, C)"
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"name the one to read, as in {place}:{names[0]} (it holds {', '.join(names[:_LISTED])}{more})"


def _damaged(path: Path, error: object) -> DataError:
    return DataError(f"{path}: is truncated or damaged ({error}); replace it by a whole copy")


class Hdf5Source:
    """An open dataset; see `ImageSource`.

    Raises:
        DataError: Its shape or dtype is not that of an image.
    """

    def __init__(self, path: Path, file: h5py.File, name: str) -> None:
        dataset = _cached(file, name)
        if wrong := trouble(dataset.shape or (), dataset.dtype):
            raise DataError(f"{path}: {wrong}")
        self._path, self._file, self._dataset = path, file, dataset
        height, width, channels = (*dataset.shape, 1)[:3]
        self.shape = (int(height), int(width), int(channels))
        dtype: np.dtype[Any] = np.dtype(np.uint8) if dataset.dtype.kind == "b" else dataset.dtype
        self.dtype = dtype.newbyteorder("=")
        self.palette: NDArray[np.uint8] | None = None
        chunk = math.prod(dataset.chunks or ()) * self.dtype.itemsize
        self.held = Held(_cache(dataset) + 2 * chunk)  # with one that is being decoded

    def read(self, box: Box) -> Array:
        """Return the raw pixels of a box inside the image, (h, w, C).

        Raises:
            DataError: A part of the file that is needed is damaged.
        """
        try:
            pixels = self._dataset[box.slices]
        except (OSError, RuntimeError, ValueError) as error:
            raise _damaged(self._path, error) from None
        return np.asarray(pixels, self.dtype).reshape(box.height, box.width, self.shape[2])

    def valid(self, box: Box) -> None:
        """Return None: all of it holds data."""

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def __enter__(self) -> "Hdf5Source":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _cached(file: h5py.File, name: str) -> h5py.Dataset:
    """Open a dataset with a cache of one row of chunks, so that each is decoded once from top to bottom."""
    access = h5py.h5p.create(h5py.h5p.DATASET_ACCESS)
    # Not while the dataset is open already: it would keep the cache that it has.
    access.set_chunk_cache(_SLOTS, _cache(file[name]), 0.75)
    return h5py.Dataset(h5py.h5d.open(file.id, name.encode(), access))


def _cache(dataset: h5py.Dataset) -> int:
    return max(_MIN_CACHE, int(1.25 * _row_of_chunks(dataset)))


def _row_of_chunks(dataset: h5py.Dataset) -> int:
    """Return the bytes of a row of chunks; 0 where there are none."""
    if dataset.chunks is None:
        return 0
    across = [
        -(-length // chunk) for length, chunk in zip(dataset.shape[1:], dataset.chunks[1:], strict=True)
    ]
    return int(math.prod(dataset.chunks) * math.prod(across) * dataset.dtype.itemsize)
