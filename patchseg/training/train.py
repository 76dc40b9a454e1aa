"""The verb `train`: patches.h5 -> checkpoints/NAME/{best,last}.pt and runs/NAME.

Everything is planned and claimed here, then the loop goes (`loop.py`). Every random draw is a function of (seed, step,
sample), so that a resumed run is the same run.
"""

from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

from patchseg import device as devices
from patchseg.errors import DataError, UsageError
from patchseg.models.checkpoint import Checkpoint
from patchseg.parameters import (
    AugmentParameters,
    ModelParameters,
    TrainParameters,
    effective,
)
from patchseg.patches.regions_file import is_of_regions
from patchseg.patches.store import PatchFile
from patchseg.progress import Progress, counted
from patchseg.training.appearance import Appearances
from patchseg.training.batches import Batches
from patchseg.training.budget import Budget
from patchseg.training.keeper import Keeper
from patchseg.training.learner import Learner
from patchseg.training.loop import STOP, Run
from patchseg.training.losses import balanced_weights
from patchseg.training.objectives.build import require_use, switched
from patchseg.training.plan import Choice, Facts, filled, plan
from patchseg.training.record import Record
from patchseg.training.resume import claim, clear, recalled, same_data, shaped_as
from patchseg.training.start import ORIGIN, begin_encoder, require_learnable, require_settings
from patchseg.training.weights import start_from


def train(
    patches: Path | str,
    *,
    parameters: TrainParameters = TrainParameters(),
    model: ModelParameters = ModelParameters(),
    augment: AugmentParameters = AugmentParameters(),
    folder: Path | str = ".",
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Train a network on the patches of a file.

    Args:
        patches: What `prepare` wrote.
        parameters: How the network learns.
        model: The network.
        augment: How the patches are varied.
        folder: Where `checkpoints/` and `runs/` are.
        resume: Whether to go on with the run of that name; one that has no checkpoint yet starts afresh.
        overwrite: Whether a run of that name may be replaced.
        progress: Told what happens.

    Returns:
        The path of the best checkpoint, by mean IoU on the validation regions.

    Raises:
        UsageError: Parameters do not work, or a run of that name exists.
        DataError: The patches file, or the checkpoint to start from, cannot be used.
        Interrupted: The user stopped it; the state is saved.
        PatchsegError: Out of memory or disk, or the loss is no number any more.
    """
    with devices.joined(), PatchFile(Path(patches)) as file:
        progress = progress if progress and devices.rank() == 0 else Progress()
        name = name_of(parameters.name, Path(patches))
        home = Path(folder) / "checkpoints" / name, Path(folder) / "runs" / name
        before = claim(*home, resume=resume, overwrite=overwrite, progress=progress)
        sections = parameters, model, augment
        if before:
            same_data(before, file)
            sections = recalled(parameters, before), recalled(model, before), recalled(augment, before)
        _go(_begun(file, *sections, before=before, home=home, progress=progress))
    return home[0] / "best.pt"


def _go(run: Run) -> None:
    with (
        closing(run.batches),
        run.log or nullcontext(),
        devices.memory_errors("choose a smaller --batch or --micro-batch"),
        devices.lost_processes("last.pt holds the last epoch; go on with --resume"),
    ):
        run.go()


def _begun(
    file: PatchFile,
    parameters: TrainParameters,
    model: ModelParameters,
    augment: AugmentParameters,
    *,
    before: Checkpoint | None,
    home: tuple[Path, Path],
    progress: Progress,
) -> Run:
    """Plan a run, build what it is made of, and go back to where it stopped; then, and not before, clear its folders."""
    if not file.counts["train"]:
        raise DataError(f"{file.path}: holds no training patch; make it again with `patchseg prepare`")
    device = devices.choose(parameters.device)
    devices.set_deterministic(parameters.deterministic)
    threads = devices.set_threads(parameters.threads)
    devices.keep_freed()
    if parameters.weights and not before:
        model = shaped_as(model, Path(parameters.weights))
    require_settings(model, parameters)
    require_use(parameters, of_regions=is_of_regions(file.head))
    choices = plan(_facts(file, device.type, augment), model, parameters, augment)
    parameters, model = filled(parameters, choices), filled(model, choices)
    augment, parameters = filled(augment, choices), switched(parameters)
    assert parameters.batch is not None
    assert parameters.centred is not None
    _require_shares(parameters.batch)
    _require_patience(parameters)
    learner = Learner.of(file, parameters, model, device)
    require_learnable(learner, model, parameters, file.head.patch)
    part = devices.rank(), devices.ranks()
    batches = Batches(file, parameters, device=device, augment=augment, part=part)
    if parameters.class_weights == "balanced":
        learner.weigh(balanced_weights(file.class_counts.sum(axis=0)))
    learner.keep_average(parameters.ema or 0.0)
    budget = Budget.of(parameters, batches.count)
    record = effective(parameters, model, augment) | file.head.parameters
    if before:
        _restore(before, learner, budget, threads, progress)
        kept = [ORIGIN] if parameters.micro_batch else [ORIGIN, "train.micro_batch"]
        record |= {key: before.parameters[key] for key in kept if key in before.parameters}
    elif parameters.weights:
        progress.say(
            start_from(learner, Path(parameters.weights)) or f"the network begins with {parameters.weights}"
        )
    else:
        record |= begin_encoder(learner, model, file, progress)
    first = devices.rank() == 0
    devices.told(None)  # all have read what they start from
    if first and not before:
        clear(*home)
    _tell_plan(learner, batches, budget, progress)
    _tell_choices([] if before else choices, file, progress)
    if parameters.patience is not None and not file.region_names():
        progress.say("  so no score tells a plateau, and --patience changes nothing")
    log = Record(home[1], record, step=learner.step) if first else None
    return Run(
        learner, batches, budget, Keeper(home[0], file, record, threads), log, home[1] / STOP, progress
    )


def name_of(given: str | None, patches: Path) -> str:
    """Return the name of a run, which is that of its folders.

    Raises:
        UsageError: It leads elsewhere.
    """
    name = given or patches.stem
    parts = Path(name).parts
    if not parts or ".." in parts or Path(name).is_absolute():
        raise UsageError(f"train.name: {name} leads out of checkpoints/ and runs/; give a plain name")
    return name


def _facts(file: PatchFile, device: str, augment: AugmentParameters) -> Facts:
    held = (file.class_counts > 0).mean(axis=0)
    shares = [float(share) for share in held]
    # All patches are read for it, so not where it decides nothing.
    asked = augment.match is None and file.counts["unlabelled"]
    foreign = Appearances(file).foreign if asked else 0.0
    return Facts(file.head.patch, file.counts["train"], shares, device, devices.ranks(), foreign)


def _require_shares(batch: int) -> None:
    if batch % devices.ranks():
        raise UsageError(
            f"--batch {batch}: cannot be dealt evenly to {devices.ranks()} processes; give a multiple of their number"
        )


def _require_patience(parameters: TrainParameters) -> None:
    if parameters.schedule == "plateau" and parameters.patience is None:
        raise UsageError(
            "train.schedule: plateau lowers the rate after so many epochs without a better score, but nothing says how "
            "many; give --patience"
        )


def _restore(before: Checkpoint, learner: Learner, budget: Budget, threads: int, progress: Progress) -> None:
    """Set learner and budget to where the run stopped."""
    state = before.training
    assert state is not None
    learner.restore(before.weights, state)
    budget.total, budget.epoch_steps, budget.spent = state["total"], state["epoch_steps"], state["spent"]
    if learner.step == budget.total:
        progress.say(
            f"the run is complete after {learner.step} steps; start a longer one with another --name"
        )
        return
    progress.say(f"going on after step {learner.step}")
    if threads != state["threads"]:
        progress.say(
            f"  with {counted(threads, 'thread')} instead of {state['threads']}: equal in method, not bit for bit"
        )
    if learner.gradients.micro != state["micro"]:
        progress.say(
            f"  with micro-batches of {learner.gradients.micro} instead of {state['micro']}: not bit for bit, and batch "
            "norm takes it for another recipe"
        )


def _tell_plan(learner: Learner, batches: Batches, budget: Budget, progress: Progress) -> None:
    """Say what will be learned, by what, and for how long."""
    spec, settings, head = learner.spec, learner.settings, batches.head
    count = sum(p.numel() for p in learner.network.parameters())
    regions = settings.objective == "detcon"
    learned = "regions of like pixels" if regions else f"classes {head.classes}"
    progress.say(f"{counted(batches.count, 'patch')} of {head.patch} x {head.patch}, {learned}")
    if batches.unlabelled:
        progress.say(
            f"  and {counted(batches.unlabelled.count, 'patch')} with pixels to learn from without a label"
        )
    progress.say(f"  kept {_PLACES[batches.place.keep]}: {batches.place.reason}")
    progress.say(
        f"{_shape(spec)}, {count:,} weights, {learner.precision} on {devices.describe(learner.device)}"
    )
    most = f"at most {settings.steps} steps in " if settings.steps else ""
    length = f"{budget.total} steps" if budget.total else f"{most}{budget.seconds:.0f} s"
    loss = "contrast of regions" if regions else settings.loss
    progress.say(f"{length} of {settings.batch} patches, {loss}, rate {settings.rate:g}")


def _shape(spec: dict[str, Any]) -> str:
    """Return what a network is made of, in words.

    >>> _shape({"name": "unet", "width": 8, "levels": 4}), _shape({"name": "smp/fpn", "encoder": "mit_b0"}), _shape({"name": "enet"})
    ('unet 8 wide, 4 levels', 'smp/fpn with the encoder mit_b0', 'enet')
    """
    words = {"width": "{} wide", "levels": "{} levels", "encoder": "with the encoder {}"}
    found = ", ".join(text.format(spec[key]) for key, text in words.items() if key in spec)
    return f"{spec['name']} {found}".rstrip()


def _tell_choices(choices: list[Choice], file: PatchFile, progress: Progress) -> None:
    """Say what was planned and why, and what is saved where nothing can be validated."""
    for choice in choices:
        progress.say(f"  {choice.key} {choice.value}: {choice.reason}")
    if not file.region_names() and not is_of_regions(file.head):
        progress.say(
            "no image is kept for validation: best.pt gets the last (averaged) weights, whatever they are worth"
        )


_PLACES = {"device": "on the device", "memory": "in memory", "file": "in their file"}
