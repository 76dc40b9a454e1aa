"""COCO: one JSON file for many images, with polygons and run lengths, compressed or not.

https://cocodataset.org/#format-data. A crowd (`iscrowd`) is an area of its class like any other here: annotation
programs set the mark on whatever is stored as run lengths.
"""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Discriminator, Field, Tag

from patchseg.errors import DataError
from patchseg.imaging import Box
from patchseg.labels.content import Name, Part, Pixel, understood
from patchseg.labels.shapes import Annotations, Area, Drawing, Runs, Shape, outline

_Id = int | str
_LONGEST = 7  # characters of a number in compressed run lengths: 35 bits


class _RunLengths(Part):
    size: tuple[Annotated[int, Field(ge=1, lt=2**31)], Annotated[int, Field(ge=1, lt=2**31)]]
    counts: Annotated[
        Annotated[str, Tag("compressed")]
        | Annotated[list[Annotated[int, Field(ge=0, lt=2**62)]], Tag("plain")],
        Discriminator(lambda value: "compressed" if isinstance(value, str) else "plain"),
    ]


class _Image(Part):
    id: _Id
    file_name: str = Field(min_length=1)
    height: int | None = None
    width: int | None = None


class _Annotation(Part):
    image_id: _Id
    category_id: _Id
    segmentation: Annotated[
        Annotated[_RunLengths, Tag("runs")] | Annotated[list[list[Pixel]] | None, Tag("polygons")],
        Discriminator(lambda value: "runs" if isinstance(value, dict | _RunLengths) else "polygons"),
    ] = None


class _Category(Part):
    id: _Id
    name: Name


class _File(Part):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


def accepts(content: Any) -> bool:
    """Tell whether content is a COCO file of instances."""
    return isinstance(content, dict) and {"images", "annotations"} <= set(content)


def read(content: Any, path: Path, _: str | None = None) -> Annotations:
    """Read the annotations of each image.

    Raises:
        DataError: The content is damaged, or names images or categories that it does not list.
    """
    file = understood(_File, content, path)
    names = {category.id: category.name for category in file.categories}
    shapes: dict[_Id, list[Shape]] = {image.id: [] for image in file.images}
    if len(shapes) < len(file.images) or len(names) < len(file.categories):
        raise DataError(f"{path}: gives one id to two images or categories; number them anew")
    left_out: Counter[str] = Counter()
    for number, annotation in enumerate(file.annotations, 1):
        place = f"{path}: annotation {number}"
        if annotation.image_id not in shapes or annotation.category_id not in names:
            raise DataError(
                f"{place}: is of image {annotation.image_id} and category {annotation.category_id}, which are not both listed; "
                "list them or remove it"
            )
        if annotation.segmentation:
            shapes[annotation.image_id].append(
                Shape(names[annotation.category_id], _areas(annotation.segmentation, place))
            )
        else:
            left_out["box without an outline"] += 1
    drawings = [
        Drawing(image.file_name, tuple(shapes[image.id]), _size(image, shapes[image.id], path))
        for image in file.images
    ]
    used = {shape.name for those in shapes.values() for shape in those}
    listed = tuple(dict.fromkeys(name for name in names.values() if name in used))
    return Annotations(path, tuple(drawings), listed, left_out)


def _size(image: _Image, shapes: list[Shape], path: Path) -> tuple[int, int] | None:
    """Return the size of an image by its entry and by the run lengths of its shapes, which must agree."""
    sizes = {
        (area.box.height, area.box.width)
        for shape in shapes
        for area in shape.parts
        if isinstance(area, Runs)
    }
    if image.height and image.width:
        sizes.add((image.height, image.width))
    if len(sizes) > 1:
        told = " and ".join("{} x {}".format(*size) for size in sorted(sizes))
        raise DataError(f"{path}: gives {image.file_name} the sizes {told}; expected one, so export it again")
    return next(iter(sizes), None)


def _areas(segmentation: _RunLengths | list[list[float]], place: str) -> tuple[Area, ...]:
    """Return the areas whose union an annotation is."""
    if isinstance(segmentation, list):
        if any(len(polygon) % 2 for polygon in segmentation):
            raise DataError(f"{place}: has an x without its y; export it again")
        return tuple(outline(np.array(polygon).reshape(-1, 2)) for polygon in segmentation)
    (height, width), counts = segmentation.size, segmentation.counts
    lengths = decompress(counts, place) if isinstance(counts, str) else np.array(counts, np.int64)
    ends = np.cumsum(lengths, dtype=np.int64)
    if (lengths < 0).any() or (ends < 0).any() or int(ends[-1] if len(ends) else 0) != height * width:
        raise DataError(
            f"{place}: its run lengths do not add up to its size of {height} x {width} pixels; export it again"
        )
    return (Runs(Box(0, 0, height, width), ends, down=True),)


def decompress(text: str, place: str) -> NDArray[np.int64]:
    """Return the numbers of COCO's compressed run lengths, (n,) int64.

    A number is written in characters of 6 bits, "0" being 0: 5 bits of it, the lowest first, and one that says whether more follow;
    the highest bit is the sign. From the fourth on it is the difference to the last but one.
    (https://github.com/cocodataset/cocoapi, common/maskApi.c)

    Args:
        text: The characters.
        place: Where they stand, for the error.

    Raises:
        DataError: They are no run lengths.

    >>> decompress("52203", "a.json").tolist()
    [5, 2, 2, 2, 5]
    """
    codes = np.frombuffer(text.encode("utf-8"), np.uint8).astype(np.int64) - 48
    lasts = np.flatnonzero(codes & 32 == 0)
    sizes = np.diff(lasts, prepend=-1)
    whole = not len(codes) or (len(lasts) > 0 and lasts[-1] == len(codes) - 1)
    if not whole or (codes < 0).any() or (codes > 63).any() or (sizes > _LONGEST).any():
        raise DataError(f"{place}: its run lengths are damaged; export it again")
    if not len(codes):
        return np.zeros(0, np.int64)
    starts = lasts - sizes + 1
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, sizes))
    numbers = np.add.reduceat((codes & 31) << shifts, starts)
    numbers -= np.where(codes[lasts] & 16, 1 << 5 * sizes, 0)
    for first in (1, 2):
        numbers[first::2] = np.cumsum(numbers[first::2])
    return numbers
