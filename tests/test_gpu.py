"""The straight line on a CUDA device: run with `pytest -m gpu` where there is one."""

import numpy as np
import pytest
import torch

import patchseg
from patchseg.imaging import Box, open_image
from patchseg.models.checkpoint import load

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.fixture(scope="module")
def patches(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpu")
    patchseg.synth(folder / "data", parameters=patchseg.SynthParameters(train=12, test=2))
    settings = patchseg.PrepareParameters(output=str(folder / "patches.h5"), per_image=8)
    return patchseg.prepare(folder / "data/train/images", folder / "data/train/masks", parameters=settings)


def trained(patches, folder, **settings):
    parameters = patchseg.TrainParameters(**{"steps": 60, "batch": 8, "device": "cuda"} | settings)
    return load(patchseg.train(patches, parameters=parameters, folder=folder))


def masks(patches, checkpoint, folder, device):
    settings = patchseg.InferParameters(
        output=str(folder), device=device, precision="fp32", probabilities=True
    )
    test = patches.parent / "data/test/images"
    patchseg.infer([test], checkpoint=checkpoint, parameters=settings)
    files = sorted((folder / "probabilities").iterdir())
    sources = [open_image(file) for file in files]
    return np.stack([source.read(Box(0, 0, *source.shape[:2])) for source in sources]).astype(np.float32)


def test_training_on_cuda_in_bf16_learns_and_repeats_to_a_tolerance(patches, tmp_path):
    first, second = (trained(patches, tmp_path / name) for name in "ab")
    assert first.scores["loss/train"] < 1.5
    assert first.scores["loss/train"] == pytest.approx(second.scores["loss/train"], rel=0.05)


def test_deterministic_training_on_cuda_is_bit_exact(patches, tmp_path):
    first, second = (trained(patches, tmp_path / name, deterministic=True).weights for name in "ab")
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_cuda_and_cpu_give_the_same_probabilities(patches, tmp_path):
    trained(patches, tmp_path, device="cpu")
    checkpoint = tmp_path / "checkpoints/patches/best.pt"
    there = {device: masks(patches, checkpoint, tmp_path / device, device) for device in ("cpu", "cuda")}
    # float16 files and TF32 convolutions
    assert np.abs(there["cpu"] - there["cuda"]).max() < 5e-3
