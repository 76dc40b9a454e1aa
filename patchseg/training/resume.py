"""Who owns the name of a run, and how a stopped run goes on as if it had never stopped."""

from pathlib import Path
from typing import TypeVar

from patchseg.errors import DataError, UsageError
from patchseg.models.checkpoint import Checkpoint, load
from patchseg.parameters import ModelParameters
from patchseg.patches.store import PatchFile
from patchseg.progress import Progress
from patchseg.section import Section

S = TypeVar("S", bound=Section)

# What may differ from one process of a run to the next.
_FREE = {
    "device", "threads", "precision", "deterministic", "name", "weights", "keep", "compile", "micro_batch", "on_stop"
}  # fmt: skip


def claim(
    checkpoints: Path, runs: Path, *, resume: bool, overwrite: bool, progress: Progress
) -> Checkpoint | None:
    """Return the checkpoint to go on from, or None for a fresh run; nothing is removed yet.

    Raises:
        UsageError: A run of that name exists and neither resume nor overwrite is given, or both.
    """
    if resume and overwrite:
        raise UsageError("--resume and --overwrite exclude each other")
    last = checkpoints / "last.pt"
    if resume:
        if last.exists():
            return _whole(load(last), last)
        progress.say(f"{last}: is not there yet, so the run starts afresh")
    elif not overwrite:
        for folder in (checkpoints, runs):
            if folder.exists() and any(folder.iterdir()):
                raise UsageError(f"{folder}: exists already; give --resume, --overwrite or another --name")
    return None


def _whole(checkpoint: Checkpoint, path: Path) -> Checkpoint:
    """Return a checkpoint that holds all that going on needs.

    Raises:
        DataError: It does not.
    """
    if checkpoint.training is None:
        raise DataError(f"{path}: holds no training state; start afresh with --overwrite")
    if "course" not in checkpoint.training:
        raise DataError(
            f"{path}: was begun by an older patchseg, which learned otherwise; end it with that one, or start afresh with "
            "--overwrite --weights and a copy of it"
        )
    return checkpoint


def clear(checkpoints: Path, runs: Path) -> None:
    """Remove an earlier run of the name: only what a run writes, since somebody may keep notes beside it."""
    for file in [
        *checkpoints.glob("*.pt"),
        *runs.glob("metrics.jsonl"),
        *runs.glob("events.out.tfevents.*"),
        *runs.glob("stop"),
        *runs.glob("unlabelled.png"),
    ]:
        file.unlink()


def same_data(checkpoint: Checkpoint, file: PatchFile) -> None:
    """Compare the patches with those of the run: pixels, classes, and how they were cut.

    Raises:
        DataError: They are others.
    """
    head, began = file.head, checkpoint.parameters
    cut = {key: entry["value"] for key, entry in head.parameters.items() if key.startswith("prepare.")}
    pixels = (checkpoint.training or {}).get("patches")
    otherwise = (
        any(key not in began or began[key]["value"] != value for key, value in cut.items())
        if not pixels  # written before digests were
        else pixels != head.sha256
    )
    if otherwise or checkpoint.classes != head.classes or checkpoint.channels != head.channels:
        raise DataError(
            f"{file.path}: holds other patches than those that the run began with; give the same file, or another --name"
        )


def recalled(section: S, checkpoint: Checkpoint) -> S:
    """Return the section as a run began with it.

    Raises:
        UsageError: A value that was given now is another one than then.
    """
    now = section.model_dump(mode="json")
    known = checkpoint.parameters
    # What a later patchseg has added had its default then.
    default = {
        name: {"value": value, "source": "default"}
        for name, value in type(section)().model_dump(mode="json").items()
    }
    began = {name: known.get(f"{section.section}.{name}", default[name]) for name in now if name not in _FREE}
    then = {name: entry["value"] for name, entry in began.items()}
    for name, value in then.items():
        left_to_plan = now[name] is None and began[name]["source"] == "plan"
        if now[name] != value and section.source(name) not in ("default", "plan") and not left_to_plan:
            raise UsageError(
                f"{section.section}.{name}: the run began with {value}, now it is {now[name]}; "
                "leave it out to go on, or start a run of another --name"
            )
    planned = {name: entry["value"] for name, entry in began.items() if entry["source"] == "plan"}
    return section.replaced(then, "the run").replaced(planned, "plan")


def shaped_as(model: ModelParameters, weights: Path) -> ModelParameters:
    """Return the section with what the network of a checkpoint is made of, for a run that starts from its weights.

    What has been set stays; where that is another network, nothing of the checkpoint's fits, which is told when it is read.
    """
    known = load(weights).model
    if model.source("name") == "default":
        model = model.replaced({"name": known["name"]}, "plan")
    if model.name != known["name"]:
        return model
    return model.replaced(
        {name: value for name, value in known.items() if name in type(model).model_fields and model.source(name) == "default"},
        "plan",
    )  # fmt: skip
