"""The verb `prepare`: images and masks -> patches.h5, one image at a time."""

import shlex
from collections.abc import Collection
from pathlib import Path

from patchseg.errors import DataError, UsageError
from patchseg.imaging import Reading
from patchseg.imaging.files import refuse_existing, whole
from patchseg.labels.classes import IGNORE, Classes, MaskReading
from patchseg.labels.derive import shown_by_index
from patchseg.labels.mapping import Mapped, mapping, sentences
from patchseg.parameters import DataParameters, PrepareParameters, effective
from patchseg.patches.annotated import find_drawn, is_annotated
from patchseg.patches.check import Inspection, inspect
from patchseg.patches.cutter import Cutter, cut_all
from patchseg.patches.drawings import name_drawings, tell_tally
from patchseg.patches.lists import read_list
from patchseg.patches.objects import find_layers, name_layers
from patchseg.patches.pairs import Pair, Unpaired, find_pairs
from patchseg.patches.plan import with_patch
from patchseg.patches.sides import decide, groups_of, told, without_test
from patchseg.patches.split import Region
from patchseg.patches.stacks import STACK, unstacked
from patchseg.patches.store import Head, PatchWriter
from patchseg.patches.unlabelled import Labelled, Unlabelled, cut_unlabelled, find_unlabelled, held_apart
from patchseg.progress import Progress, counted, megabytes

_WITHOUT_MASKS = "or give images without masks in a folder of their own as --unlabelled"


def prepare(
    images: Path | str,
    masks: Path | str | None = None,
    *,
    parameters: PrepareParameters = PrepareParameters(),
    data: DataParameters = DataParameters(),
    only: Collection[str] | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Cut patches out of images and masks into one HDF5 file.

    Args:
        images: Folder of images, or a list file with an `image mask` pair a line.
        masks: Folder of masks, or a file or folder of annotations; None with a list file.
        parameters: How patches are cut; `parameters.output` is the file.
        data: The classes, where they are not to be derived from the masks.
        only: Names of the images to train on; the split, the classes, channels and the patch are those of all images, but
            what else would be trained on is left out. None for all.
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
    pairs, held_out, mistakes = all_pairs(images, masks, parameters, data, progress)
    pairs, test = without_test(pairs)
    if test:
        progress.say(f"{counted(len(test), 'image')} of the test set left out")
    group = groups_of(pairs, parameters.group)
    spare = find_unlabelled(parameters, data)
    try:
        everything, inspection = _inspected(pairs + held_out, spare, data, mistakes, progress)
    except DataError as error:
        words = shlex.join([str(path) for path in (images, masks) if path is not None])
        words += f" --unlabelled {shlex.quote(parameters.unlabelled)}" if parameters.unlabelled else ""
        raise DataError(f"{error}\nlikely causes, and doubts besides: patchseg check {words}") from None
    entries = mapping(inspection.surveys, inspection.classes)
    drawn = any(pair.drawn for pair in everything)
    for line in _notes(inspection, entries, derived=data.classes is None and not drawn):
        progress.say(line)
    data = _with_channels(data, inspection.reading, progress)
    parameters, reason = with_patch(parameters, pairs, inspection.shapes)
    if reason is not None:
        progress.say(reason)
    regions = decide(everything, group, inspection, parameters)
    spare = held_apart(spare, Labelled(everything, group, regions, test, inspection), parameters, progress)
    regions = [r for r in regions if only is None or r.side == "val" or everything[r.image].name in only]
    _tell(regions, inspection, everything, spare, parameters=parameters, progress=progress)
    with whole(output) as part, _writer(part, parameters, inspection) as writer:
        cutter = Cutter(writer, output, parameters, inspection)
        cut_all(cutter, everything, group + [p.name for p in held_out], regions, progress)
        cut_unlabelled(cutter, spare, progress)
        writer.finish(_head(parameters, data, cutter, entries))
    return output


def _writer(path: Path, parameters: PrepareParameters, inspection: Inspection) -> PatchWriter:
    """Begin the file of patches."""
    assert parameters.patch is not None
    return PatchWriter(
        path, patch=parameters.patch, channels=inspection.channels, dtype=inspection.dtype,
        margin=parameters.margin,
    )  # fmt: skip


def _head(parameters: PrepareParameters, data: DataParameters, cutter: Cutter, entries: list[Mapped]) -> Head:
    """Return what the file says of itself."""
    assert parameters.patch is not None
    record = effective(data, parameters)
    del record["prepare.output"], record["data.max_memory"]  # a file is the same under any name
    return Head(
        parameters.patch, parameters.scale, parameters.seed, cutter.classes, cutter.statistics.channels(), record,
        mapping=[entry._asdict() for entry in entries], margin=parameters.margin,
    )  # fmt: skip


def _inspected(
    pairs: list[Pair],
    spare: list[Unlabelled],
    data: DataParameters,
    mistakes: list[str],
    progress: Progress,
) -> tuple[list[Pair], Inspection]:
    """Return the pairs, their masks named, and what all images are, once nothing is wrong with them."""
    labels, reading = MaskReading.of(data), Reading.of(effective(data), progress.say)
    pairs, classes = named(pairs, data, labels, mistakes, progress)
    inspection = inspect(
        pairs, classes, progress, mistakes=mistakes, labels=labels, reading=reading,
        unlabelled=[image.image for image in spare],
    )  # fmt: skip
    if data.classes and all(c.value is None and c.color is None for c in data.classes):
        shown_by_index(inspection.surveys)  # names in an order mean indices, on which files must agree
    tell_tally(pairs, progress)
    return pairs, inspection


def _with_channels(data: DataParameters, reading: Reading, progress: Progress) -> DataParameters:
    """Say how the images are read where they have told it; `infer` reads as it is recorded."""
    if data.channels is not None or reading.channels is None:
        return data
    progress.say(
        "red, green and blue are equal in all images, so one channel (gray) is learned, and read by infer"
    )
    return data.planned(channels=list(reading.channels))


def all_pairs(
    images: Path | str,
    masks: Path | str | None,
    parameters: PrepareParameters,
    data: DataParameters,
    progress: Progress,
) -> tuple[list[Pair], list[Pair], list[str]]:
    """Return the pairs to train on (and split), those given for validation, and what is wrong with either."""
    pairs, mistakes = _pairs(Path(images), masks, data, progress)
    if data.pages == STACK:
        lone = len(pairs) == 1 and parameters.group is None and parameters.val_images is None
        pairs, more = unstacked(pairs, grouped=parameters.group is not None)
        mistakes = mistakes + more
        if lone and len(pairs) > 1:
            progress.say(
                "all pages are of one stack, so neighbours may be on both sides and scores too good; give --group or "
                "--val-images where neighbours are alike"
            )
    if parameters.val_images is None:
        if parameters.val_masks is not None:
            raise UsageError("--val-masks needs --val-images")
        return pairs, [], mistakes
    held_out, more = _pairs(Path(parameters.val_images), parameters.val_masks, data, progress)
    if data.pages == STACK:
        held_out, wrong = unstacked(held_out, grouped=True)
        more = more + wrong
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
        cured = {told: f"{told}, {_WITHOUT_MASKS}" for told in error.unmasked[:1]}
        return error.pairs, [cured.get(told, told) for told in error.findings]
    raise UsageError(f"{images}: is neither a folder of images nor a list file; check the path")


def named(
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
    drawn = name_drawings(pairs, data, progress, mistakes=mistakes)
    progress.say(f"classes (of the annotations): {drawn.classes}")
    return drawn.pairs, drawn.classes


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
    labelled = sum(entry.pixels for entry in entries if entry.target != IGNORE)
    if 0 < 2 * labelled < (total := sum(entry.pixels for entry in entries)):
        lines.append(
            f"  {100 * labelled / total:.2g} % of the masks' pixels are labelled: patches lie where some are, the rest is ignored"
        )
    return lines + sentences(entries, classes, soft=inspection.pulled)


def _tell(
    regions: list[Region],
    inspection: Inspection,
    pairs: list[Pair],
    spare: list[Unlabelled],
    *,
    parameters: PrepareParameters,
    progress: Progress,
) -> None:
    """Say what will be cut and how much disk it takes."""
    train = sum(region.side == "train" for region in regions)
    val = len(regions) - train
    patches = train * parameters.per_image * (4 if parameters.flips else 1)
    assert parameters.patch is not None
    window = (parameters.patch + 2 * parameters.margin) ** 2
    depth = inspection.channels * inspection.dtype.itemsize
    pixels = (patches + val * parameters.per_image) * window
    pixels += sum(region.box.height * region.box.width for region in regions if region.side == "val")
    further = len(spare) * parameters.per_image
    size = pixels * (depth + 1) + further * window * depth
    for line in told(regions, len(inspection.shapes), pairs, parameters):
        progress.say(line)
    around = f" and {parameters.margin} px around each" if parameters.margin else ""
    without = f" and {further} of {counted(len(spare), 'unlabelled image')}" if spare else ""
    progress.say(
        f"{patches} training patches of {parameters.patch} x {parameters.patch}{around}{without}; "
        f"{parameters.output} takes {megabytes(size)}"
    )
