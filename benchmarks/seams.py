"""What `inference.py --seams` measures: how visible the borders of tiles are in the probabilities of an image."""

import argparse
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sliding import BLENDS, CHANNELS, CLASSES, EXACT, LEVELS, blended, laid, network
from torch import Tensor

from patchseg import device as devices
from patchseg.imaging import Box, open_image
from patchseg.inference.kinship import as_learned
from patchseg.inference.predictor import Predictor
from patchseg.inference.tiling import Grid
from patchseg.inference.zones import Zones
from patchseg.models.checkpoint import Checkpoint, load
from patchseg.models.folding import folded
from patchseg.models.unet import halo
from patchseg.synth import draw

WHOLE = "whole"


def seams(options: argparse.Namespace) -> None:
    """Print a line a blend: the jumps at the borders of tiles by those elsewhere, down the rows and along the columns."""
    device = devices.choose(options.devices[-1])
    checkpoint = load(options.checkpoint) if options.checkpoint else None
    net = checkpoint.network() if checkpoint else network(device)
    classes = len(checkpoint.classes) if checkpoint else CLASSES
    images = list(pictures(options, checkpoint))
    predictor, batch = Predictor([folded(net)], device), options.batch or devices.tile_batch(device)
    print(
        f"{len(images)} images of {images[0].shape}, tiles of {options.tile}, fp32 on {devices.describe(device)}"
    )
    print(
        f"{'':12}{'rows':>10}{'columns':>10}{WHOLE:>10}{WHOLE:>10}   jumps at the borders of tiles by jumps elsewhere"
    )
    wholes = [predictor(torch.from_numpy(image.copy())[None])[0] for image in images]
    for blend in BLENDS:
        if blend == EXACT and options.tile <= 2 * halo(LEVELS):
            continue
        jumps: list[list[tuple[float, float]]] = [[], [], [], []]
        for image, whole in zip(images, wholes, strict=True):
            grid = laid((image.shape[0], image.shape[1]), options.tile, blend)
            found = torch.cat(
                [*blended(predictor, image, grid, classes=classes, blend=blend, batch=batch)], dim=1
            )
            for number, (each, axis) in enumerate(product((found, whole), range(2))):
                jumps[number].append(jumps_of(each, borders_of(grid, axis), axis=axis + 1, factor=net.factor))
        ratios = [sum(at for at, _ in each) / sum(elsewhere for _, elsewhere in each) for each in jumps]
        print(f"{blend:12}" + "".join(f"{ratio:10.4f}" for ratio in ratios), flush=True)


def borders_of(grid: Grid | Zones, axis: int) -> set[int]:
    """Return where tiles start and end along an axis; of exact ones their zones."""
    if isinstance(grid, Zones):
        return {edge for span in (grid.row_spans, grid.column_spans)[axis] for edge in span[2:]}
    starts = (grid.rows, grid.columns)[axis]
    return {*starts, *(start + grid.tile_shape[axis] for start in starts)}


def jumps_of(probabilities: Tensor, borders: set[int], *, axis: int, factor: int) -> tuple[float, float]:
    """Return the mean jump between neighbours along an axis of (K, H, W), across the borders and elsewhere.

    The cells of the poolings have borders too, at which networks jump more than inside. So elsewhere is only where
    these are as well: at the same places modulo their side.

    >>> values = torch.tensor([0.0, 3.0, 4.0, 7.0, 13.0, 16.0, 17.0, 20.0])
    >>> jumps_of(values[None, None], {0, 4, 8}, axis=2, factor=2)
    (6.0, 1.0)
    """
    others = tuple({0, 1, 2} - {axis})
    steps = probabilities.diff(dim=axis).abs().double().mean(dim=others).cpu()  # [i]: from pixel i to i + 1
    places = range(1, len(steps) + 1)
    phases = {border % factor for border in borders if border in places}
    at = [place - 1 for place in places if place in borders]
    elsewhere = [place - 1 for place in places if place not in borders and place % factor in phases]
    return float(steps[at].mean()), float(steps[elsewhere].mean())


def pictures(options: argparse.Namespace, checkpoint: Checkpoint | None) -> Iterator[NDArray[Any]]:
    """Yield the images (H, W, C) that are asked for, else one synthetic image a size."""
    for path in options.images:
        if checkpoint is None:
            raise SystemExit("--images: needs the --checkpoint that has learned such images")
        with open_image(path, as_learned(checkpoint, print)) as source:
            yield source.read(Box(0, 0, *source.shape[:2]))
    for size in options.sizes if not options.images else []:
        gray = draw(0, 0, size, size)[0]
        yield np.stack([gray] * (len(checkpoint.channels) if checkpoint else CHANNELS), axis=2)
