"""The verb `prepare`: images and masks -> patches.h5, one image at a time."""

import hashlib
import os
import shlex
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchseg.errors import DataError, UsageError
from patchseg.imaging import Box, open_image, open_raw
from patchseg.imaging.files import refuse_existing, whole
from patchseg.imaging.scale import ScaledSource, scaled_length
from patchseg.imaging.source import Array
from patchseg.labels.classes import IGNORE, Classes
from patchseg.parameters import DataParameters, PrepareParameters, effective
from patchseg.patches.check import Inspection, inspect
from patchseg.patches.pairs import Pair, Unpaired, find_pairs, read_list
from patchseg.patches.sampling import cut, flips, sample_boxes
from patchseg.patches.split import Region, groups, random, split
from patchseg.patches.store import Head, PatchWriter
from patchseg.progress import Progress, counted, megabytes

_CHANNELS = {1: ("gray",), 3: ("red", "green", "blue")}


def prepare(
    images: Path | str,
    masks: Path | str | None = None,
    *,
    parameters: PrepareParameters = PrepareParameters(),
    data: DataParameters = DataParameters(),
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Cut patches out of images and masks into one HDF5 file.

    Args:
        images: Folder of images, or a list file with an `image mask` pair a line.
        masks: Folder of masks; None with a list file.
        parameters: How patches are cut; `parameters.output` is the file.
        data: The classes, where they are not to be derived from the masks.
        overwrite: Whether an existing file may be replaced.
        progress: Told what happens.

    Returns:
        The path of the patches file.

    Raises:
        UsageError: Folders, parameters or the output do not work.
        DataError: Something is wrong with images or masks; everything that is, is listed.
    """
    progress = progress or Progress()
    output = Path(parameters.output)
    refuse_existing([output], overwrite=overwrite)
    pairs, held_out, mistakes = all_pairs(images, masks, parameters)
    group = groups([p.name for p in pairs], parameters.group) + [p.name for p in held_out]
    classes = Classes.of(data.classes) if data.classes else None
    try:
        inspection = inspect(pairs + held_out, classes, progress, mistakes=mistakes)
    except DataError as error:
        words = " ".join(shlex.quote(str(path)) for path in (images, masks) if path is not None)
        raise DataError(f"{error}\nlikely causes, and doubts besides: patchseg check {words}") from None
    if data.classes is None:
        progress.say(f"classes (from the masks): {inspection.classes}")
        if IGNORE in inspection.classes.values:
            progress.say(
                "  the masks hold 0 and 255 only, so 255 is class 1; list data.classes to have it ignored"
            )
    regions = sides_of(group[: len(pairs)], inspection.shapes, parameters)
    _tell(regions, inspection, parameters, output, progress)
    with (
        whole(output) as part,
        PatchWriter(
            part, patch=parameters.patch, channels=inspection.channels, dtype=inspection.dtype
        ) as writer,
    ):
        cutter = _Cutter(writer, output, parameters, inspection)
        _cut_all(cutter, pairs + held_out, group, regions, progress)
        record = effective(data, parameters)
        del record["prepare.output"]  # a file is the same under any name
        head = Head(
            parameters.patch,
            parameters.scale,
            parameters.seed,
            inspection.classes,
            cutter.statistics.channels(),
            record,
        )
        writer.finish(head)
    return output


def all_pairs(
    images: Path | str, masks: Path | str | None, parameters: PrepareParameters
) -> tuple[list[Pair], list[Pair], list[str]]:
    """Return the pairs to train on (and split), those given for validation, and what is wrong with either."""
    pairs, mistakes = _pairs(Path(images), masks)
    if parameters.val_images is None:
        if parameters.val_masks is not None:
            raise UsageError("--val-masks needs --val-images")
        return pairs, [], mistakes
    held_out, more = _pairs(Path(parameters.val_images), parameters.val_masks)
    known = {pair.image.resolve() for pair in pairs}
    twice = [pair.image for pair in held_out if pair.image.resolve() in known]
    more += [f"{image}: is to be trained on and validated with; leave it on one side" for image in twice]
    return pairs, held_out, mistakes + more


def _pairs(images: Path, masks: Path | str | None) -> tuple[list[Pair], list[str]]:
    """Return the pairs of two folders, of one, or of a list, and the files that make none."""
    try:
        if masks is not None:
            return find_pairs(images, Path(masks)), []
        if images.is_dir():
            return find_pairs(images, images), []
        if images.is_file():
            return read_list(images), []
    except Unpaired as error:
        return error.pairs, error.findings
    raise UsageError(f"{images}: is neither a folder of images nor a list file; check the path")


def sides_of(group: list[str], sizes: list[tuple[int, int]], parameters: PrepareParameters) -> list[Region]:
    """Decide the side of every image, or of its blocks; those beyond the groups are given for validation.

    Args:
        group: The group of each image that is to be split.
        sizes: (H, W) of all images.
        parameters: How they are split.

    Raises:
        UsageError: The patch is larger than every image.
        DataError: There is nothing to split.
    """
    shapes = [
        (scaled_length(height, parameters.scale), scaled_length(width, parameters.scale))
        for height, width in sizes
    ]
    largest = max(shapes, key=max)
    if parameters.patch > max(largest):
        raise UsageError(
            f"prepare.patch: {parameters.patch} is larger than every image (the largest is {largest[0]} x {largest[1]}); "
            f"choose {max(largest) // 8 * 8 or 8} or less"
        )
    mine = len(group)
    share = parameters.validation if mine == len(shapes) else 0.0
    regions = split(shapes[:mine], group, validation=share, patch=parameters.patch, seed=parameters.seed)
    return regions + [Region(i, "val", Box(0, 0, *shapes[i])) for i in range(mine, len(shapes))]


def _tell(
    regions: list[Region],
    inspection: Inspection,
    parameters: PrepareParameters,
    output: Path,
    progress: Progress,
) -> None:
    """Say what will be cut and how much disk it takes."""
    train = sum(region.side == "train" for region in regions)
    val = len(regions) - train
    patches = train * parameters.per_image * (4 if parameters.flips else 1)
    pixels = (patches + val * parameters.per_image) * parameters.patch**2
    pixels += sum(region.box.height * region.box.width for region in regions if region.side == "val")
    size = pixels * (inspection.channels * inspection.dtype.itemsize + 1)
    blocks = " (of the same images, a guard band between)" if len(regions) > len(inspection.shapes) else ""
    progress.say(f"{counted(train, 'block' if blocks else 'image')} to train on, {val} to validate{blocks}")
    progress.say(
        f"{patches} training patches of {parameters.patch} x {parameters.patch}; {output} takes {megabytes(size)}"
    )


def _cut_all(
    cutter: "_Cutter", pairs: list[Pair], group: list[str], regions: list[Region], progress: Progress
) -> None:
    progress.start("cutting", len(pairs))
    by_image: dict[int, list[Region]] = {}
    for region in regions:
        by_image.setdefault(region.image, []).append(region)
    for number, mine in by_image.items():
        cutter.cut(number, pairs[number], group[number], mine)
        progress.step()
    progress.stop()
    if not cutter.statistics.count:
        raise DataError(
            f"{pairs[0].mask}: every training pixel is ignored, as in all other masks; label some"
        )


class _Loaded(NamedTuple):
    pixels: Array  # (H, W, C)
    mask: NDArray[np.uint8]  # (H, W)


class _Cutter:
    """Cuts one image after the other; holds one image and its patches."""

    def __init__(
        self, writer: PatchWriter, output: Path, parameters: PrepareParameters, inspection: Inspection
    ) -> None:
        self._writer, self._folder = writer, output.resolve().parent
        self._parameters, self._classes = parameters, inspection.classes
        self.statistics = _Statistics(inspection.channels)

    def cut(self, number: int, pair: Pair, group: str, regions: list[Region]) -> None:
        """Store the patches and validation regions of an image."""
        loaded = self._load(pair)
        sides = "+".join(sorted({region.side for region in regions}))
        source = self._writer.add_source(
            Path(os.path.relpath(pair.image.resolve(), self._folder)).as_posix(),
            _sha256(pair.image),
            group,
            sides,
        )
        for region in regions:
            pixels, mask = loaded.pixels[region.box.slices], loaded.mask[region.box.slices]
            if region.side == "train":
                self.statistics.add(pixels, mask)
            else:
                self._writer.add_region(pixels, mask, source=source, box=region.box)
            self._cut_region(number, region, pixels, mask, source)

    def _load(self, pair: Pair) -> _Loaded:
        """Read an image and its mask at the working size; transparent pixels are ignored."""
        assert pair.mask is not None
        scale = self._parameters.scale
        image, labels = open_image(pair.image), open_raw(pair.mask)
        if scale != 1:
            image, labels = ScaledSource(image, scale), ScaledSource(labels, scale, labels=True)
        with image, labels:
            everything = Box(0, 0, *image.shape[:2])
            pixels = image.read(everything)
            mask = self._classes.encode(labels.read(everything), pair.mask, labels.palette)
            for valid in (image.valid(everything), labels.valid(everything)):
                if valid is not None:
                    mask = np.where(valid, mask, np.uint8(IGNORE))
        return _Loaded(pixels, mask)

    def _cut_region(
        self, number: int, region: Region, pixels: Array, mask: NDArray[np.uint8], source: int
    ) -> None:
        p = self._parameters
        # A stream an image and side, so that the patches of one never depend on the others.
        generator = random(p.seed, 2, number, region.side == "val")
        boxes = sample_boxes(mask, p.patch, p.per_image, foreground=p.foreground, random=generator)
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


class _Statistics:
    """Mean and standard deviation of each channel over the labelled training pixels."""

    def __init__(self, channels: int) -> None:
        self.count = 0
        self._mean, self._squares = np.zeros(channels), np.zeros(channels)

    def add(self, pixels: Array, mask: NDArray[np.uint8]) -> None:
        """Merge the pixels of one image (Chan et al. 1979, parallel variance)."""
        for top in range(0, len(pixels), 512):
            band = pixels[top : top + 512][mask[top : top + 512] != IGNORE].astype(np.float64)  # (n, C)
            if not len(band):
                continue
            mean, total = band.mean(axis=0), self.count + len(band)
            shift = mean - self._mean
            self._squares += ((band - mean) ** 2).sum(axis=0) + shift**2 * self.count * len(band) / total
            self._mean += shift * len(band) / total
            self.count = total

    def channels(self) -> list[dict[str, Any]]:
        """Return [{name, mean, std}]."""
        names = _CHANNELS.get(len(self._mean), [f"channel_{i}" for i in range(len(self._mean))])
        std = np.sqrt(self._squares / max(self.count, 1))
        return [
            {"name": n, "mean": float(m), "std": float(s)}
            for n, m, s in zip(names, self._mean, std, strict=True)
        ]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
