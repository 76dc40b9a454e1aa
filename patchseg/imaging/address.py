"""Where an image lies when it is not simply a file.

It may be a dataset in an HDF5 file (`a.h5:/path`), a page of a TIFF, counted from 1 (`a.tif:/3`), or a Zarr folder.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

HDF5_SUFFIXES = (".h5", ".hdf5", ".he5")
TIFF_SUFFIXES = (".tif", ".tiff")
# A drive letter is no file, so its colon is none of ours.
_INSIDE = re.compile(
    rf"(.+?(?:{'|'.join(map(re.escape, HDF5_SUFFIXES + TIFF_SUFFIXES))})):[/\\]*(.+)",
    re.IGNORECASE | re.DOTALL,
)
_ZARR = ("zarr.json", ".zgroup", ".zarray")


class Address(NamedTuple):
    """A file or folder, and the dataset or page in it where one is named."""

    file: Path
    inside: str | None = None

    @classmethod
    def of(cls, path: Path) -> "Address":
        r"""Take a path apart.

        >>> Address.of(Path("C:/data/a.h5:/raw/image")).inside
        'raw/image'
        >>> Address.of(Path("C:/data/a.tif")).inside is None
        True
        """
        match = _INSIDE.fullmatch(str(path))
        if match is None or path.exists():
            return cls(path)
        return cls(Path(match[1]), match[2].replace("\\", "/"))


def is_there(path: Path) -> bool:
    """Tell whether there is a file, a Zarr folder, or the file of a dataset."""
    return Address.of(path).file.is_file() or is_zarr(path)


def is_zarr(path: Path) -> bool:
    """Tell whether a path is a folder that Zarr has made, of version 2 or 3."""
    return path.is_dir() and any((path / name).is_file() for name in _ZARR)


def plain_name(path: Path) -> Path:
    """Return the name under which an image is known: that of its file, with the path of the dataset.

    >>> plain_name(Path("data/a.h5:/raw/image")), plain_name(Path("data/a.tif"))
    (PosixPath('a_raw_image.h5'), PosixPath('a.tif'))
    """
    file, inside = Address.of(path)
    return Path(
        file.name if inside is None else f"{file.stem}_{inside.strip('/').replace('/', '_')}{file.suffix}"
    )


def files_of(path: Path) -> Iterator[Path]:
    """Yield the files that an image is stored in, in a fixed order."""
    if not is_zarr(path):
        yield Address.of(path).file
        return
    yield from sorted(file for file in path.rglob("*") if file.is_file())
