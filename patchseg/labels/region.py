"""The part of each image that is to be segmented: a box, or what annotation files draw on it, whatever its class.

Text and the images flow in, a `Region` an image comes out. It is painted by window, like any drawing, and holds no pixel.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from patchseg.errors import DataError, UsageError, listing
from patchseg.imaging import Box
from patchseg.labels.annotations import read_annotations
from patchseg.labels.drawn import Drawn, bands, require_fit
from patchseg.labels.matching import Entry, Matched, entries_of, match
from patchseg.labels.shapes import Annotations, Drawing, Shape, rectangle

_BOX = re.compile(r"\s*" + r"\s*,\s*".join([r"(-?\d{1,9})"] * 4) + r"\s*")


@dataclass(frozen=True)
class Regions:
    """The regions of some images.

    Attributes:
        box: The box that is the region of each, where it is one.
        drawings: Else what is drawn on each image.
        key: The parameter that asks for them, for errors.
    """

    box: Box | None = None
    drawings: dict[Path, Entry] = field(default_factory=dict)
    key: str = "infer.roi"

    @classmethod
    def parse(cls, text: str | Path, images: Sequence[tuple[Path, Path]], *, key: str = "infer.roi") -> Self:
        """Read a box, or annotation files and which image each of their drawings belongs to.

        Args:
            text: "top,left,height,width" in pixels, or an annotation file, or a folder of them.
            images: (image, its path relative to where it was found), as drawings are matched with them. A file that
                names no image, as GeoJSON, applies to the image where there is only one.
            key: The parameter that the text is of.

        Raises:
            UsageError: The text is neither.
            DataError: A file is damaged, images have no drawing or one without an area, or it is open which; all is listed.
        """
        if numbers := _BOX.fullmatch(str(text)):
            box = Box(*map(int, numbers.groups()))
            if min(box.height, box.width) < 1:
                raise UsageError(f"{key}: {text} holds no pixel; expected a height and a width of 1 or more")
            return cls(box, key=key)
        path = Path(text)
        if not str(text) or not path.exists():  # nothing would be the working folder
            raise UsageError(
                f"{key}: {text} is neither a box nor a file; expected top,left,height,width in pixels, such as "
                "0,0,512,512, or annotations"
            )
        entries = entries_of(read_annotations(path, attribute=""))
        return cls(drawings=_matched(path, entries, images), key=key)

    def on(self, image: Path, shape: tuple[int, int]) -> "Region":
        """Return the region of an image, one of those it was parsed for.

        Args:
            image: The file.
            shape: (H, W) of the image.

        Raises:
            UsageError: The box lies outside of the image.
            DataError: What is drawn was drawn on an image of another size, or holds none of its pixels.
        """
        if self.box is not None:
            inside = self.box.clip(*shape)
            if not inside.height or not inside.width:
                raise UsageError(
                    f"{self.key}: {','.join(map(str, self.box))} lies outside of {image}, which is {shape[0]} x {shape[1]} "
                    "pixels; give a top, left, height and width within it"
                )
            area = rectangle(inside.left, inside.top, inside.right, inside.bottom)
            return Region((Shape(None, (area,)),), shape)
        file, drawing = self.drawings[image]
        require_fit(drawing, file.path, image, shape)
        region = Region(drawing.shapes, shape)
        if not any(map(region.touches, bands(region.bounds))):
            raise DataError(
                f"{file.path}: none of its shapes holds a pixel of {image}, which is {shape[0]} x {shape[1]} pixels; expected "
                "coordinates in pixels, so export them so"
            )
        return region


class Region:
    """The union of some shapes on an image.

    Args:
        shapes: Of any class.
        shape: (H, W) of the image.

    Attributes:
        bounds: A box of the image around the whole region, of no pixel where all lies outside.
    """

    def __init__(self, shapes: tuple[Shape, ...], shape: tuple[int, int]) -> None:
        drawing = Drawing("", shapes)
        painted = Drawn(Annotations(Path(), (drawing,)), drawing, shape, {one.name: 1 for one in shapes})
        self._source = painted.open()
        corners = np.array([part.bounds for one in shapes for part in one.parts])
        low, high = np.maximum(np.floor(corners[:, :2]), 0), np.minimum(np.ceil(corners[:, 2:]), shape)
        inside = (low < high).all(axis=1)
        top, left = low[inside].min(axis=0, initial=max(shape)).astype(np.int64).tolist()
        bottom, right = high[inside].max(axis=0, initial=0).astype(np.int64).tolist()
        self.bounds = Box(top, left, max(0, bottom - top), max(0, right - left))

    def mask(self, box: Box) -> NDArray[np.bool_] | None:
        """Return which pixels of a box inside the image belong to the region, (h, w) bool, or None where all do."""
        pixels = self._source.paint(box)[0].view(np.bool_)
        return None if pixels.all() else pixels

    def touches(self, box: Box) -> bool:
        """Tell whether any pixel of a box inside the image belongs to the region."""
        return any(True for _ in self.touched([box]))

    def touched(self, boxes: Iterable[Box]) -> Iterator[Box]:
        """Yield those of some boxes inside the image that hold any pixel of the region, in order.

        Boxes of the same rows that follow each other, as tiles do, are painted in one go.
        """
        near = self.bounds
        for (top, height), row in groupby(boxes, key=lambda box: (box.top, box.height)):
            if top >= near.bottom or top + height <= near.top:
                continue
            kept = [box for box in row if box.left < near.right and box.right > near.left]
            if not kept:
                continue
            left, right = min(box.left for box in kept), max(box.right for box in kept)
            columns = self._source.paint(Box(top, left, height, right - left))[0].any(axis=0)
            before = np.concatenate([[0], np.cumsum(columns)])  # columns with a pixel, left of each
            yield from (box for box in kept if before[box.right - left] > before[box.left - left])


def _matched(path: Path, entries: list[Entry], images: Sequence[tuple[Path, Path]]) -> dict[Path, Entry]:
    """Return what is drawn on each image."""
    alone = len(images) == len(entries) == 1
    if alone and entries[0].drawing.image == entries[0].file.path.stem:  # named after the file: GeoJSON
        matched = Matched({images[0][0]: 0}, [])
    else:
        matched = match(images, entries)
    found = {image: entries[place] for image, place in matched.entries.items()}
    mistakes = matched.findings + [
        f"{image}: has no region in {path}; draw one on it, or leave the image out"
        for image, _ in images
        if image not in found
    ]
    mistakes += [
        f"{image}: has no region in {entry.file.path}, which draws no area on it; draw one"
        for image, entry in found.items()
        if not any(shape.parts for shape in entry.drawing.shapes)
    ]
    if mistakes:
        raise DataError(listing(mistakes))
    return found
