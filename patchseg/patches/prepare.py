"""The verb `prepare`: images and masks -> patches.h5, one image at a time."""

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchseg.errors import DataError, UsageError
from patchseg.imaging import Box, Reading, open_image
from patchseg.imaging.files import refuse_existing, whole
from patchseg.imaging.scale import ScaledSource
from patchseg.imaging.source import Array
from patchseg.labels.classes import IGNORE, Classes, MaskReading
from patchseg.labels.derive import shown_by_index
from patchseg.labels.mapping import Mapped, mapping, sentences
from patchseg.parameters import DataParameters, PrepareParameters, effective
from patchseg.patches.annotated import find_drawn, is_annotated
from patchseg.patches.check import Inspection, inspect
from patchseg.patches.drawings import name_drawings, tell_tally
from patchseg.patches.lists import read_list
from patchseg.patches.objects import find_layers, name_layers
from patchseg.patches.pairs import Pair, Unpaired, find_pairs
from patchseg.patches.sampling import cut, flips, sample_boxes
from patchseg.patches.sides import decide, groups_of, lacking, told, without_test
from patchseg.patches.split import Region, random
from patchseg.patches.statistics import Statistics
from patchseg.patches.store import Head, PatchWriter
from patchseg.progress import Progress, counted, megabytes


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
        masks: Folder of masks, or a file or folder of annotations; None with a list file.
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
    pairs, held_out, mistakes = _all_pairs(images, masks, parameters, data, progress)
    pairs, left_out = without_test(pairs)
    if left_out:
        progress.say(f"{counted(left_out, 'image')} of the test set left out")
    group = groups_of(pairs, parameters.group)
    labels, reading = MaskReading.of(data), Reading.of(effective(data), progress.say)
    everything, classes = _named(pairs + held_out, data, labels, mistakes, progress)
    inspection = inspect(everything, classes, progress, mistakes=mistakes, labels=labels, reading=reading)
    if data.classes and all(c.value is None and c.color is None for c in data.classes):
        shown_by_index(inspection.surveys)  # names in an order mean indices, on which files must agree
    drawn = any(pair.drawn for pair in everything)
    tell_tally(everything, progress)
    entries = mapping(inspection.surveys, inspection.classes)
    for line in _notes(inspection, entries, derived=data.classes is None and not drawn):
        progress.say(line)
    regions = decide(everything, group, inspection, parameters)
    _tell(regions, inspection, everything, parameters, progress)
    with (
        whole(output) as part,
        PatchWriter(
            part, patch=parameters.patch, channels=inspection.channels, dtype=inspection.dtype
        ) as writer,
    ):
        cutter = _Cutter(writer, output, parameters, inspection)
        _cut_all(cutter, everything, group + [p.name for p in held_out], regions, progress)
        record = effective(data, parameters)
        del record["prepare.output"]  # a file is the same under any name
        head = Head(
            parameters.patch,
            parameters.scale,
            parameters.seed,
            inspection.classes,
            cutter.statistics.channels(),
            record,
            mapping=[entry._asdict() for entry in entries],
        )
        writer.finish(head)
    return output


def _all_pairs(
    images: Path | str,
    masks: Path | str | None,
    parameters: PrepareParameters,
    data: DataParameters,
    progress: Progress,
) -> tuple[list[Pair], list[Pair], list[str]]:
    """Return the pairs to train on (and split), those given for validation, and what is wrong with either."""
    pairs, mistakes = _pairs(Path(images), masks, data, progress)
    if parameters.val_images is None:
        if parameters.val_masks is not None:
            raise UsageError("--val-masks needs --val-images")
        return pairs, [], mistakes
    held_out, more = _pairs(Path(parameters.val_images), parameters.val_masks, data, progress)
    known = {pair.image.resolve() for pair in pairs}
    twice = [pair.image for pair in held_out if pair.image.resolve() in known]
    more += [f"{image}: is to be trained on and validated with; leave it on one side" for image in twice]
    return pairs, held_out, mistakes + more


def _pairs(
    images: Path, masks: Path | str | None, data: DataParameters, progress: Progress
) -> tuple[list[Pair], list[str]]:
    """Return the pairs of two folders, of one, of annotations, or of a list, and the files that make none."""
    try:
        if masks is not None or images.is_dir():
            masks = Path(masks or images)
            if data.mask_pattern:
                return find_layers(images, masks, data.mask_pattern), []
            if is_annotated(images, masks):
                return find_drawn(images, masks, data, progress), []
            return find_pairs(images, masks), []
        if images.is_file():
            return read_list(images), []
    except Unpaired as error:
        return error.pairs, error.findings
    raise UsageError(f"{images}: is neither a folder of images nor a list file; check the path")


def _named(
    pairs: list[Pair],
    data: DataParameters,
    labels: MaskReading,
    mistakes: list[str],
    progress: Progress,
) -> tuple[list[Pair], Classes | None]:
    """Give layers and drawings their classes; return those that are given or that names say, None where masks do."""
    classes = Classes.of(data.classes, labels) if data.classes else None
    pairs, classes = name_layers(pairs, classes, labels)
    if not any(pair.drawn for pair in pairs):
        return pairs, classes
    named = name_drawings(pairs, data, progress, mistakes=mistakes)
    progress.say(f"classes (of the annotations): {named.classes}")
    return named.pairs, named.classes


def _notes(inspection: Inspection, entries: list[Mapped], *, derived: bool) -> list[str]:
    """Return what masks were taken for, where that is not what is written in the parameters."""
    classes, lines = inspection.classes, []
    if derived:
        lines = [f"classes (from the masks): {classes}"]
        if IGNORE in classes.values and not classes.reading.binary:
            lines.append(
                "  the masks hold 0 and 255 only, so 255 is class 1; list data.classes to have it ignored"
            )
        if None in classes.values and any(survey.kind == "palette" for survey in inspection.surveys):
            lines.append(f"  palettes are read by their colours: {', '.join(classes.colors)}")
    if inspection.overlap:
        lines.append(
            f"  objects of different classes overlap in {counted(inspection.overlap, 'pixel')}: the later file has them"
        )
    return lines + sentences(entries, classes, soft=inspection.pulled)


def _tell(
    regions: list[Region],
    inspection: Inspection,
    pairs: list[Pair],
    parameters: PrepareParameters,
    progress: Progress,
) -> None:
    """Say what will be cut and how much disk it takes."""
    train = sum(region.side == "train" for region in regions)
    val = len(regions) - train
    patches = train * parameters.per_image * (4 if parameters.flips else 1)
    pixels = (patches + val * parameters.per_image) * parameters.patch**2
    pixels += sum(region.box.height * region.box.width for region in regions if region.side == "val")
    size = pixels * (inspection.channels * inspection.dtype.itemsize + 1)
    for line in told(regions, len(inspection.shapes), pairs, parameters):
        progress.say(line)
    progress.say(
        f"{patches} training patches of {parameters.patch} x {parameters.patch}; {parameters.output} takes {megabytes(size)}"
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
    for line in lacking(cutter.seen, cutter.classes):
        progress.say(line)
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
        self._parameters, self.classes, self._reading = parameters, inspection.classes, inspection.reading
        self.statistics = Statistics(inspection.channels)
        self.seen = {side: np.zeros(len(self.classes), np.int64) for side in ("train", "val")}

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

    def _load(self, pair: Pair) -> _Loaded:
        """Read an image and its mask at the working size; transparent pixels are ignored."""
        assert pair.mask is not None
        scale = self._parameters.scale
        image, labels = open_image(pair.image, self._reading), pair.open_mask(self._reading)
        if scale != 1:
            image, labels = ScaledSource(image, scale), ScaledSource(labels, scale, labels=True)
        with image, labels:
            everything = Box(0, 0, *image.shape[:2])
            pixels = image.read(everything)
            mask = self.classes.encode(labels.read(everything), pair.mask, labels.palette)
            for valid in (image.valid(everything), labels.valid(everything)):
                if valid is not None:
                    mask = np.where(valid, mask, np.uint8(IGNORE))
        return _Loaded(pixels, mask)

    def _cut_region(
        self, generator: np.random.Generator, region: Region, loaded: _Loaded, source: int
    ) -> None:
        p, (pixels, mask) = self._parameters, loaded
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


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
