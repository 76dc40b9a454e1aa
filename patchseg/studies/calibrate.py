"""The verb `calibrate`: pixels with a known truth -> a temperature, written into checkpoints."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from patchseg import device as devices
from patchseg.errors import UsageError
from patchseg.evaluation.calibration import (
    HOTTEST,
    Pixels,
    Sample,
    confusion,
    fit_temperature,
    fit_thresholds,
    negative_log_likelihood,
)
from patchseg.evaluation.reliability import Reliability
from patchseg.inference.calibration import Calibration
from patchseg.inference.engine import Engine
from patchseg.models.checkpoint import Checkpoint, load
from patchseg.models.ensemble import members
from patchseg.parameters import CalibrateParameters, DataParameters, InferParameters
from patchseg.patches.store import PatchFile
from patchseg.progress import Progress, counted
from patchseg.studies.known_pixels import of_masks, of_regions

FEW = 5  # images; with fewer, what is found holds for them rather than for others


def calibrate(
    checkpoint: Path | str | Sequence[Path | str],
    patches: Path | str = "patches.h5",
    *,
    parameters: CalibrateParameters = CalibrateParameters(),
    infer: InferParameters = InferParameters(),
    data: DataParameters = DataParameters(),
    overwrite: bool = False,
    progress: Progress | None = None,
) -> list[Path]:
    """Fit a temperature to the probabilities of a network, and write it into its checkpoint for `infer --calibrated`.

    It is fitted on the validation images that patches.h5 holds, or, with `parameters.masks`, on the probabilities of images
    that were left out when their networks learned, as `crossval` writes them; then all checkpoints get the same.

    Args:
        checkpoint: What `train` wrote; several, or the folds of what `crossval` wrote, with `parameters.masks` only.
        patches: What `prepare` wrote; of no meaning with `parameters.masks`.
        parameters: What is fitted, and on which masks.
        infer: Tile, overlap, blend, symmetries, device, precision and threads, with which images will be segmented.
        data: How true masks are read, where that is not as they were when the networks learned.
        overwrite: Whether a calibration that is there may be replaced.
        progress: Told what happens.

    Returns:
        The checkpoints.

    Raises:
        UsageError: Paths or parameters do not work, or a checkpoint is calibrated already.
        DataError: A file is damaged or of another kind, or has no labelled pixel.
    """
    progress = progress or Progress()
    files = members(checkpoint)
    loaded = [load(file) for file in files]
    _require_free(files, loaded, overwrite=overwrite)
    sample = Sample(len(loaded[0].classes), seed=parameters.seed)
    with devices.memory_errors("choose a smaller --tile"):
        if parameters.masks or parameters.truth:
            images = _of_masks(files, loaded, parameters, data, sample=sample, progress=progress)
        else:
            images = _of_patches(files, loaded, Path(patches), infer, sample=sample, progress=progress)
        found = fitted(sample.pixels(), images=images, thresholds=parameters.thresholds)
    if images < FEW:
        more = "" if parameters.masks else "; the pixels of a crossval are of all images"
        progress.say(
            f"fitted on {counted(images, 'image')}: on so few, it holds for these rather than for others{more}"
        )
    if found["temperature"] in (HOTTEST, 1 / HOTTEST):
        progress.say(
            f"the temperature is at the end of its range ({found['temperature']:g}): the pixels are all right, or all guessed, "
            "and tell nothing about others"
        )
    for file, model in zip(files, loaded, strict=True):
        replace(model, calibration=found).save(file)
    return files


def fitted(pixels: Pixels, *, images: int, thresholds: bool) -> dict[str, Any]:
    """Return what is fitted to pixels, and how they scored before and after, as a checkpoint holds it.

    Args:
        pixels: Probabilities and truth.
        images: How many they are of.
        thresholds: Whether classes get thresholds too.
    """
    temperature = fit_temperature(pixels)
    shares = Calibration(temperature).probabilities(torch.from_numpy(pixels.probabilities)).numpy()
    after = Pixels(shares, pixels.truth)
    limits = fit_thresholds(after) if thresholds else None
    known = {"before": pixels, "after": after}
    reliability = {name: Reliability.of(*some) for name, some in known.items()}
    return {
        "temperature": temperature,
        "thresholds": limits,
        "pixels": len(pixels.truth),
        "images": images,
        **{f"nll_{name}": negative_log_likelihood(some) for name, some in known.items()},
        **{f"ece_{name}": some.ece for name, some in reliability.items()},
        "mean_iou_before": confusion(pixels).mean_iou,
        "mean_iou_after": confusion(after, limits).mean_iou,
        **{f"reliability_{name}": some.as_dict() for name, some in reliability.items()},
    }


def _require_free(files: list[Path], loaded: list[Checkpoint], *, overwrite: bool) -> None:
    for file, model in zip(files, loaded, strict=True):
        if not model.weights:
            raise UsageError(
                f"{file}: an ONNX file is not changed; calibrate its checkpoint, and export that again"
            )
        if model.calibration and not overwrite:
            raise UsageError(
                f"{file}: is calibrated already (temperature {model.calibration['temperature']:.3g}); give --overwrite to do "
                "it anew"
            )


def _of_masks(
    files: list[Path],
    loaded: list[Checkpoint],
    parameters: CalibrateParameters,
    data: DataParameters,
    *,
    sample: Sample,
    progress: Progress,
) -> int:
    if not (parameters.masks and parameters.truth):
        raise UsageError("--masks and --truth belong together; give both, or patches.h5 instead of them")
    first = loaded[0].classes
    for file, model in zip(files, loaded, strict=True):
        if model.classes.names != first.names:
            raise UsageError(
                f"{file}: has learned other classes ({', '.join(model.classes.names)}) than {files[0]} "
                f"({', '.join(first.names)}); only those that have learned alike can have one calibration"
            )
    return of_masks(
        Path(parameters.masks), Path(parameters.truth), first, sample, data=data, progress=progress
    )


def _of_patches(
    files: list[Path],
    loaded: list[Checkpoint],
    patches: Path,
    infer: InferParameters,
    *,
    sample: Sample,
    progress: Progress,
) -> int:
    if len(files) > 1:
        raise UsageError(
            f"{files[1]}: is one checkpoint too many for {patches}, whose validation images others may have learned from; "
            "give one, or --masks and --truth of images that none has learned from (crossval)"
        )
    settings = infer.model_copy(update={"calibrated": False, "disagreement": False, "verify": False})
    devices.set_threads(infer.threads)
    engine = Engine.of(loaded, settings, devices.choose(infer.device), tell=progress.say)
    with PatchFile(patches) as file:
        images = of_regions(file, engine, sample, progress)
        if loaded[0].scores and loaded[0].channels == file.head.channels:
            progress.say(
                f"{files[0]}: was chosen by its score on these same images, so it does slightly better on them than it may "
                "elsewhere, and the temperature is slightly low; the pixels of a crossval have no such fault"
            )
    return images
