"""The classes of a data set: which values or colours of a mask mean which class index.

Index masks are read by value (255 is ignored unless a class has it), colour-coded masks by colour, palette masks by
colour where classes are given by colour alone, else by their indices. What no class claims is an error, never
remapped in silence; a `MaskReading` says what else is to be ignored, and how far a value may be off.
"""

from dataclasses import asdict, dataclass, replace
from itertools import chain, count
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from patchseg.errors import DataError, UsageError
from patchseg.imaging import picture
from patchseg.imaging.source import Array
from patchseg.labels.near import UNKNOWN, nearest
from patchseg.parameters import ClassParameters, DataParameters

IGNORE = picture.IGNORE
MOST = 254


@dataclass(frozen=True)
class MaskReading:
    """How masks are read besides the classes themselves.

    Args:
        ignore: A value of index masks, or a colour "#rrggbb", that is ignored besides 255.
        tolerance: How far a value, or any channel of a colour, may be from that of a class to count as it.
        binary: Whether every value but 0 (every colour but black) is class 1, whatever it is.
    """

    ignore: int | str | None = None
    tolerance: float = 0.0
    binary: bool = False

    @classmethod
    def of(cls, data: DataParameters) -> Self:
        """Take it from parameters."""
        ignore = data.ignore.lower() if isinstance(data.ignore, str) else data.ignore
        return cls(ignore, data.mask_tolerance, data.binary)

    def given(self, data: DataParameters) -> Self:
        """Return it with what parameters say expressly."""
        asked = asdict(type(self).of(data))
        names = {"ignore": "ignore", "tolerance": "mask_tolerance", "binary": "binary"}
        return replace(
            self, **{own: asked[own] for own, name in names.items() if name in data.model_fields_set}
        )

    @property
    def ignored_color(self) -> int | None:
        """The packed colour that is ignored, if one is."""
        return int(self.ignore[1:], 16) if isinstance(self.ignore, str) else None

    def to_json(self) -> dict[str, Any]:
        """Return {ignore, tolerance, binary}."""
        return asdict(self)


class Originals(NamedTuple):
    """The values of the user's own masks: (256,) or, for colours, (256, 3) by class index, and what 255 has become."""

    table: Array
    ignored: int | str


@dataclass(frozen=True)
class Classes:
    """Names, mask values and colours of K classes; a class's place is its index.

    Args:
        names: K distinct names.
        values: The value of each class in index masks; None: its place, and palettes are read by colour.
        colors: "#rrggbb" of each class.
        reading: What else decides how masks are read.
    """

    names: tuple[str, ...]
    values: tuple[int | None, ...]
    colors: tuple[str, ...]
    reading: MaskReading = MaskReading()

    @classmethod
    def of(cls, given: list[ClassParameters], reading: MaskReading = MaskReading()) -> Self:
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
        return classes.read_by(reading)

    @classmethod
    def from_json(cls, items: list[dict[str, Any]], reading: dict[str, Any] | None = None) -> Self:
        """Take the classes from a patches file, a checkpoint or scores: [{name, value, color}].

        Args:
            items: The classes.
            reading: {ignore, tolerance, binary}; more is passed over, and what is missing is as it is by default.
        """
        known = {
            name: value for name, value in (reading or {}).items() if name in MaskReading.__dataclass_fields__
        }
        return cls(
            tuple(item["name"] for item in items),
            tuple(item["value"] for item in items),
            tuple(item["color"] for item in items),
            MaskReading(**known),
        )

    def read_by(self, reading: MaskReading) -> Self:
        """Return the classes of masks that are read in another way.

        Raises:
            UsageError: What is ignored is a class, or of other than two classes all but 0 should be the second.
        """
        if reading.binary and len(self) != 2:
            raise UsageError(f"data.classes: holds {len(self)} classes; expected 2 with --binary")
        if reading.ignore is not None and reading.ignore in (*self.values, *self.colors):
            raise UsageError(
                f"data.ignore: {reading.ignore} is a class in data.classes; take it out of one of them"
            )
        return replace(self, reading=reading)

    def by_place(self) -> Self:
        """Return the classes of masks that hold their places, such as `infer` writes."""
        return replace(self, values=tuple(range(len(self))), reading=MaskReading())

    def to_json(self) -> list[dict[str, Any]]:
        """Return [{name, value, color}]."""
        return [
            {"name": name, "value": value, "color": color}
            for name, value, color in zip(self.names, self.values, self.colors, strict=True)
        ]

    def originals(self) -> Originals:
        """Return how masks are written in the values, or colours, of the masks that were learned from.

        What is ignored has the value (colour) that was given for it, else 255 (gray), else the first that is free.
        """
        if None in self.values:
            known = {int(color[1:], 16) for color in self.colors}
            gray = int(picture.hexadecimal(picture.IGNORE_COLOR)[1:], 16)
            given = self.reading.ignored_color
            ignored = next(c for c in chain([given, gray], count()) if c is not None and c not in known)
            table = np.zeros((256, 3), np.uint8)
            table[: len(self)] = self.palette
            table[IGNORE] = (ignored >> 16, ignored >> 8 & 255, ignored & 255)
            return Originals(table, f"#{ignored:06x}")
        values = self._values()
        given_value = self.reading.ignore if isinstance(self.reading.ignore, int) else IGNORE
        value = next(v for v in chain([given_value, IGNORE], count()) if v not in values)
        all_values = [*values, value]
        kinds = (np.uint8, np.uint16, np.int32)
        dtype = next(
            k for k in kinds if np.iinfo(k).min <= min(all_values) <= max(all_values) <= np.iinfo(k).max
        )
        line = np.zeros(256, dtype)
        line[: len(self)], line[IGNORE] = values, value
        return Originals(line, value)

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
        if palette is not None and (None in self.values or self.reading.binary):
            table = np.zeros((256, 3), np.uint8)
            table[: len(palette)] = palette
            return self._encode_colors(table[pixels[:, :, 0]], path)
        return self._encode_values(pixels[:, :, 0], path)

    def _values(self) -> tuple[int, ...]:
        return tuple(index if value is None else value for index, value in enumerate(self.values))

    def _encode_values(self, pixels: Array, path: Path) -> NDArray[np.uint8]:
        reading = self.reading
        targets = {IGNORE: IGNORE} if not reading.binary else {}
        if isinstance(reading.ignore, int):
            targets[reading.ignore] = IGNORE
        if reading.binary:
            return self._encode_binary(np.abs(pixels.astype(np.float64)), pixels, targets, path)
        targets |= {value: index for index, value in enumerate(self._values())}
        indices = nearest(pixels, targets, reading.tolerance)
        unknown = pixels[indices == UNKNOWN]
        if unknown.size:
            raise DataError(
                f"{path}: value {_some(unknown)} is no class ({self}); add it to data.classes or set it to 255"
            )
        return indices

    def _encode_binary(
        self, distance: Array, pixels: Array, ignored: dict[int, int], path: Path
    ) -> NDArray[np.uint8]:
        """Return 0 where the distance from black is none, or within the tolerance, else 1."""
        if not np.isfinite(distance).all():
            raise DataError(f"{path}: holds NaN or infinity; expected 0 and other numbers, so set them to 0")
        indices = (distance > self.reading.tolerance).astype(np.uint8)
        for value in ignored:
            indices[pixels == value] = IGNORE
        return indices

    def _encode_colors(self, pixels: Array, path: Path) -> NDArray[np.uint8]:
        packed, reading = pack(pixels, path), self.reading
        ignored = {} if reading.ignored_color is None else {reading.ignored_color: IGNORE}
        gray = (pixels[:, :, :3] == pixels[:, :, :1]).all()
        if reading.binary:
            if gray and not ignored:
                return self._encode_values(pixels[:, :, 0], path)
            return self._encode_binary(pixels[:, :, :3].max(axis=2), packed, ignored, path)
        targets = ignored | {int(color[1:], 16): index for index, color in enumerate(self.colors)}
        indices = nearest(packed, targets, reading.tolerance, color=True)
        unknown = packed[indices == UNKNOWN]
        if not unknown.size:
            return indices
        if gray and None not in self.values:
            return self._encode_values(pixels[:, :, 0], path)  # an index mask stored as gray RGB
        if reading.tolerance and None not in self.values:
            # The same, once stored as JPEG.
            grays = {
                value * 0x010101: place for place, value in enumerate(self._values()) if 0 <= value <= 255
            }
            indices = nearest(packed, grays, reading.tolerance, color=True)
            if not (indices == UNKNOWN).any():
                return indices
        known = ", ".join(f"{color} {name}" for color, name in zip(self.colors, self.names, strict=True))
        cure = "repaint it (or, for soft edges and JPEG, give --mask-tolerance)"
        raise DataError(
            f"{path}: colour #{unknown[0]:06x} is no class ({known}); add it to data.classes or "
            f"{cure if not reading.tolerance else 'repaint it'}"
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
