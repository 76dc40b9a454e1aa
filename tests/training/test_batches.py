import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from patchseg.patches.store import PatchFile
from patchseg.training import batches as module
from patchseg.training.batches import Batches

CPU = torch.device("cpu")
COUNT = 7


@pytest.fixture(scope="module")
def seven(tmp_path_factory, noise, write_patches):
    """A file of 7 patches."""
    with PatchFile(write_patches(tmp_path_factory.mktemp("seven") / "p.h5", *noise(COUNT))) as file:
        yield file


@given(batch=st.integers(1, 20), seed=st.integers(0, 2**40), passes=st.integers(1, 4))
@settings(max_examples=40)
def test_every_patch_comes_once_a_pass_and_every_batch_is_full(seven, batch, seed, passes):
    batches = Batches(seven, batch=batch, seed=seed, device=CPU)
    steps = -(-passes * COUNT // batch)
    drawn = [batches.numbers(step) for step in range(steps)]
    assert {len(numbers) for numbers in drawn} == {batch}
    for one_pass in np.concatenate(drawn)[: passes * COUNT].reshape(passes, COUNT):
        assert sorted(one_pass) == list(range(COUNT))


@given(batch=st.integers(1, 20), seed=st.integers(0, 2**40), steps=st.permutations(range(8)))
@settings(max_examples=40)
def test_the_order_is_a_function_of_seed_and_step_alone(seven, batch, seed, steps):
    forth = Batches(seven, batch=batch, seed=seed, device=CPU)
    expected = [forth.numbers(step) for step in range(8)]
    torch.manual_seed(steps[0])
    mixed = Batches(seven, batch=batch, seed=seed, device=CPU)
    for step in steps:
        assert (mixed.numbers(step) == expected[step]).all()


def test_passes_and_seeds_have_orders_of_their_own(tmp_path, noise, write_patches):
    with PatchFile(write_patches(tmp_path / "p.h5", *noise(30))) as file:
        orders = [
            tuple(Batches(file, batch=30, seed=seed, device=CPU).numbers(step))
            for seed in (0, 1)
            for step in (0, 1, 2)
        ]
    assert len(set(orders)) == 6


@pytest.fixture(params=[np.uint8, np.uint16, np.float32])
def stored(request, tmp_path, noise, write_patches):
    """Images and masks of some dtype, and the path of a file of them."""
    images, masks = noise(COUNT, channels=2, dtype=request.param)
    return images, masks, write_patches(tmp_path / "p.h5", images, masks)


@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("batch", [3, 20])
def test_batches_are_the_stored_patches_from_memory_and_from_the_file(stored, monkeypatch, resident, batch):
    images, masks, path = stored
    monkeypatch.setattr(module, "_RESIDENT", images.nbytes + masks.nbytes - (not resident))
    with PatchFile(path) as file:
        batches = Batches(file, batch=batch, seed=5, device=CPU)
        assert batches.resident == resident
        for step in range(4):
            got_images, got_masks = batches.read(step)
            numbers = batches.numbers(step)
            assert got_images.shape == (batch, 2, 8, 8)
            assert got_images.is_contiguous(memory_format=torch.channels_last)
            assert got_images.numpy().dtype == images.dtype
            assert (got_images.permute(0, 2, 3, 1).numpy() == images[numbers]).all()
            assert (got_masks.numpy() == masks[numbers]).all()


@pytest.mark.parametrize("resident", [True, False])
def test_of_patches_with_a_margin_the_middle_is_trained_on(
    tmp_path, noise, write_patches, monkeypatch, resident
):
    images, masks = noise(COUNT, side=14, channels=2)
    path = write_patches(tmp_path / "p.h5", images, masks, margin=3)
    monkeypatch.setattr(module, "_RESIDENT", 2**30 if resident else 0)
    with PatchFile(path) as file:
        batches = Batches(file, batch=4, seed=5, device=CPU)
        got_images, got_masks = batches.read(1)
        numbers = batches.numbers(1)
        assert got_images.is_contiguous(memory_format=torch.channels_last)
        assert (got_images.permute(0, 2, 3, 1).numpy() == images[numbers, 3:11, 3:11]).all()
        assert (got_masks.numpy() == masks[numbers, 3:11, 3:11]).all()
        middle = masks[:, 3:11, 3:11]
        assert batches.pixel_counts(3).tolist() == [int((middle == k).sum()) for k in range(3)]


def test_pixels_are_counted_by_class_without_those_to_ignore(tmp_path, noise, write_patches):
    images, masks = noise(300)  # more than are read at once
    with PatchFile(write_patches(tmp_path / "p.h5", images, masks)) as file:
        counts = Batches(file, batch=4, seed=0, device=CPU).pixel_counts(3)
    assert counts.tolist() == [int((masks == k).sum()) for k in range(3)]


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_batches_on_cuda_are_those_of_the_cpu(tmp_path, noise, write_patches, dtype):
    with PatchFile(write_patches(tmp_path / "p.h5", *noise(COUNT, dtype=dtype))) as file:
        here, there = (Batches(file, batch=4, seed=0, device=torch.device(kind)) for kind in ("cpu", "cuda"))
        for mine, its in zip(here.read(1), there.read(1), strict=True):
            assert its.is_cuda
            assert (mine.numpy() == its.cpu().numpy()).all()
