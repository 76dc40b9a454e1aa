"""The verb `evaluate`: masks held against the truth -> scores.json and scores.csv."""

import csv
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from patchseg.errors import DataError, listing
from patchseg.evaluation.averages import MEANS, statistics_of
from patchseg.evaluation.blocks import block_counts, require_few
from patchseg.evaluation.measures import Measures, columns
from patchseg.evaluation.metrics import METRICS, Confusion
from patchseg.evaluation.predicted import Predicted, pairs_of, predicted_in
from patchseg.evaluation.units import groups_of
from patchseg.imaging import Box, open_raw
from patchseg.imaging.files import refuse_existing, whole
from patchseg.parameters import DataParameters, EvaluateParameters
from patchseg.patches.pairs import Pair
from patchseg.progress import Progress

_BAND = 2**22  # pixels compared at a time


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
    known = predicted_in(masks, Path(truth), data)
    pairs = pairs_of(
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
    known: Predicted,
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
    known: Predicted,
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


def _compare(pair: Pair, known: Predicted, measures: Measures) -> tuple[Confusion, dict[str, Any]]:
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


def _paths(pair: Pair, known: Predicted, folder: Path) -> dict[str, str | None]:
    """Return the files of an image relative to scores.json."""
    files = {"mask": pair.image, "truth": pair.mask, "image": known.images.get(pair.name)}
    return {key: None if file is None else _relative(file, folder) for key, file in files.items()}


def _relative(file: Path, folder: Path) -> str:
    return Path(os.path.relpath(file.resolve(), folder.resolve())).as_posix()


def _write_table(path: Path, entries: list[dict[str, Any]], names: tuple[str, ...]) -> None:
    """Write a line an image, for spreadsheets; what is undefined stays empty."""
    grouped = ["group"] if any("group" in entry for entry in entries) else []
    summary = ["name", *grouped, *MEANS]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        more = list(columns(entries[0])) if entries else []
        writer.writerow(summary + [f"{kind} {name}" for kind in METRICS for name in names] + more)
        for entry in entries:
            scores = [item[kind] for kind in METRICS for item in entry["classes"]]
            writer.writerow([entry[key] for key in summary] + scores + list(columns(entry).values()))
