"""patches.h5: the one file that training opens. Its layout is plain enough for `h5ls` and ten lines of h5py.

/                 attributes patchseg_format, seed, patch, margin, scale, sha256 (of all pixels and masks), and as
                  JSON classes, channels, parameters, reading (how masks are read), mapping (value -> class, pixels)
/train, /val      images (N, S+2M, S+2M, C), masks (N, S+2M, S+2M) uint8, source (N,), box (N, 4), flip (N,)
/unlabelled       the same of images without masks, where there are any: masks are 255 and take no room, flip is 0
/sources          path, sha256, group, side (train, val, train+val, or, after all others, unlabelled)
/regions/<i>      image (H, W, C), mask (H, W) uint8: the validation images or blocks, whole

S is `patch`, M is `margin`: the patch is the middle of what is stored, and the box is all that is stored. Where a box
leaves its image (or the block that its side has of it), the image is reflected and the mask 255.
"""

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from patchseg.errors import DataError
from patchseg.imaging import Box
from patchseg.imaging.source import Array
from patchseg.labels.classes import Classes
from patchseg.patches.disk import Disk
from patchseg.patches.layout import FORMAT, UNLABELLED, Part, add_group, append, open_patches
from patchseg.patches.split import Side

SIDES: tuple[Side, Side] = ("train", "val")


@dataclass
class Head:
    """What the attributes of a patches file say.

    Attributes:
        patch: Side of the patches.
        scale: Multiple of the images' size at which they were cut.
        seed: Seed of the split and the patches.
        classes: The classes of the masks.
        channels: [{name, mean, std, min, max}] over the training pixels.
        parameters: {key: {value, source}} of prepare.
        sha256: Of all that the datasets hold; told by the writer.
        mapping: [{source, target, pixels}]: what the values and colours of the masks were taken for.
        margin: Pixels stored around each patch.
    """

    patch: int
    scale: float
    seed: int
    classes: Classes
    channels: list[dict[str, Any]]
    parameters: dict[str, Any] = field(default_factory=dict)
    sha256: str = ""
    mapping: list[dict[str, Any]] = field(default_factory=list)
    margin: int = 0

    @property
    def middle(self) -> slice:
        """Where the patch is along either side of what is stored.

        >>> Head(8, 1.0, 0, Classes(("a",), (0,), ("#000000",)), [], margin=3).middle
        slice(3, 11, None)
        """
        return slice(self.margin, self.margin + self.patch)


class PatchWriter:
    """Appends patches, block by block, to a new file.

    Args:
        path: The file.
        patch: Side of the patches.
        channels: Of the images.
        dtype: Of the images.
        margin: Pixels stored around each patch.
    """

    def __init__(
        self, path: Path, *, patch: int, channels: int, dtype: np.dtype[Any], margin: int = 0
    ) -> None:
        window = patch + 2 * margin
        self._shape, self._dtype = (window, window, channels), dtype
        self._disk, self._digest = Disk(path), hashlib.sha256()
        self._file = h5py.File(self._disk, "w")
        text = h5py.string_dtype()
        for side in SIDES:
            add_group(self._file, side, self._shape, self._dtype)
        sources = self._file.create_group("sources")
        for name in ("path", "sha256", "group", "side"):
            sources.create_dataset(name, (0,), text, maxshape=(None,), chunks=(256,))
        self._file.create_group("regions")

    def add_source(self, path: str, sha256: str, group: str, side: str) -> int:
        """Append a source image and return its number."""
        for name, value in (("path", path), ("sha256", sha256), ("group", group), ("side", side)):
            append(self._file["sources"][name], np.array([value], object))
        return len(self._file["sources/path"]) - 1

    def add_patches(
        self, side: Side, images: Array, masks: Array, *, source: int, boxes: list[Box], flips: list[int]
    ) -> None:
        """Append a block: images (n, S+2M, S+2M, C), masks (n, S+2M, S+2M), their boxes and flips."""
        group = self._file[side]
        self._digest_of(images, masks)
        append(group["masks"], masks)
        self._add_images(group, images, source, boxes, flips)

    def add_unlabelled(self, images: Array, *, source: int, boxes: list[Box]) -> None:
        """Append a block of an image without a mask: images (n, S+2M, S+2M, C) and their boxes."""
        if UNLABELLED not in self._file:
            add_group(self._file, UNLABELLED, self._shape, self._dtype)
        group = self._file[UNLABELLED]
        self._digest_of(images)
        group["masks"].resize(len(group["masks"]) + len(images), axis=0)  # filled with 255, never written
        self._add_images(group, images, source, boxes, [0] * len(images))

    def add_region(self, image: Array, mask: Array, *, source: int, box: Box) -> None:
        """Store a validation image or block whole: (H, W, C) and (H, W) uint8."""
        self._digest_of(image, mask)
        group = self._file["regions"].create_group(str(len(self._file["regions"])))
        group.create_dataset("image", data=image, chunks=True)
        group.create_dataset("mask", data=mask, chunks=True)
        group.attrs["source"], group.attrs["box"] = source, np.array(box)

    def finish(self, head: Head) -> None:
        """Write the attributes."""
        attributes = self._file.attrs
        attributes["patchseg_format"], attributes["margin"] = FORMAT, head.margin
        attributes["patch"], attributes["scale"], attributes["seed"] = head.patch, head.scale, head.seed
        attributes["classes"] = json.dumps(head.classes.to_json())
        attributes["channels"] = json.dumps(head.channels)
        attributes["parameters"] = json.dumps(head.parameters)
        attributes["reading"] = json.dumps(head.classes.reading.to_json())
        attributes["mapping"] = json.dumps(head.mapping)
        attributes["sha256"] = self._digest.hexdigest()

    def _add_images(
        self, group: h5py.Group, images: Array, source: int, boxes: list[Box], flips: list[int]
    ) -> None:
        append(group["images"], images)
        append(group["source"], np.full(len(images), source))
        append(group["box"], np.array(boxes))
        append(group["flip"], np.array(flips))
        self._disk.check()

    def _digest_of(self, *arrays: Array) -> None:
        for array in arrays:
            self._digest.update(np.ascontiguousarray(array).data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._file.close()
        self._disk.close()
        if kind is None:
            self._disk.check()


class PatchFile:
    """An open patches file.

    Attributes:
        path: The file.
        head: What its attributes say.
        counts: Patches of each part: train, val and unlabelled, 0 where there are none.

    Raises:
        UsageError: There is no such file.
        DataError: The file is damaged, of another kind, or of a newer format.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open_patches(path)
        try:
            attributes = self._file.attrs
            self.head = Head(
                patch=int(attributes["patch"]),
                scale=float(attributes["scale"]),
                seed=int(attributes["seed"]),
                classes=Classes.from_json(
                    json.loads(attributes["classes"]), json.loads(attributes.get("reading", "{}"))
                ),
                channels=json.loads(attributes["channels"]),
                parameters=json.loads(attributes["parameters"]),
                sha256=str(attributes.get("sha256", "")),
                mapping=json.loads(attributes.get("mapping", "[]")),
                margin=int(attributes["margin"]),
            )
            parts: list[Part] = [*SIDES, *([UNLABELLED] if UNLABELLED in self._file else [])]
            self.counts: dict[Part, int] = {part: len(self._file[part]["images"]) for part in parts}
            if any(self.counts[part] != len(self._file[part]["masks"]) for part in parts):
                raise ValueError("images without masks")
            self.counts.setdefault(UNLABELLED, 0)
            self._regions = self._file["regions"]
        except (KeyError, ValueError, TypeError) as error:
            self._file.close()
            raise DataError(
                f"{path}: is incomplete ({error}); make it again with `patchseg prepare`"
            ) from None

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the images."""
        dtype: np.dtype[Any] = self._file["train/images"].dtype
        return dtype

    @property
    def sources(self) -> list[Path]:
        """The labelled images that the patches and regions were cut out of."""
        return self._paths(labelled=True)

    @property
    def unlabelled_sources(self) -> list[Path]:
        """The images without masks that patches were cut out of."""
        return self._paths(labelled=False)

    @property
    def nbytes(self) -> int:
        """Bytes of the training patches, their margins and masks included."""
        return self.nbytes_of("train")

    def nbytes_of(self, part: Part) -> int:
        """Return the bytes of what `read` gives of a part: patches, their margins and masks."""
        if not self.counts[part]:
            return 0
        group = self._file[part]
        return int(group["images"].size * self.dtype.itemsize + group["masks"].size)

    def read(self, part: Part, index: Any = slice(None)) -> tuple[Array, Array]:
        """Return images (n, S+2M, S+2M, C) and masks (n, S+2M, S+2M) of a slice, or of ascending numbers.

        Raises:
            KeyError: There are no unlabelled patches.
        """
        group = self._file[part]
        return group["images"][index], group["masks"][index]

    def read_masks(self, part: Part, index: Any = slice(None)) -> Array:
        """Return the masks alone, (n, S+2M, S+2M), or that of one number, (S+2M, S+2M)."""
        masks: Array = self._file[part]["masks"][index]
        return masks

    def read_sources(self, part: Part) -> NDArray[np.int32]:
        """Return the number of the image that each patch of a part was cut out of, (N,)."""
        numbers: NDArray[np.int32] = self._file[part]["source"][:]
        return numbers

    def unflipped(self, part: Part) -> NDArray[np.intp]:
        """Return the numbers of the patches that are no flips of others, in ascending order."""
        return np.flatnonzero(self._file[part]["flip"][()] == 0)

    @cached_property
    def class_counts(self) -> NDArray[np.int64]:
        """How many pixels each training patch, without what is around it, has of each class, (N, K)."""
        counts = np.zeros((self.counts["train"], len(self.head.classes)), np.int64)
        for start in range(0, len(counts), 256):
            masks = self.read_masks("train", slice(start, start + 256))[:, self.head.middle, self.head.middle]
            flat = masks.reshape(len(masks), -1).astype(np.int64) + 256 * np.arange(len(masks))[:, None]
            values = np.bincount(flat.ravel(), minlength=256 * len(masks)).reshape(-1, 256)
            counts[start : start + 256] = values[:, : counts.shape[1]]
        return counts

    def sides(self) -> list[str]:
        """Return the side of each of `sources`, in order: train, val, or train+val of an image that is cut into blocks."""
        return [side for side in self._all_sides() if side != UNLABELLED]

    def region_names(self) -> list[str]:
        """Return the numbers of the validation regions, in order."""
        return sorted(self._regions, key=int)

    def region(self, name: str) -> tuple[h5py.Dataset, h5py.Dataset]:
        """Return image (H, W, C) and mask (H, W) of a validation region, read by window."""
        group = self._regions[name]
        return group["image"], group["mask"]

    def _all_sides(self) -> list[str]:
        return [side.decode() for side in self._file["sources/side"][()]]

    def _paths(self, *, labelled: bool) -> list[Path]:
        names = zip(self._file["sources/path"].asstr()[:], self._all_sides(), strict=True)
        return [self.path.parent / name for name, side in names if (side != UNLABELLED) == labelled]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
