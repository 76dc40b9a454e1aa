from contextlib import ExitStack, closing

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from patchseg.parameters import AugmentParameters, TrainParameters
from patchseg.patches.store import PatchFile
from patchseg.training.batches import Batches

CPU = torch.device("cpu")
COUNT = 7


def made(file, *, device, augment=AugmentParameters(), part=(0, 1), **settings):
    """Return batches; parameters of train as keywords."""
    return Batches(file, TrainParameters(**settings), device=device, augment=augment, part=part)


@pytest.fixture(scope="module")
def seven(tmp_path_factory, noise, write_patches):
    """A file of 7 patches."""
    with PatchFile(write_patches(tmp_path_factory.mktemp("seven") / "p.h5", *noise(COUNT))) as file:
        yield file


@given(batch=st.integers(1, 20), seed=st.integers(0, 2**40), passes=st.integers(1, 4))
@settings(max_examples=40)
def test_every_patch_comes_once_a_pass_and_every_batch_is_full(seven, batch, seed, passes):
    batches = made(seven, batch=batch, seed=seed, device=CPU)
    steps = -(-passes * COUNT // batch)
    drawn = [batches.numbers(step) for step in range(steps)]
    assert {len(numbers) for numbers in drawn} == {batch}
    for one_pass in np.concatenate(drawn)[: passes * COUNT].reshape(passes, COUNT):
        assert sorted(one_pass) == list(range(COUNT))


@given(batch=st.integers(1, 20), seed=st.integers(0, 2**40), steps=st.permutations(range(8)))
@settings(max_examples=40)
def test_the_order_is_a_function_of_seed_and_step_alone(seven, batch, seed, steps):
    forth = made(seven, batch=batch, seed=seed, device=CPU)
    expected = [forth.numbers(step) for step in range(8)]
    torch.manual_seed(steps[0])
    mixed = made(seven, batch=batch, seed=seed, device=CPU)
    for step in steps:
        assert (mixed.numbers(step) == expected[step]).all()


def test_passes_and_seeds_have_orders_of_their_own(tmp_path, noise, write_patches):
    with PatchFile(write_patches(tmp_path / "p.h5", *noise(30))) as file:
        orders = [
            tuple(made(file, batch=30, seed=seed, device=CPU).numbers(step))
            for seed in (0, 1)
            for step in (0, 1, 2)
        ]
    assert len(set(orders)) == 6


@pytest.fixture(params=[np.uint8, np.uint16, np.float32])
def stored(request, tmp_path, noise, write_patches):
    """Images and masks of some dtype, and the path of a file of them."""
    images, masks = noise(COUNT, channels=2, dtype=request.param)
    return images, masks, write_patches(tmp_path / "p.h5", images, masks)


@pytest.mark.parametrize("keep", ["device", "memory", "file"])
@pytest.mark.parametrize("batch", [3, 20])
def test_batches_are_the_stored_patches_wherever_they_are_kept(stored, keep, batch):
    images, masks, path = stored
    with (
        PatchFile(path) as file,
        closing(made(file, batch=batch, seed=5, device=CPU, keep=keep)) as batches,
    ):
        assert batches.place.keep == keep
        for step in (0, 1, 2, 3, 2, 7):
            got_images, got_masks = batches.read(step)[:2]
            numbers = batches.numbers(step)
            assert got_images.shape == (batch, 2, 8, 8)
            assert got_images.is_contiguous(memory_format=torch.channels_last)
            assert got_images.numpy().dtype == images.dtype
            assert (got_images.permute(0, 2, 3, 1).numpy() == images[numbers]).all()
            assert (got_masks.numpy() == masks[numbers]).all()


VARIED = AugmentParameters(strength="strong")


@pytest.mark.parametrize("keep", ["device", "file"])
@pytest.mark.parametrize("augment", [AugmentParameters(), VARIED])
def test_processes_share_the_batches_that_one_would_make(tmp_path, noise, write_patches, keep, augment):
    settings = {"batch": 6, "seed": 3, "device": CPU, "augment": augment, "keep": keep, "centred": 0.5}
    with PatchFile(write_patches(tmp_path / "p.h5", *noise(COUNT, side=16))) as file, ExitStack() as stack:
        alone, *parts = [
            stack.enter_context(closing(made(file, **settings, part=part)))
            for part in ((0, 1), (0, 3), (1, 3), (2, 3))
        ]
        for step in (0, 1, 2, 9):
            shares = [part.read(step)[:2] for part in parts]
            for whole, pieces in zip(alone.read(step)[:2], zip(*shares, strict=True), strict=True):
                assert {len(piece) for piece in pieces} == {2}
                torch.testing.assert_close(torch.cat(pieces), whole, rtol=0, atol=1e-3)


def test_a_varied_batch_is_a_function_of_seed_and_step_alone(tmp_path, noise, write_patches):
    with PatchFile(write_patches(tmp_path / "p.h5", *noise(COUNT, side=16))) as file:
        one, other = (made(file, batch=4, seed=1, device=CPU, augment=VARIED, centred=0.3) for _ in range(2))
        expected = [one.read(step)[:2] for step in range(6)]
        torch.manual_seed(7)
        for step in (5, 0, 3):
            assert all(torch.equal(a, b) for a, b in zip(other.read(step)[:2], expected[step], strict=True))
        again = made(file, batch=4, seed=2, device=CPU, augment=VARIED).read(0)
    assert not torch.equal(again[0], expected[0][0])


def test_batches_that_are_varied_together_stay_batches_of_their_own(tmp_path, noise, write_patches):
    """CutMix takes from the next patch of the same step: each step is what it is alone."""
    images, masks = noise(COUNT, side=16)
    mixed = AugmentParameters(strength="none", cutmix=1.0)
    with PatchFile(write_patches(tmp_path / "p.h5", images, masks)) as file:
        batches = made(file, batch=3, seed=1, device=CPU, augment=mixed)
        for step in (0, 1, 4, 5, 11):
            numbers, (seen, _) = batches.numbers(step), batches.read(step)[:2]
            for row in range(3):
                own, after = (
                    torch.from_numpy(images[numbers[(row + k) % 3]]).permute(2, 0, 1) for k in (0, 1)
                )
                assert ((seen[row] == own) | (seen[row] == after)).all()
                assert (seen[row] != own).any() or numbers[row] == numbers[(row + 1) % 3]


@pytest.fixture
def rare(tmp_path, write_patches):
    """20 patches of background, of which one holds class 1 and two class 2."""
    images, masks = np.zeros((20, 16, 16, 1), np.uint8), np.zeros((20, 16, 16), np.uint8)
    masks[3, 2, 5], masks[7, :4], masks[11, 15, 15] = 1, 2, 2
    with PatchFile(write_patches(tmp_path / "p.h5", images, masks)) as file:
        yield file


def test_patches_are_drawn_for_their_classes_each_as_often(rare):
    drawn = made(rare, batch=4000, seed=0, device=CPU, centred=1.0).numbers(0)
    counts = np.bincount(drawn, minlength=20)
    assert counts[3] == pytest.approx(2000, abs=150)
    assert counts[7] == pytest.approx(1000, abs=120)
    assert counts[11] == pytest.approx(1000, abs=120)
    assert counts.sum() == counts[[3, 7, 11]].sum()


def test_a_share_is_drawn_for_the_classes_and_the_rest_comes_in_turn(rare):
    batches, plain = (made(rare, batch=4000, seed=0, device=CPU, centred=share) for share in (0.25, 0.0))
    drawn, in_turn = batches.numbers(0), plain.numbers(0)
    assert (drawn == in_turn).mean() == pytest.approx(0.75 + 0.25 / 20, abs=0.03)
    assert set(drawn[drawn != in_turn]) <= {3, 7, 11}


def test_without_any_foreground_nothing_is_drawn_for_it(tmp_path, write_patches):
    blank = np.zeros((5, 8, 8, 1), np.uint8), np.zeros((5, 8, 8), np.uint8)
    with PatchFile(write_patches(tmp_path / "p.h5", *blank)) as file:
        share, plain = (made(file, batch=5, seed=0, device=CPU, centred=c) for c in (1.0, 0.0))
        assert (share.numbers(3) == plain.numbers(3)).all()


@pytest.mark.parametrize("keep", ["device", "file"])
def test_of_patches_with_a_margin_the_middle_is_trained_on(tmp_path, noise, write_patches, keep):
    images, masks = noise(COUNT, side=14, channels=2)
    path = write_patches(tmp_path / "p.h5", images, masks, margin=3)
    with PatchFile(path) as file, closing(made(file, batch=4, seed=5, device=CPU, keep=keep)) as batches:
        got_images, got_masks = batches.read(1)[:2]
        numbers = batches.numbers(1)
        assert got_images.is_contiguous(memory_format=torch.channels_last)
        assert (got_images.permute(0, 2, 3, 1).numpy() == images[numbers, 3:11, 3:11]).all()
        assert (got_masks.numpy() == masks[numbers, 3:11, 3:11]).all()
        middle = masks[:, 3:11, 3:11]
        assert file.class_counts.sum(axis=0).tolist() == [int((middle == k).sum()) for k in range(3)]


@pytest.mark.parametrize(("pixel", "seen"), [((9, 14), {7, 8}), ((12, 10), {7, 8}), ((18, 18), {10, 11})])
def test_a_patch_drawn_for_a_class_is_moved_so_that_it_is_in_the_middle(tmp_path, write_patches, pixel, seen):
    """The window is 24 wide and the patch 16, so the middle moves by 4 at most; it lies between two pixels."""
    images, masks = np.zeros((6, 24, 24, 1), np.uint8), np.zeros((6, 24, 24), np.uint8)
    masks[(2, *pixel)] = 1
    with PatchFile(write_patches(tmp_path / "p.h5", images, masks, margin=4)) as file:
        shown = made(file, batch=10, seed=0, device=CPU, centred=1.0).read(0)[1]
    assert shown.shape == (10, 16, 16)
    places = torch.nonzero(shown == 1)
    assert len(places) == 10
    assert set(places[:, 1:].flatten().tolist()) <= seen


@pytest.mark.gpu
@pytest.mark.parametrize("keep", ["device", "memory", "file"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_batches_on_cuda_are_those_of_the_cpu(tmp_path, noise, write_patches, dtype, keep):
    with (
        PatchFile(write_patches(tmp_path / "p.h5", *noise(COUNT, dtype=dtype))) as file,
        ExitStack() as stack,
    ):
        here = made(file, batch=4, seed=0, device=CPU)
        there = stack.enter_context(
            closing(made(file, batch=4, seed=0, device=torch.device("cuda"), keep=keep))
        )
        for step in range(5):
            for mine, its in zip(here.read(step)[:2], there.read(step)[:2], strict=True):
                assert its.is_cuda
                assert (mine.numpy() == its.cpu().numpy()).all()


@pytest.mark.gpu
def test_varied_batches_on_cuda_are_those_of_the_cpu_but_for_their_noise(tmp_path, noise, write_patches):
    augment = AugmentParameters(strength="strong", noise=0.0)
    with PatchFile(write_patches(tmp_path / "p.h5", *noise(COUNT, side=32))) as file, ExitStack() as stack:
        here, there = (
            stack.enter_context(
                closing(made(file, batch=4, seed=0, device=torch.device(kind), augment=augment))
            )
            for kind in ("cpu", "cuda")
        )
        for step in range(8):
            (images, masks), (its, labels) = here.read(step)[:2], there.read(step)[:2]
            torch.testing.assert_close(its.cpu(), images, rtol=1e-3, atol=0.1)
            assert (labels.cpu() != masks).float().mean() < 1e-3
