"""Which mask belongs to which image: by relative path, where names differ by a constant prefix or suffix.

Pairs are never matched by order. Everything that does not fit is listed at once and refused.
"""

import glob
import itertools
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from patchseg.errors import DataError, UsageError, did_you_mean, listing
from patchseg.imaging import SUFFIXES, ImageSource, Reading, is_image, open_raw
from patchseg.imaging.address import is_there, is_zarr, plain_name
from patchseg.imaging.video import is_video
from patchseg.labels.drawn import Drawn
from patchseg.labels.layers import Layers
from patchseg.patches.rules import Rule, best_rule, rule_within
from patchseg.patches.split import Side

RECORD = "parameters.effective.json"  # beside the masks that `infer` has written
_WRITTEN = {
    "probabilities",
    "confidence",
    "disagreement",
    "overlays",
    "polygons",
    "truth",
}  # with `evaluate`, besides
_KINDS = {"image", "images", "mask", "masks", "label", "labels", "annotations", "truth", "gt"} | _WRITTEN


class Pair(NamedTuple):
    """An image, its name, and its mask where it has one.

    Attributes:
        name: The path of the image relative to its folder, without suffix.
        image: The file.
        mask: The file, the first of the layers, or the annotation file.
        layers: The files that make up the mask, where each holds one class or one object.
        drawn: What the annotation file draws on the image.
        group: What the image belongs to, where a list says so.
        side: The side of the split, where a list says so; a test set is on neither.
    """

    name: str
    image: Path
    mask: Path | None
    layers: Layers | None = None
    drawn: Drawn | None = None
    group: str | None = None
    side: Side | Literal["test"] | None = None

    def open_mask(self, reading: Reading = Reading()) -> ImageSource:
        """Open the mask: a file as it is stored, its layers put together, or a drawing.

        Raises:
            DataError: A file is missing, damaged, of no known format, or does not fit the others.
        """
        assert self.mask is not None
        made = self.layers or self.drawn
        return made.open() if made else open_raw(self.mask, reading.of_masks)


class Unpaired(DataError):
    """Files that make no pair, all listed.

    Attributes:
        findings: A sentence each.
        pairs: The pairs that there are besides.
        unmasked: Those of the findings that are about images without a mask.
    """

    def __init__(self, findings: list[str], pairs: list[Pair], unmasked: Sequence[str] = ()) -> None:
        super().__init__(listing(findings))
        self.findings, self.pairs, self.unmasked = findings, pairs, unmasked


def image_files(folder: Path) -> list[Path]:
    """Return the image files of a folder in natural order (2 before 10), without hidden ones.

    Where a folder holds no image but folders with images, those of the folders, however deep.

    Raises:
        UsageError: There is no such folder, or no image in it, or its folders are those of images and of masks.
    """
    if not folder.is_dir():
        beside = [path.name for path in folder.parent.glob("*") if path.is_dir()]
        raise UsageError(
            f"{folder}: is no folder; expected one with images ({' '.join(SUFFIXES)}){did_you_mean(folder.name, beside)}"
        )
    files = [file for file in folder.iterdir() if is_image(file)] or list(walk(folder))
    kinds = {part.lower() for file in files for part in file.relative_to(folder).parts[:-1]} & _KINDS
    inside = sorted(path.name for path in folder.iterdir() if path.is_dir())[:8]
    if kinds or (not files and inside):
        # Which of them are images, and which masks, is for the user to say.
        raise UsageError(f"{folder}: holds no image, only folders ({', '.join(inside)}); name one of them")
    if not files:
        raise UsageError(f"{folder}: holds no image; expected files ending in {' '.join(SUFFIXES)}")
    return sorted(files, key=lambda file: natural(file.relative_to(folder).as_posix()))


def walk(folder: Path) -> Iterator[Path]:
    """Yield the image files of a folder and of those in it, without hidden ones and what `infer` writes besides."""
    seen: set[Path] = set()
    for path, inside, names in os.walk(folder, followlinks=True):
        here = Path(path)
        left_out = _WRITTEN if RECORD in names else set()
        kept = [name for name in inside if not name.startswith(".") and name not in left_out]
        # A link may lead back to a folder above.
        new = [name for name in kept if (here / name).resolve() not in seen]
        stores = [name for name in new if is_zarr(here / name)]
        inside[:] = [name for name in new if name not in stores]
        seen.update((here / name).resolve() for name in inside)
        yield from (here / name for name in [*names, *stores] if is_image(here / name))


def name_of(file: Path, folder: Path) -> str:
    """Return the path of a file relative to a folder, with slashes and without suffix.

    >>> name_of(Path("images/18/7.webp"), Path("images"))
    '18/7'
    """
    return file.relative_to(folder).with_suffix("").as_posix()


def find_images(wanted: list[Path | str]) -> list[tuple[Path, Path]]:
    """Return the images and videos that files, folders and globs name, with their paths relative to where they were found.

    Of a folder the videos, where it holds no image.

    Raises:
        UsageError: A path is neither file nor folder nor a glob that matches.
    """
    found: list[tuple[Path, Path]] = []
    for item in wanted:
        path, text = Path(item), str(item)
        if path.is_dir() and not is_zarr(path):
            found += [(file, file.relative_to(path)) for file in _videos(path) or image_files(path)]
        elif is_there(path):
            found.append((path, plain_name(path)))
        else:
            fixed = Path(*itertools.takewhile(lambda part: not glob.has_magic(part), path.parts))
            pattern = str(path.relative_to(fixed))
            matches = sorted(map(str, fixed.glob(pattern)), key=natural) if glob.has_magic(text) else []
            if not matches:
                raise UsageError(f"{item}: is no file, folder or glob that matches; check the path")
            found += [
                (Path(match), Path(match).relative_to(fixed)) for match in matches if is_there(Path(match))
            ]
    return list(dict.fromkeys(found))


def _videos(folder: Path) -> list[Path]:
    files = [file for file in folder.iterdir() if not file.name.startswith(".")]
    videos = [file for file in files if is_video(file)]
    return [] if any(map(is_image, files)) else sorted(videos, key=lambda file: natural(file.name))


def natural(name: str) -> list[tuple[int, int | str]]:
    """Return a sorting key in which numbers count as numbers.

    >>> sorted(["a10", "a9", "b1"], key=natural)
    ['a9', 'a10', 'b1']
    """
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", name) if part]


def find_pairs(images: Path, masks: Path) -> list[Pair]:
    """Match the images of one folder with the masks of another, or of the same one.

    Raises:
        UsageError: A folder is missing or empty.
        Unpaired: Images without a mask, masks without an image, or two files of one name; all are listed.
    """
    if images.resolve() == masks.resolve():
        return _pairs_in_one(images)
    left, right = _both(images, masks)
    findings = doubles(left, images) + doubles(right, masks)
    if findings:
        raise Unpaired(findings, [])
    of_image = {name_of(file, images): file for file in left}
    of_mask = {name_of(file, masks): file for file in right}
    rule = best_rule(list(of_image), list(of_mask))
    wanted = {name: rule.mask_of(name) for name in of_image}
    strays = [name for name, mask in wanted.items() if mask not in of_mask]
    unused = sorted(set(of_mask) - set(wanted.values()), key=natural)
    unmasked = [
        f"{of_image[name]}: has no mask in {masks}; expected {wanted[name] or name}.*" for name in strays
    ]
    findings = unmasked + [
        f"{of_mask[name]}: belongs to no image in {images}; remove it or add the image" for name in unused
    ]
    pairs = [Pair(name, of_image[name], of_mask[mask]) for name, mask in wanted.items() if mask in of_mask]
    if findings:
        raise Unpaired(findings, pairs, unmasked)
    return pairs


def doubles(files: list[Path], folder: Path) -> list[str]:
    """Name the files whose path in a folder differs from that of an earlier one by the suffix alone."""
    first: dict[str, Path] = {}
    return [
        f"{file}: has the same stem as {first[name]}; rename or remove one of them"
        for file in files
        if first.setdefault(name := name_of(file, folder), file) != file
    ]


def _both(images: Path, masks: Path) -> tuple[list[Path], list[Path]]:
    """Return the images and the masks; where both folders hold files, also those of the folders that stand in both."""
    left, right = image_files(images), image_files(masks)
    if any(file.parent != images for file in left) or any(file.parent != masks for file in right):
        return left, right
    inside = [{file: file.relative_to(folder) for file in walk(folder)} for folder in (images, masks)]
    shared = {path.parent for path in inside[0].values()} & {path.parent for path in inside[1].values()}
    more = [
        sorted(
            (file for file, path in found.items() if path.parent in shared and path.parent != Path()),
            key=lambda file: natural(str(file)),
        )
        for found in inside
    ]
    return left + more[0], right + more[1]


def _pairs_in_one(folder: Path) -> list[Pair]:
    """Match images and masks that lie in one folder, such as a.tif and a_mask.png, or Img_7 and Mask_7."""
    files = image_files(folder)
    if twice := doubles(files, folder):
        raise Unpaired(twice, [])
    by_name = {name_of(file, folder): file for file in files}
    rule = rule_within(by_name)
    if rule is None:
        raise DataError(
            f"{folder}: holds images only; expected masks beside them, such as a.tif and a_mask.png, or Img_7 and Mask_7"
        )
    masks = {name: mask for name in by_name if (mask := rule.mask_of(name)) in by_name}
    pairs = [Pair(name, by_name[name], by_name[mask]) for name, mask in masks.items()]
    strays = sorted(set(by_name) - set(masks) - set(masks.values()), key=natural)
    if strays:
        told = {name: _stray(by_name[name], name, rule) for name in strays}
        images = [told[name] for name in strays if not rule.names_mask(name) and rule.mask_of(name)]
        raise Unpaired(list(told.values()), pairs, images)
    return pairs


def _stray(file: Path, name: str, rule: Rule) -> str:
    if rule.names_mask(name):
        return f"{file}: belongs to no image beside it; remove it or add the image"
    if expected := rule.mask_of(name):
        return f"{file}: has no mask beside it; expected {expected}.*"
    image, mask = (f"{a}...{b}" for a, b in (rule[:2], rule[2:]))
    return f"{file}: is neither image nor mask by its name; expected {image} or {mask}"
