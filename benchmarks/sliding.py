"""The ways from an image to its mask that inference.py compares: patchseg's, the bare network, and four others.

Each takes a `Setting` and an image (H, W, 3) uint8 in memory, and returns the mask (H, W) uint8 in host memory. What an
image costs a way (floats of it, buffers, copies to the device) is done inside, and so is timed.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from patchseg import device as devices
from patchseg.imaging import ArraySource
from patchseg.inference.predictor import Predictor, most_probable
from patchseg.inference.stream import stream
from patchseg.inference.tiling import Grid
from patchseg.inference.windows import WINDOWS
from patchseg.inference.zones import Zones
from patchseg.models.folding import folded
from patchseg.models.unet import UNet, halo
from patchseg.parameters import Precision

CHANNELS, CLASSES, LEVELS = 3, 3, 4
WIDTH = {"cpu": 8, "cuda": 32}
EXACT = "exact"
BLENDS = (*WINDOWS, EXACT)
BARE = "bare"

Pixels = NDArray[np.uint8]


class Setting(NamedTuple):
    """What all ways share.

    Attributes:
        device: Where the networks are.
        precision: Of every way, "bf16" or "fp32".
        tile: Side of a tile in pixels; tiles overlap by half.
        batch: Tiles a forward pass.
        plain: The network in evaluation mode, as it is.
        folded: The same with its batch norms inside the convolutions, channels_last, weights at the precision.
        predictor: The same as patchseg runs it.
        ready: A batch of tiles for the folded network, (N, C, h, w) float32 on the device.
    """

    device: torch.device
    precision: Precision
    tile: int
    batch: int
    plain: nn.Module
    folded: nn.Module
    predictor: Predictor
    ready: Tensor

    @classmethod
    def of(cls, device: torch.device, precision: Precision, tile: int, *, batch: int | None) -> "Setting":
        """Make the networks; without a batch as many tiles as `infer` takes there."""
        plain, batch = network(device), batch or devices.tile_batch(device)
        ready = torch.from_numpy(noise(tile * batch, tile)).view(batch, tile, tile, CHANNELS)
        return cls(
            device, precision, tile, batch, plain, fold(plain, precision), Predictor([folded(network(device))], device, precision),
            ready.permute(0, 3, 1, 2).to(device).float(),
        )  # fmt: skip

    def grid(self, image: Pixels) -> Grid:
        """Return where the tiles of an image lie."""
        return Grid((image.shape[0], image.shape[1]), self.tile)


Way = Callable[[Setting, Pixels], Pixels]


def noise(height: int, width: int) -> Pixels:
    """Return an image of noise, (H, W, 3) uint8."""
    return np.random.default_rng(0).integers(0, 256, (height, width, CHANNELS), np.uint8)


def network(device: torch.device) -> nn.Module:
    """Return the network with random weights and random statistics of its norms, in evaluation mode."""
    with devices.seeded(0):
        made = UNet(channels=CHANNELS, classes=CLASSES, width=WIDTH[device.type], levels=LEVELS, norm="batch")
        for norm in made.modules():
            if isinstance(norm, nn.BatchNorm2d):
                assert norm.running_mean is not None
                assert norm.running_var is not None
                norm.running_mean.uniform_(-0.5, 0.5)
                norm.running_var.uniform_(0.5, 2.0)
                nn.init.uniform_(norm.weight, 0.5, 1.5)
                nn.init.uniform_(norm.bias, -0.5, 0.5)
    made.set_normalization([128.0] * CHANNELS, [74.0] * CHANNELS)
    return made.to(device).eval()


def fold(plain: nn.Module, precision: Precision) -> nn.Module:
    """Return a copy whose convolutions do what the batch norms behind them did, in channels_last.

    Their weights are stored at the precision, since in inference mode autocast would cast them anew for each batch.
    """
    net = folded(plain)
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and precision == "bf16":
            layer.to(torch.bfloat16)
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def bare(setting: Setting, image: Pixels) -> Pixels:
    """Run the folded network on a batch that is ready, as often as the grid has batches; the mask is empty."""
    with torch.inference_mode(), devices.autocast(setting.device, setting.precision):
        for _ in range(-(-len(setting.grid(image)) // setting.batch)):
            setting.folded(setting.ready)
    if setting.device.type == "cuda":
        torch.cuda.synchronize()
    return np.empty((0, 0), np.uint8)


def laid(shape: tuple[int, int], tile: int, blend: str) -> Grid | Zones:
    """Return where the tiles of an image lie: half overlapping, or with the halo that `exact` needs."""
    if blend != EXACT:
        return Grid(shape, tile)
    return Zones(shape, tile, halo(LEVELS), int(2 ** (LEVELS - 1)))


def blended(
    predictor: Predictor, image: NDArray[Any], grid: Grid | Zones, *, classes: int, blend: str, batch: int
) -> Iterator[Tensor]:
    """Yield the probabilities of an image as `infer` makes them, (K, rows, W) float32 on the device."""
    return stream(
        ArraySource(image), predictor, grid, classes=classes, window=blend, batch=batch, device=predictor.device
    )  # fmt: skip


def patchseg(setting: Setting, image: Pixels, *, blend: str) -> Pixels:
    """Do what `infer` does between the image and the file of the mask."""
    mask, top = np.empty(image.shape[:2], np.uint8), 0
    grid = laid((image.shape[0], image.shape[1]), setting.tile, blend)
    for rows in blended(setting.predictor, image, grid, classes=CLASSES, blend=blend, batch=setting.batch):
        mask[top : top + rows.shape[1]] = most_probable(rows).cpu().numpy()
        top += rows.shape[1]
    return mask


def monai(setting: Setting, image: Pixels, *, mode: str) -> Pixels:
    """Do it as MONAI documents: the network as it is, the whole image as floats where the network is."""
    pixels = _on_device(setting, image).float().contiguous()
    return _by_monai(setting, setting.plain, pixels, mode)


def monai_folded(setting: Setting, image: Pixels, *, mode: str) -> Pixels:
    """Do it by MONAI with the folded network, image and network in channels_last."""
    return _by_monai(setting, setting.folded, _on_device(setting, image).float(), mode)


def _on_device(setting: Setting, image: Pixels) -> Tensor:
    """Return the image on the device, (1, C, H, W) uint8 that lies in memory as (H, W, C)."""
    return torch.from_numpy(image).to(setting.device).permute(2, 0, 1)[None]


def _by_monai(setting: Setting, net: nn.Module, pixels: Tensor, mode: str) -> Pixels:
    from monai.inferers import SlidingWindowInferer

    inferer = SlidingWindowInferer((setting.tile, setting.tile), setting.batch, overlap=0.5, mode=mode)
    with torch.inference_mode(), devices.autocast(setting.device, setting.precision):
        logits = inferer(pixels, net)
        mask: Pixels = logits.argmax(1)[0].to(torch.uint8).cpu().numpy()
    return mask


def _softmax(setting: Setting, tiles: Tensor) -> NDArray[np.float32]:
    """Return the probabilities by the network as it is, (N, K, h, w), of raw tiles (N, C, h, w)."""
    with torch.inference_mode(), devices.autocast(setting.device, setting.precision):
        probabilities: NDArray[np.float32] = (
            setting.plain(tiles.to(setting.device).float()).float().softmax(1).cpu().numpy()
        )
    return probabilities


def seed(setting: Setting, image: Pixels) -> Pixels:
    """Do it as short scripts do: a tile at a time, sums and counts of the whole image, float32."""
    height, width = image.shape[:2]
    sums, counts = np.zeros((CLASSES, height, width), np.float32), np.zeros((height, width), np.float32)
    for box in setting.grid(image):
        tile = torch.from_numpy(image[box.slices]).permute(2, 0, 1)[None]
        sums[:, *box.slices] += _softmax(setting, tile)[0]
        counts[box.slices] += 1
    return (sums / counts).argmax(0).astype(np.uint8)


def tiler(setting: Setting, image: Pixels) -> Pixels:
    """Do it as the README of tiler does, in batches, with a second `Tiler` for the classes in place of channels."""
    from tiler import Merger, Tiler

    (height, width), side = image.shape[:2], setting.tile
    tiles, classes = (
        Tiler((depth, height, width), (depth, side, side), overlap=0.5, channel_dimension=0)
        for depth in (CHANNELS, CLASSES)
    )
    merger = Merger(classes, window="boxcar")
    for number, batch in tiles(np.moveaxis(image, 2, 0), batch_size=setting.batch):
        merger.add_batch(number, setting.batch, _softmax(setting, torch.from_numpy(batch)))
    mask: Pixels = merger.merge(unpad=True, argmax=True, dtype=np.uint8)
    return mask


WAYS: dict[str, Way] = {
    BARE: bare,
    **{f"patchseg-{blend}": partial(patchseg, blend=blend) for blend in BLENDS},
    "monai-constant": partial(monai, mode="constant"),
    "monai-gaussian": partial(monai, mode="gaussian"),
    "monai-folded-constant": partial(monai_folded, mode="constant"),
    "monai-folded-gaussian": partial(monai_folded, mode="gaussian"),
    "seed": seed,
    "tiler": tiler,
}
