"""One training of a study, which stops and goes on with it: patches and sections in, the checkpoint of its last step out."""

from pathlib import Path

from patchseg.models.checkpoint import Checkpoint, load
from patchseg.parameters import Parameters, TrainParameters
from patchseg.progress import Progress, counted, duration
from patchseg.training.train import train


def budget(settings: TrainParameters) -> str:
    """Return how long a training is, in words.

    >>> budget(TrainParameters(epochs=100)), budget(TrainParameters(time=1200.0))
    ('100 epochs', '20 min')
    """
    if settings.time is not None:
        return duration(settings.time)
    return counted(settings.steps, "step") if settings.steps else counted(settings.epochs, "epoch")


def doubts(settings: TrainParameters) -> list[str]:
    """Return sentences about settings by which held-out images have a say in what is scored on them."""
    told = []
    if settings.weights:
        told.append(
            f"every training starts from {settings.weights}; if that has seen these images, the scores are too good"
        )
    if settings.patience is not None:
        told.append("--patience looks at the images that are held out, so the scores are a little too good")
    return told


def in_study(settings: TrainParameters, study: str) -> TrainParameters:
    """Return how a network learns inside a study: named after its patches, and stopped by Ctrl-C, which ends the study."""
    return settings.replaced({"name": None, "on_stop": "save"}, study)


def learned(patches: Path, parameters: Parameters, folder: Path, progress: Progress) -> Path:
    """Train on patches as far as that is not done yet, and return the checkpoint of the last step.

    Not of the best epoch: that is chosen by the images that are held out, on which it would then be scored.

    Args:
        patches: The file.
        parameters: Of the network, and of how it learns.
        folder: Where `checkpoints/` and `runs/` are.
        progress: Told what happens.
    """
    last = folder / "checkpoints" / patches.stem / "last.pt"
    if not (last.exists() and _is_complete(load(last))):
        p = parameters
        train(
            patches, parameters=p.train, model=p.model, augment=p.augment, folder=folder,
            resume=last.exists(), overwrite=not last.exists(), progress=progress,
        )  # fmt: skip
    return last


def _is_complete(checkpoint: Checkpoint) -> bool:
    state = checkpoint.training
    return state is not None and state["step"] == state["total"]
