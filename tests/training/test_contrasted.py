"""Two views of labelled patches in batches: when, of which patches, and that nothing else changes."""

from contextlib import ExitStack, closing

import numpy as np
import pytest
import torch

from patchseg.parameters import AugmentParameters, TrainParameters
from patchseg.patches.store import PatchFile
from patchseg.training import contrasted
from patchseg.training.batches import Batches
from patchseg.training.recipe import Recipe

CPU = torch.device("cpu")
VARIED = AugmentParameters(strength="strong")


@pytest.fixture
def stored(tmp_path, noise, write_patches):
    """A file of 7 patches; each pixel is 10 times its class."""
    _, masks = noise(7, side=24)
    masks[masks == 255] = 0
    return write_patches(tmp_path / "p.h5", 10 * masks[..., None], masks, margin=2)


def reading(file, augment=AugmentParameters(), part=(0, 1), **values):
    settings = TrainParameters(**{"objective": "supcon", "batch": 4, "seed": 1, "contrast_every": 3} | values)
    return closing(Batches(file, settings, device=CPU, augment=augment, part=part))


def test_views_come_at_every_third_step_and_labelled_patches_are_the_same_with_and_without(stored):
    with PatchFile(stored) as file, ExitStack() as stack:
        taught = stack.enter_context(reading(file, VARIED, centred=0.5))
        plain = stack.enter_context(
            reading(file, VARIED, centred=0.5, objective="supervised", contrast_every=5)
        )
        for step in range(8):
            mine, its = taught.read(step), plain.read(step)
            assert len(mine.contrasted) == (2 if step % 3 == 0 else 0)
            assert torch.equal(mine.images, its.images)
            assert torch.equal(mine.masks, its.masks)
            assert its.contrasted == ()


def test_views_are_of_the_patches_of_the_step_with_their_classes(stored, monkeypatch):
    monkeypatch.setattr(contrasted, "VIEW", Recipe())
    turned = AugmentParameters(strength="none", flips="both", turns=True, cutmix=1.0)
    with PatchFile(stored) as file, reading(file, turned) as batches:
        masks = file.read("train")[1][:, 2:-2, 2:-2]
        for step in (0, 3):
            numbers, views = batches.numbers(step), batches.read(step).contrasted
            for image, regions in views:
                assert image.dtype == torch.float32
                assert regions.dtype == torch.uint8
                torch.testing.assert_close(
                    image[:, 0], 10.0 * regions, atol=1e-3, rtol=0
                )  # moved as one, nothing mixed in
                for seen, number in zip(regions.numpy(), numbers, strict=True):
                    ways = [np.rot90(masks[number], k)[:, ::flip] for k in range(4) for flip in (1, -1)]
                    assert any((seen == way).all() for way in ways)
            assert not torch.equal(views[0].regions, views[1].regions)


def test_both_views_are_centred_on_what_the_patch_was_drawn_for(tmp_path, write_patches, monkeypatch):
    monkeypatch.setattr(contrasted, "VIEW", Recipe())
    masks = np.zeros((3, 24, 24), np.uint8)
    masks[:, 8, 15] = 1
    path = write_patches(tmp_path / "p.h5", 10 * masks[..., None], masks, margin=4)
    with PatchFile(path) as file, reading(file, AugmentParameters(strength="none"), centred=1.0) as batches:
        for _, regions in batches.read(0).contrasted:
            places = torch.nonzero(regions)[:, 1:]
            assert len(places) == 4
            assert ((places - 7.5).abs() <= 1).all()


def test_the_two_views_are_changed_each_in_its_own_way(stored):
    with PatchFile(stored) as file, reading(file, AugmentParameters(strength="none")) as batches:
        one, other = batches.read(0).contrasted
    assert torch.equal(one.regions, other.regions)
    assert not torch.equal(one.image, other.image)


@pytest.mark.parametrize("keep", ["device", "file"])
def test_views_are_a_function_of_seed_and_step_alone(stored, keep):
    with PatchFile(stored) as file, ExitStack() as stack:
        one, other = (stack.enter_context(reading(file, VARIED, keep=keep, batch=2)) for _ in range(2))
        expected = {step: one.read(step).contrasted for step in (0, 3, 9)}
        torch.manual_seed(7)
        for step in (9, 0, 3):
            for mine, its in zip(other.read(step).contrasted, expected[step], strict=True):
                assert torch.equal(mine.image, its.image)
                assert torch.equal(mine.regions, its.regions)


def test_processes_share_the_views_that_one_would_make(stored):
    with PatchFile(stored) as file, ExitStack() as stack:
        alone, *parts = [
            stack.enter_context(reading(file, VARIED, part=part, centred=0.5))
            for part in ((0, 1), (0, 2), (1, 2))
        ]
        for step in (0, 6):
            whole, shares = alone.read(step).contrasted, [part.read(step).contrasted for part in parts]
            for view in range(2):
                for name, most in (("image", 1e-2), ("regions", 0)):
                    pieces = torch.cat([getattr(share[view], name) for share in shares])
                    torch.testing.assert_close(pieces, getattr(whole[view], name), rtol=0, atol=most)


def test_what_learns_from_regions_alone_sees_two_views_at_every_step_and_nothing_else(stored):
    with (
        PatchFile(stored) as file,
        reading(file, VARIED, objective="detcon", contrast_every=5) as batches,
        reading(file, VARIED, contrast_every=1) as other,
    ):
        for step in range(3):
            batch, expected = batches.read(step), other.read(step).contrasted
            assert batch.images is batch.contrasted[0].image
            assert batch.masks is batch.contrasted[0].regions
            for mine, its in zip(batch.contrasted, expected, strict=True):
                assert torch.equal(mine.image, its.image)
                assert torch.equal(mine.regions, its.regions)
