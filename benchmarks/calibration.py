"""Fits a temperature on the validation images of patches.h5, and tells what it does for images that are new to it.

The checkpoint is copied first. Held-out images are predicted once; their probabilities, as float16, are scored as they
are and at the temperature, and with thresholds. Besides, which temperature files of bytes would have given on them.

    python benchmarks/calibration.py CHECKPOINT PATCHES IMAGES MASKS
"""

import shutil
import sys
import tempfile
from pathlib import Path

import torch

from patchseg.evaluation.calibration import (
    Pixels,
    Sample,
    confusion,
    fit_temperature,
    negative_log_likelihood,
)
from patchseg.evaluation.reliability import Reliability
from patchseg.inference.calibration import Calibration
from patchseg.inference.infer import infer
from patchseg.models.checkpoint import load
from patchseg.parameters import CalibrateParameters, DataParameters, InferParameters
from patchseg.progress import Progress
from patchseg.studies.calibrate import calibrate
from patchseg.studies.known_pixels import of_masks


def gathered(checkpoint: Path, folder: Path, images: Path, masks: Path, kind: str) -> Pixels:
    """Predict images, and return their pixels as files of a kind give them."""
    settings = InferParameters(
        output=str(folder / kind), probabilities=True, probability_type=kind, device="cpu", threads=1
    )
    infer([images], checkpoint=checkpoint, parameters=settings)
    classes = load(checkpoint).classes
    sample = Sample(len(classes))
    of_masks(folder / kind, masks, classes, sample, data=DataParameters(), progress=Progress())
    return sample.pixels()


def line(name: str, pixels: Pixels, thresholds: list[float] | None = None) -> str:
    """Return a line of the table."""
    numbers = negative_log_likelihood(pixels), Reliability.of(*pixels).ece, confusion(pixels).mean_iou
    told = [f"{number:.5f}" for number in numbers]
    told += [f"{confusion(pixels, thresholds).mean_iou:.5f}"] if thresholds else []
    return f"| {name} | {' | '.join(told)} |"


def main() -> None:
    """Print the table."""
    checkpoint, patches, images, masks = map(Path, sys.argv[1:])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy = Path(shutil.copy(checkpoint, folder / "best.pt"))
        settings = InferParameters(device="cpu", threads=1)
        calibrate(copy, patches, parameters=CalibrateParameters(thresholds=True), infer=settings)
        known = load(copy).calibration
        assert known is not None
        print({key: value for key, value in known.items() if not key.startswith("reliability")})
        halves, bytes_ = (gathered(copy, folder, images, masks, kind) for kind in ("float16", "uint8"))
        print(f"held-out pixels {len(halves.truth):,}, their own temperature {fit_temperature(halves):.4f}")
        print(f"the same of bytes {fit_temperature(bytes_):.4f}")
        shares = Calibration(known["temperature"]).probabilities(torch.from_numpy(halves.probabilities))
        after = Pixels(shares.numpy(), halves.truth)
        print(line("before", halves))
        print(line("after, with thresholds", after, known["thresholds"]))


if __name__ == "__main__":
    main()
