"""The classes of a data set: which values or colours of a mask mean which class index.

Index masks are read by value (255 is ignored unless a class has it), colour-coded masks by colour, palette masks by
colour where classes are given by colour alone, else by their indices. What no class claims is an error, never
remapped in silence.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from patchseg.errors import DataError, UsageError
from patchseg.imaging import picture
from patchseg.imaging.source import Array
from patchseg.parameters import ClassParameters

IGNORE = picture.IGNORE
_UNKNOWN = 254
MOST = 254


@dataclass(frozen=True)
class Classes:
    """Names, mask values and colours of K classes; a class's place is its index.

    Args:
        names: K distinct names.
        values: The value of each class in index masks; None: its place, and palettes are read by colour.
        colors: "#rrggbb" of each class.
    """

    names: tuple[str, ...]
    values: tuple[int | None, ...]
    colors: tuple[str, ...]

    @classmethod
    def of(cls, given: list[ClassParameters]) -> Self:
        """Take the classes from parameters; colours that are left out come from the palette.

        Raises:
            UsageError: Fewer than 2 classes, more than 254, or two that share name, value or colour.
        """
        chosen = {c.color.lower() for c in given if c.color}
        colors = [picture.hexadecimal(color) for color in picture.palette(len(given) + len(chosen))]
        spare = (color for color in colors if color not in chosen)
        colored = any(c.color for c in given)
        classes = cls(
            tuple(c.name for c in given),
            tuple(c.value if colored else (i if c.value is None else c.value) for i, c in enumerate(given)),
            tuple(c.color.lower() if c.color else next(spare) for c in given),
        )
        if not 2 <= len(classes) <= MOST:
            raise UsageError(f"data.classes: holds {len(classes)} classes; expected 2 to {MOST}")
        for what, parts in (("name", classes.names), ("value", classes._values()), ("color", classes.colors)):
            twice = [part for part in parts if parts.count(part) > 1]
            if twice:
                raise UsageError(f"data.classes: the {what} {twice[0]} stands twice; give each class its own")
        return classes

    @classmethod
    def from_json(cls, items: list[dict[str, Any]]) -> Self:
        """Take the classes from a patches file, a checkpoint or scores: [{name, value, color}]."""
        return cls(
            tuple(item["name"] for item in items),
            tuple(item["value"] for item in items),
            tuple(item["color"] for item in items),
        )

    def to_json(self) -> list[dict[str, Any]]:
        """Return [{name, value, color}]."""
        return [
            {"name": name, "value": value, "color": color}
            for name, value, color in zip(self.names, self.values, self.colors, strict=True)
        ]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def palette(self) -> NDArray[np.uint8]:
        """Colours as (K, 3) uint8."""
        return np.array([picture.rgb(color) for color in self.colors], np.uint8)

    def __str__(self) -> str:
        return ", ".join(f"{value} {name}" for value, name in zip(self._values(), self.names, strict=True))

    def encode(
        self, pixels: Array, path: Path, palette: NDArray[np.uint8] | None = None
    ) -> NDArray[np.uint8]:
        """Return the class index of each pixel, (h, w) uint8, `IGNORE` where there is none.

        Args:
            pixels: (h, w, C) raw pixels of a mask.
            path: The mask's file, for the error.
            palette: (n, 3) colours when the pixels are indices into them.

        Raises:
            DataError: A value or colour is no class.
        """
        if pixels.shape[2] >= 3:
            return self._encode_colors(pixels, path)
        if palette is not None and None in self.values:
            table = np.zeros((256, 3), np.uint8)
            table[: len(palette)] = palette
            return self._encode_colors(table[pixels[:, :, 0]], path)
        return self._encode_values(pixels[:, :, 0], path)

    def _values(self) -> tuple[int, ...]:
        return tuple(index if value is None else value for index, value in enumerate(self.values))

    def _encode_values(self, pixels: Array, path: Path) -> NDArray[np.uint8]:
        table = np.full(256, _UNKNOWN, np.uint8)
        table[IGNORE] = IGNORE
        for index, value in enumerate(self._values()):
            table[value] = index
        strange = (pixels < 0) | (pixels > 255) | (pixels != np.floor(pixels))
        indices = table[np.where(strange, 0, pixels).astype(np.uint8)]
        unknown = pixels[strange | (indices == _UNKNOWN)]
        if unknown.size:
            raise DataError(
                f"{path}: value {_some(unknown)} is no class ({self}); add it to data.classes or set it to 255"
            )
        return indices

    def _encode_colors(self, pixels: Array, path: Path) -> NDArray[np.uint8]:
        packed = pack(pixels, path)
        indices = np.full(packed.shape, _UNKNOWN, np.uint8)
        for index, color in enumerate(self.colors):
            indices[packed == int(color[1:], 16)] = index
        unknown = packed[indices == _UNKNOWN]
        if not unknown.size:
            return indices
        if (pixels[:, :, :3] == pixels[:, :, :1]).all() and None not in self.values:
            return self._encode_values(pixels[:, :, 0], path)  # an index mask stored as gray RGB
        known = ", ".join(f"{color} {name}" for color, name in zip(self.colors, self.names, strict=True))
        raise DataError(
            f"{path}: colour #{unknown[0]:06x} is no class ({known}); add it to data.classes or repaint it"
        )


def pack(pixels: Array, path: Path) -> NDArray[np.uint32]:
    """Return RGB pixels (h, w, 3 or more) uint8 of a file as one number each, (h, w) uint32.

    Raises:
        DataError: The pixels have other than 8 bits.

    >>> [hex(n) for n in pack(np.array([[[255, 0, 16]]], np.uint8), Path("a.png"))[0]]
    ['0xff0010']
    """
    if pixels.dtype != np.uint8:
        raise DataError(f"{path}: has colours of {pixels.dtype}; expected 8 bits a channel, so save it so")
    parts = pixels[:, :, :3].astype(np.uint32)
    return np.asarray(parts[:, :, 0] << 16 | parts[:, :, 1] << 8 | parts[:, :, 2])


def _some(unknown: Array) -> str:
    found = [f"{value:g}" for value in np.unique(unknown).tolist()]
    return ", ".join(found[:5]) + (" ..." if len(found) > 5 else "")
