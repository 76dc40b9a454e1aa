"""Patches that take over the looks of other images."""

import json

import numpy as np
import pytest
import torch

from patchseg.parameters import AugmentParameters, TrainParameters
from patchseg.patches.store import PatchFile
from patchseg.training.appearance import Appearances
from patchseg.training.batches import Batches
from patchseg.training.draws import Draws

CPU = torch.device("cpu")


class Given(Draws):
    """Numbers that are given by name."""

    def __init__(self, **values):
        self._values = {name: np.asarray(value, float) for name, value in values.items()}

    def __len__(self):
        return len(self._values["match"])

    def __getitem__(self, name):
        return self._values[name]

    def at(self, rows):
        return Given(**{name: value[rows] for name, value in self._values.items()})


@pytest.fixture
def stored(tmp_path, write_patches):
    """Two labelled patches of one image, values 8 and 12, and two of an image without masks, values 90 and 110."""
    images = np.zeros((2, 4, 4, 1), np.uint8)
    images[:] = np.tile([8, 12], (4, 2))[None, :, :, None]
    others = np.zeros((2, 4, 4, 1), np.uint8)
    others[:] = np.tile([90, 110], (4, 2))[None, :, :, None]
    return write_patches(tmp_path / "p.h5", images, np.zeros((2, 4, 4), np.uint8), unlabelled=others)


def test_mean_and_spread_are_those_of_each_image(stored):
    with PatchFile(stored) as file:
        looks = Appearances(file)
    assert looks.mean.tolist() == [[10], [100]]
    assert looks.spread.tolist() == [[2], [10]]


def test_a_patch_goes_part_of_the_way_to_the_looks_of_another_image(stored):
    with PatchFile(stored) as file:
        looks = Appearances(file)
    pixels = torch.tensor([8.0, 12.0]).repeat(3, 1, 4, 2)
    # All the way (1 of 1) to the second image, half of it, and none for the last, which is beyond the share.
    draws = Given(match=[0.5, 0.25, 0.75], match_image=[0.9, 0.9, 0.9])
    seen = looks.lent(pixels.clone(), np.array([0, 1, 0]), draws, share=0.5000001)
    assert seen[0, 0, 0, :2].tolist() == pytest.approx([90, 110], abs=1e-3)
    assert seen[1, 0, 0, :2].tolist() == pytest.approx([49, 61], abs=1e-3)  # mean 55, spread 6
    assert torch.equal(seen[2], pixels[2])
    same = looks.lent(
        pixels.clone(), np.array([0, 1, 0]), Given(match=[0.3] * 3, match_image=[0.1] * 3), share=0.5
    )
    torch.testing.assert_close(same, pixels)  # its own looks


def test_a_flat_image_lends_a_tenth_of_the_largest_spread(tmp_path, write_patches):
    images = np.full((1, 4, 4, 2), 50, np.uint8)
    others = np.full((1, 4, 4, 2), 90, np.uint8)
    others[0, :2, :, 0] = 110
    with PatchFile(
        write_patches(tmp_path / "p.h5", images, np.zeros((1, 4, 4), np.uint8), unlabelled=others)
    ) as file:
        looks = Appearances(file)
    assert looks.spread.tolist() == [[1, 1], [10, 1]]  # of the second channel nothing has any
    seen = looks.lent(
        torch.full((1, 2, 4, 4), 50.0), np.array([0]), Given(match=[1.0], match_image=[0.99]), share=1.0001
    )
    assert seen[0, :, 0, 0].tolist() == pytest.approx([100, 90], abs=0.1)


def test_without_images_to_lend_looks_labelled_ones_lend_each_other(tmp_path, noise, write_patches):
    images, masks = noise(6)
    with PatchFile(write_patches(tmp_path / "p.h5", images, masks)) as file:
        assert len(Appearances(file).mean) == 1


def test_batches_are_matched_as_the_draws_say_and_the_rest_stays(tmp_path, noise, write_patches):
    images, masks = noise(6, side=8)
    others, _ = noise(4, side=8, seed=4)
    path = write_patches(tmp_path / "p.h5", images, masks, unlabelled=others // 4 + 150)
    plain, matched = AugmentParameters(strength="none"), AugmentParameters(strength="none", match=0.5)
    with PatchFile(path) as file:
        one, other = (
            Batches(file, TrainParameters(batch=4, seed=3), device=CPU, augment=augment)
            for augment in (plain, matched)
        )
        changed = []
        for step in range(12):
            a, b = one.read(step), other.read(step)
            assert torch.equal(a.masks, b.masks)
            draws = Draws.of(3, step * 4, 4)
            for row in range(4):
                hit = bool(draws.hit("match", 0.5)[row])
                pair = torch.stack([b.images[row].flatten(), a.images[row].float().flatten()])
                assert torch.corrcoef(pair)[0, 1] > 0.9999  # a scale and an offset, no more
                if not hit:
                    torch.testing.assert_close(b.images[row], a.images[row].float())
                changed.append(hit and draws.choice("match_image", 2)[row] == 1)
        assert 5 < sum(changed) < 25


def test_foreign_looks_are_those_beyond_all_labelled_ones(stored, tmp_path, noise, write_patches):
    with PatchFile(stored) as file:
        assert Appearances(file).foreign == 1.0
    images, masks = noise(6)
    with PatchFile(write_patches(tmp_path / "a.h5", images, masks, unlabelled=images[:3])) as file:
        assert Appearances(file).foreign == 0.0  # of a tenth of the spread nobody speaks
    with PatchFile(write_patches(tmp_path / "b.h5", images, masks)) as file:
        assert Appearances(file).foreign == 0.0


def test_a_run_matches_where_looks_are_foreign_and_says_so(tmp_path, run_training, noise, write_patches):
    lines = []
    images, masks = noise(6, side=16)
    some_unlabelled = write_patches(tmp_path / "p.h5", images, masks, unlabelled=images // 8 + 200)

    class Told:
        def __getattr__(self, name):
            return lambda *given, **_: lines.append(str(given[0])) if name == "say" else None

    run_training(tmp_path, file=some_unlabelled, steps=2, batch=2, progress=Told())
    assert any(
        line.strip().startswith("augment.match 0.7: 100% of the images without masks are darker or brighter")
        for line in lines
    )
    record = json.loads((tmp_path / "runs/run/parameters.effective.json").read_text())
    assert record["augment.match"] == {"value": 0.7, "source": "plan"}


def test_margins_are_no_part_of_an_image_twice(tmp_path, write_patches, noise):
    """Sums are over all that is stored, in blocks: more patches than a block give what one block gives."""
    images, masks = noise(300, side=8)
    with PatchFile(write_patches(tmp_path / "p.h5", images, masks)) as file:
        looks = Appearances(file)
    assert looks.mean[0, 0] == pytest.approx(images.mean())
    assert looks.spread[0, 0] == pytest.approx(images.std())
