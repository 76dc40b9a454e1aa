"""One image in Python: an array or a file in, a mask or the stream of its probabilities out."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from patchseg import device as devices
from patchseg.errors import DataError
from patchseg.imaging import ArraySource, Box, open_image
from patchseg.imaging.source import Array, trouble
from patchseg.inference.engine import Engine
from patchseg.inference.kinship import Watched, as_learned, require_kin
from patchseg.inference.layers import layers
from patchseg.labels.classes import IGNORE
from patchseg.models.ensemble import members
from patchseg.parameters import InferParameters


def engine_of(checkpoint: Path | str, parameters: InferParameters = InferParameters()) -> Engine:
    """Load a checkpoint for many calls of `predict`.

    Args:
        checkpoint: What `train` wrote, or what `crossval` wrote, whose folds are averaged.
        parameters: Tile, overlap, blend, symmetries, calibrated, device, precision and threads; others are of no meaning here.

    Raises:
        UsageError: The checkpoint or the device is not there, or parameters do not go with it.
        DataError: The checkpoint is damaged.
    """
    devices.set_threads(parameters.threads)
    return Engine.of(members(checkpoint), parameters, devices.choose(parameters.device))


def predict(image: Array | Path | str, checkpoint: Path | str | Engine) -> NDArray[np.uint8]:
    """Return the mask of one image, (H, W) uint8 class indices; 255 where a file holds no data.

    Args:
        image: (H, W) or (H, W, C) pixels on the scale of the training images, or a file.
        checkpoint: What `train` wrote, or what `engine_of` made of it.

    Raises:
        UsageError: The checkpoint is not there.
        DataError: The image is of another kind than those of the training, holds NaN, or cannot be read.
    """
    engine = checkpoint if isinstance(checkpoint, Engine) else engine_of(checkpoint)
    with _opened(image, engine) as source:
        bands = engine.rows(source)
        rows = [layers(band, engine.classes, ["mask"], engine.calibration)["mask"] for band in bands]
        valid = source.valid(Box(0, 0, *source.shape[:2]))
    mask: NDArray[np.uint8] = np.concatenate(rows)
    if valid is not None:
        mask[~valid] = IGNORE
    return mask


def predict_rows(image: Array | Path | str, checkpoint: Path | str | Engine) -> Iterator[NDArray[np.float32]]:
    """Yield the class probabilities of one image as they are finished, from top to bottom.

    The memory that this takes does not depend on the height of the image.

    Args:
        image: As for `predict`.
        checkpoint: As for `predict`.

    Yields:
        (K, rows, W) float32 that sum to 1 over K; put together along the rows they are (K, H, W).

    Raises:
        UsageError: The checkpoint is not there.
        DataError: The image is of another kind than those of the training, holds NaN, or cannot be read.
    """
    engine = checkpoint if isinstance(checkpoint, Engine) else engine_of(checkpoint)
    with _opened(image, engine) as source:
        for band in engine.rows(source):
            averaged, calibration = band[: engine.classes], engine.calibration
            yield (calibration.probabilities(averaged) if calibration else averaged).cpu().numpy()


def _opened(image: Array | Path | str, engine: Engine) -> Watched:
    """Open an image of the kind that the network has learned."""
    model = engine.checkpoint
    if isinstance(image, np.ndarray):
        path, problem = Path("array"), trouble(image.shape, image.dtype)
        if problem:
            raise DataError(f"array: {problem}")
        source = Watched(ArraySource(image), path)
    else:
        path = Path(image)
        reading = as_learned(model, lambda _: None)._replace(downwards=True)
        source = Watched(open_image(path, reading), path)
    try:
        require_kin(path, source, model)
    except DataError:
        source.close()
        raise
    return source
