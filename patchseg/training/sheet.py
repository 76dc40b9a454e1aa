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
from patchseg.patches.store import Head, PatchFile
from patchseg.progress import Progress, counted
from patchseg.training.appearance import Appearances
from patchseg.training.augment import Augmentation
from patchseg.training.draws import Draws
from patchseg.training.order import Numbers
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
        parameters: How patches are varied; at strength standard where none is set.
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
    output, progress, parameters = (
        Path(output),
        progress or Progress(),
        parameters.planned(strength="standard"),
    )
    if output.suffix != ".png":
        raise UsageError(f"{output}: is no name of a PNG; give one that ends in .png")
    refuse_existing([output], overwrite=overwrite)
    with PatchFile(Path(patches)) as file:
        count = file.counts["train"]
        if not count:
            raise DataError(f"{patches}: holds no training patch; make it again with `patchseg prepare`")
        chosen = np.sort(random(seed, _STREAM).permutation(count)[:_PATCHES])
        head, (images, masks) = file.head, file.read("train", chosen)
        looks = Appearances(file) if parameters.match else None
    devices.set_threads(None)
    vary = Augmentation(
        recipe_of(parameters), patch=head.patch, margin=head.margin, channels=head.channels,
        device=torch.device("cpu"), appearances=looks,
    )  # fmt: skip
    sheet = _drawn(_seen(head, images, masks, chosen, vary, seed=seed), head)
    with open_writer(output, sheet.shape) as writer:
        writer.write(sheet)
    progress.say(
        f"{counted(len(chosen), 'patch')}, a row each: as stored, then {_TIMES - 1} times at strength "
        f"{parameters.strength}; masks below, ignored pixels gray"
    )
    return output


def _seen(
    head: Head, images: Array, masks: NDArray[np.uint8], numbers: Numbers, vary: Augmentation, *, seed: int
) -> list[tuple[Array, NDArray[np.uint8]]]:
    """Return patches (n, S, S, C) and masks (n, S, S) as stored, and then as seen each time."""
    seen = [(images[:, head.middle, head.middle], masks[:, head.middle, head.middle])]
    for time in range(_TIMES - 1):  # all patches at once, so that CutMix takes from another one
        draws = Draws.of(seed, time * _PATCHES, len(images))
        pixels, labels = vary(torch.from_numpy(images), torch.from_numpy(masks), draws, numbers=numbers)
        seen.append((pixels.permute(0, 2, 3, 1).numpy(), labels.numpy()))
    return seen


def _drawn(seen: list[tuple[Array, NDArray[np.uint8]]], head: Head) -> NDArray[np.uint8]:
    """Return the sheet, (h, w, 3): a row of images a patch, and its masks below."""
    rows = []
    for place in range(len(seen[0][0])):
        rows += [
            _beside([_shown(pixels[place], head.channels) for pixels, _ in seen]),
            _beside([picture.colorize(labels[place], head.classes.palette) for _, labels in seen]),
        ]
    return np.concatenate([_between(rows[0].shape[1]), *rows])


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
