"""Everything that makes a data set unusable, found before anything is cut and listed in one go.

`prepare` refuses what is found here; `doctor` tells the same and looks for causes, and for what is usable but doubtful.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from patchseg.errors import DataError, listing
from patchseg.imaging import Box, ImageSource, open_image, open_raw
from patchseg.imaging.source import Array
from patchseg.labels.classes import Classes
from patchseg.labels.derive import Survey, derive, survey
from patchseg.patches.doctor.sizes import mismatch
from patchseg.patches.encoding import unknown
from patchseg.patches.pairs import Pair
from patchseg.progress import Progress

_BAND = 2**22  # pixels read at a time
Found = TypeVar("Found")


class Inspection(NamedTuple):
    """What a data set is once nothing is wrong with it."""

    classes: Classes
    shapes: list[tuple[int, int]]  # (H, W) of each image
    channels: int
    dtype: np.dtype[Any]


class _Image(NamedTuple):
    path: Path
    shape: tuple[int, int, int]  # (H, W, C)
    dtype: np.dtype[Any]


class _Mask(NamedTuple):
    path: Path
    shape: tuple[int, int, int]
    survey: Survey


def inspect(
    pairs: list[Pair], classes: Classes | None, progress: Progress, *, mistakes: Sequence[str] = ()
) -> Inspection:
    """Read every image and every mask of a data set.

    Args:
        pairs: Images with their masks.
        classes: The classes that are given, or None to derive them from the masks.
        progress: Moves once a pair.
        mistakes: What is known to be wrong before; it is listed too.

    Raises:
        DataError: Whatever is wrong, a line a file.
    """
    wrong = list(mistakes)
    images: list[_Image] = []
    surveys: list[Survey] = []
    progress.start("checking", len(pairs))
    for pair in pairs:
        assert pair.mask is not None
        image, mask = _note(_image, pair.image, wrong), _note(_mask, pair.mask, wrong)
        if image is not None and mask is not None:
            finding = mismatch(image.path, image.shape[:2], mask.path, mask.shape[:2])
            wrong += [str(finding)] if finding else []
        images += [image] if image is not None else []
        surveys += [mask.survey] if mask is not None else []
        progress.step()
    progress.stop()
    wrong += strangers([(image.path, image.shape[2], image.dtype) for image in images])
    if classes is not None:
        wrong += [told for survey in surveys if (told := unknown(survey, classes))]
    if wrong:
        raise DataError(listing(wrong))
    return Inspection(
        classes or derive(surveys), [i.shape[:2] for i in images], images[0].shape[2], images[0].dtype
    )


def require_finite(pixels: Array, path: Path, *, top: int = 0) -> None:
    """Raise a `DataError` that says where an image, of which `pixels` start at row `top`, holds NaN or infinity."""
    if pixels.dtype.kind != "f" or np.isfinite(pixels).all():
        return
    row, column = np.argwhere(~np.isfinite(pixels).all(axis=2))[0]
    raise DataError(
        f"{path}: holds NaN or infinity, first at row {top + row}, column {column}; expected finite numbers, so fill them in"
    )


def require_labels(mask: ImageSource, path: Path) -> None:
    """Raise a `DataError` where an open mask can hold neither indices nor colours."""
    channels = mask.shape[2]
    if channels == 2 or channels > 4:
        raise DataError(f"{path}: has {channels} channels; expected 1 (indices) or 3 (colours)")
    if channels >= 3 and mask.dtype != np.uint8:
        raise DataError(
            f"{path}: holds colours of {mask.dtype}; expected 8 bits, so save it as uint8 or as indices"
        )


def _note(look: Callable[[Path], Found], path: Path, wrong: list[str]) -> Found | None:
    """Look at a file; what is wrong with it joins the list."""
    try:
        return look(path)
    except DataError as error:
        wrong.append(str(error))
        return None


def _image(path: Path) -> _Image:
    """Read all of an image once, so that damage shows now and not after half the work."""
    with open_image(path) as image:
        height, width, _ = image.shape
        rows = max(1, _BAND // width)
        for top in range(0, height, rows):
            require_finite(image.read(Box(top, 0, min(rows, height - top), width)), path, top=top)
        return _Image(path, image.shape, image.dtype)


def _mask(path: Path) -> _Mask:
    """List what a mask holds."""
    with open_raw(path) as mask:
        require_labels(mask, path)
        return _Mask(path, mask.shape, survey(mask, path))


def strangers(images: Sequence[tuple[Path, int, np.dtype[Any]]]) -> list[str]:
    """Name the images whose channels or dtype differ from the first one's.

    Args:
        images: Path, channels and dtype of each.
    """
    first = images[0] if images else None
    return [
        f"{path}: has {channels} channels of {dtype}, {first[0]} has {first[1]} of {first[2]}; "
        "expected all alike, so convert one kind to the other"
        for path, channels, dtype in images
        if first is not None and (channels, dtype) != first[1:]
    ]
