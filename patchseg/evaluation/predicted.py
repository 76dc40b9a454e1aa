"""Folders of predicted masks and their truth -> what is known of them, and which mask belongs to which truth."""

import json
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from patchseg.errors import DataError, PatchsegError, UsageError
from patchseg.imaging import Reading
from patchseg.inference.record import GROUP
from patchseg.labels.classes import Classes, MaskReading
from patchseg.parameters import DataParameters
from patchseg.patches.annotated import find_drawn, is_annotated
from patchseg.patches.drawings import name_drawings, write_masks
from patchseg.patches.objects import find_layers, write_layers
from patchseg.patches.pairs import RECORD, Pair, find_pairs
from patchseg.patches.stacks import STACK, images_of, pairs_of_pages
from patchseg.progress import Progress


class Predicted(NamedTuple):
    """What is known of the masks: their classes, how they are written, the images they are of, and how these are grouped."""

    truth: Classes
    masks: Classes
    images: dict[str, Path]
    reading: Reading = Reading()
    group: str | None = None


def predicted_in(masks: Path, truth: Path, data: DataParameters) -> Predicted:
    """Take classes from what `infer` recorded beside the masks, else from the parameters.

    Args:
        masks: Folder of predicted masks.
        truth: Folder of true ones, for the case that the two have changed places.
        data: The classes, for masks that `infer` did not write; and how the true masks are read.

    Raises:
        UsageError: The classes are not known.
        DataError: The record is damaged.
    """
    record = masks / RECORD
    if not record.exists():
        if data.classes is None:
            raise UsageError(
                f"{masks}: holds no parameters.effective.json of `infer`; give data.classes in parameters.json"
                + (f" (or swap the two: {truth} holds one)" if (truth / RECORD).exists() else "")
            )
        classes = Classes.of(data.classes, MaskReading.of(data))
        return Predicted(classes, classes, {}, _reading(data, data.pages))
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
        reading = content.get("data.reading", {"value": None})["value"]
        classes = Classes.from_json(content["data.classes"]["value"], reading)
        wanted = content["infer.images"]["value"]
        ignored = content["infer.ignored"]["value"] if "infer.ignored" in content else None
        pages = content["data.pages"]["value"] if "data.pages" in content else None
        group = content[GROUP]["value"] if GROUP in content else None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{record}: is no record of `infer` ({error!r}); infer again, or remove it") from None
    try:
        found = images_of(wanted, pages)
    except PatchsegError:  # the images have moved away; only the report would show them
        found = []
    written = classes.by_place() if ignored is None else replace(classes, reading=MaskReading(ignored))
    return Predicted(
        classes.read_by(classes.reading.given(data)),
        written,
        {relative.with_suffix("").as_posix(): image for image, relative in found},
        _reading(data, data.pages or pages),
        group,
    )


def _reading(data: DataParameters, pages: int | str | None) -> Reading:
    """Return how masks are read: of stacks the page that was learned from; a mask has no pages that are channels."""
    return Reading(pages=None if pages == "channels" else pages, memory=data.max_memory)


def pairs_of(
    masks: Path,
    truth: Path,
    known: Predicted,
    *,
    data: DataParameters,
    painted: Path,
    overwrite: bool,
    progress: Progress,
) -> list[Pair]:
    """Return each mask with its truth; annotations and layers are painted into files, which the report can show.

    Args:
        masks: Folder of predicted masks.
        truth: As `evaluate` takes it.
        known: What is known of the masks.
        data: How annotations and layers are read.
        painted: Folder of what is painted.
        overwrite: Whether what is there may be replaced.
        progress: Told what was left out.

    Raises:
        UsageError: Folders do not work.
        DataError: Masks and truth do not go together; all that is wrong is listed.
    """
    if data.mask_pattern:
        return write_layers(
            find_layers(masks, truth, data.mask_pattern), known.truth, painted, overwrite=overwrite
        )
    if not is_annotated(masks, truth):
        return pairs_of_pages(masks, truth) if known.reading.pages == STACK else find_pairs(masks, truth)
    drawn = find_drawn(masks, truth, data, progress, suffixes=False)
    named = name_drawings(drawn, data, progress, classes=known.truth)
    written = write_masks(named, painted, progress, beside=[], overwrite=overwrite)
    return [one.pair for one in written]
