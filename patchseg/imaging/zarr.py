"""OME-Zarr 0.4 and 0.5 (and plain Zarr arrays) by window: a folder is an image, at its full resolution.

Source: https://ngff.openmicroscopy.org/0.5/. The package zarr (`pip install patchseg[zarr]`) is imported when it is needed.
"""

import contextlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchseg.errors import DataError, UsageError
from patchseg.imaging.box import Box
from patchseg.imaging.reading import Reading
from patchseg.imaging.source import Array, Held, trouble

_MIN_CACHE = 64 * 2**20
_MICROMETRES = {"nanometer": 1e-3, "micrometer": 1.0, "millimeter": 1e3, "centimeter": 1e4, "meter": 1e6}
_AXES = {2: ("y", "x"), 3: ("y", "x", "c")}  # of arrays that name none, as of all arrays here


def open_source(path: Path, reading: Reading = Reading()) -> "ZarrSource":
    """Open the image of a folder by window.

    Raises:
        DataError: The folder is damaged, or holds none or several images, or more than rows, columns and channels.
        UsageError: The package zarr is not installed.
    """
    return open_levels(path, _MIN_CACHE, most=1)[0]


def open_levels(path: Path, cache: int, *, most: int | None = None) -> "list[ZarrSource]":
    """Open the image of a folder in all its sizes by window, the full one first; see `open_source`.

    Args:
        path: The folder.
        cache: Bytes of decoded chunks that each keeps at least.
        most: How many sizes are opened.
    """
    try:
        import zarr
    except ImportError:
        raise UsageError(
            f"{path}: is a Zarr folder, and the package that reads it is not installed; `pip install patchseg[zarr]`"
        ) from None
    try:
        opened: Any = zarr.open(store=str(path), mode="r")
        arrays, axes, names = _image(path, opened, most)
        if not arrays:
            raise ValueError("it lists no arrays")
        return [ZarrSource(path, array, axes, names, cache=cache) for array in arrays]
    except DataError:
        raise
    except Exception as error:  # noqa: BLE001 - metadata that is damaged fails in any line that reads it
        raise _damaged(path, error) from None


def pixel_size(path: Path) -> tuple[float, float] | None:
    """Return height and width of a pixel in micrometres, as OME-Zarr tells it of the full resolution, or None."""
    # What is damaged here is told by those who read the pixels.
    with contextlib.suppress(Exception):
        version_3 = path / "zarr.json"
        text = (version_3 if version_3.is_file() else path / ".zattrs").read_text(encoding="utf-8")
        about = json.loads(text)
        about = about.get("attributes", {}).get("ome", about)
        scales = about["multiscales"][0]
        steps = scales["datasets"][0]["coordinateTransformations"] + scales.get(
            "coordinateTransformations", []
        )
        sizes = [1.0] * len(scales["axes"])
        for step in steps:
            if step["type"] == "scale":
                sizes = [size * float(scale) for size, scale in zip(sizes, step["scale"], strict=True)]
        found = {
            axis["name"]: size * _MICROMETRES[axis["unit"]]
            for axis, size in zip(scales["axes"], sizes, strict=True)
            if axis["name"] in {"y", "x"}
        }
        return found["y"], found["x"]
    return None


def _image(
    path: Path, opened: Any, most: int | None
) -> tuple[list[Any], tuple[str, ...], tuple[str, ...] | None]:
    """Return the arrays from the full resolution on, their axes, and the names of the channels where they are told."""
    if not hasattr(opened, "group_keys"):
        return [opened], _AXES.get(opened.ndim, ()), None
    about: Mapping[str, Any] = opened.attrs.get("ome", opened.attrs)
    if "multiscales" not in about:
        inside = sorted([*opened.group_keys(), *opened.array_keys()])
        # What Bio-Formats writes: one numbered group an image.
        if "bioformats2raw.layout" in about and "1" not in inside and "0" in inside:
            return _image(path, opened["0"], most)
        listed = (
            f"it holds {', '.join(inside[:8])}{', ...' if len(inside) > 8 else ''}"
            if inside
            else "it is empty"
        )
        raise DataError(
            f"{path}: is no image of OME-Zarr ({listed}); expected the folder of one, so name that"
        )
    scales = about["multiscales"]
    if len(scales) != 1:
        raise DataError(
            f"{path}: holds {len(scales)} images; expected one, so store each in a folder of its own"
        )
    axes = [axis if isinstance(axis, str) else axis["name"] for axis in scales[0]["axes"]]
    arrays = [opened[dataset["path"]] for dataset in scales[0]["datasets"][:most]]
    labels = [channel.get("label") for channel in about.get("omero", {}).get("channels", [])]
    return arrays, tuple(str(axis) for axis in axes), tuple(labels) if labels and all(labels) else None


def _damaged(path: Path, error: object) -> DataError:
    return DataError(f"{path}: is truncated or damaged ({error}); replace it by a whole copy")


class ZarrSource:
    """An open Zarr array; see `ImageSource`. Holds one row of decoded chunks.

    Args:
        path: The folder, for the errors.
        array: The array.
        axes: The names of its axes: y, x, and c where there are channels; others must have length 1.
        names: Of the channels.
        cache: Bytes of decoded chunks to keep at least.

    Raises:
        DataError: The array is no image.
    """

    def __init__(
        self,
        path: Path,
        array: Any,
        axes: tuple[str, ...],
        names: tuple[str, ...] | None,
        *,
        cache: int = _MIN_CACHE,
    ) -> None:
        shape = tuple(int(length) for length in array.shape)
        if len(axes) != len(shape) or not {"y", "x"} <= set(axes):
            raise DataError(
                f"{path}: {trouble(shape, array.dtype) or f'has the axes {axes}; expected y and x'}"
            )
        lengths = dict(zip(axes, shape, strict=True))
        deep = [f"{length} {axis}" for axis, length in lengths.items() if axis not in "yxc" and length != 1]
        if deep:
            raise DataError(
                f"{path}: is {' x '.join(deep)} deep; expected one plane, so store each plane as an image of its own"
            )
        sizes = lengths["y"], lengths["x"], lengths.get("c", 1)
        if wrong := trouble(sizes if axes != ("y", "x", "c") else shape, array.dtype):
            raise DataError(f"{path}: {wrong}")
        self._path, self._array, self._axes = path, array, axes
        self.shape = sizes
        self.channel_names = names if names and len(names) == sizes[2] else None
        self.dtype = np.dtype(np.uint8 if array.dtype.kind == "b" else array.dtype).newbyteorder("=")
        self.palette: NDArray[np.uint8] | None = None
        self._chunk = dict(zip(axes, (int(size) for size in array.chunks), strict=True))
        row = self._chunk["y"] * sizes[1] * sizes[2] * self.dtype.itemsize
        self._capacity, self._taken = max(cache, int(1.25 * row)), 0
        one = row // sizes[1] * self._chunk["x"]
        self.held = Held(self._capacity + 2 * one)  # with one that is being decoded
        self._cache: OrderedDict[tuple[int, int], Array] = OrderedDict()

    @property
    def is_wide(self) -> bool:
        """Whether chunks are as wide as the image."""
        return self._chunk["x"] >= self.shape[1]

    def read(self, box: Box) -> Array:
        """Return the raw pixels of a box inside the image, (h, w, C).

        Raises:
            DataError: A chunk that is needed is damaged.
        """
        pixels = np.empty((box.height, box.width, self.shape[2]), self.dtype)
        high, wide = self._chunk["y"], self._chunk["x"]
        rows = range(box.top // high, -(-box.bottom // high))
        columns = range(box.left // wide, -(-box.right // wide))
        for row, column in product(rows, columns):
            block = self._block(row, column)
            part = Box(row * high, column * wide, *block.shape[:2])
            top, left = max(part.top, box.top), max(part.left, box.left)
            shared = Box(top, left, min(part.bottom, box.bottom) - top, min(part.right, box.right) - left)
            source = shared._replace(top=top - part.top, left=left - part.left)
            target = shared._replace(top=top - box.top, left=left - box.left)
            pixels[target.slices] = block[source.slices]
        return pixels

    def valid(self, box: Box) -> None:
        """Return None: all of it holds data."""

    def close(self) -> None:
        """Let go of the decoded chunks."""
        self._cache.clear()

    def __enter__(self) -> "ZarrSource":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _block(self, row: int, column: int) -> Array:
        """Return the pixels of a chunk in all channels, (h, w, C), out of the cache where they are there."""
        if (row, column) in self._cache:
            self._cache.move_to_end((row, column))
            return self._cache[row, column]
        block = self._decode(row, column)
        self._cache[row, column] = block
        self._taken += block.nbytes
        while self._taken > self._capacity and len(self._cache) > 1:
            self._taken -= self._cache.popitem(last=False)[1].nbytes
        return block

    def _decode(self, row: int, column: int) -> Array:
        high, wide = self._chunk["y"], self._chunk["x"]
        wanted = {
            "y": slice(row * high, min((row + 1) * high, self.shape[0])),
            "x": slice(column * wide, min((column + 1) * wide, self.shape[1])),
            "c": slice(None),
        }
        try:
            block = np.asarray(self._array[tuple(wanted.get(axis, 0) for axis in self._axes)])
        except Exception as error:  # noqa: BLE001 - each codec has an error class of its own
            raise _damaged(self._path, error) from None
        kept = [axis for axis in self._axes if axis in wanted]
        if "c" not in kept:
            block, kept = block[..., None], [*kept, "c"]
        order = [kept.index(axis) for axis in "yxc"]
        return np.ascontiguousarray(block.transpose(order), self.dtype)
