"""Which part of an image is scored, where it is not all of it: the field of view of a microscope, a mapped plot.

A folder of masks, one mask, a box or annotations flow in; out comes which pixels of a band lie inside. Nothing is held but rows.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from patchseg.errors import DataError
from patchseg.imaging import Box, ImageSource, Reading, is_image, open_image
from patchseg.labels.region import Region, Regions
from patchseg.patches.annotated import is_annotated
from patchseg.patches.pairs import Pair, find_pairs

_KEY = "evaluate.region"


class Fields:
    """The part of each image that is scored.

    Args:
        region: A folder of masks, matched with the predicted ones by name, or one mask for all: 0 (black) is outside,
            all else inside. Or what `infer --roi` takes: top,left,height,width, annotations, or a folder of them.
        masks: The folder of the predicted masks.
        pairs: Those masks, and the truth.

    Raises:
        UsageError: It is nothing of this.
        DataError: Masks have no region, or it is open which; all is listed.
    """

    def __init__(self, region: str, masks: Path, pairs: Sequence[Pair]) -> None:
        path = Path(region)
        self._files: dict[Path, Path] = {}
        self._drawn: Regions | None = None
        if path.is_file() and is_image(path):
            self._files = dict.fromkeys((pair.image for pair in pairs), path)
        elif path.is_dir() and not is_annotated(masks, path):
            found = find_pairs(masks, path)
            self._files = {pair.image: pair.mask for pair in found if pair.mask is not None}
        else:
            images = [(pair.image, pair.image.relative_to(masks)) for pair in pairs]
            self._drawn = Regions.parse(region, images, key=_KEY)

    def on(self, mask: Path, shape: tuple[int, int]) -> "Field":
        """Open the part of an image.

        Args:
            mask: Its predicted mask.
            shape: (H, W) of it.

        Raises:
            UsageError: The box lies outside.
            DataError: A file is damaged or of another size, or a drawing holds none of the pixels.
        """
        if self._drawn is not None:
            return Field(mask, shape, self._drawn.on(mask, shape))
        file = self._files[mask]
        source = open_image(file, Reading(downwards=True))
        if source.shape[:2] != shape:
            source.close()
            raise DataError(
                f"{file}: is {source.shape[0]} x {source.shape[1]} pixels, the mask {mask} is {shape[0]} x {shape[1]}; "
                "rows x columns of a region must be those of the mask"
            )
        return Field(file, shape, source)


class Field:
    """The part of one image; a context manager that closes its file.

    Attributes:
        pixels: How many lie inside, of the rows that were asked for.
    """

    def __init__(self, path: Path, shape: tuple[int, int], part: Region | ImageSource) -> None:
        self._path, self._shape, self._part = path, shape, part
        self.pixels = 0

    def inside(self, box: Box) -> NDArray[np.bool_]:
        """Return which pixels of a box lie inside, (h, w) bool."""
        if isinstance(self._part, Region):
            drawn = self._part.mask(box)
            wanted = np.ones((box.height, box.width), np.bool_) if drawn is None else drawn
        else:
            wanted = (self._part.read(box) != 0).any(axis=2)
            if (opaque := self._part.valid(box)) is not None:
                wanted &= opaque
        self.pixels += int(np.count_nonzero(wanted))
        return wanted

    def as_dict(self) -> dict[str, int | float]:
        """Return how many pixels lie inside, and their share of the image.

        Raises:
            DataError: None does.
        """
        if not self.pixels:
            raise DataError(
                f"{self._path}: is 0 everywhere; expected other values where masks are to be scored"
            )
        return {"pixels": self.pixels, "share": self.pixels / (self._shape[0] * self._shape[1])}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not isinstance(self._part, Region):
            self._part.close()
