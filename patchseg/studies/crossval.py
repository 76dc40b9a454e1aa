"""The verb `crossval`: prepare, train, infer and evaluate a fold, until every image has a mask of a network that never saw it.

Images, masks and all sections of the parameters flow in; out come a folder a fold, the masks out of fold in one folder, their
scores, and a summary. Each fold is finished for good: the same command goes on with what is missing.
"""

from pathlib import Path
from typing import NamedTuple

from patchseg.errors import DataError, UsageError, listing
from patchseg.evaluation.evaluate import evaluate
from patchseg.inference.infer import infer
from patchseg.models.ensemble import SUMMARY
from patchseg.parameters import EvaluateParameters, InferParameters, Parameters, TrainParameters
from patchseg.patches.pairs import Pair
from patchseg.patches.prepare import all_pairs, prepare
from patchseg.patches.sides import groups_of, without_test
from patchseg.patches.store import PatchFile
from patchseg.progress import Progress, counted, duration
from patchseg.studies.folder import Study, claimed, finish, finished, record_of, write_json
from patchseg.studies.gather import gather, require_files, truth_of
from patchseg.studies.runs import budget, doubts, in_study, learned
from patchseg.studies.summary import regroup, summarize
from patchseg.studies.within import Within

_FOLDS = 5
# What of `infer` decides the masks; the rest is about other images, or other outputs.
_OF_MASKS = (
    "tile", "overlap", "blend", "symmetries", "skip_blank", "pixel_size", "format", "max_memory", "device", "precision",
    "threads",
)  # fmt: skip
_WHERE = ("device", "threads")
_RESULTS = ("masks", "truth", "scores.json", "scores.csv", SUMMARY)


class Plan(NamedTuple):
    """What is cross-validated.

    Attributes:
        images: The folder or list.
        masks: Where their masks are, or None with a list.
        pairs: All that take part.
        group: The group of each.
        folds: How many.
        parameters: All, as the folds take them.
        folder: Where all goes.
    """

    images: Path
    masks: Path | None
    pairs: list[Pair]
    group: list[str]
    folds: int
    parameters: Parameters
    folder: Path

    def part(self, fold: int) -> Path:
        """Return the folder of a fold, counted from 1."""
        return self.folder / f"fold-{fold}-of-{self.folds}"


def crossval(
    images: Path | str,
    masks: Path | str | None = None,
    *,
    parameters: Parameters = Parameters(),
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Cross-validate the whole pipeline on some images.

    Each fold is held out once: a network learns from the other folds, and segments its images as it is after its last step,
    since choosing the best epoch by the images that it is scored on would make scores too good.

    Args:
        images: Folder of images, or a list file with an `image mask` pair a line.
        masks: Folder of masks, or a file or folder of annotations; None with a list file.
        parameters: Of every step; `crossval.folds` and `crossval.output` are those of this one.
        overwrite: Whether an earlier cross-validation in the folder may be replaced.
        progress: Told what happens.

    Returns:
        The path of crossval.json.

    Raises:
        UsageError: Parameters do not work, or the folder was begun with others.
        DataError: Something is wrong with images or masks.
        Interrupted: The user stopped it; what is finished is kept.
    """
    progress = progress or Progress()
    plan = _planned(Path(images), None if masks is None else Path(masks), parameters)
    study = Study("crossval", plan.folder, "fold-*-of-*", _RESULTS)
    record = record_of(plan.parameters, "crossval", plan.pairs, plan.group)
    with claimed(study, record, overwrite=overwrite):
        _tell(plan, progress)
        told: set[str] = set()
        for fold in range(1, plan.folds + 1):
            if finished(plan.part(fold)) is None:
                part = f"fold {fold}/{plan.folds}"
                _run(plan, fold, Within(progress, part, told))
                progress.say(f"{part}: finished")
        return _scored(plan, progress)


def _planned(images: Path, masks: Path | None, parameters: Parameters) -> Plan:
    """Find the images and decide how many folds there are.

    Raises:
        UsageError: There are fewer images or groups than folds, or only one.
        DataError: Images and masks do not fit at all; all that is wrong is listed.
    """
    p = parameters
    if p.prepare.fold is not None:
        raise UsageError(
            f"prepare.fold: is {p.prepare.fold}, but crossval takes every fold in turn; leave it out"
        )
    if p.prepare.val_images is not None:
        raise UsageError("prepare.val_images: crossval validates with every image in turn; leave it out")
    pairs, _, mistakes = all_pairs(images, masks, p.prepare, p.data, Progress())
    pairs, _ = without_test(pairs)
    if any(pair.side for pair in pairs):
        raise UsageError(
            f"{images}: has a column split, but crossval takes every image in turn; leave the column out"
        )
    group = groups_of(pairs, p.prepare.group)
    count, noun = len(set(group)), "image" if len(set(group)) == len(pairs) else "group"
    if count < 2:
        if mistakes:
            raise DataError(listing(mistakes))
        raise UsageError(
            f"{images}: holds {counted(count, noun)}; expected two or more, to hold out one at a time"
        )
    wanted = p.crossval.folds or min(_FOLDS, count)
    if isinstance(wanted, int) and wanted > count:
        raise UsageError(
            f"crossval.folds: {wanted} folds of {counted(count, noun)}; give {count} or less, or all"
        )
    folds = count if wanted == "all" else int(wanted)
    if masks is None or masks.resolve() == images.resolve():
        require_files(pairs)
    name = p.train.name or Path(p.prepare.output).stem
    folder = Path(p.crossval.output or Path("crossval") / name)
    settled = p.model_copy(
        update={"train": in_study(p.train, "crossval"), "infer": _of_masks(p.infer, p.train)}
    )
    return Plan(images, masks, pairs, group, folds, settled, folder)


def _of_masks(infer: InferParameters, train: TrainParameters) -> InferParameters:
    """Return how masks out of fold are made: as those of other images, with the layers that calibration and audit read.

    Where nothing else is asked for, on the device and the threads that the networks learn on.
    """
    kept = {name: getattr(infer, name) for name in _OF_MASKS}
    kept |= {name: getattr(train, name) for name in _WHERE if infer.source(name) == "default"}
    layers = {"confidence": True, "probabilities": True, "probability_type": "uint8"}
    return InferParameters().replaced(kept, "call").replaced(layers, "crossval")


def _tell(plan: Plan, progress: Progress) -> None:
    """Say how many trainings there are, how long they are, and what is finished."""
    train, held = plan.parameters.train, len(plan.pairs) / plan.folds
    groups = len(set(plan.group))
    of = "" if groups == len(plan.pairs) else f" of {counted(groups, 'group')}"
    progress.say(
        f"{counted(len(plan.pairs), 'image')}{of} in {plan.folds} folds of about {held:.2g}: {plan.folds} trainings of "
        + budget(train)
        + (f", {duration(train.time * plan.folds)} in all" if train.time else "")
    )
    done = sum(finished(plan.part(fold)) is not None for fold in range(1, plan.folds + 1))
    if done:
        progress.say(f"{counted(done, 'fold')} finished already")
    for line in doubts(train):
        progress.say(line)


def _run(plan: Plan, fold: int, progress: Progress) -> None:
    """Do one fold, or what is left of it."""
    part, p = plan.part(fold), plan.parameters
    patches = part / "patches.h5"
    name = f"{fold}/{'all' if plan.folds == len(set(plan.group)) else plan.folds}"
    if not patches.exists():
        cut = p.prepare.replaced({"output": str(patches), "fold": name}, "crossval")
        prepare(plan.images, plan.masks, parameters=cut, data=p.data, progress=progress)
    with PatchFile(patches) as file:
        held_out = [pair for pair, side in zip(plan.pairs, file.sides(), strict=True) if side == "val"]
    last = learned(patches, p, part, progress)
    infer(
        {pair.name: pair.image for pair in held_out}, checkpoint=last,
        parameters=p.infer.replaced({"output": str(part / "masks")}, "crossval"), data=p.data, progress=progress,
    )  # fmt: skip
    names = [pair.name for pair in held_out]
    finish(part, {"fold": fold, "images": names, "checkpoint": last.relative_to(plan.folder).as_posix()})


def _scored(plan: Plan, progress: Progress) -> Path:
    """Put the masks of all folds together, score them, and sum it up."""
    parts = [plan.part(fold) for fold in range(1, plan.folds + 1)]
    masks = gather(parts, plan.folder / "masks", plan.images, plan.pairs)
    truth = truth_of(plan.images, plan.masks, plan.pairs, plan.folder / "truth", plan.parameters.data)
    wanted = EvaluateParameters(output=str(plan.folder))
    scores = evaluate(
        masks, truth, parameters=wanted, data=plan.parameters.data, overwrite=True, progress=progress
    )
    group = dict(zip([pair.name for pair in plan.pairs], plan.group, strict=True))
    summary = plan.folder / SUMMARY
    write_json(summary, summarize([finished(part) or {} for part in parts], regroup(scores, group)))
    return summary
