"""The verb `evaluate`: masks held against the truth -> scores.json and scores.csv."""

import csv
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from patchseg.errors import DataError, PatchsegError, UsageError, listing
from patchseg.evaluation.averages import statistics_of
from patchseg.evaluation.blocks import block_counts, require_few
from patchseg.evaluation.measures import Measures, columns
from patchseg.evaluation.metrics import Confusion
from patchseg.evaluation.units import groups_of
from patchseg.imaging import Box, Reading, open_raw
from patchseg.imaging.files import refuse_existing, whole
from patchseg.inference.record import GROUP
from patchseg.labels.classes import Classes, MaskReading
from patchseg.parameters import DataParameters, EvaluateParameters
from patchseg.patches.annotated import find_drawn, is_annotated
from patchseg.patches.drawings import name_drawings, write_masks
from patchseg.patches.objects import find_layers, write_layers
from patchseg.patches.pairs import Pair, find_pairs
from patchseg.patches.stacks import STACK, images_of, pairs_of_pages
from patchseg.progress import Progress

RECORD = "parameters.effective.json"
_BAND = 2**22  # pixels compared at a time


class _Predicted(NamedTuple):
    """What is known of the masks: their classes, how they are written, the images they are of, and how these are grouped."""

    truth: Classes
    masks: Classes
    images: dict[str, Path]
    reading: Reading = Reading()
    group: str | None = None


def evaluate(
    masks: Path | str,
    truth: Path | str,
    *,
    parameters: EvaluateParameters = EvaluateParameters(),
    data: DataParameters = DataParameters(),
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Score predicted masks: one confusion matrix over all pixels, and one for each image.

    Args:
        masks: Folder of predicted masks.
        truth: Folder of true masks; matched as images and masks are. Or a file of annotations, or a folder of
            them, or masks of one class or object each (`data.mask_pattern`), which are painted as masks into the
            folder `truth` beside the scores.
        parameters: Where scores.json and scores.csv go, which images, or blocks, are one unit of the intervals, and what is
            measured besides pixels.
        data: The classes, for masks that `infer` did not write; and how the true masks are read, where that is not
            as they were when it learned.
        overwrite: Whether existing scores may be replaced.
        progress: Told what happens.

    Returns:
        The path of scores.json.

    Raises:
        UsageError: Folders do not work, or the classes are not known.
        DataError: Masks do not fit the truth; all that is wrong is listed.
    """
    progress = progress or Progress()
    masks = Path(masks)
    folder = Path(parameters.output or masks)
    output, table = folder / "scores.json", folder / "scores.csv"
    refuse_existing([output, table], overwrite=overwrite)
    known = _predicted(masks, Path(truth), data)
    pairs = _pairs(
        masks,
        Path(truth),
        known,
        data=data,
        painted=folder / "truth",
        overwrite=overwrite,
        progress=progress,
    )
    group = groups_of(pairs, parameters.group, known.group, progress)
    require_few(pairs, parameters.blocks, inside=parameters.region)
    measures = Measures(parameters, known.truth.names, masks=masks, pairs=pairs, images=known.images)
    document = _document(pairs, group, known, measures, folder=folder, progress=progress)
    document["statistics"] = _statistics(document, pairs, group, known, parameters.blocks)
    with whole(output) as part:
        part.write_text(json.dumps(document, indent=1), encoding="utf-8")
    with whole(table) as part:
        _write_table(part, document["images"], known.truth.names)
    return output


def _document(
    pairs: list[Pair],
    group: list[str] | None,
    known: _Predicted,
    measures: Measures,
    *,
    folder: Path,
    progress: Progress,
) -> dict[str, Any]:
    """Compare all pairs; return what scores.json says."""
    names = known.truth.names
    entries, mistakes, total = [], [], Confusion.empty(len(names))
    progress.start("comparing", len(pairs))
    for place, pair in enumerate(pairs):
        try:
            confusion, measured = _compare(pair, known, measures)
        except DataError as error:
            mistakes.append(str(error))
            continue
        total += confusion
        entries.append(
            {
                "name": pair.name,
                **({"group": group[place]} if group else {}),
                **_paths(pair, known, folder),
                **confusion.as_dict(names),
                "confusion": confusion.counts.tolist(),
                **measured,
            }
        )
        progress.step()
    progress.stop()
    if mistakes:
        raise DataError(listing(mistakes))
    measures.tell(progress)
    document = {
        **total.as_dict(names),
        "images": entries,
        "confusion": total.counts.tolist(),
        "palette": known.truth.colors,
        "reading": known.truth.reading.to_json(),
        "masks": {"values": known.masks.values, "reading": known.masks.reading.to_json()},
        **measures.as_dict(),
    }
    for item, value in zip(document["classes"], known.truth.values, strict=True):
        item["value"] = value
    return document


def _statistics(
    document: dict[str, Any],
    pairs: list[Pair],
    group: list[str] | None,
    known: _Predicted,
    side: int | None,
) -> dict[str, Any]:
    """Return both averages with their intervals, over blocks of a side where one is given."""
    blocks = None
    if side is not None:
        squares = [
            block_counts(pair, side, truth=known.truth, masks=known.masks, reading=known.reading)
            for pair in pairs
        ]
        blocks = np.concatenate(squares)
    counts = np.array([entry["confusion"] for entry in document["images"]])
    return statistics_of(counts, group, known.truth.names, blocks)


def _predicted(masks: Path, truth: Path, data: DataParameters) -> _Predicted:
    """Take classes from what `infer` recorded beside the masks, else from the parameters."""
    record = masks / RECORD
    if not record.exists():
        if data.classes is None:
            raise UsageError(
                f"{masks}: holds no parameters.effective.json of `infer`; give data.classes in parameters.json"
                + (f" (or swap the two: {truth} holds one)" if (truth / RECORD).exists() else "")
            )
        classes = Classes.of(data.classes, MaskReading.of(data))
        return _Predicted(classes, classes, {}, _reading(data, data.pages))
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
    return _Predicted(
        classes.read_by(classes.reading.given(data)),
        written,
        {relative.with_suffix("").as_posix(): image for image, relative in found},
        _reading(data, data.pages or pages),
        group,
    )


def _reading(data: DataParameters, pages: int | str | None) -> Reading:
    """Return how masks are read: of stacks the page that was learned from; a mask has no pages that are channels."""
    return Reading(pages=None if pages == "channels" else pages, memory=data.max_memory)


def _pairs(
    masks: Path,
    truth: Path,
    known: _Predicted,
    *,
    data: DataParameters,
    painted: Path,
    overwrite: bool,
    progress: Progress,
) -> list[Pair]:
    """Return each mask with its truth; annotations and layers are painted into files, which the report can show."""
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


def _compare(pair: Pair, known: _Predicted, measures: Measures) -> tuple[Confusion, dict[str, Any]]:
    """Count the pixels of one mask against its truth, band by band, and measure what else is asked for."""
    assert pair.mask is not None
    with open_raw(pair.image, known.reading) as mask, open_raw(pair.mask, known.reading) as truth:
        if mask.shape[:2] != truth.shape[:2]:
            raise DataError(
                f"{pair.image}: is {mask.shape[0]} x {mask.shape[1]} pixels, its truth {pair.mask} is "
                f"{truth.shape[0]} x {truth.shape[1]}; rows x columns must be equal"
            )
        height, width, _ = mask.shape
        rows, total = max(1, _BAND // width), Confusion.empty(len(known.truth))
        with measures.of(pair, (height, width)) as measured:
            for top in range(0, height, rows):
                box = Box(top, 0, min(rows, height - top), width)
                expected = known.truth.encode(truth.read(box), pair.mask, truth.palette)
                found = known.masks.encode(mask.read(box), pair.image, mask.palette)
                total += Confusion.of(measured.add(box, expected, found), found, len(known.truth))
            return total, measured.finish()


def _paths(pair: Pair, known: _Predicted, folder: Path) -> dict[str, str | None]:
    """Return the files of an image relative to scores.json."""
    files = {"mask": pair.image, "truth": pair.mask, "image": known.images.get(pair.name)}
    return {key: None if file is None else _relative(file, folder) for key, file in files.items()}


def _relative(file: Path, folder: Path) -> str:
    return Path(os.path.relpath(file.resolve(), folder.resolve())).as_posix()


def _write_table(path: Path, entries: list[dict[str, Any]], names: tuple[str, ...]) -> None:
    """Write a line an image, for spreadsheets; what is undefined stays empty."""
    grouped = ["group"] if any("group" in entry for entry in entries) else []
    summary = ["name", *grouped, "mean_iou", "mean_iou_foreground", "pixel_accuracy"]
    kinds = ["iou", "dice", "precision", "recall"]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        more = list(columns(entries[0])) if entries else []
        writer.writerow(summary + [f"{kind} {name}" for kind in kinds for name in names] + more)
        for entry in entries:
            scores = [item[kind] for kind in kinds for item in entry["classes"]]
            writer.writerow([entry[key] for key in summary] + scores + list(columns(entry).values()))
