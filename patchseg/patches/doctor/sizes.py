"""Sizes: of an image against its mask, and of images against the patch."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from patchseg.imaging import raster
from patchseg.imaging.scale import scaled_length
from patchseg.patches.doctor.finding import Finding

Size = tuple[int, int]  # (H, W)
_EQUAL = "rows x columns must be equal, so save the mask at the image's size"
_TELLING = 24  # pixels of a side from which sizes tell a scale
_ROUNDED = 2  # pixels that are lost or won where a program rounds


def mismatch(image: Path, image_size: Size, mask: Path, mask_size: Size) -> Finding | None:
    """Return what is wrong where an image and its mask differ in size, and the likely cause."""
    if image_size == mask_size:
        return None
    found = "is {} x {} pixels, its image {} is {} x {}".format(*mask_size, image, *image_size)
    turned = raster.orientation(image) >= 5 or raster.orientation(mask) >= 5
    if turned and image_size == mask_size[::-1]:
        return Finding(
            "size", "error", (mask,), f"{found} once turned upright by its EXIF orientation",
            "save the mask upright, or both without EXIF",
        )  # fmt: skip
    return Finding("size", "error", (mask,), found, _EQUAL, likely(image_size, mask_size))


def likely(image: Size, mask: Size) -> str:
    """Return the likely cause of two sizes that differ.

    >>> likely((20, 30), (30, 20)), likely((20, 30), (20, 29)), likely((600, 900), (200, 300))
    ('transposed: rows and columns changed places', 'off by one: cropped or padded by a program that rounds', 'resized to 33.3 %')
    >>> likely((600, 900), (500, 400))
    ''
    """
    if image == mask[::-1]:
        return "transposed: rows and columns changed places"
    if all(abs(a - b) <= _ROUNDED for a, b in zip(image, mask, strict=True)):
        return "off by one: cropped or padded by a program that rounds"
    for size, turned in ((image, ""), (image[::-1], "transposed and ")):
        # Both lengths were rounded; below some pixels any two sizes look alike.
        low = max((b - 1) / a for a, b in zip(size, mask, strict=True))
        high = min((b + 1) / a for a, b in zip(size, mask, strict=True))
        if low <= high and min(mask) >= _TELLING:
            return f"{turned}resized to {50 * (mask[0] / size[0] + mask[1] / size[1]):.3g} %"
    return ""


def smaller_than_patch(images: Sequence[tuple[Path, Size]], *, patch: int, scale: float) -> Iterator[Finding]:
    """Name the images that a patch does not fit into."""
    scaled = [(path, [scaled_length(length, scale) for length in size]) for path, size in images]
    fits = max(8, min((min(size) for _, size in scaled), default=patch) // 8 * 8)
    at = "" if scale == 1 else f" at scale {scale:g}"
    for path, (height, width) in scaled:
        if min(height, width) < patch:
            yield Finding(
                "small", "warning", (path,), f"is {height} x {width} pixels{at}, less than the patch of {patch}",
                f"what is missing will be reflected and ignored; choose --patch {fits} or less to avoid that",
            )  # fmt: skip


def turned_alone(pairs: Sequence[tuple[Path, int, Path, int]]) -> Iterator[Finding]:
    """Name the images that EXIF turns upright while their mask, which fits either way, has another orientation.

    Args:
        pairs: Image, its EXIF orientation, mask, its EXIF orientation.
    """
    for image, orientation, mask, own in pairs:
        if orientation != own:
            yield Finding(
                "exif", "warning", (image,),
                f"is shown upright by its EXIF orientation {orientation}, its mask {mask} has {own}",
                "look whether the mask fits the upright image; if not, save both without EXIF",
            )  # fmt: skip
