"""The verb `pretrain`: images without masks -> checkpoints/NAME/best.pt to start from, by the loop of `train`.

Regions of like pixels take the place of masks, and their contrast that of a loss (`objectives/detcon.py`).
"""

from pathlib import Path

from patchseg import device as devices
from patchseg.parameters import Parameters, PretrainParameters, TrainParameters
from patchseg.patches.regions_file import cut_regions
from patchseg.progress import Progress
from patchseg.training.resume import claim
from patchseg.training.train import name_of, train


def pretrain(
    images: Path | str,
    *,
    parameters: Parameters = Parameters(),
    folder: Path | str = ".",
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Let a network learn from images alone what belongs together in them, for `train --weights`.

    Patches with their regions go into checkpoints/NAME.h5 while it runs; it is removed at the end.

    Args:
        images: Folder of images, or what `prepare` wrote; see `cut_regions`.
        parameters: Of these the sections pretrain and model, how patches are cut and images are read, and how patches are moved.
        folder: Where `checkpoints/` and `runs/` are.
        resume: Whether to go on with the run of that name; one that has no checkpoint yet starts afresh.
        overwrite: Whether a run of that name may be replaced.
        progress: Told what happens.

    Returns:
        The path of the last checkpoint; `infer` cannot use it, since it knows no classes.

    Raises:
        UsageError: Parameters do not work, there is no image, or a run of that name exists.
        DataError: Something is wrong with images.
        Interrupted: The user stopped it; the state is saved.
    """
    settings, folder = parameters.pretrain, Path(folder)
    output = folder / "checkpoints" / f"{name_of(settings.name, Path())}.h5"
    with devices.joined():
        told = progress if progress and devices.rank() == 0 else Progress()
        if devices.rank() == 0:
            named = folder / "checkpoints" / settings.name, folder / "runs" / settings.name
            claim(*named, resume=resume, overwrite=overwrite, progress=Progress())
            output.parent.mkdir(parents=True, exist_ok=True)
            cut_regions(Path(images), output, prepare=parameters.prepare, data=parameters.data, progress=told)
        devices.told(None)  # all read what one has written
        path = train(
            output, parameters=learning(settings), model=parameters.model,
            augment=parameters.augment.planned(strength="strong"), folder=folder,
            resume=resume, overwrite=overwrite, progress=progress,
        )  # fmt: skip
        if devices.rank() == 0:
            output.unlink()
            told.say(f"train on labels from here on with `patchseg train --weights {path}`")
    return path


def learning(settings: PretrainParameters) -> TrainParameters:
    """Return how `train` does it; all values keep their sources.

    >>> learning(PretrainParameters(steps=7)).steps, learning(PretrainParameters()).objective
    (7, 'detcon')
    """
    found = TrainParameters()
    for name in PretrainParameters.model_fields:
        found = found.replaced({name: getattr(settings, name)}, settings.source(name))
    # As BYOL and DetCon do, the side that has learned is kept, and not the average.
    return found.replaced({"objective": "detcon", "centred": 0.0, "exported": "student"}, "pretrain")
