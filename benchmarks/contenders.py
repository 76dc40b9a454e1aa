"""The ways to learn that training.py compares: the bare step, patchseg's own, a short script's, and MONAI's."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler

from patchseg import device as devices
from patchseg import models
from patchseg.parameters import AugmentParameters, ModelParameters, Strength, TrainParameters
from patchseg.patches.store import PatchFile
from patchseg.training.batches import Batches
from patchseg.training.learner import Learner
from patchseg.training.losses import loss_of

SIDE, CLASSES = 96, 3
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
BATCH, WIDTH = (16, 32) if DEVICE.type == "cuda" else (4, 8)
# The rates are next to none, so that no network runs away, or learns its batch by heart, while the clock runs.
SETTINGS = TrainParameters(batch=BATCH, rate=1e-7, loss="ce+dice")
NETWORK = ModelParameters(width=WIDTH, levels=4, norm="batch")
COST = loss_of("ce+dice")
WORKERS, CROPS = 4, 4

Step = Callable[[], object]
Pixels = NDArray[np.uint8]
Batch = tuple[Tensor, Tensor]


class Contender(NamedTuple):
    """One way to learn.

    Attributes:
        name: Of the line it prints.
        step: Takes one step.
        fetched: Batches that its workers may hold ready.
    """

    name: str
    step: Step
    fetched: int = 0


def network(mean: float, std: float, layout: torch.memory_format) -> nn.Module:
    """Return the network for pixels of that mean and standard deviation, ready to learn."""
    spec = NETWORK.model_dump() | {"channels": 3, "classes": CLASSES}
    with devices.seeded(0):
        made = models.build(spec)
    made.set_normalization([mean] * 3, [std] * 3)
    return made.to(DEVICE, memory_format=layout).train()


def bare(read: Callable[[], Batch], *, mean: float = 128.0, std: float = 74.0) -> Step:
    """Return the step that every other one is measured by, on the batches that `read` gives."""
    net = network(mean, std, torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-7, weight_decay=0.01, fused=True)
    precision = devices.resolve_precision("auto", DEVICE)

    def step() -> None:
        images, masks = read()
        with devices.autocast(DEVICE, precision):
            logits = net(images)
        optimizer.zero_grad()
        COST(logits, masks, None).backward()
        optimizer.step()

    return step


def batches(file: PatchFile, strength: Strength) -> Batches:
    """Return the training patches as `train` reads them, augmented that strongly."""
    augment = AugmentParameters(strength=strength)
    return Batches(file, SETTINGS, device=DEVICE, augment=augment)


def patchseg(learner: Learner, source: Batches) -> Step:
    """Return the step of the loop in patchseg/training/train.py."""

    def step() -> None:
        learner.learn(source.read(learner.step), progress=0.5)

    return step


class Files(Dataset[Batch]):
    """A PNG a patch and a PNG a mask, read anew each time.

    Args:
        folder: Where to write them.
        file: Whose training patches they are.
    """

    def __init__(self, folder: Path, file: PatchFile) -> None:
        self._folder = folder
        folder.mkdir()
        images, masks = file.read("train")
        self._count, edge = len(images), (images.shape[1] - SIDE) // 2
        inner = (slice(None), slice(edge, edge + SIDE), slice(edge, edge + SIDE))
        for number, (image, mask) in enumerate(zip(images[inner], masks[inner], strict=True)):
            Image.fromarray(image).save(folder / f"image_{number}.png")
            Image.fromarray(mask).save(folder / f"mask_{number}.png")

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> Batch:
        image = np.array(Image.open(self._folder / f"image_{number}.png")) / 255
        mask = np.array(Image.open(self._folder / f"mask_{number}.png"))
        return torch.from_numpy(image).permute(2, 0, 1).float(), torch.from_numpy(mask).long()


def endless(loader: Any) -> Iterator[Any]:
    """Yield pass after pass; the workers start anew where the loader has them do so."""
    while True:
        yield from loader


def files(folder: Path, file: PatchFile) -> Contender:
    """Return the way of a short script."""
    loader = DataLoader(
        Files(folder, file), batch_size=BATCH, shuffle=True, drop_last=True, num_workers=WORKERS
    )
    stream, net = endless(loader), network(0.5, 0.29, torch.contiguous_format)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-7, weight_decay=0.01, fused=False)
    total = 0.0

    def step() -> None:
        nonlocal total
        images, masks = (tensor.to(DEVICE) for tensor in next(stream))
        loss = COST(net(images), masks, None)
        total += loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return Contender(f"files, {WORKERS} workers", step, 2 * WORKERS)


def monai(pairs: list[tuple[Pixels, Pixels]], workers: int) -> Contender:
    """Return MONAI's usual way; its passes have no end, so that no worker ever starts anew."""
    from monai import data, transforms

    both, modes = ["image", "label"], ["bilinear", "nearest"]
    steps = transforms.Compose(
        [
            transforms.EnsureChannelFirstd(both, channel_dim=-1),
            transforms.ScaleIntensityd("image"),
            transforms.RandCropByPosNegLabeld(both, "label", (SIDE, SIDE), num_samples=CROPS),
            transforms.RandFlipd(both, prob=0.5, spatial_axis=0),
            transforms.RandFlipd(both, prob=0.5, spatial_axis=1),
            transforms.RandRotate90d(both, prob=0.5),
            transforms.RandRotated(both, range_x=np.pi, prob=0.2, mode=modes),
            transforms.RandScaleIntensityd("image", factors=0.25, prob=0.15),
            transforms.RandShiftIntensityd("image", offsets=0.1, prob=0.15),
            transforms.RandGaussianNoised("image", prob=0.1, std=0.1),
        ]
    )
    whole = [{"image": image, "label": mask[:, :, None]} for image, mask in pairs]
    cached = data.CacheDataset(whole, steps, progress=False)
    sampler = RandomSampler(cached, replacement=True, num_samples=10**6)
    stream = endless(data.DataLoader(cached, batch_size=BATCH // CROPS, sampler=sampler, num_workers=workers))

    def read() -> Batch:
        batch = next(stream)
        # As plain tensors, which cost the network less than MONAI's own.
        return batch["image"].as_tensor().to(DEVICE), batch["label"][:, 0].as_tensor().long().to(DEVICE)

    return Contender(f"monai, {workers} workers", bare(read, mean=0.5, std=0.29), 2 * workers)
