"""The verb `learning-curve`: trainings on parts of the images, scored on the same held-out ones -> curve.json.

Images, masks and all sections of the parameters flow in. Every training takes as many steps as the first, which learns from
all images, and is scored by its last validation, which sees whole images as `infer` does.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from patchseg.errors import DataError, UsageError
from patchseg.models.checkpoint import Checkpoint, load
from patchseg.parameters import Parameters
from patchseg.patches.pairs import Pair
from patchseg.patches.prepare import all_pairs, prepare
from patchseg.patches.sides import groups_of, without_test
from patchseg.patches.store import PatchFile
from patchseg.progress import Progress, counted, duration
from patchseg.studies.curve import curve
from patchseg.studies.folder import Study, claimed, finish, finished, record_of, write_json
from patchseg.studies.runs import budget, doubts, in_study, learned
from patchseg.studies.subsets import Subset, subsets
from patchseg.studies.within import Within

CURVE = "curve.json"
_SPLIT = "split.json"
_STUDY = "learning-curve"
_FIRST = Subset(100, 1, ()).folder  # whose length is that of all


class Plan(NamedTuple):
    """What is learned from.

    Attributes:
        images: The folder or list.
        masks: Where their masks are, or None with a list.
        pairs: All that take part, those that are given for validation last.
        group: The group of each.
        parameters: All, as the trainings take them.
        folder: Where all goes.
    """

    images: Path
    masks: Path | None
    pairs: list[Pair]
    group: list[str]
    parameters: Parameters
    folder: Path


def learning_curve(
    images: Path | str,
    masks: Path | str | None = None,
    *,
    parameters: Parameters = Parameters(),
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Learn from 25, 50, 75 and 100 % of some images, and forecast what more of them would bring.

    The images that are held out are those that `prepare` keeps for validation: a share, a fold, or `prepare.val_images`.

    Args:
        images: Folder of images, or a list file with an `image mask` pair a line.
        masks: Folder of masks, or a file or folder of annotations; None with a list file.
        parameters: Of every step; `learning_curve.repeats` and `learning_curve.output` are those of this one.
        overwrite: Whether an earlier learning curve in the folder may be replaced.
        progress: Told what happens.

    Returns:
        The path of curve.json.

    Raises:
        UsageError: Parameters do not work, or the folder was begun with others.
        DataError: Something is wrong with images or masks.
        Interrupted: The user stopped it; what is finished is kept.
    """
    progress = progress or Progress()
    plan = _planned(Path(images), None if masks is None else Path(masks), parameters)
    study = Study(_STUDY, plan.folder, "share-*-repeat-*", (CURVE, _SPLIT))
    record = record_of(plan.parameters, "learning_curve", plan.pairs, plan.group)
    with claimed(study, record, overwrite=overwrite):
        split = _split(plan, progress)
        repeats = plan.parameters.learning_curve.repeats
        every = subsets(split["train"], repeats=repeats, seed=plan.parameters.prepare.seed)
        _tell(plan, split, every, progress)
        told: set[str] = set()
        for number, subset in enumerate(every, 1):
            if finished(plan.folder / subset.folder) is None:
                part = f"training {number}/{len(every)}"
                score = _run(plan, subset, Within(progress, part, told))
                progress.say(f"{part}: mean IoU {score:.4f} with {counted(len(subset.images), 'image')}")
        points = [finished(plan.folder / subset.folder) or {} for subset in every]
        path = plan.folder / CURVE
        write_json(path, curve(points, held_out=split["val"]))
        return path


def _planned(images: Path, masks: Path | None, parameters: Parameters) -> Plan:
    """Find the images and their groups."""
    p = parameters
    pairs, held_out, _ = all_pairs(images, masks, p.prepare, p.data, Progress())
    pairs, _ = without_test(pairs)
    group = groups_of(pairs, p.prepare.group) + [pair.name for pair in held_out]
    name = p.train.name or Path(p.prepare.output).stem
    folder = Path(p.learning_curve.output or Path(_STUDY) / name)
    settled = p.model_copy(update={"train": in_study(p.train, _STUDY)})
    return Plan(images, masks, pairs + held_out, group, settled, folder)


def _split(plan: Plan, progress: Progress) -> dict[str, Any]:
    """Return {"train": {name: group}, "val": [names]}; `prepare` decides it, once.

    Raises:
        UsageError: There are not two to learn from, or an image is on both sides.
    """
    file = plan.folder / _SPLIT
    known = finished(plan.folder, _SPLIT)
    if known is not None:
        return known
    first = plan.folder / _FIRST / "patches.h5"
    _prepare(plan, first, None, progress)
    with PatchFile(first) as patches:
        sides = patches.sides()
    if "train+val" in sides:
        raise UsageError(
            f"{plan.images}: {counted(len(plan.pairs), 'image')} can only be split into blocks; expected whole images to hold "
            "out, so give --val-images, or more images"
        )
    sided = list(zip(plan.pairs, plan.group, sides, strict=True))
    train = {pair.name: group for pair, group, side in sided if side == "train"}
    held_out = [pair.name for pair, _, side in sided if side == "val"]
    if len(set(train.values())) < 2 or not held_out:
        raise UsageError(
            f"{plan.images}: leaves {counted(len(train), 'image')} to learn from and {len(held_out)} held out; expected two or "
            "more (or groups), and one"
        )
    split = {"train": train, "val": held_out}
    write_json(file, split)
    return split


def _prepare(plan: Plan, patches: Path, only: tuple[str, ...] | None, progress: Progress) -> None:
    if not patches.exists():
        p = plan.parameters
        cut = p.prepare.replaced({"output": str(patches)}, _STUDY)
        prepare(plan.images, plan.masks, parameters=cut, data=p.data, only=only, progress=progress)


def _tell(plan: Plan, split: Mapping[str, Any], every: list[Subset], progress: Progress) -> None:
    """Say how many trainings there are, how long they are, and what is finished."""
    settings, sizes = plan.parameters.train, [len(subset.images) for subset in every]
    progress.say(
        f"{counted(len(every), 'training')} on {min(sizes)} to {max(sizes)} images, scored on "
        f"{counted(len(split['val']), 'held-out image')}; each takes the steps of the first, {budget(settings)}"
        + (f", {duration(settings.time * len(every))} in all" if settings.time else "")
    )
    done = sum(finished(plan.folder / subset.folder) is not None for subset in every)
    if done:
        progress.say(f"{counted(done, 'training')} finished already")
    for line in doubts(settings):
        progress.say(line)


def _run(plan: Plan, subset: Subset, progress: Progress) -> float:
    """Do one training, or what is left of it, and return its score."""
    part, p = plan.folder / subset.folder, plan.parameters
    patches = part / "patches.h5"
    _prepare(plan, patches, subset.images, progress)
    settings = p.train.replaced({"seed": p.train.seed + subset.repeat - 1}, _STUDY)
    if subset.folder != _FIRST:
        settings = settings.replaced(_steps(plan), _STUDY)
    last = load(learned(patches, p.model_copy(update={"train": settings}), part, progress))
    score = last.scores.get("mean_iou")
    if score is None:
        raise DataError(
            f"{plan.images}: no pixel of the images that are held out is labelled; hold out others"
        )
    finish(
        part, {"images": len(subset.images), "share": subset.share, "repeat": subset.repeat, "score": score}
    )
    patches.unlink()  # they can be cut again, and a dozen of them may be more than the disk has room for
    return float(score)


def _steps(plan: Plan) -> dict[str, Any]:
    """Return the length that the first training has had, whatever decided it."""
    first: Checkpoint = load(plan.folder / _FIRST / "checkpoints/patches/last.pt")
    assert first.training is not None
    return {"steps": first.training["total"], "epoch_steps": first.training["epoch_steps"], "time": None}
