"""Masks in several files, each of one class or of one object: their union in one mask.

Files flow in, an `ImageSource` of values of classes comes out. A pixel of an object is any that is neither 0
(black) nor transparent. Where objects of different classes overlap, the later file wins, and such pixels are counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchseg.errors import DataError, did_you_mean
from patchseg.imaging import ArraySource, Box, open_image, picture
from patchseg.labels.classes import IGNORE, MOST, Classes, MaskReading, pack

IGNORED = "ignore"  # layers of this name are no class, unless one is called so
OBJECT = "foreground"  # the class of objects without one
_BACKGROUND = "background"


class Layer(NamedTuple):
    """One file of a mask: the pixels of a class, or of an object of it."""

    path: Path
    name: str


@dataclass(frozen=True)
class Layers:
    """A mask that is yet to be put together.

    Attributes:
        files: Its layers; the later wins.
        classes: What their names mean, once that is known.
    """

    files: tuple[Layer, ...]
    classes: Classes | None = None

    def open(self) -> "LayeredMask":
        """Put the mask together.

        Raises:
            DataError: A file cannot be read, is of another size, holds several values, or is of no class.
        """
        assert self.classes is not None, "layers are named before they are opened"
        return LayeredMask(self.files, self.classes)


class LayeredMask(ArraySource):
    """The union of layers, (H, W, 1) values of classes, 255 where they are ignored.

    Attributes:
        overlap: Pixels that a later object has taken from one of another class.
        pulled: Pixels of neither 0 nor the object's plain value, which the tolerance has told apart.
    """

    def __init__(self, layers: Sequence[Layer], classes: Classes) -> None:
        self.overlap = self.pulled = 0
        values = values_by_name(classes)
        background = values[classes.names[0]]
        mask: NDArray[np.int32] | None = None
        for layer in layers:
            value = _value(layer, values)
            found, pulled = _object(layer.path, classes.reading)
            if mask is None:
                mask = np.full(found.shape, background, np.int32)
            if found.shape != mask.shape:
                raise DataError(
                    f"{layer.path}: is {found.shape[0]} x {found.shape[1]} pixels, {layers[0].path} is "
                    f"{mask.shape[0]} x {mask.shape[1]}; expected all masks of an image alike, so save them at its size"
                )
            taken = mask[found]
            self.overlap += int(((taken != background) & (taken != value)).sum())
            self.pulled += pulled
            mask[found] = value
        assert mask is not None, "a mask has a layer at least"
        small = 0 <= min(values.values()) <= max(values.values()) <= 255
        super().__init__(mask.astype(np.uint8) if small else mask)


def values_by_name(classes: Classes) -> dict[str, int]:
    """Return the value of each class in index masks, and that of what is ignored.

    >>> values_by_name(Classes(("background", "pore"), (0, 7), ("#000000", "#ffffff")))
    {'ignore': 255, 'background': 0, 'pore': 7}
    """
    pairs = zip(classes.names, classes.values, strict=True)
    return {IGNORED: IGNORE} | {
        name: place if value is None else value for place, (name, value) in enumerate(pairs)
    }


def layered_classes(layers: Sequence[Layer], reading: MaskReading) -> Classes:
    """Return the classes that the names of layers say, in their alphabetical order behind the background.

    >>> layered_classes([Layer(Path("7_square.png"), "square"), Layer(Path("7_circle.png"), "circle")], MaskReading()).names
    ('background', 'circle', 'square')

    Raises:
        DataError: They are too many, or none.
    """
    names = [_BACKGROUND, *sorted({layer.name for layer in layers} - {_BACKGROUND, IGNORED})]
    if not 2 <= len(names) <= MOST:
        raise DataError(
            f"{layers[0].path.parent}: the masks' names hold {len(names) - 1} classes; expected 1 to {MOST - 1}, "
            "so mend the group `class` of data.mask_pattern"
        )
    colors = tuple(picture.hexadecimal(color) for color in picture.palette(len(names)))
    return Classes(tuple(names), tuple(range(len(names))), colors, reading)


def _value(layer: Layer, values: dict[str, int]) -> int:
    if layer.name in values:
        return values[layer.name]
    names = [name for name in values if name != IGNORED]
    raise DataError(
        f"{layer.path}: is of the class {layer.name}, which is none of {', '.join(names)}; add it to data.classes"
        f"{did_you_mean(layer.name, names)}"
    )


def _object(path: Path, reading: MaskReading) -> tuple[NDArray[np.bool_], int]:
    """Return where the object is, (H, W) bool, and how many pixels the tolerance has decided."""
    with open_image(path) as source:
        everything = Box(0, 0, *source.shape[:2])
        pixels, valid = source.read(everything), source.valid(everything)
    painted = pack(pixels, path) if pixels.shape[2] >= 3 else pixels[:, :, 0]
    if valid is not None:
        painted = np.where(valid, painted, 0)
    values, counts = np.unique(painted[painted != 0], return_counts=True)
    if len(values) <= 1 or reading.binary:
        return painted != 0, 0
    if not reading.tolerance:
        raise DataError(
            f"{path}: holds {len(values)} values besides 0; expected one, that of the object, so give --binary if each "
            "is an object's, or --mask-tolerance for soft edges"
        )
    found = pixels.max(axis=2) > reading.tolerance
    found &= painted != 0
    return found, int(counts.sum() - counts.max())
