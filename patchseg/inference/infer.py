"""The verb `infer`: images of any size -> masks, row band by row band."""

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from patchseg import device as devices
from patchseg.errors import DataError, Interrupted, SomeFailed, UsageError, listing
from patchseg.imaging.address import Address
from patchseg.imaging.files import whole
from patchseg.inference import memory
from patchseg.inference.areas import write_table
from patchseg.inference.calibration import Calibration
from patchseg.inference.engine import Engine
from patchseg.inference.jobs import Job, plan_jobs
from patchseg.inference.kinship import as_learned
from patchseg.inference.record import AT_ONCE, GROUP, STAGES, SUMS_ON, Record, begin, begun, note
from patchseg.inference.segment import Segmenter
from patchseg.inference.shares import Share
from patchseg.inference.stage import finished, remove
from patchseg.labels.region import Regions
from patchseg.models.checkpoint import digest
from patchseg.models.ensemble import members
from patchseg.parameters import DataParameters, InferParameters, effective
from patchseg.patches.pairs import RECORD
from patchseg.patches.stacks import images_of
from patchseg.progress import Progress, counted

FAILURES = "failures.json"
Wanted = list[Path | str] | Mapping[str, Path]


def infer(
    images: Wanted,
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
        images: Files, folders or globs; or files by the names that their masks are to have.
        checkpoint: What `train` wrote; of several the mean of their probabilities counts, and of what `crossval` wrote
            that of its folds.
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
        Interrupted: The user stopped it; what is finished is kept.
    """
    progress = progress or Progress()
    with devices.memory_errors("choose a smaller --tile"):
        # Several processes agree on what is there before one of them writes; from then on each goes its own way.
        with devices.lost_processes("what it has told says why"), devices.joined():
            plan = _plan(images, checkpoint, parameters, data, progress, overwrite=overwrite)
        try:
            _run_all(plan, progress)
        except DataError:
            there = any(job.mask.exists() or finished(job.stage) for job in plan.jobs)
            if not plan.went_on and plan.share.count == 1 and not there:
                # Nothing came of it, so nothing shall stand in the way of the next try.
                shutil.rmtree(plan.folder / STAGES, ignore_errors=True)
                (plan.folder / RECORD).unlink()
                (plan.folder / FAILURES).unlink(missing_ok=True)
            raise
        except KeyboardInterrupt:
            progress.stop()
            same = "the same command without --overwrite" if overwrite else "the same command"
            raise Interrupted(f"stopped; what is finished is in {plan.folder}, and {same} goes on") from None
    return plan.folder


class _Plan(NamedTuple):
    """What is to be done: all images, the hand of this process, and who does it."""

    folder: Path
    jobs: list[Job]
    hand: list[Job]
    segmenter: Segmenter
    went_on: bool

    @property
    def share(self) -> Share:
        """Which one of several this is."""
        return self.segmenter.share


def _plan(
    images: Wanted,
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
    files = members(checkpoint)
    threads, device = devices.set_threads(parameters.threads), devices.choose(parameters.device)
    engine = Engine.of(files, parameters, device, tell=progress.say)
    parameters = parameters.planned(tile=engine.tile)
    reading = as_learned(engine.checkpoint, progress.say)
    reading = reading._replace(memory=parameters.max_memory or data.max_memory, downwards=True)
    originals = engine.checkpoint.classes.originals() if parameters.original_values else None
    wide = originals is not None and originals.table.dtype.itemsize > 2
    found = _called(images) if isinstance(images, Mapping) else images_of(images, reading.pages)
    regions = None if parameters.roi is None else Regions.parse(parameters.roi, found)
    jobs = plan_jobs(found, folder, parameters, wide=wide, reading=reading)
    if regions:
        _require_inside(regions, jobs)
    base = memory.measured(engine, parameters.max_memory)
    segmenter = Segmenter(engine, parameters, reading, base, originals, regions, share)
    record = _record(images, files, parameters, engine, threads)
    since = begun(folder)
    left = [job for job in jobs if overwrite or not job.is_finished(since)]
    small = [job for job in jobs if not job.is_large]
    mine = {small[number].name for number in share.hand([job.pixels for job in small])}
    hand = [job for job in left if job.is_large or job.name in mine]
    told = _told(jobs, left, hand, segmenter)  # before the folder is begun, since it may not fit
    went_on = devices.rank() > 0
    if not went_on:
        outputs = [path for job in jobs for path in job.outputs]
        went_on = begin(folder, record, outputs, progress, overwrite=overwrite)
    progress.say(told)
    return _Plan(folder, jobs, hand, segmenter, went_on)


def _called(images: Mapping[str, Path]) -> list[tuple[Path, Path]]:
    """Return images with the paths that their names stand for."""
    return [(image, Path(f"{name}{Address.of(image).file.suffix}")) for name, image in images.items()]


def _require_inside(regions: Regions, jobs: list[Job]) -> None:
    """Refuse a box that holds no pixel of an image, for all images before the first is segmented."""
    findings = []
    for job in jobs:
        try:
            if regions.box and job.pixels:
                regions.on(job.image, job.shape)
        except UsageError as error:
            findings.append(str(error))
    if findings:
        raise UsageError(listing(findings))


def _told(jobs: list[Job], left: list[Job], hand: list[Job], segmenter: Segmenter) -> str:
    """Return what is to be done, and what it takes, in words.

    Raises:
        PatchsegError: An image does not fit into the memory, not even in the narrowest columns.
    """
    engine, share = segmenter.engine, segmenter.share
    words = [f"{counted(len(jobs), 'image')} on {devices.describe(engine.predictor.device)}"]
    if len(left) < len(jobs):
        words.append(f"{len(jobs) - len(left)} finished already")
    if share.count > 1:
        words.append(f"share {share.index + 1} of {share.count}: {counted(len(hand), 'image')}")
    needs: list[tuple[memory.Need, int]] = []
    for job in hand:
        with suppress(DataError):  # told when its turn comes
            columns = segmenter.columns(job)
            widest = max(column.width for column in columns)
            needs.append((segmenter.need(job, widest), len(columns)))
    if needs:
        most, count = max(needs, key=lambda entry: sum(entry[0]))
        cut = f" in {count} columns" if count > 1 else ""
        beside = ", beside the outlines" if segmenter.parameters.polygons else ""
        words.append(f"at most {memory.told(segmenter.base, most)}{cut}{beside}")
    return "; ".join(words)


def _run_all(plan: _Plan, progress: Progress) -> None:
    """Do one image after the other; go on after an image that cannot be read."""
    failures: dict[str, str] = {}
    since = begun(plan.folder)
    for job in plan.jobs:
        if job.stage.exists() and job.is_finished(since):  # a kill came between the two
            remove(job.stage)
    try:
        for number, job in enumerate(plan.hand, 1):
            if job.is_finished(since):  # by another process meanwhile
                continue
            try:
                plan.segmenter.segment(job, progress, f"{number}/{len(plan.hand)} {job.image.name}")
            except DataError as error:
                failures[str(job.image)] = str(error)
    finally:
        _note_memory(plan)
    progress.stop()
    if plan.segmenter.parameters.areas:
        write_table(plan.folder)
    _tell_failures(plan, failures)


def _note_memory(plan: _Plan) -> None:
    """Record how the device made do where its memory has run out."""
    predictor = plan.segmenter.engine.predictor
    if predictor.at_once:
        note(plan.folder, AT_ONCE, predictor.at_once, "memory")
    if predictor.sums_on != predictor.device:
        note(plan.folder, SUMS_ON, "host", "memory")


def _tell_failures(plan: _Plan, failures: dict[str, str]) -> None:
    """Write failures.json, or take an earlier one away, and raise an error that lists them."""
    share = plan.share
    name = FAILURES if share.count == 1 else f"failures-{share.index + 1}-of-{share.count}.json"
    if not failures:
        # Who does all images has done those too that single shares had failed at.
        others = plan.folder.glob("failures-*-of-*.json") if share.count == 1 else []
        for old in (plan.folder / name, *others):
            old.unlink(missing_ok=True)
        return
    entries = [{"image": image, "error": error} for image, error in failures.items()]
    with whole(plan.folder / name) as part:
        part.write_text(json.dumps({"failures": entries}, indent=1), encoding="utf-8")
    kind = SomeFailed if len(failures) < len(plan.jobs) else DataError
    raise kind(listing(list(failures.values())))


def _record(
    images: Wanted,
    files: list[Path],
    parameters: InferParameters,
    engine: Engine,
    threads: int,
) -> Record:
    """Return what parameters.effective.json says: the parameters, the classes, and what decides the bytes."""
    model, first = engine.checkpoint, str(files[0])
    record: Record = effective(parameters)
    given = images.values() if isinstance(images, Mapping) else images
    record["infer.images"] = {
        "value": [str(Path(image).resolve()) for image in given],
        "source": "argument",
    }
    record["infer.checkpoint"] = {"value": ",".join(map(str, files)), "source": "argument"}
    record["data.classes"] = {"value": model.classes.to_json(), "source": first}
    record["data.reading"] = {"value": model.classes.reading.to_json(), "source": first}
    if parameters.calibrated and model.calibration:
        used = {key: model.calibration[key] for key in Calibration._fields}
        record["infer.calibration"] = {"value": used, "source": first}
    if parameters.original_values:
        record["infer.ignored"] = {"value": model.classes.originals().ignored, "source": "plan"}
    read = {key: model.parameters.get(key) for key in ("data.pages", "data.channels", GROUP)}
    record |= {key: entry for key, entry in read.items() if entry and entry["value"] is not None}
    digests = [digest(file) for file in files]
    places, precisions = zip(*engine.arithmetic, strict=True)
    for name, value in {
        "device": _each(map(devices.describe, places)), "threads": threads,
        "precision": _each(precisions), "tile_batch": engine.batch,
        "checkpoint": ",".join(digests),
    }.items():  # fmt: skip
        record[f"compute.{name}"] = {"value": value, "source": "plan"}
    return record


def _each(values: Iterable[str]) -> str:
    """Return what holds for the networks, in their order, once where it is the same for several."""
    return " and ".join(dict.fromkeys(values))
