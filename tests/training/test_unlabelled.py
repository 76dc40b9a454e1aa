"""Patches without labels in batches: which, in which order, and how their views belong together."""

from contextlib import ExitStack, closing

import numpy as np
import pytest
import torch

from patchseg.errors import UsageError
from patchseg.parameters import AugmentParameters, TrainParameters
from patchseg.patches.store import PatchFile
from patchseg.training import unlabelled
from patchseg.training.batches import Batches
from patchseg.training.objectives.build import switched
from patchseg.training.recipe import Recipe

CPU = torch.device("cpu")
MOVED = AugmentParameters(strength="none", flips="both", turns=True)


@pytest.fixture
def stored(tmp_path, noise, write_patches):
    """Make a file of 5 labelled patches, so many unlabelled ones, each of a shade of its own, and so many sparse ones."""

    def make(count=7, sparse=0, dtype=np.uint8, side=16):
        images, masks = noise(5, side=side, dtype=dtype)
        masks = np.where(masks == 255, 0, masks)
        masks[:sparse, :, : side // 2] = 255
        shades = (10 * np.arange(1, count + 1, dtype=dtype)).reshape(-1, 1, 1, 1)
        others = np.broadcast_to(shades, (count, side, side, 1))
        path = write_patches(tmp_path / "p.h5", images, masks, unlabelled=others)
        return path, images, masks

    return make


def reading(file, augment=AugmentParameters(), part=(0, 1), **values):
    settings = TrainParameters(**{"objective": "fixmatch", "views": 2, "batch": 3, "seed": 1} | values)
    return closing(Batches(file, switched(settings), device=CPU, augment=augment, part=part))


@pytest.mark.parametrize("keep", ["device", "memory", "file"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_every_patch_comes_once_a_pass_and_is_as_it_is_stored(stored, keep, dtype):
    path, _, _ = stored(dtype=dtype)
    with PatchFile(path) as file, reading(file, keep=keep) as batches:
        seen = [batches.read(step).views for step in range(7)]
    shades = torch.cat([view.weak for view in seen])
    assert shades.shape == (21, 1, 16, 16)
    assert (shades == shades[:, :, :1, :1]).all()
    for one_pass in shades[:, 0, 0, 0].view(3, 7):
        assert sorted(one_pass.tolist()) == [10 * k for k in range(1, 8)]
    assert all((view.truth == 255).all() for view in seen)


def test_patches_with_few_labels_are_in_the_pool_with_those_that_they_have(stored):
    path, images, masks = stored(count=2, sparse=3)
    with PatchFile(path) as file, reading(file, batch=5) as batches:
        assert batches.unlabelled.count == 5
        seen = batches.read(0).views
    found = 0
    for weak, truth in zip(seen.weak, seen.truth, strict=True):
        own = [k for k in range(3) if (weak.permute(1, 2, 0).numpy() == images[k]).all()]
        assert own or (truth == 255).all()
        for k in own:
            assert (truth.numpy() == masks[k]).all()
            found += 1
    assert found == 3


def test_without_unlabelled_images_sparse_patches_are_all_there_is(stored, tmp_path, noise, write_patches):
    images, masks = noise(4, side=16)
    masks[0] = 0
    masks[1:, :8] = 255
    with PatchFile(write_patches(tmp_path / "q.h5", images, masks)) as file, reading(file) as batches:
        assert batches.unlabelled.count == 3
        assert not (batches.read(0).views.truth == 255).all()


def test_a_file_in_which_all_is_labelled_is_refused(tmp_path, noise, write_patches):
    images, masks = noise(4, side=16)
    path = write_patches(tmp_path / "q.h5", images, masks % 3)
    with (
        PatchFile(path) as file,
        pytest.raises(UsageError, match=r"q\.h5 has none; make it with `patchseg prepare"),
    ):
        reading(file)


def test_strong_views_lie_on_the_weak_one_but_for_a_rectangle_of_the_patch_after(stored, monkeypatch):
    monkeypatch.setattr(unlabelled, "VIEW", Recipe())  # nothing but rectangles
    path, _, _ = stored(count=9)
    with PatchFile(path) as file, reading(file, mix=0.7) as batches:
        for step in range(6):
            seen = batches.read(step).views
            weak = seen.weak
            assert len(seen.strong) == len(seen.inside) == 2
            for strong, inside in zip(seen.strong, seen.inside, strict=True):
                expected = torch.where(inside[:, None], weak.roll(-1, dims=0), weak)
                assert torch.equal(strong, expected)
                share = inside.float().mean(dim=(1, 2))
                assert ((share == 0) | ((share > 0.005) & (share < 0.5))).all()
            assert not torch.equal(*seen.inside)


def test_strong_views_are_changed_each_in_its_own_way(stored):
    path, _, _ = stored()
    with PatchFile(path) as file, reading(file, mix=0.0) as batches:
        seen = batches.read(0).views
    one, other = seen.strong
    assert not torch.equal(one, other)
    assert not torch.equal(one, seen.weak)


def test_turns_and_flips_are_those_of_all_views(tmp_path, noise, write_patches, monkeypatch):
    monkeypatch.setattr(unlabelled, "VIEW", Recipe())
    images, masks = noise(6, side=16)
    path = write_patches(tmp_path / "q.h5", images, masks % 3, unlabelled=images)
    with PatchFile(path) as file, reading(file, augment=MOVED, mix=0.0, batch=6) as batches:
        seen = batches.read(0).views
    stays = 0
    for weak in seen.weak[:, 0].numpy():
        ways = [
            np.rot90(image, k)[:, ::flip] for image in images[..., 0] for k in range(4) for flip in (1, -1)
        ]
        assert any(np.allclose(weak, way, atol=1e-3) for way in ways)
        stays += any(np.allclose(weak, image, atol=1e-3) for image in images[..., 0])
    assert stays < 6
    assert all(torch.equal(strong, seen.weak) for strong in seen.strong)


@pytest.mark.parametrize("keep", ["device", "file"])
def test_views_are_a_function_of_seed_and_step_alone(stored, keep):
    path, _, _ = stored(sparse=2)
    with PatchFile(path) as file, ExitStack() as stack:
        one, other = (stack.enter_context(reading(file, augment=MOVED, keep=keep)) for _ in range(2))
        expected = [one.read(step).views for step in range(8)]
        torch.manual_seed(7)
        for step in (7, 2, 3):
            seen = other.read(step).views
            assert torch.equal(seen.weak, expected[step].weak)
            for name in ("strong", "inside"):
                pairs = zip(getattr(seen, name), getattr(expected[step], name), strict=True)
                assert all(torch.equal(mine, its) for mine, its in pairs)


def test_processes_share_the_views_that_one_would_make(stored):
    path, _, _ = stored()
    with PatchFile(path) as file, ExitStack() as stack:
        alone, *parts = [
            stack.enter_context(reading(file, batch=6, augment=MOVED, part=part))
            for part in ((0, 1), (0, 3), (1, 3), (2, 3))
        ]
        for step in (0, 1, 9):
            whole, shares = alone.read(step).views, [part.read(step).views for part in parts]
            assert {len(share.weak) for share in shares} == {3}  # one is its neighbour's
            torch.testing.assert_close(torch.cat([share.weak[:2] for share in shares]), whole.weak)
            for view in range(2):
                for name, most in (("strong", 1e-3), ("inside", 0)):
                    pieces = torch.cat([getattr(share, name)[view] for share in shares])
                    torch.testing.assert_close(pieces, getattr(whole, name)[view], rtol=0, atol=most)


def test_labelled_batches_are_the_same_with_views_and_without(stored):
    path, _, _ = stored()
    augment = AugmentParameters(strength="strong")
    with PatchFile(path) as file, reading(file, augment=augment) as batches:
        plain = Batches(file, TrainParameters(batch=3, seed=1), device=CPU, augment=augment)
        for step in range(5):
            mine, its = batches.read(step), plain.read(step)
            assert torch.equal(mine.images, its.images)
            assert torch.equal(mine.masks, its.masks)
            assert its.views is None
