import shutil

import numpy as np
import pytest
import torch

from patchseg.imaging import Box
from patchseg.labels.classes import Classes
from patchseg.parameters import (
    AugmentParameters,
    DataParameters,
    ModelParameters,
    PrepareParameters,
    SynthParameters,
    TrainParameters,
)
from patchseg.patches.prepare import prepare
from patchseg.patches.store import Head, PatchWriter
from patchseg.progress import Progress
from patchseg.synth import CLASSES, synth
from patchseg.training.draws import _SIZES, Draws
from patchseg.training.train import train

torch.set_num_threads(1)

NETWORK = ModelParameters(width=4, levels=2, norm="batch")


class Stop(Progress):
    """Gives up after some steps, as a crash would."""

    def __init__(self, steps):
        self.left = steps

    def step(self, count=1, note=""):
        self.left -= count
        if not self.left:
            raise ZeroDivisionError


def settings(**values):
    """Return parameters of a run of seconds on one thread."""
    return TrainParameters(**{"name": "run", "epochs": 4, "batch": 4, "threads": 1, "device": "cpu"} | values)


@pytest.fixture(scope="session")
def patches(tmp_path_factory):
    """80 training patches of 32 x 32 out of 5 images, and the sixth whole for validation."""
    folder = tmp_path_factory.mktemp("data")
    synth(folder / "synth", parameters=SynthParameters(train=6, test=0, height=64, width=64))
    return prepare(
        folder / "synth/train/images", folder / "synth/train/masks",
        parameters=PrepareParameters(output=str(folder / "patches.h5"), patch=32, per_image=4),
        data=DataParameters.model_validate({"classes": list(CLASSES)}),
    )  # fmt: skip


@pytest.fixture(scope="session")
def run_training(patches):
    """Train on those patches in a folder; parameters of train as keywords."""

    def run(
        folder,
        *,
        file=patches,
        model=NETWORK,
        augment=AugmentParameters(),
        progress=None,
        **values,
    ):
        given = {name: values.pop(name, False) for name in ("resume", "overwrite")}
        given |= {"augment": augment, "progress": progress}
        return train(file, parameters=settings(**values), model=model, folder=folder, **given)

    return run


@pytest.fixture(scope="session")
def straight(tmp_path_factory, run_training):
    """The folder of a run of 4 epochs that nothing disturbed."""
    folder = tmp_path_factory.mktemp("straight")
    run_training(folder)
    return folder


@pytest.fixture(scope="session")
def crashed(tmp_path_factory, run_training):
    """The folder of a run that crashed in its second epoch; its first one is saved."""
    folder = tmp_path_factory.mktemp("crashed")
    with pytest.raises(ZeroDivisionError):
        run_training(folder, rate=0.01, progress=Stop(33))
    return folder


@pytest.fixture
def half(crashed, tmp_path):
    """A copy of that folder, to go on in."""
    return shutil.copytree(crashed, tmp_path / "half")


@pytest.fixture
def finished(straight, tmp_path):
    """A copy of the folder of a whole run."""
    return shutil.copytree(straight, tmp_path / "finished")


@pytest.fixture(scope="session")
def write_patches():
    """Write a patches file out of arrays: images (N, S+2M, S+2M, C), masks and pairs of validation regions; images without masks."""

    def write(path, images, masks, regions=(), classes=3, *, margin=0, unlabelled=()):
        count, window, _, channels = images.shape
        patch = window - 2 * margin
        with PatchWriter(path, patch=patch, channels=channels, dtype=images.dtype, margin=margin) as writer:
            writer.add_source("a.png", "0" * 64, "a", "train")
            if count:
                boxes = [Box(0, 0, window, window)] * count
                writer.add_patches("train", images, masks, source=0, boxes=boxes, flips=[0] * count)
            if len(unlabelled):
                writer.add_source("b.png", "1" * 64, "b", "unlabelled")
                writer.add_unlabelled(
                    unlabelled, source=1, boxes=[Box(0, 0, window, window)] * len(unlabelled)
                )
            for image, mask in regions:
                writer.add_region(image, mask, source=0, box=Box(0, 0, *mask.shape))
            names = tuple(f"class {k}" for k in range(classes))
            colors = tuple(f"#{k:02x}{k:02x}{k:02x}" for k in range(classes))
            statistics = [{"name": f"channel_{c}", "mean": 100.0, "std": 50.0} for c in range(channels)]
            known = Classes(names, tuple(range(classes)), colors)
            writer.finish(Head(patch, 1.0, 0, known, statistics, margin=margin))
        return path

    return write


@pytest.fixture(scope="session")
def some_unlabelled(tmp_path_factory, write_patches, noise):
    """A file of 6 labelled patches, 10 without labels, and two regions to validate."""
    regions = list(zip(*noise(2, side=24, seed=1), strict=True))
    others, _ = noise(10, side=16, seed=2)
    path = tmp_path_factory.mktemp("some") / "p.h5"
    return write_patches(path, *noise(6, side=16), regions, unlabelled=others)


@pytest.fixture(scope="session")
def differences():
    """Return the places at which two trees of tensors and plain values differ, bit by bit."""

    def compare(one, other, place=""):
        if isinstance(one, dict) and isinstance(other, dict):
            keys = {*one, *other}
            return [d for k in keys for d in compare(one.get(k, "no"), other.get(k, "no"), f"{place}/{k}")]
        if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
            return [
                d
                for i, pair in enumerate(zip(one, other, strict=True))
                for d in compare(*pair, f"{place}/{i}")
            ]
        if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
            same = one.dtype == other.dtype and torch.equal(one, other)
            return [] if same else [place]
        return [] if type(one) is type(other) and one == other else [place]

    return compare


@pytest.fixture(scope="session")
def noise():
    """Return n random images (n, S, S, C) and masks (n, S, S) of 3 classes with some pixels to ignore."""

    def noise(n, *, side=8, channels=1, dtype=np.uint8, seed=0):
        draw = np.random.default_rng(seed)
        images = (draw.random((n, side, side, channels)) * (60000 if dtype == np.uint16 else 255)).astype(
            dtype
        )
        masks = draw.integers(0, 3, (n, side, side), dtype=np.uint8)
        masks[draw.random(masks.shape) < 0.1] = 255
        return images, masks

    return noise


@pytest.fixture(scope="session")
def drawn():
    """Return draws of some samples whose numbers are 0.5, which changes nothing, but for those given by name."""

    def draw(count=1, **numbers):
        draws = Draws(np.full((count, sum(_SIZES.values())), 0.5))
        for name, values in numbers.items():
            draws[name][:] = values
        return draws

    return draw
