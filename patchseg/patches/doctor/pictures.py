"""What images hold: nothing, too much light, other kinds, other ranges or other pixel sizes than the rest."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from patchseg.imaging.channels import GRAY
from patchseg.patches.check import all_gray, strangers
from patchseg.patches.doctor.facts import ImageFacts
from patchseg.patches.doctor.finding import Finding

SATURATED = 0.05  # share of samples at the greatest value
_MORE = 5  # times the share that is usual in the data set
_RANGES = 16  # times the usual range
_SIZES = 0.05  # of the usual pixel size


def judge(images: Sequence[ImageFacts]) -> Iterator[Finding]:
    """Find what is wrong with the images of a data set, masks aside."""
    gray = all_gray([(image.gray, image.names) for image in images])
    for told in strangers([(image.path, (GRAY,) if gray else image.names, image.dtype) for image in images]):
        yield Finding.told("mixed", told)
    yield from _constant(images)
    content = [image for image in images if max(image.high) > min(image.low)]
    yield from _saturated(content)
    yield from _ranges(content)
    yield from _pixel_sizes(images)


def _constant(images: Sequence[ImageFacts]) -> Iterator[Finding]:
    for image in images:
        flat = [i for i, (low, high) in enumerate(zip(image.low, image.high, strict=True)) if low == high]
        if len(flat) == image.shape[2]:
            yield Finding(
                "constant", "warning", (image.path,), f"has the value {image.low[0]:g} everywhere",
                "leave it out, or export it again",
            )  # fmt: skip
        elif flat:
            yield Finding(
                "constant", "warning", (image.path,), f"has the value {image.low[flat[0]]:g} everywhere in channel {flat[0]}",
                "nothing can be learned from that channel, so leave it out, or export it again",
            )  # fmt: skip
        elif image.dtype.kind == "u" and max(image.high) <= 1:
            yield Finding(
                "range", "warning", (image.path,), "holds only 0 and 1",
                "export it with its grays", "real numbers cut to whole ones",
            )  # fmt: skip


def _saturated(images: Sequence[ImageFacts]) -> Iterator[Finding]:
    """Find images of which a part is at the greatest value, where that is not usual in the data set.

    White paper, glass and sky are at the greatest value in every image, and are no fault.
    """
    usual = float(np.median([image.at_top for image in images])) if images else 0.0
    for image in images:
        two_valued = all(high - low <= 1 for low, high in zip(image.low, image.high, strict=True))
        if not two_valued and image.at_top > max(SATURATED, _MORE * usual):
            yield Finding(
                "saturated", "warning", (image.path,), f"has {100 * image.at_top:.2g} % of its samples at {max(image.high):g}",
                "what is there cannot be told apart, so expose it less or leave it out",
            )  # fmt: skip


def _ranges(images: Sequence[ImageFacts]) -> Iterator[Finding]:
    """Find images whose greatest value is far from the usual one."""
    usual = float(np.median([_top(image) for image in images])) if images else 0.0
    for image in images:
        yield from out_of_range(image.path, _top(image), usual, image.dtype)


def ranges_beside(images: Sequence[ImageFacts], others: Sequence[ImageFacts]) -> Iterator[Finding]:
    """Find images whose greatest value is far from what is usual among others."""
    usual = float(np.median([_top(image) for image in others])) if others else 0.0
    for image in images:
        if _top(image):
            yield from out_of_range(image.path, _top(image), usual, image.dtype)


def out_of_range(path: Path, top: float, usual: float, dtype: np.dtype[Any]) -> Iterator[Finding]:
    """Find out whether the greatest value of an image is far from the usual one; 8 bits hold no other range."""
    if dtype.itemsize > 1 and not usual / _RANGES < top < usual * _RANGES:
        yield Finding(
            "range", "warning", (path,), f"reaches up to {top:g}, the median image up to {usual:g}",
            "export all with one scale", "other bits or another scale than the others",
        )  # fmt: skip


def _top(image: ImageFacts) -> float:
    return max(abs(value) for value in (*image.low, *image.high))


def _pixel_sizes(images: Sequence[ImageFacts]) -> Iterator[Finding]:
    known = [(image, image.pixel_size) for image in images if image.pixel_size is not None]
    usual = np.median([size for _, size in known], axis=0) if known else np.zeros(2)
    for image, size in known:
        if np.abs(np.array(size) / usual - 1).max() > _SIZES:
            yield Finding(
                "pixel-size", "warning", (image.path,),
                f"has pixels of {size[0]:.4g} x {size[1]:.4g} µm, the median image of {usual[0]:.4g} x {usual[1]:.4g} µm",
                "resample all to one size, or see that both kinds are on both sides of the split",
            )  # fmt: skip
