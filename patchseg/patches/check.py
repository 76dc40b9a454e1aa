"""Everything wrong with a data set, found before anything is cut and listed in one go."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from patchseg.errors import DataError, listing
from patchseg.imaging import Box, Reading, open_image, raster
from patchseg.imaging.reading import silent
from patchseg.imaging.source import Array
from patchseg.labels.classes import Classes, MaskReading
from patchseg.labels.derive import Survey, derive, survey
from patchseg.labels.layers import LayeredMask
from patchseg.labels.mapping import indices
from patchseg.patches.pairs import Pair
from patchseg.progress import Progress

_BAND = 2**22  # pixels read at a time
Looked = TypeVar("Looked")
Found = TypeVar("Found")


class Inspection(NamedTuple):
    """What a data set is once nothing is wrong with it."""

    classes: Classes
    shapes: list[tuple[int, int]]  # (H, W) of each image
    channels: int
    dtype: np.dtype[Any]
    surveys: list[Survey]  # of each mask
    overlap: int = 0  # pixels that objects of two classes share
    pulled: int = 0  # pixels at the soft edges of objects
    reading: Reading = Reading()  # how its files are read


class _Image(NamedTuple):
    path: Path
    shape: tuple[int, int, int]  # (H, W, C)
    dtype: np.dtype[Any]


class _Mask(NamedTuple):
    path: Path
    shape: tuple[int, int, int]
    survey: Survey
    overlap: int = 0
    pulled: int = 0


def inspect(
    pairs: list[Pair],
    classes: Classes | None,
    progress: Progress,
    *,
    mistakes: Sequence[str] = (),
    labels: MaskReading = MaskReading(),
    reading: Reading = Reading(),
) -> Inspection:
    """Read every image and every mask of a data set.

    Args:
        pairs: Images with their masks.
        classes: The classes that are given, or None to derive them from the masks.
        progress: Moves once a pair.
        mistakes: What is known to be wrong before; it is listed too.
        labels: How masks are read whose classes are derived.
        reading: How files are read.

    Raises:
        DataError: Whatever is wrong, a line a file.
    """
    wrong = list(mistakes)
    images: list[_Image] = []
    masks: list[_Mask] = []
    progress.start("checking", len(pairs))
    for pair in pairs:
        assert pair.mask is not None
        image, mask = _note(_image, pair.image, reading, wrong), _note(_mask, pair, reading, wrong)
        if image is not None and mask is not None and image.shape[:2] != mask.shape[:2]:
            wrong.append(_mismatch(image, mask))
        images += [image] if image is not None else []
        masks += [mask] if mask is not None else []
        progress.step()
    progress.stop()
    wrong += _strangers(images)
    surveys = [mask.survey for mask in masks]
    if classes is not None:
        wrong += _unknown(surveys, classes)
    if wrong:
        raise DataError(listing(wrong))
    return Inspection(
        classes or derive(surveys, labels), [i.shape[:2] for i in images], images[0].shape[2], images[0].dtype,
        surveys, sum(mask.overlap for mask in masks), sum(mask.pulled for mask in masks),
        reading._replace(tell=silent),
    )  # fmt: skip


def require_finite(pixels: Array, path: Path, *, top: int = 0) -> None:
    """Raise a `DataError` that says where an image, of which `pixels` start at row `top`, holds NaN or infinity."""
    if pixels.dtype.kind != "f" or np.isfinite(pixels).all():
        return
    row, column = np.argwhere(~np.isfinite(pixels).all(axis=2))[0]
    raise DataError(
        f"{path}: holds NaN or infinity, first at row {top + row}, column {column}; expected finite numbers, so fill them in"
    )


def _note(
    look: Callable[[Looked, Reading], Found], what: Looked, reading: Reading, wrong: list[str]
) -> Found | None:
    """Look at a file; what is wrong with it joins the list."""
    try:
        return look(what, reading)
    except DataError as error:
        wrong.append(str(error))
        return None


def _image(path: Path, reading: Reading) -> _Image:
    """Read all of an image once, so that damage shows now and not after half the work."""
    with open_image(path, reading) as image:
        height, width, _ = image.shape
        rows = max(1, _BAND // width)
        for top in range(0, height, rows):
            require_finite(image.read(Box(top, 0, min(rows, height - top), width)), path, top=top)
        return _Image(path, image.shape, image.dtype)


def _mask(pair: Pair, reading: Reading) -> _Mask:
    """List what a mask holds."""
    path = pair.mask
    assert path is not None
    with pair.open_mask(reading) as mask:
        channels = mask.shape[2]
        if channels == 2 or channels > 4:
            raise DataError(f"{path}: has {channels} channels; expected 1 (indices) or 3 (colours)")
        if channels >= 3 and mask.dtype != np.uint8:
            raise DataError(
                f"{path}: holds colours of {mask.dtype}; expected 8 bits, so save it as uint8 or as indices"
            )
        told = (mask.overlap, mask.pulled) if isinstance(mask, LayeredMask) else ()
        return _Mask(path, mask.shape, survey(mask, path), *told)


def _mismatch(image: _Image, mask: _Mask) -> str:
    """Tell two sizes that differ, and whether EXIF is why."""
    size = "{} x {}".format(*mask.shape[:2])
    text = f"{mask.path}: is {size} pixels, its image {image.path} is {{}} x {{}}".format(*image.shape[:2])
    turned = raster.orientation(image.path) >= 5 or raster.orientation(mask.path) >= 5
    if turned and image.shape[:2] == mask.shape[1::-1]:
        return (
            f"{text} once turned upright by its EXIF orientation; save the mask upright, or both without EXIF"
        )
    return f"{text}; rows x columns must be equal, so save the mask at the image's size"


def _strangers(images: list[_Image]) -> list[str]:
    """Name the images whose channels or dtype differ from the first one's."""
    first = images[0] if images else None
    return [
        f"{image.path}: has {image.shape[2]} channels of {image.dtype}, {first.path} has {first.shape[2]} of {first.dtype}; "
        "expected all alike, so convert one kind to the other"
        for image in images
        if first is not None and (image.shape[2], image.dtype) != (first.shape[2], first.dtype)
    ]


def _unknown(surveys: list[Survey], classes: Classes) -> list[str]:
    """Name the masks with values or colours that no class has."""
    mistakes = []
    for s in surveys:
        try:
            indices(s, classes)
        except DataError as error:
            mistakes.append(str(error))
    return mistakes
