"""The verb `infer`: images of any size -> masks, row band by row band."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from patchseg import device as devices
from patchseg.errors import DataError, SomeFailed, UsageError, listing
from patchseg.imaging import ImageSource, Reading, open_image
from patchseg.imaging.files import refuse_existing, whole
from patchseg.imaging.scale import ScaledSource
from patchseg.inference.kinship import Watched, as_learned, require_kin
from patchseg.inference.outputs import Job, Outputs, plan_jobs
from patchseg.inference.predictor import Predictor
from patchseg.inference.rescale import RowResampler
from patchseg.inference.stream import stream
from patchseg.inference.tiling import Grid
from patchseg.labels.classes import Originals
from patchseg.models.checkpoint import Checkpoint, load
from patchseg.parameters import DataParameters, InferParameters, effective
from patchseg.patches.pairs import find_images
from patchseg.patches.stacks import STACK, unstacked_images
from patchseg.progress import Progress, counted, megabytes

RECORD = "parameters.effective.json"


class Engine(NamedTuple):
    """All that turns an image into rows of probabilities."""

    checkpoint: Checkpoint
    predictor: Predictor
    tile: int
    overlap: float
    window: str
    batch: int
    originals: Originals | None = None
    reading: Reading = Reading()


def infer(
    images: list[Path | str],
    *,
    checkpoint: Path | str,
    parameters: InferParameters = InferParameters(),
    data: DataParameters = DataParameters(),
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Segment images: a mask of the same size for each, in the palette of the classes.

    Args:
        images: Files, folders or globs.
        checkpoint: What `train` wrote.
        parameters: How; `parameters.output` is the folder of the masks.
        data: The memory that pictures may take; what else it says of images is taken from the checkpoint.
        overwrite: Whether existing outputs may be replaced.
        progress: Told what happens.

    Returns:
        The folder of the masks.

    Raises:
        UsageError: Paths or parameters do not work.
        DataError: The checkpoint, or every image, cannot be used.
        SomeFailed: Some images could not be used; they are named and the others are done.
    """
    progress = progress or Progress()
    folder = Path(parameters.output)
    model = load(Path(checkpoint))
    devices.set_threads(parameters.threads)
    device = devices.choose(parameters.device)
    precision = devices.resolve_precision(parameters.precision, device)
    parameters = parameters.planned(tile=model.patch)
    assert parameters.tile is not None
    reading = as_learned(model, progress.say)._replace(memory=data.max_memory)
    with devices.memory_errors("choose a smaller --tile"):
        originals = model.classes.originals() if parameters.original_values else None
        wide = originals is not None and originals.table.dtype.itemsize > 2
        found = find_images(images)
        if reading.pages == STACK:
            found = unstacked_images(found)
        jobs = plan_jobs(found, folder, parameters, wide=wide, reading=reading)
        outputs = [path for job in jobs for path in job.outputs]
        refuse_existing([*outputs, folder / RECORD], overwrite=overwrite)
        _refuse_foreign(outputs, folder)
        engine = Engine(
            model, Predictor.of(model, device, precision), parameters.tile, parameters.overlap, parameters.blend,
            devices.tile_batch(device), originals, reading,
        )  # fmt: skip
        progress.say(f"{counted(len(jobs), 'image')} on {devices.describe(device)}; {_memory(jobs, engine)}")
        with whole(folder / RECORD) as part:
            part.write_text(json.dumps(_record(images, checkpoint, parameters, engine, precision), indent=1))
        try:
            _run_all(jobs, engine, progress)
        except DataError:
            # Nothing came of it, so nothing shall stand in the way of the next try.
            if not any(path.exists() for path in outputs):
                (folder / RECORD).unlink()
            raise
    return folder


def probabilities(source: ImageSource, engine: Engine) -> Iterator[Tensor]:
    """Yield the probabilities of an image at its own size, (K, rows, W) float32 on the device, top to bottom."""
    checkpoint, shape = engine.checkpoint, source.shape[:2]
    at_scale = ScaledSource(source, checkpoint.scale) if checkpoint.scale != 1 else source
    grid = Grid(at_scale.shape[:2], engine.tile, engine.overlap)
    rows = stream(
        at_scale, engine.predictor, grid, classes=len(checkpoint.classes), window=engine.window, batch=engine.batch,
        device=engine.predictor.device,
    )  # fmt: skip
    if checkpoint.scale == 1:
        yield from rows
        return
    resampler = RowResampler(at_scale.shape[:2], shape)
    for band in rows:
        finished = resampler.push(band)
        if finished is not None:
            yield finished


def _refuse_foreign(outputs: list[Path], folder: Path) -> None:
    """Raise a `UsageError` where masks would be replaced that `infer` has not written: drawn by hand, maybe."""
    there = [path for path in outputs if path.exists()]
    if there and not (folder / RECORD).exists():
        raise UsageError(
            f"{there[0]}: was not written by infer (no {RECORD} in {folder}), so --overwrite does not replace it; "
            "choose another --output"
        )


def _run_all(jobs: list[Job], engine: Engine, progress: Progress) -> None:
    """Do one image after the other; go on after an image that cannot be read."""
    failures: list[str] = []
    for number, job in enumerate(jobs, 1):
        try:
            _run(job, engine, progress, f"{number}/{len(jobs)} {job.image.name}")
        except DataError as error:
            failures.append(str(error))
    progress.stop()
    if failures:
        kind = SomeFailed if len(failures) < len(jobs) else DataError
        raise kind(listing(failures))


def _run(job: Job, engine: Engine, progress: Progress, label: str) -> None:
    """Segment one image, rows in, rows out."""
    with open_image(job.image, engine.reading) as source:
        require_kin(job.image, source, engine.checkpoint)
        progress.start(label, source.shape[0])
        watched = Watched(source, job.image)
        with Outputs(job, source, engine.checkpoint, engine.originals) as outputs:
            for rows in probabilities(watched, engine):
                outputs.write(rows)
                progress.step(rows.shape[1])
        if doubt := watched.doubt(engine.checkpoint):
            progress.say(doubt)


def _memory(jobs: list[Job], engine: Engine) -> str:
    """Say what the widest image will take beyond the network: none of it depends on the height."""
    model = engine.checkpoint
    # Sums of probabilities and the finished rows, and two bands of the source.
    pixel = len(model.classes) * 4 * 2 + 2 * len(model.channels) * np.dtype(model.dtype).itemsize
    width = max(job.width for job in jobs) * model.scale
    return f"{megabytes(width * engine.tile * pixel)} for the bands of the widest image, beside the network"


def _record(
    images: list[Path | str],
    checkpoint: Path | str,
    parameters: InferParameters,
    engine: Engine,
    precision: str,
) -> dict[str, Any]:
    """Return what parameters.effective.json says: the parameters, the classes, and what decides the bytes."""
    record = effective(parameters)
    record["infer.images"] = {"value": [str(Path(image).resolve()) for image in images], "source": "argument"}
    record["infer.checkpoint"] = {"value": str(checkpoint), "source": "argument"}
    classes = engine.checkpoint.classes
    record["data.classes"] = {"value": classes.to_json(), "source": str(checkpoint)}
    record["data.reading"] = {"value": classes.reading.to_json(), "source": str(checkpoint)}
    if engine.originals is not None:
        record["infer.ignored"] = {"value": engine.originals.ignored, "source": "plan"}
    read = {key: engine.checkpoint.parameters.get(key) for key in ("data.pages", "data.channels")}
    record |= {key: entry for key, entry in read.items() if entry and entry["value"] is not None}
    device = engine.predictor.device
    for name, value in {
        "device": devices.describe(device), "threads": devices.set_threads(parameters.threads), "precision": precision,
        "tile_batch": engine.batch,
    }.items():  # fmt: skip
        record[f"compute.{name}"] = {"value": value, "source": "plan"}
    return record
