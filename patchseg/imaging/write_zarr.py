"""Rows -> OME-Zarr 0.5: a folder that is written from top to bottom and appears whole or not at all.

Source: https://ngff.openmicroscopy.org/0.5/. The package zarr is imported when it is needed.
"""

import json
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from patchseg.errors import UsageError
from patchseg.imaging.beside import Beside
from patchseg.imaging.files import refusal
from patchseg.imaging.source import Array

CHUNK = 512
_CENTIMETRE = 10_000.0  # in micrometres


class ZarrWriter:
    """Takes rows of a mask, (h, W) or (h, W, C); see `RowWriter`.

    Args:
        path: The folder.
        shape: (H, W) or (H, W, C).
        dtype: Of the pixels.
        palette: (K, 3) uint8 colours of class indices, or None.
        beside: What is written beside the pixels; its description is JSON.

    Raises:
        UsageError: The package zarr is not installed, or the folder cannot be written to.
    """

    def __init__(
        self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], palette: Array | None, beside: Beside
    ) -> None:
        self._path, self._part = path, path.with_name(f".{path.name}.part")
        self._shape, self._dtype, self._palette, self._beside = shape, dtype, palette, beside
        self._held: list[Array] = []
        self._top = 0

    def write(self, rows: Array) -> None:
        """Append rows; whole rows of chunks go to the disk."""
        self._held.append(rows)
        if sum(map(len, self._held)) < CHUNK:
            return
        stacked = np.concatenate(self._held)
        ready = len(stacked) // CHUNK * CHUNK
        self._store(stacked[:ready])
        self._held = [stacked[ready:]]

    def __enter__(self) -> Self:
        try:
            import zarr
        except ImportError:
            raise UsageError(
                f"{self._path}: cannot be written, the package zarr is not installed; `pip install patchseg[zarr]`"
            ) from None
        try:
            shutil.rmtree(self._part, ignore_errors=True)
            self._part.parent.mkdir(parents=True, exist_ok=True)
            group = zarr.create_group(store=str(self._part), attributes=self._attributes())
            self._levels = [
                group.create_array(
                    str(level), shape=shape, dtype=self._dtype, chunks=(CHUNK, CHUNK, *shape[2:])
                )
                for level, shape in enumerate(self._shapes())
            ]
        except OSError as error:
            raise refusal(self._path, error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._store(np.concatenate(self._held))
                assert self._top == self._shape[0], f"{self._top} of {self._shape[0]} rows written"
                if self._path.exists():
                    shutil.rmtree(self._path)
                self._part.replace(self._path)
        except OSError as failure:
            raise refusal(self._path, failure) from failure
        finally:
            shutil.rmtree(self._part, ignore_errors=True)

    def _store(self, rows: Array) -> None:
        """Write rows that begin at a multiple of the chunks, and of every level those that it keeps."""
        try:
            for level, array in enumerate(self._levels):
                step = 2**level
                first = -self._top % step
                kept = rows[first::step, ::step]
                top = (self._top + first) // step
                array[top : top + len(kept)] = kept
        except OSError as error:
            raise refusal(self._path, error) from error
        self._top += len(rows)

    def _shapes(self) -> list[tuple[int, ...]]:
        shapes = [self._shape]
        while self._beside.pyramid and max(shapes[-1][:2]) > CHUNK:
            height, width, *channels = shapes[-1]
            shapes.append((-(-height // 2), -(-width // 2), *channels))
        return shapes

    def _attributes(self) -> dict[str, Any]:
        across, down = self._beside.density or (_CENTIMETRE, _CENTIMETRE)
        unit = {} if self._beside.density is None else {"unit": "micrometer"}
        channels = [{"name": "c", "type": "channel"}] if len(self._shape) == 3 else []
        datasets = []
        for level in range(len(self._shapes())):
            scale = [_CENTIMETRE / down * 2**level, _CENTIMETRE / across * 2**level, *(1.0 for _ in channels)]
            step = {"type": "scale", "scale": scale}
            datasets.append({"path": str(level), "coordinateTransformations": [step]})
        axes = [*({"name": axis, "type": "space", **unit} for axis in "yx"), *channels]
        colors = [] if self._palette is None else self._palette.tolist()
        label = {
            "colors": [{"label-value": value, "rgba": [*color, 255]} for value, color in enumerate(colors)]
        }
        about = {
            "version": "0.5",
            "multiscales": [{"axes": axes, "datasets": datasets}],
            "image-label": label,
        }
        return {"ome": about, "patchseg": json.loads(self._beside.description or "{}")}
