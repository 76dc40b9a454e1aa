"""Everything wrong with a data set, found before anything is cut and listed in one go."""

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from patchseg.errors import DataError, listing
from patchseg.imaging import Box, ImageSource, Reading, open_image
from patchseg.imaging.channels import GRAY, are_gray, channel_names
from patchseg.imaging.reading import silent
from patchseg.imaging.source import Array
from patchseg.labels.classes import Classes, MaskReading
from patchseg.labels.derive import Survey, derive, survey
from patchseg.labels.layers import LayeredMask
from patchseg.labels.mapping import unknown
from patchseg.patches.doctor.sizes import mismatch
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
    names: tuple[str, ...] = ()  # of the channels
    reading: Reading = Reading()  # how its files are read, with what was found of them
    images: tuple["Seen", ...] = ()  # all that have masks
    unlabelled: tuple["Seen", ...] = ()  # those without


class Seen(NamedTuple):
    """What an image is.

    Attributes:
        path: Its file.
        shape: (H, W, C).
        dtype: Of its pixels.
        names: Of the channels.
        gray: Whether it is stored as three equal channels.
        top: The greatest absolute value.
        digest: Of its size and pixels; of gray in three channels that of one. Empty where nobody asked.
    """

    path: Path
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    names: tuple[str, ...]
    gray: bool
    top: float = 0.0
    digest: bytes = b""


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
    unlabelled: Sequence[Path] = (),
) -> Inspection:
    """Read every image and every mask of a data set.

    Args:
        pairs: Images with their masks.
        classes: The classes that are given, or None to derive them from the masks.
        progress: Moves once a pair.
        mistakes: What is known to be wrong before; it is listed too.
        labels: How masks are read whose classes are derived.
        reading: How files are read. Where all images are gray stored as RGB and no channels are chosen, what is
            returned chooses gray.
        unlabelled: Images without masks, which must be like the others.

    Raises:
        DataError: Whatever is wrong, a line a file.
    """
    wrong = list(mistakes)
    images: list[Seen] = []
    masks: list[_Mask] = []
    look = partial(seen, compared=bool(unlabelled))
    progress.start("checking", len(pairs) + len(unlabelled))
    for pair in pairs:
        assert pair.mask is not None
        image, mask = _note(look, pair.image, reading, wrong), _note(_mask, pair, reading, wrong)
        if image is not None and mask is not None:
            finding = mismatch(image.path, image.shape[:2], mask.path, mask.shape[:2])
            wrong += [str(finding)] if finding else []
        images += [image] if image is not None else []
        masks += [mask] if mask is not None else []
        progress.step()
    if reading.channels is None and all_gray([(image.gray, image.names) for image in images]):
        images = [image._replace(shape=(*image.shape[:2], 1), names=(GRAY,)) for image in images]
        reading = reading._replace(channels=(GRAY,))
    spare = _spare(unlabelled, images, reading, wrong, progress)
    progress.stop()
    wrong += strangers([(image.path, image.names, image.dtype) for image in [*images, *spare]])
    surveys = [mask.survey for mask in masks]
    if classes is not None:
        wrong += [told for survey in surveys if (told := unknown(survey, classes))]
    if wrong:
        raise DataError(listing(wrong))
    return Inspection(
        classes or derive(surveys, labels), [i.shape[:2] for i in images], images[0].shape[2], images[0].dtype,
        surveys, sum(mask.overlap for mask in masks), sum(mask.pulled for mask in masks),
        images[0].names, reading._replace(tell=silent), tuple(images), tuple(spare),
    )  # fmt: skip


def _spare(
    unlabelled: Sequence[Path], images: list[Seen], reading: Reading, wrong: list[str], progress: Progress
) -> list[Seen]:
    """Read the images without masks."""
    reading = reading_of_unlabelled(reading, images[0].names if images else ())
    spare = []
    for path in unlabelled:
        image = _note(partial(seen, compared=True), path, reading, wrong)
        spare += [image] if image is not None else []
        progress.step()
    return spare


def reading_of_unlabelled(reading: Reading, names: tuple[str, ...]) -> Reading:
    """Return how images without masks are read: as the others, so where those are gray, gray may be stored as RGB.

    Args:
        reading: That of the others.
        names: Their channels.
    """
    return reading._replace(channels=(GRAY,)) if reading.channels is None and names == (GRAY,) else reading


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


def _note(
    look: Callable[[Looked, Reading], Found], what: Looked, reading: Reading, wrong: list[str]
) -> Found | None:
    """Look at a file; what is wrong with it joins the list."""
    try:
        return look(what, reading)
    except DataError as error:
        wrong.append(str(error))
        return None


class PixelDigest:
    """Digest of the size, dtype and pixels of an image; of gray stored in three equal channels that of one."""

    def __init__(self, image: ImageSource) -> None:
        head = f"{image.shape[0]} {image.shape[1]} {image.dtype}".encode()
        self._all, self._first = (hashlib.blake2b(head, digest_size=16) for _ in range(2))

    def add(self, pixels: Array) -> None:
        """Take the next rows, (h, W, C)."""
        self._all.update(np.ascontiguousarray(pixels).data)
        if pixels.shape[2] == 3:
            self._first.update(np.ascontiguousarray(pixels[:, :, 0]).data)

    def of(self, *, gray: bool) -> bytes:
        """Return it, for an image whose channels are three equal ones or not."""
        return (self._first if gray else self._all).digest()


def seen(path: Path, reading: Reading, *, compared: bool) -> Seen:
    """Read all of an image once, so that damage shows now and not after half the work.

    Args:
        path: Its file.
        reading: How it is read.
        compared: Whether its pixels are to be held against those of others.

    Raises:
        DataError: It cannot be read, or holds NaN or infinity.
    """
    with open_image(path, reading) as image:
        height, width, channels = image.shape
        gray, top, digest = channels == 3, 0.0, PixelDigest(image)
        rows = max(1, _BAND // width)
        for start in range(0, height, rows):
            pixels = image.read(Box(start, 0, min(rows, height - start), width))
            require_finite(pixels, path, top=start)
            gray = gray and are_gray(pixels)
            if compared:
                top = max(top, abs(float(pixels.min())), abs(float(pixels.max())))
                digest.add(pixels)
        names, known = channel_names(image), digest.of(gray=gray) if compared else b""
        return Seen(path, image.shape, image.dtype, names, gray, top, known)


def _mask(pair: Pair, reading: Reading) -> _Mask:
    """List what a mask holds."""
    path = pair.mask
    assert path is not None
    with pair.open_mask(reading) as mask:
        require_labels(mask, path)
        told = (mask.overlap, mask.pulled) if isinstance(mask, LayeredMask) else ()
        return _Mask(path, mask.shape, survey(mask, path), *told)


def all_gray(images: Sequence[tuple[bool, tuple[str, ...]]]) -> bool:
    """Tell whether all images are gray, and some of them stored as RGB.

    Args:
        images: Whether each is stored as three equal channels, and the names of its channels.

    >>> all_gray([(True, ("red", "green", "blue")), (False, ("gray",))]), all_gray([(False, ("gray",))])
    (True, False)
    """
    return any(gray for gray, _ in images) and all(gray or names == (GRAY,) for gray, names in images)


def strangers(images: Sequence[tuple[Path, tuple[str, ...], np.dtype[Any]]]) -> list[str]:
    """Name the images whose channels or dtype differ from the first one's.

    Args:
        images: Path, names of the channels and dtype of each.
    """
    findings = []
    for path, names, dtype in images:
        first, its_names, its_dtype = images[0]
        if names != its_names and set(names) == set(its_names):
            findings.append(
                f"{path}: has the channels {', '.join(names)}, {first} has {', '.join(its_names)}; expected one "
                "order, so choose them by name in data.channels"
            )
        elif (len(names), dtype) != (len(its_names), its_dtype):
            findings.append(
                f"{path}: has {len(names)} channels of {dtype}, {first} has {len(its_names)} of {its_dtype}; "
                "expected all alike, so convert one kind to the other"
            )
    return findings
