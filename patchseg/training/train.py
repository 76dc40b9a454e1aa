"""The verb `train`: patches.h5 -> checkpoints/NAME/{best,last}.pt and runs/NAME.

One loop: a batch, a step of the optimizer, and at the end of an epoch a validation on whole regions, a line of
metrics and a checkpoint. Every random draw is a function of (seed, step), so that a resumed run is the same run.
"""

import math
from pathlib import Path
from typing import Any

from patchseg import device as devices
from patchseg.errors import DataError, Interrupted, PatchsegError, UsageError
from patchseg.models.checkpoint import Checkpoint
from patchseg.models.unet import levels_for
from patchseg.parameters import ModelParameters, TrainParameters, effective
from patchseg.patches.store import PatchFile
from patchseg.progress import Progress, counted, duration
from patchseg.training.batches import Batches
from patchseg.training.budget import Budget
from patchseg.training.interrupt import Interrupt
from patchseg.training.keeper import Keeper
from patchseg.training.learner import Learner
from patchseg.training.losses import balanced_weights
from patchseg.training.optimizers import rate_for
from patchseg.training.record import Record
from patchseg.training.resume import claim, clear, recalled, same_data, shape_of
from patchseg.training.validate import validate


def train(
    patches: Path | str,
    *,
    parameters: TrainParameters = TrainParameters(),
    model: ModelParameters = ModelParameters(),
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
    progress = progress or Progress()
    name = _name(parameters, Path(patches))
    checkpoints, runs = Path(folder) / "checkpoints" / name, Path(folder) / "runs" / name
    with PatchFile(Path(patches)) as file:
        if not file.counts["train"]:
            raise DataError(f"{patches}: holds no training patch; make it again with `patchseg prepare`")
        before = claim(checkpoints, runs, resume=resume, overwrite=overwrite, progress=progress)
        if before:
            same_data(before, file)
            parameters, model = recalled(parameters, before), recalled(model, before)
        device = devices.choose(parameters.device)
        devices.set_deterministic(parameters.deterministic)
        threads = devices.set_threads(parameters.threads)
        if parameters.weights and not before:
            model = model.planned(**shape_of(Path(parameters.weights)))
        parameters, model = _planned(parameters, model, file.head.patch, device.type)
        learner = Learner.of(file, parameters, model, device)
        batches = Batches(file, batch=parameters.batch, seed=parameters.seed, device=device)
        if parameters.class_weights == "balanced":
            learner.weigh(balanced_weights(batches.pixel_counts(len(file.head.classes))))
        budget = Budget.of(parameters, batches.count)
        if before:
            _restore(before, learner, budget, threads, progress)
        elif parameters.weights:
            learner.start_from(Path(parameters.weights))
        if not before:
            # Not before all else is known to work, and the weights to start from are read.
            clear(checkpoints, runs)
        _tell_plan(file, learner, batches, budget, progress)
        record = effective(parameters, model) | file.head.parameters
        keeper = Keeper(checkpoints, file, record, threads)
        with (
            Record(runs, record, step=learner.step) as log,
            devices.memory_errors("choose a smaller --batch"),
        ):
            _loop(learner, batches, budget, keeper=keeper, log=log, progress=progress)
    return checkpoints / "best.pt"


def _name(parameters: TrainParameters, patches: Path) -> str:
    """Return the name of the run, which is that of its folders."""
    name = parameters.name or patches.stem
    parts = Path(name).parts
    if not parts or ".." in parts or Path(name).is_absolute():
        raise UsageError(f"train.name: {name} leads out of checkpoints/ and runs/; give a plain name")
    return name


def _planned(
    parameters: TrainParameters, model: ModelParameters, patch: int, device: str
) -> tuple[TrainParameters, ModelParameters]:
    """Fill what nobody has set by what suits the device and the patches."""
    model = model.planned(
        # Without a GPU the steps that fit into the time are what limits the score (docs/results.md).
        width=8 if device == "cpu" else 32,
        levels=levels_for(patch),
        norm="batch" if parameters.batch >= 4 else "group",
    )
    assert model.width is not None
    return parameters.planned(rate=rate_for(parameters, model.width)), model


def _restore(before: Checkpoint, learner: Learner, budget: Budget, threads: int, progress: Progress) -> None:
    """Set learner and budget to where the run stopped."""
    state = before.training
    if state is None:
        raise DataError("last.pt: holds no training state; start afresh with --overwrite")
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


def _tell_plan(
    file: PatchFile, learner: Learner, batches: Batches, budget: Budget, progress: Progress
) -> None:
    """Say what will be learned, by what, and for how long."""
    spec, count = learner.spec, sum(p.numel() for p in learner.network.parameters())
    progress.say(
        f"{counted(batches.count, 'patch')} of {file.head.patch} x {file.head.patch}, classes {file.head.classes}"
    )
    progress.say(
        f"{spec['name']} {spec['width']} wide, {spec['levels']} levels, {count:,} weights, "
        f"{learner.precision} on {devices.describe(learner.device)}"
    )
    most = f"at most {learner.settings.steps} steps in " if learner.settings.steps else ""
    length = f"{budget.total} steps" if budget.total else f"{most}{budget.seconds:.0f} s"
    progress.say(
        f"{length} of {learner.settings.batch} patches, {learner.settings.loss}, rate {learner.settings.rate:g}"
    )


def _loop(
    learner: Learner, batches: Batches, budget: Budget, *, keeper: Keeper, log: Record, progress: Progress
) -> None:
    """Step, and at the end of an epoch validate, write and save, until the run is as long as planned."""
    with Interrupt() as interrupt:
        _bar(learner, budget, progress)
        while budget.total is None or learner.step < budget.total:
            learner.learn(*batches.read(learner.step), progress=budget.progress(learner.step))
            progress.step()
            if budget.total is None or not budget.exhausted:
                _measure(learner, budget, keeper, progress)
            else:
                budget.total = learner.step
            if budget.ends_epoch(learner.step):
                _end_epoch(learner, budget, keeper, log, progress)
                _bar(learner, budget, progress)
            if interrupt.asked and learner.step != budget.total:
                saved = keeper.save_last(learner, budget, {})
                progress.stop()
                raise Interrupted(f"Stopped after step {learner.step}; saved {saved}, go on with --resume")
    progress.stop()


def _measure(learner: Learner, budget: Budget, keeper: Keeper, progress: Progress) -> None:
    """Time the first steps: they say how long a run takes, or how many steps fit into its time."""
    budget.lap()
    left = budget.forecast(learner.step)
    if left is not None:
        progress.say(f"about {duration(left)} for the steps that are left, without validation")
    if budget.total is None and budget.measured():
        budget.fix(learner.step, learner.settings, lambda: validate(keeper.file, learner.predictor()))
        progress.say(f"{budget.total} steps fit into {budget.seconds:.0f} s")
        _bar(learner, budget, progress)


def _bar(learner: Learner, budget: Budget, progress: Progress) -> None:
    """Begin the bar of the epoch that comes."""
    if budget.total is None:
        progress.start("measuring", 0)
    elif learner.step < budget.total:
        epoch = learner.step // budget.epoch_steps
        left = min(budget.total, (epoch + 1) * budget.epoch_steps) - learner.step
        progress.start(f"epoch {epoch + 1}/{budget.epochs}", left)


def _end_epoch(learner: Learner, budget: Budget, keeper: Keeper, log: Record, progress: Progress) -> None:
    """Validate, write a line, save."""
    loss = learner.mean_loss()
    if not math.isfinite(loss):
        raise PatchsegError(
            f"the training loss has become {loss} by step {learner.step}; choose a smaller --rate, or check the images"
        )
    found = validate(keeper.file, learner.predictor())
    line = {
        "epoch": math.ceil(learner.step / budget.epoch_steps), "step": learner.step,
        "loss/train": loss, "rate": learner.rate,
        **(found.scores(keeper.file.head.classes.names) if found else {}), "seconds": round(budget.elapsed, 2),
    }  # fmt: skip
    log.write(line, found.panels if found else [])
    progress.stop()
    progress.say(_told(line, budget.epochs))
    score = line.get("mean_iou")
    # Without validation regions the last network is the best one known.
    if found is None or learner.best is None or (score is not None and score > learner.best):
        learner.best = score
        keeper.save_best(learner, line)
    keeper.save_last(learner, budget, line)


def _told(line: dict[str, Any], epochs: int) -> str:
    """Return the line of an epoch for the terminal."""
    text = f"epoch {line['epoch']:>{len(str(epochs))}}/{epochs}  loss {line['loss/train']:.4f}"
    if line.get("mean_iou") is not None:
        text += f"  val {line['loss/val']:.4f}  mean IoU {line['mean_iou']:.4f}"
    return f"{text}  rate {line['rate']:.1e}  {line['seconds']:.0f} s"
