"""The verb `augment`: patches.h5 -> a picture of what the network will see of some patches."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from patchseg import device as devices
from patchseg.errors import DataError, UsageError
from patchseg.imaging import picture
from patchseg.imaging.files import refuse_existing
from patchseg.imaging.source import Array
from patchseg.imaging.write import open_writer
from patchseg.parameters import AugmentParameters
from patchseg.patches.split import random
from patchseg.patches.store import PatchFile
from patchseg.progress import Progress, counted
from patchseg.training.augment import Augmentation
from patchseg.training.draws import Draws
from patchseg.training.recipe import recipe_of

_PATCHES, _TIMES = 6, 9  # down and across
_GAP = 2  # pixels of white between cells
_STREAM = 6


def augment(
    patches: Path | str,
    *,
    parameters: AugmentParameters = AugmentParameters(),
    output: Path | str = "augment.png",
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Draw some patches as they are stored and, to their right, as the network will see them, each above its mask.

    Args:
        patches: What `prepare` wrote.
        parameters: How patches are varied.
        output: The picture, a PNG.
        seed: Of the choice of patches and of the variations.
        overwrite: Whether an existing picture may be replaced.
        progress: Told what is seen.

    Returns:
        The path of the picture.

    Raises:
        UsageError: The picture exists, or cannot be written.
        DataError: The patches file cannot be used.
    """
    output, progress = Path(output), progress or Progress()
    if output.suffix != ".png":
        raise UsageError(f"{output}: is no name of a PNG; give one that ends in .png")
    refuse_existing([output], overwrite=overwrite)
    with PatchFile(Path(patches)) as file:
        count = file.counts["train"]
        if not count:
            raise DataError(f"{patches}: holds no training patch; make it again with `patchseg prepare`")
        devices.set_threads(None)
        chosen = np.sort(random(seed, _STREAM).permutation(count)[:_PATCHES])
        rows = [_row(file, int(number), parameters, seed, place) for place, number in enumerate(chosen)]
    sheet = np.concatenate([_between(rows[0].shape[1]), *rows])
    with open_writer(output, sheet.shape) as writer:
        writer.write(sheet)
    progress.say(
        f"{counted(len(chosen), 'patch')}, a row each: as stored, then {_TIMES - 1} times at strength "
        f"{parameters.strength}; masks below, ignored pixels gray"
    )
    return output


def _row(
    file: PatchFile, number: int, parameters: AugmentParameters, seed: int, place: int
) -> NDArray[np.uint8]:
    """Return a patch and its variations side by side, above their masks, (h, w, 3)."""
    head = file.head
    images, masks = file.read("train", slice(number, number + 1))
    vary = Augmentation(
        recipe_of(parameters), patch=head.patch, margin=head.margin, channels=head.channels,
        device=torch.device("cpu"),
    )  # fmt: skip
    stored = torch.from_numpy(images).expand(_TIMES - 1, -1, -1, -1)
    seen, labels = vary(
        stored, torch.from_numpy(masks).expand(_TIMES - 1, -1, -1), Draws.of(seed, place * _TIMES, _TIMES - 1)
    )
    inner = slice(head.margin, head.margin + head.patch)
    pixels = np.concatenate(
        [images[:, inner, inner].astype(np.float32), seen.permute(0, 2, 3, 1).float().numpy()]
    )
    shown = [_shown(image, head.channels) for image in pixels]
    painted = [
        picture.colorize(mask, head.classes.palette)
        for mask in np.concatenate([masks[:, inner, inner], labels.numpy()])
    ]
    return np.concatenate([_beside(shown), _beside(painted)])


def _shown(image: Array, channels: list[dict[str, float]]) -> NDArray[np.uint8]:
    """Return an image as 8 bits by the range of the training set, so that changes of light are seen."""
    first = channels[:3] if len(channels) >= 3 else channels[:1]
    low = min(c.get("min", c["mean"] - 3 * c["std"]) for c in first)
    high = max(c.get("max", c["mean"] + 3 * c["std"]) for c in first)
    return picture.to_rgb8(image, low, high)


def _beside(cells: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return cells side by side, white between and below."""
    gap = np.full((cells[0].shape[0], _GAP, 3), 255, np.uint8)
    row = np.concatenate([gap, *(part for cell in cells for part in (cell, gap))], axis=1)
    return np.concatenate([row, _between(row.shape[1])])


def _between(width: int) -> NDArray[np.uint8]:
    return np.full((_GAP, width, 3), 255, np.uint8)
