"""Pixels whose probabilities and truth are both known: validation images are predicted, or files of both are read.

They flow into a `Sample`; out comes how many images they are of.
"""

import json
from pathlib import Path

from patchseg.errors import DataError, UsageError
from patchseg.evaluation.calibration import Sample
from patchseg.evaluation.predicted import Predicted, predicted_in
from patchseg.imaging import ArraySource, Box, Reading, open_raw
from patchseg.inference.engine import Engine
from patchseg.inference.kinship import require_kin
from patchseg.labels.classes import Classes
from patchseg.models.checkpoint import Checkpoint
from patchseg.parameters import DataParameters
from patchseg.patches.annotated import is_annotated
from patchseg.patches.pairs import RECORD, Pair, find_pairs
from patchseg.patches.stacks import STACK, pairs_of_pages
from patchseg.patches.store import PatchFile
from patchseg.progress import Progress

_BAND = 2**22  # probabilities read at a time
# Of each dtype the number that means 1, and what 0 stands for: all that was rounded to it, so about the middle of that.
_STORED = {"uint8": (255.0, 1 / 1020), "float16": (1.0, 2.0**-26)}


def of_regions(file: PatchFile, engine: Engine, sample: Sample, progress: Progress) -> int:
    """Predict the validation images of a patches file as `infer` would, and sample their pixels.

    Returns:
        How many images the labelled pixels are of.

    Raises:
        DataError: There is no validation image, or they are not of the kind that the network has learned.
    """
    _require_same(file, engine.checkpoint)
    names = file.region_names()
    if not names:
        raise DataError(
            f"{file.path}: holds no image for validation, on which probabilities could be held against the truth; prepare it "
            "with --validation or --val-images, or give --masks and --truth"
        )
    progress.start("predicting", len(names))
    images = set()
    for name in names:
        image, truth = file.region(name)
        top, count, source = 0, 0, ArraySource(image)
        require_kin(file.path, source, engine.checkpoint)
        for rows in engine.rows(source, scale=1):  # they are stored at the scale of the network
            shares = rows[: engine.classes].cpu().numpy()
            count += sample.add(shares, truth[top : top + shares.shape[1]])
            top += shares.shape[1]
        if count:
            images.add(int(image.parent.attrs["source"]))
        progress.step()
    progress.stop()
    return len(images)


def _require_same(file: PatchFile, checkpoint: Checkpoint) -> None:
    """Raise a `DataError` unless patches and checkpoint agree in what decides a prediction and its truth."""
    learned, found = checkpoint.classes.names, file.head.classes.names
    if found != learned:
        raise DataError(
            f"{file.path}: has the classes {', '.join(found)}, the checkpoint has learned {', '.join(learned)}; give the "
            "patches that it has learned from"
        )
    if file.head.scale != checkpoint.scale:
        raise DataError(
            f"{file.path}: was cut at {file.head.scale} of the images' size, the checkpoint works at {checkpoint.scale}; give "
            "the patches that it has learned from"
        )


def of_masks(
    masks: Path, truth: Path, learned: Classes, sample: Sample, *, data: DataParameters, progress: Progress
) -> int:
    """Read the probabilities beside masks, and the truth, and sample their pixels.

    Args:
        masks: What `infer --probabilities` or `crossval` wrote.
        truth: Folder of true masks.
        learned: The classes of the checkpoints.
        sample: Gets the pixels.
        data: How the true masks are read, where that is not as they were when the networks learned.
        progress: Told what happens.

    Returns:
        How many images the labelled pixels are of.

    Raises:
        UsageError: A folder or a file is not there, or the probabilities are calibrated already.
        DataError: Probabilities and truth do not go together, or with the classes.
    """
    known = _recorded(masks, truth, data)
    classes = known.truth
    if classes.names != learned.names:
        raise DataError(
            f"{masks}: has the classes {', '.join(classes.names)}, the checkpoint has learned {', '.join(learned.names)}; "
            "give masks that its like has made"
        )
    if data.mask_pattern or is_annotated(masks, truth):
        raise UsageError(
            f"{truth}: holds no masks but what masks are painted from; run `patchseg evaluate {masks} {truth}`, which paints "
            f"them, and give {masks / 'truth'}"
        )
    pairs = pairs_of_pages(masks, truth) if known.reading.pages == STACK else find_pairs(masks, truth)
    progress.start("reading", len(pairs))
    images = 0
    for pair in pairs:
        images += _of_pair(pair, masks, classes, known.reading, sample) > 0
        progress.step()
    progress.stop()
    return images


def _recorded(masks: Path, truth: Path, data: DataParameters) -> Predicted:
    """Return what the record beside masks says, which must hold probabilities as they came."""
    file = masks / RECORD
    if not file.is_file():
        raise UsageError(f"{file}: is not there; give a folder of masks that `infer` or `crossval` wrote")
    known = predicted_in(masks, truth, data)
    if json.loads(file.read_text(encoding="utf-8")).get("infer.calibrated", {}).get("value"):
        raise UsageError(
            f"{masks}: holds probabilities that are calibrated already; infer once more without --calibrated"
        )
    return known


def _of_pair(pair: Pair, masks: Path, classes: Classes, reading: Reading, sample: Sample) -> int:
    """Sample the pixels of one image; return how many are labelled."""
    assert pair.mask is not None
    file = masks / "probabilities" / f"{pair.name}.tif"
    if not file.is_file():
        raise UsageError(
            f"{file}: is not there; infer again with --probabilities, or give the masks of a crossval"
        )
    with open_raw(file) as shares, open_raw(pair.mask, reading) as truth:
        stored = _STORED.get(shares.dtype.name)
        if stored is None or shares.shape[2] != len(classes):
            raise DataError(
                f"{file}: holds {shares.shape[2]} channels of {shares.dtype}; expected {len(classes)} of uint8 or float16, a "
                "class each, so infer again with --probabilities"
            )
        if shares.shape[:2] != truth.shape[:2]:
            raise DataError(
                f"{file}: is {shares.shape[0]} x {shares.shape[1]} pixels, its truth {pair.mask} is {truth.shape[0]} x "
                f"{truth.shape[1]}; rows x columns must be equal"
            )
        height, width, _ = truth.shape
        step, count = max(1, _BAND // (width * len(classes))), 0
        for top in range(0, height, step):
            box = Box(top, 0, min(step, height - top), width)
            expected = classes.encode(truth.read(box), pair.mask, truth.palette)
            numbers = shares.read(box).transpose(2, 0, 1) / stored[0]
            count += sample.add(numbers, expected, zero=stored[1])
    return count
