"""Pairs whose masks are drawings: names of shapes -> classes, drawings -> masks to read, and to write.

The verb `import` writes them as image files.
"""

import dataclasses
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from patchseg.errors import DataError, UsageError, listing
from patchseg.imaging import Box
from patchseg.imaging.files import refuse_existing, whole
from patchseg.imaging.picture import IGNORE_COLOR
from patchseg.imaging.write import PNG_PIXELS, open_writer
from patchseg.labels.classes import IGNORE, Classes
from patchseg.labels.drawn import Drawn, Tally, bands
from patchseg.labels.naming import Values, drawn_classes, notes, unlabeled_value, values_by_name
from patchseg.labels.shapes import Annotations
from patchseg.loading import FILE
from patchseg.parameters import DataParameters
from patchseg.patches.annotated import find_drawn
from patchseg.patches.pairs import Pair
from patchseg.progress import Progress, counted

RECORD = "imported.json"


def import_annotations(
    annotations: Path | str,
    images: Path | str,
    output: Path | str,
    *,
    data: DataParameters = DataParameters(),
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write what annotation files draw on images as masks.

    Beside the masks lie parameters.json with the classes, and imported.json with their pixels, overlaps and what was left out.

    Args:
        annotations: A file of VIA, LabelMe, COCO, GeoJSON or CVAT, or a folder of them.
        images: Folder of the images; gives their sizes.
        output: Folder of the masks: palette PNG, TIFF above 16 megapixels.
        data: The classes, and what becomes of blank pixels and of images that are not listed.
        overwrite: Whether masks that exist may be replaced.
        progress: Told what happens.

    Returns:
        The folder of the masks.

    Raises:
        UsageError: Paths or parameters do not work.
        DataError: Annotations are damaged or do not fit the images; all that is wrong is listed.
    """
    progress, output = progress or Progress(), Path(output)
    pairs = find_drawn(Path(images), Path(annotations), data, progress)
    named = name_drawings(pairs, data, progress)
    written = write_masks(named, output, progress, beside=[FILE, RECORD], overwrite=overwrite)
    classes = named.classes.to_json()
    for item, place in zip(classes, range(len(classes)), strict=True):
        item["value"] = place if item["value"] is None else item["value"]
    _write_json(output / FILE, {"data": {"classes": classes}})
    _write_json(output / RECORD, _record(written, classes, data))
    return output


class Named(NamedTuple):
    """Pairs whose drawings know their values, the classes, and what was said of them."""

    pairs: list[Pair]
    classes: Classes


class Written(NamedTuple):
    """A mask that was written: its pair, now with the file as its mask, its drawing, and what came of it."""

    pair: Pair
    drawn: Drawn
    tally: Tally


def name_drawings(
    pairs: list[Pair],
    data: DataParameters,
    progress: Progress,
    *,
    classes: Classes | None = None,
    mistakes: Sequence[str] = (),
) -> Named:
    """Give the names in drawings their values.

    Args:
        pairs: All of a data set; those without a drawing stay as they are.
        data: The classes, and what becomes of pixels on which nothing is drawn.
        progress: Told how names were understood.
        classes: The classes where they are known from elsewhere.
        mistakes: What is known to be wrong before; it is listed with names that are wrong.

    Raises:
        UsageError: The classes do not work, or must be given because some masks are no drawings.
        DataError: Names are no classes; all are listed.
    """
    files = {pair.drawn.file.path: pair.drawn.file for pair in pairs if pair.drawn}
    listed = list(files.values())
    if classes is None and not data.classes and not all(pair.drawn for pair in pairs):
        raise UsageError("data.classes: must be given where some masks are drawn and others are images")
    classes = classes or drawn_classes(listed, data)
    unlabeled = unlabeled_value(classes, listed, data)
    values = _values(listed, classes, mistakes)
    for file in listed:
        for line in notes(file, classes, values[file.path]):
            progress.say(line)
    for one, other in itertools.combinations(classes.names, 2):
        if one.casefold() == other.casefold():
            progress.say(f"classes {one} and {other} differ only in capitals; if they are one, rename them")
    blank = sum(not pair.drawn.drawing.shapes for pair in pairs if pair.drawn)
    if blank:
        progress.say(f"{counted(blank, 'image')} without a shape, all {data.unlabeled}")
    return Named([_named(pair, values, unlabeled) for pair in pairs], classes)


def tell_tally(pairs: list[Pair], progress: Progress) -> None:
    """Paint the drawings among some pairs once, and say which shapes take pixels from others, and which have none.

    Raises:
        DataError: No shape of any drawing has a pixel.
    """
    drawn = [pair.drawn for pair in pairs if pair.drawn]
    _tell([(one, one.tally()) for one in drawn], progress)


def write_masks(
    named: Named, output: Path, progress: Progress, *, beside: list[str], overwrite: bool
) -> list[Written]:
    """Write drawings as masks of values, in the colours of their classes.

    Args:
        named: The pairs, all of them drawn.
        output: The folder.
        progress: Moves once a mask.
        beside: Names of files that will be written there too.
        overwrite: Whether files that exist may be replaced.

    Raises:
        UsageError: A file exists, or the folder cannot be written to.
        DataError: No shape has a pixel.
    """
    written = []
    for pair in named.pairs:
        assert pair.drawn is not None
        small = pair.drawn.shape[0] * pair.drawn.shape[1] <= PNG_PIXELS
        mask = output / f"{pair.name}.{'png' if small else 'tif'}"
        written.append((pair._replace(mask=mask, drawn=None), pair.drawn))
    files = [pair.mask for pair, _ in written if pair.mask]
    refuse_existing([*files, *(output / name for name in beside)], overwrite=overwrite)
    tallies = [drawn.tally() for _, drawn in written]
    _tell([(drawn, tally) for (_, drawn), tally in zip(written, tallies, strict=True)], progress)
    progress.start("painting", len(written))
    palette = _palette(named.classes)
    for (_, drawn), mask in zip(written, files, strict=True):
        height, width = drawn.shape
        with drawn.open() as source, open_writer(mask, drawn.shape, palette=palette) as writer:
            for band in bands(Box(0, 0, height, width)):
                writer.write(source.read(band)[:, :, 0])
        progress.step()
    progress.stop()
    return [Written(pair, drawn, tally) for (pair, drawn), tally in zip(written, tallies, strict=True)]


def _values(files: list[Annotations], classes: Classes, mistakes: Sequence[str]) -> dict[Path, Values]:
    """Return the values of the names in each file; all names that are no classes are listed."""
    values, wrong = {}, []
    for file in files:
        try:
            values[file.path] = values_by_name(classes, file)
        except DataError as error:
            wrong.append(str(error))
    if wrong:
        raise DataError(listing([*mistakes, *wrong]))
    return values


def _named(pair: Pair, values: dict[Path, Values], unlabeled: int) -> Pair:
    if pair.drawn is None:
        return pair
    named = dataclasses.replace(pair.drawn, values=values[pair.drawn.file.path], unlabeled=unlabeled)
    return pair._replace(drawn=named)


def _tell(painted: list[tuple[Drawn, Tally]], progress: Progress) -> None:
    shapes = sum(len(drawn.drawing.shapes) for drawn, _ in painted)
    empty = sum(tally.empty for _, tally in painted)
    if shapes and empty == shapes:
        raise DataError(
            f"{painted[0][0].file.path}: none of its {counted(shapes, 'shape')} holds a pixel of its image; expected "
            "coordinates in pixels, so export them so"
        )
    if overwritten := sum(tally.overwritten for _, tally in painted):
        progress.say(
            f"shapes of different classes overlap in {counted(overwritten, 'pixel')}: the later one has them"
        )
    if empty:
        progress.say(
            f"{empty} of {counted(shapes, 'shape')} without a pixel: too thin, or outside of the image"
        )


def _palette(classes: Classes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return the colours of all 256 values."""
    colors = np.full((256, 3), IGNORE_COLOR, np.uint8)
    for place, value in enumerate(classes.values):
        colors[place if value is None else value] = classes.palette[place]
    return colors


def _record(written: list[Written], classes: list[dict[str, Any]], data: DataParameters) -> dict[str, Any]:
    """Return what is told of an import."""
    pixels = sum((one.tally.pixels for one in written), np.zeros(256, np.int64))
    files = {one.drawn.file.path: one.drawn.file for one in written}
    left_out: dict[str, int] = {}
    for file in files.values():
        for kind, count in file.left_out.items():
            left_out[kind] = left_out.get(kind, 0) + count
    return {
        "classes": [{**item, "pixels": int(pixels[item["value"]])} for item in classes],
        "ignored": 0 if any(item["value"] == IGNORE for item in classes) else int(pixels[IGNORE]),
        "unlabeled": data.unlabeled,
        "overwritten": sum(one.tally.overwritten for one in written),
        "empty": sum(one.tally.empty for one in written),
        "left_out": left_out,
        "images": [
            {
                "image": str(one.pair.image),
                "mask": str(one.pair.mask),
                "annotations": str(one.drawn.file.path),
                "shapes": len(one.drawn.drawing.shapes),
                "overwritten": one.tally.overwritten,
                "empty": one.tally.empty,
            }
            for one in written
        ],
    }


def _write_json(path: Path, tree: Any) -> None:
    with whole(path) as part:
        part.write_text(json.dumps(tree, indent=1), encoding="utf-8")
