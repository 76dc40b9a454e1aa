"""Images, masks and regions -> patches in the file, one image at a time."""

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchseg.errors import DataError
from patchseg.imaging import Box, Reading, open_image
from patchseg.imaging.address import files_of
from patchseg.imaging.scale import ScaledSource
from patchseg.imaging.source import Array
from patchseg.labels.classes import IGNORE
from patchseg.parameters import PrepareParameters
from patchseg.patches.check import Inspection, reading_of_unlabelled
from patchseg.patches.layout import UNLABELLED
from patchseg.patches.pairs import Pair
from patchseg.patches.sampling import cut, flips, sample_boxes
from patchseg.patches.sides import lacking
from patchseg.patches.split import Region, random
from patchseg.patches.statistics import Statistics
from patchseg.patches.store import PatchWriter
from patchseg.progress import Progress

_UNLABELLED = (
    7  # the stream of the draws in images without masks, beside those of the split and of the other boxes
)


class _Loaded(NamedTuple):
    pixels: Array  # (H, W, C)
    mask: NDArray[np.uint8]  # (H, W)


class Cutter:
    """Cuts one image after the other; holds one image and its patches.

    Args:
        writer: Takes the patches.
        output: The file that the paths of the sources are relative to.
        parameters: How patches are cut; their side is known.
        inspection: Of all images and masks.
    """

    def __init__(
        self, writer: PatchWriter, output: Path, parameters: PrepareParameters, inspection: Inspection
    ) -> None:
        self._writer, self._folder = writer, output.resolve().parent
        assert parameters.patch is not None
        self._parameters, self._patch = parameters, parameters.patch
        self.classes, self._reading = inspection.classes, inspection.reading
        self._unlabelled = reading_of_unlabelled(inspection.reading, inspection.names)
        self.statistics = Statistics(inspection.names)
        self.seen = {side: np.zeros(len(self.classes), np.int64) for side in ("train", "val")}

    def cut(self, number: int, pair: Pair, group: str, regions: list[Region]) -> None:
        """Store the patches and validation regions of an image."""
        loaded = self._load(pair)
        source = self._add_source(pair.image, group, "+".join(sorted({region.side for region in regions})))
        for part, region in enumerate(regions):
            pixels, mask = loaded.pixels[region.box.slices], loaded.mask[region.box.slices]
            self.seen[region.side] += [(mask == index).any() for index in range(len(self.classes))]
            if region.side == "train":
                self.statistics.add(pixels, mask)
            else:
                self._writer.add_region(pixels, mask, source=source, box=region.box)
            # A stream an image and side, so that the patches of one never depend on the others.
            stream = [number, region.side == "val", *([part] if part and region.side == "train" else [])]
            self._cut_region(random(self._parameters.seed, 2, *stream), region, _Loaded(pixels, mask), source)

    def cut_unlabelled(self, image: Path, group: str, stream: int) -> None:
        """Store patches of an image without a mask, which fall evenly where it is not transparent.

        Args:
            image: The file.
            group: What it belongs to.
            stream: Number of its random draws, of which labelled images have none.
        """
        p = self._parameters
        pixels, valid = self._read(image, self._unlabelled)
        anywhere = (
            np.zeros(pixels.shape[:2], np.uint8) if valid is None else np.where(valid, 0, np.uint8(IGNORE))
        )
        self.statistics.add(pixels, anywhere)
        generator = random(p.seed, _UNLABELLED, stream)
        drawn = sample_boxes(anywhere, self._patch, p.per_image, foreground=0, random=generator)
        if not drawn:
            return
        boxes = [box.grown(p.margin) for box in drawn]
        source = self._add_source(image, group, UNLABELLED)
        self._writer.add_unlabelled(np.stack([cut(pixels, box) for box in boxes]), source=source, boxes=boxes)

    def _add_source(self, image: Path, group: str, side: str) -> int:
        path = Path(os.path.relpath(image.resolve(), self._folder)).as_posix()
        return self._writer.add_source(path, sha256_of(image), group, side)

    def _load(self, pair: Pair) -> _Loaded:
        """Read an image and its mask at the working size; transparent pixels are ignored."""
        assert pair.mask is not None
        pixels, valid = self._read(pair.image, self._reading)
        labels = pair.open_mask(self._reading)
        scale = self._parameters.scale
        with labels if scale == 1 else ScaledSource(labels, scale, labels=True) as scaled:
            everything = Box(0, 0, *scaled.shape[:2])
            mask = self.classes.encode(scaled.read(everything), pair.mask, scaled.palette)
            for known in (valid, scaled.valid(everything)):
                if known is not None:
                    mask = np.where(known, mask, np.uint8(IGNORE))
        return _Loaded(pixels, mask)

    def _read(self, path: Path, reading: Reading) -> tuple[Array, NDArray[np.bool_] | None]:
        """Return the pixels (H, W, C) of an image at the working size, and where they are not transparent, (H, W)."""
        image, scale = open_image(path, reading), self._parameters.scale
        with image if scale == 1 else ScaledSource(image, scale) as scaled:
            everything = Box(0, 0, *scaled.shape[:2])
            return scaled.read(everything), scaled.valid(everything)

    def _cut_region(
        self, generator: np.random.Generator, region: Region, loaded: _Loaded, source: int
    ) -> None:
        p, (pixels, mask) = self._parameters, loaded
        drawn = sample_boxes(mask, self._patch, p.per_image, foreground=p.foreground, random=generator)
        # Only then, so that the patches are the same whatever their margin. Pixels and mask end with the region, so
        # what a box takes of the guard band or of the other side is reflected and ignored.
        boxes = [box.grown(p.margin) for box in drawn]
        codes = range(4 if p.flips and region.side == "train" else 1)
        if not boxes:
            return
        images = [patch for box in boxes for patch in flips(cut(pixels, box))[: len(codes)]]
        masks = [patch for box in boxes for patch in flips(cut(mask, box, fill=IGNORE))[: len(codes)]]
        placed = [Box(b.top + region.box.top, b.left + region.box.left, b.height, b.width) for b in boxes]
        self._writer.add_patches(
            region.side, np.stack(images), np.stack(masks), source=source,
            boxes=[box for box in placed for _ in codes], flips=[code for _ in boxes for code in codes],
        )  # fmt: skip


def cut_all(
    cutter: Cutter, pairs: list[Pair], group: list[str], regions: list[Region], progress: Progress
) -> None:
    """Cut every image, and say which classes are not on both sides.

    Raises:
        DataError: Every training pixel is ignored.
    """
    progress.start("cutting", len(pairs))
    by_image: dict[int, list[Region]] = {}
    for region in regions:
        by_image.setdefault(region.image, []).append(region)
    for number, mine in by_image.items():
        cutter.cut(number, pairs[number], group[number], mine)
        progress.step()
    progress.stop()
    for line in lacking(cutter.seen, cutter.classes):
        progress.say(line)
    if not cutter.statistics.count:
        raise DataError(
            f"{pairs[0].mask}: every training pixel is ignored, as in all other masks; label some"
        )


def sha256_of(path: Path) -> str:
    """Return the digest of the file of an image, or of all files of a folder."""
    digest = hashlib.sha256()
    for part in files_of(path):
        with part.open("rb") as file:
            hashlib.file_digest(file, lambda: digest)
    return digest.hexdigest()
