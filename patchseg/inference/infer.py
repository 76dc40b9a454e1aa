"""The verb `infer`: images of any size -> masks, row band by row band."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from patchseg import device as devices
from patchseg.errors import DataError, SomeFailed, UsageError, listing
from patchseg.imaging import Reading
from patchseg.imaging.files import whole
from patchseg.inference import memory
from patchseg.inference.areas import write_table
from patchseg.inference.engine import Engine
from patchseg.inference.jobs import Job, plan_jobs
from patchseg.inference.kinship import as_learned
from patchseg.inference.record import Record, begin, write
from patchseg.inference.segment import Segmenter
from patchseg.inference.shares import Share
from patchseg.labels.region import Regions
from patchseg.parameters import DataParameters, InferParameters, effective
from patchseg.patches.pairs import RECORD, find_images
from patchseg.patches.stacks import STACK, unstacked_images
from patchseg.progress import Progress, counted

FAILURES = "failures.json"


def infer(
    images: list[Path | str],
    *,
    checkpoint: Path | str | Sequence[Path | str],
    parameters: InferParameters = InferParameters(),
    data: DataParameters = DataParameters(),
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Segment images: a mask of the same size for each, in the palette of the classes.

    What an earlier run with the same settings has finished is left as it is, of large images row by row.

    Args:
        images: Files, folders or globs.
        checkpoint: What `train` wrote; of several the mean of their probabilities counts.
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
    with devices.memory_errors("choose a smaller --tile"):
        # Several processes agree on what is there before one of them writes; from then on each goes its own way.
        with devices.joined():
            plan = _plan(images, checkpoint, parameters, data, progress, overwrite=overwrite)
        try:
            _run_all(plan, progress)
        except DataError:
            # Nothing came of it, so nothing shall stand in the way of the next try.
            if not plan.went_on and plan.share.count == 1 and not any(job.mask.exists() for job in plan.jobs):
                (plan.folder / RECORD).unlink()
                (plan.folder / FAILURES).unlink(missing_ok=True)
            raise
    return plan.folder


class _Plan(NamedTuple):
    """What is to be done: all images, the hand of this process, and who does it."""

    folder: Path
    jobs: list[Job]
    hand: list[Job]
    share: Share
    segmenter: Segmenter
    record: Record
    went_on: bool


def _plan(
    images: list[Path | str],
    checkpoint: Path | str | Sequence[Path | str],
    parameters: InferParameters,
    data: DataParameters,
    progress: Progress,
    *,
    overwrite: bool,
) -> _Plan:
    """Choose the device, load the networks, find the images, and begin the folder of the masks."""
    folder, share = Path(parameters.output), Share.of(parameters.shard)
    if overwrite and parameters.shard:
        raise UsageError(
            "--overwrite: one job of several would remove what another has begun; remove the masks first, without --shard"
        )
    files = [Path(item) for item in ([checkpoint] if isinstance(checkpoint, Path | str) else checkpoint)]
    threads, device = devices.set_threads(parameters.threads), devices.choose(parameters.device)
    engine = Engine.of(files, parameters, device, tell=progress.say)
    parameters = parameters.planned(tile=engine.tile)
    reading = as_learned(engine.checkpoint, progress.say)
    reading = reading._replace(memory=parameters.max_memory or data.max_memory, downwards=True)
    originals = engine.checkpoint.classes.originals() if parameters.original_values else None
    wide = originals is not None and originals.table.dtype.itemsize > 2
    found = _found(images, reading)
    regions = Regions.parse(parameters.roi, found) if parameters.roi else None
    jobs = plan_jobs(found, folder, parameters, wide=wide, reading=reading)
    base = memory.measured(engine, parameters.max_memory)
    segmenter = Segmenter(engine, parameters, reading, base, originals, regions, share)
    record = _record(images, files, parameters, engine, threads)
    went_on = bool(jobs) and devices.rank() > 0
    if not went_on:
        outputs = [path for job in jobs for path in job.outputs]
        went_on = begin(folder, record, outputs, progress, overwrite=overwrite)
    small = [job for job in jobs if not job.is_large]
    mine = {small[number].name for number in share.hand([job.pixels for job in small])}
    hand = [job for job in jobs if (job.is_large or job.name in mine) and (overwrite or not job.is_finished)]
    _tell(jobs, hand, segmenter, progress)
    return _Plan(folder, jobs, hand, share, segmenter, record, went_on)


def _found(images: list[Path | str], reading: Reading) -> list[tuple[Path, Path]]:
    found = find_images(images)
    return unstacked_images(found) if reading.pages == STACK else found


def _tell(jobs: list[Job], hand: list[Job], segmenter: Segmenter, progress: Progress) -> None:
    """Say what is to be done, and what it takes."""
    engine, share = segmenter.engine, segmenter.share
    done = sum(job.is_finished for job in jobs) if len(hand) < len(jobs) else 0
    words = [f"{counted(len(jobs), 'image')} on {devices.describe(engine.predictor.device)}"]
    if done:
        words.append(f"{done} finished already")
    if share.count > 1:
        words.append(f"share {share.index + 1} of {share.count}: {counted(len(hand), 'image')}")
    if hand:
        widest = max(hand, key=lambda job: job.shape[1])
        columns = segmenter.columns(widest)
        image = memory.need(engine, max(column.width for column in columns), segmenter.scale(widest))
        cut = f" in {len(columns)} columns" if len(columns) > 1 else ""
        words.append(f"at most {memory.told(segmenter.base, image)}{cut}")
    progress.say("; ".join(words))


def _run_all(plan: _Plan, progress: Progress) -> None:
    """Do one image after the other; go on after an image that cannot be read."""
    failures: dict[str, str] = {}
    for number, job in enumerate(plan.hand, 1):
        try:
            plan.segmenter.segment(job, progress, f"{number}/{len(plan.hand)} {job.image.name}")
        except DataError as error:
            failures[str(job.image)] = str(error)
    progress.stop()
    if plan.segmenter.parameters.areas:
        write_table(plan.folder)
    at_once = plan.segmenter.engine.predictor.at_once
    if at_once:  # the masks since then may differ in rounding
        plan.record["compute.tiles_at_once"] = {"value": at_once, "source": "memory"}
        write(plan.folder / RECORD, plan.record)
    _tell_failures(plan, failures)


def _tell_failures(plan: _Plan, failures: dict[str, str]) -> None:
    """Write failures.json, or take an earlier one away, and raise an error that lists them."""
    share = plan.share
    name = FAILURES if share.count == 1 else f"failures-{share.index + 1}-of-{share.count}.json"
    if not failures:
        (plan.folder / name).unlink(missing_ok=True)
        return
    entries = [{"image": image, "error": error} for image, error in failures.items()]
    with whole(plan.folder / name) as part:
        part.write_text(json.dumps({"failures": entries}, indent=1), encoding="utf-8")
    kind = SomeFailed if len(failures) < len(plan.jobs) else DataError
    raise kind(listing(list(failures.values())))


def _record(
    images: list[Path | str],
    files: list[Path],
    parameters: InferParameters,
    engine: Engine,
    threads: int,
) -> Record:
    """Return what parameters.effective.json says: the parameters, the classes, and what decides the bytes."""
    model, device = engine.checkpoint, engine.predictor.device
    first = str(files[0])
    record: Record = effective(parameters)
    record["infer.images"] = {
        "value": [str(Path(image).resolve()) for image in images],
        "source": "argument",
    }
    record["infer.checkpoint"] = {"value": ",".join(map(str, files)), "source": "argument"}
    record["data.classes"] = {"value": model.classes.to_json(), "source": first}
    record["data.reading"] = {"value": model.classes.reading.to_json(), "source": first}
    if parameters.original_values:
        record["infer.ignored"] = {"value": model.classes.originals().ignored, "source": "plan"}
    read = {key: model.parameters.get(key) for key in ("data.pages", "data.channels")}
    record |= {key: entry for key, entry in read.items() if entry and entry["value"] is not None}
    digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    for name, value in {
        "device": devices.describe(device), "threads": threads,
        "precision": devices.resolve_precision(parameters.precision, device), "tile_batch": engine.batch,
        "checkpoint": ",".join(digests),
    }.items():  # fmt: skip
        record[f"compute.{name}"] = {"value": value, "source": "plan"}
    return record
