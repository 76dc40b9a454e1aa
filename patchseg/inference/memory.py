"""What segmenting an image takes, term by term, and into how many columns it is cut so that it fits."""

from typing import NamedTuple

import numpy as np
import torch

from patchseg import device as devices
from patchseg.errors import PatchsegError
from patchseg.imaging import Box
from patchseg.inference.engine import EXACT, Engine
from patchseg.progress import megabytes

_SHARE = 0.9  # of what is free, where nothing else is said


class Base(NamedTuple):
    """What is taken whatever the image, in bytes.

    Attributes:
        process: Python, libraries and the networks' weights.
        workspace: What one batch of tiles takes on its way through the networks.
        limit: What may be taken in all.
    """

    process: int
    workspace: int
    limit: int


class Need(NamedTuple):
    """What an image, or a column of it, takes beside, in bytes.

    Attributes:
        sums: Of the probabilities of a row of tiles.
        rows: Finished rows, until they are written.
        source: The rows of the image that a row of tiles touches, and those that are read ahead.
    """

    sums: int
    rows: int
    source: int


def measured(engine: Engine, limit: int | None) -> Base:
    """Predict a batch of nothing, and return what that took.

    Args:
        engine: On its device.
        limit: What may be taken in all; by default nine tenths of what is free.
    """
    model, device = engine.checkpoint, engine.predictor.device
    shape = (engine.batch, engine.tile, engine.tile, len(model.channels))
    batch = torch.from_numpy(np.zeros(shape, model.dtype)).to(device)
    size = devices.workspace(device, lambda: engine.predictor(batch))
    process = devices.taken(device)
    return Base(process, size, limit or process + int(_SHARE * devices.free_bytes(device)[0]))


def need(engine: Engine, width: int, scale: float) -> Need:
    """Return what so many columns of an image take.

    Args:
        engine: What predicts.
        width: Columns, at the image's own size.
        scale: Multiple of its size at which the networks work.
    """
    model, tile = engine.checkpoint, engine.tile
    step = tile if engine.blend == EXACT else round(tile * (1 - engine.overlap))
    number = 4 * engine.planes
    inside = width * scale + (tile if width else 0)  # columns that tiles touch
    pixel = len(model.channels) * np.dtype(model.dtype).itemsize
    return Need(
        int(number * tile * inside),
        # Twice: the division makes new ones while those before them are on their way to the disk.
        int(number * step * inside + number * step / scale * width),
        int(pixel * (tile + 2 * step) * inside),
    )


def columns(engine: Engine, base: Base, area: Box, scale: float) -> list[Box]:
    """Return an area of an image cut into columns, each of which fits into the memory; mostly the area itself.

    Raises:
        PatchsegError: Not even a column as wide as a tile fits.
    """
    left = base.limit - base.process - base.workspace
    stride = max(1, round(engine.tile * (1 - engine.overlap) / scale))
    for count in range(1, area.width + 1):
        width = (
            -(-area.width // (count * stride)) * stride
        )  # whole steps, so that few tiles are predicted twice
        if sum(need(engine, width, scale)) <= left:
            return [
                Box(area.top, start, area.height, min(width, area.right - start))
                for start in range(area.left, area.right, width)
            ]
        if width == stride:
            break
    raise PatchsegError(
        f"out of memory: {told(base, need(engine, stride, scale))} for the narrowest column of an image, which is more than "
        f"the {megabytes(base.limit)} there are (--max-memory); choose a smaller --tile"
    )


def told(base: Base, image: Need) -> str:
    """Say what is taken, and by what.

    >>> told(Base(2 * 10**8, 5 * 10**7, 10**9), Need(10**7, 10**7, 10**6))
    '271 MB (process 200 MB, network 50 MB, sums 10 MB, finished rows 10 MB, source 1 MB)'
    """
    terms = {"process": base.process, "network": base.workspace}
    terms |= {"sums": image.sums, "finished rows": image.rows, "source": image.source}
    listed = ", ".join(f"{name} {megabytes(size)}" for name, size in terms.items() if size)
    return f"{megabytes(sum(terms.values()))} ({listed})"
