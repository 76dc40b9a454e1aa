"""What segmenting an image takes, term by term, and into how many columns it is cut so that it fits."""

from typing import NamedTuple

import numpy as np
import torch

from patchseg import device as devices
from patchseg.errors import PatchsegError
from patchseg.imaging import Box
from patchseg.imaging.scale import BAND
from patchseg.imaging.source import Held
from patchseg.inference.engine import EXACT, RESAMPLED, Engine
from patchseg.progress import megabytes

_LAYERS = 16  # bytes that a pixel of finished rows takes at least while its layers are made
_GAPS = 0.2  # of all that; at most 0.12 in some hundred measurements
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


class Image(NamedTuple):
    """What of an image decides what it takes.

    Attributes:
        scale: Multiple of its size at which the networks work.
        held: What it takes to read it.
        written: Bytes that the files that come of it hold until they are written.
    """

    scale: float = 1.0
    held: Held = Held()
    written: int = 0


class Need(NamedTuple):
    """What an image, or a column of it, takes beside, in bytes.

    Attributes:
        sums: Of the probabilities of a row of tiles.
        rows: Finished rows, and what is made of them.
        source: The rows of the image that a row of tiles touches, and those that are read ahead.
        decoder: What reading holds: segments for the next rows, or a picture that is read whole.
        writers: What the files hold until it is written.
        gaps: Between these, too small for what is wanted next.
    """

    sums: int
    rows: int
    source: int
    decoder: int
    writers: int
    gaps: int = 0


def measured(engine: Engine, limit: int | None) -> Base:
    """Predict a batch of nothing, and return what that took.

    Args:
        engine: On its device.
        limit: What may be taken in all; by default nine tenths of what is free.
    """
    model, device = engine.checkpoint, engine.predictor.device
    shape = (engine.batch, engine.tile, engine.tile, len(model.channels))

    def work() -> torch.Tensor:
        return engine.predictor(torch.from_numpy(np.ones(shape, model.dtype)).to(device))

    size = devices.workspace(device, work)
    process = devices.taken(device)
    return Base(process, size, limit or process + int(_SHARE * devices.free_bytes(device)[0]))


def need(engine: Engine, width: int, image: Image) -> Need:
    """Return what so many columns of an image take at most, of the memory in which the networks work.

    All terms are in proportion to the columns, but for what is read or written as a whole; none to the height, but for
    pictures that are read or written as a whole.
    """
    number, scale = 4 * engine.planes, image.scale
    high, step, across = _high(engine), _step(engine), width * image.scale
    # The last tiles leave as many rows at once as they are high. Those before are on their way to the disk until then, or what is
    # made of these takes memory.
    made = max(_LAYERS, 5 * engine.planes + 4)
    if engine.calibration:  # calibrated probabilities, the same by thresholds, and their highest and sum
        made += 8 * engine.classes + 8
    rows = number * high * across + max(number * step + 4 * high, made * high) * across
    if scale != 1:  # resampled across, put below those that wait, resampled down: a few of each at a time
        rows += number * RESAMPLED * (2 + 4 / scale) * width + made * RESAMPLED / scale * width
    here = engine.predictor.device.type == "cpu"
    terms = (
        int(number * high * across),
        int(rows),
        _source(engine, width, scale),
        int(image.held.always + image.held.column * width) if here else 0,
        image.written if here else 0,
    )
    return Need(*terms, int(_GAPS * sum(terms)))


def _source(engine: Engine, width: int, scale: float) -> int:
    """Return what the rows of an image take: those of this row of tiles and of the last, of the next, and on their way."""
    model, tile = engine.checkpoint, engine.tile
    pixel = len(model.channels) * np.dtype(model.dtype).itemsize
    inside = width * scale + 2 * tile  # columns that tiles touch
    total = pixel * (2 * tile + 3 * _step(engine)) * inside
    if scale != 1:  # a band at its own size, and the bands that are put together
        total += pixel * ((min(BAND, tile) / scale + 4) * (inside / scale) + tile * inside)
    return int(total)


def _step(engine: Engine) -> int:
    """Return how far rows and columns of tiles lie from each other."""
    if engine.blend == EXACT:
        return max(1, engine.tile - 2 * engine.halo[0])
    return max(1, round(engine.tile * (1 - engine.overlap)))


def _high(engine: Engine) -> int:
    """Return how many rows there are sums of: of `exact` the highest zone, which ends at the border."""
    return engine.tile - engine.halo[0] if engine.blend == EXACT else engine.tile


def columns(engine: Engine, base: Base, area: Box, image: Image) -> list[Box]:
    """Return an area of an image cut into columns, each of which fits into the memory; mostly the area itself.

    They are whole steps of tiles wide, so that few tiles are predicted twice.

    Raises:
        PatchsegError: Not even a column as wide as a step fits.
    """
    left = base.limit - base.process - base.workspace
    stride = max(1, round(_step(engine) / image.scale))
    for count in range(1, area.width + 1):
        width = min(-(-area.width // (count * stride)) * stride, area.width)
        if sum(need(engine, width, image)) <= left:
            return [
                Box(area.top, start, area.height, min(width, area.right - start))
                for start in range(area.left, area.right, width)
            ]
        if width <= stride:
            break
    narrowest = need(engine, min(stride, area.width), image)
    raise PatchsegError(
        f"out of memory: {told(base, narrowest)} for the narrowest column of an image, which is more than "
        f"the {megabytes(base.limit)} there are (--max-memory); choose a smaller --tile, or allow more"
    )


def told(base: Base, image: Need) -> str:
    """Say what is taken, and by what.

    >>> told(Base(2 * 10**8, 5 * 10**7, 10**9), Need(10**7, 10**7, 10**6, 0, 2 * 10**6))
    '273 MB (process 200 MB, network 50 MB, sums 10 MB, finished rows 10 MB, source 1 MB, writing 2 MB)'
    """
    terms = {"process": base.process, "network": base.workspace}
    terms |= {"sums": image.sums, "finished rows": image.rows, "source": image.source}
    terms |= {"decoding": image.decoder, "writing": image.writers, "gaps": image.gaps}
    listed = ", ".join(f"{name} {megabytes(size)}" for name, size in terms.items() if size)
    return f"{megabytes(sum(terms.values()))} ({listed})"
