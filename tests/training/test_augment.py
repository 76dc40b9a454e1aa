from dataclasses import replace

import numpy as np
import pytest
import torch

from patchseg.training.augment import Augmentation, cutmix
from patchseg.training.draws import Draws
from patchseg.training.photometry import VARIATIONS
from patchseg.training.recipe import STRENGTHS, Recipe

torch.set_num_threads(1)

CPU = torch.device("cpu")
LAST = 1 - 2**-53
NAMES = {1: ["gray"], 3: ["red", "green", "blue"], 4: ["red", "green", "blue", "infrared"]}
WITHOUT_CUTMIX = [*(replace(recipe, cutmix=0.0) for recipe in STRENGTHS.values())]


def varying(recipe, *, patch=16, margin=0, channels=1):
    names = NAMES.get(channels) or [f"channel_{c}" for c in range(channels)]
    return Augmentation(
        recipe, patch=patch, margin=margin, device=CPU,
        channels=[{"name": name, "mean": 100.0, "std": 50.0} for name in names],
    )  # fmt: skip


@pytest.fixture(scope="module")
def stored(noise):
    """Return n stored windows: images (n, T, T, C) and masks (n, T, T)."""

    def make(n, **kind):
        return tuple(torch.from_numpy(array) for array in noise(n, **{"side": 16} | kind))

    return make


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("margin", [0, 3])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("strength", ["none", "light", "strong"])
def test_patches_are_channels_last_and_what_was_stored_stays(stored, dtype, margin, channels, strength):
    images, masks = stored(5, side=16 + 2 * margin, channels=channels, dtype=dtype)
    before = [tensor.numpy().copy() for tensor in (images, masks)]
    vary = varying(STRENGTHS[strength], margin=margin, channels=channels)
    pixels, labels = vary(images, masks, Draws.of(0, 0, 5))
    assert pixels.shape == (5, channels, 16, 16)
    assert pixels.is_contiguous(memory_format=torch.channels_last)
    assert pixels.dtype == (images.dtype if strength == "none" else torch.float32)
    assert labels.shape == (5, 16, 16)
    assert labels.dtype == torch.uint8
    assert np.isfinite(pixels.numpy()).all()
    np.testing.assert_array_equal(images, before[0])
    np.testing.assert_array_equal(masks, before[1])


@pytest.mark.parametrize("name", VARIATIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_what_varies_in_place_leaves_the_stored_floats_alone(stored, name, channels):
    images, masks = stored(4, channels=channels, dtype=np.float32)
    for kept in (
        images,
        images.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1),
    ):  # in either order in memory
        before = kept.clone()
        varying(Recipe(**{name: 1.0}), channels=channels)(kept, masks, Draws.of(0, 0, 4))
        assert torch.equal(kept, before)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("margin", [0, 3])
def test_an_idle_recipe_gives_the_middle_bit_by_bit(stored, dtype, margin):
    images, masks = stored(5, side=16 + 2 * margin, channels=2, dtype=dtype)
    pixels, labels = varying(Recipe(), margin=margin, channels=2)(images, masks, Draws.of(0, 0, 5))
    inner = slice(margin, margin + 16)
    np.testing.assert_array_equal(pixels.permute(0, 2, 3, 1), images.numpy()[:, inner, inner])
    np.testing.assert_array_equal(labels, masks.numpy()[:, inner, inner])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("margin", [0, 3])
def test_where_nothing_hits_the_patch_is_as_it_was(stored, drawn, dtype, margin):
    images, masks = stored(2, side=16 + 2 * margin, channels=3, dtype=dtype)
    nothing = drawn(2, turn=0, **dict.fromkeys([*VARIATIONS, "cutmix"], LAST))
    vary = varying(replace(STRENGTHS["strong"], rotation=0, scale=0), margin=margin, channels=3)
    pixels, labels = vary(images, masks, nothing)
    inner = slice(margin, margin + 16)
    expected = images.numpy()[:, inner, inner].astype(np.float32)
    np.testing.assert_allclose(pixels.permute(0, 2, 3, 1), expected, atol=2e-6 * expected.max())
    np.testing.assert_array_equal(labels, masks.numpy()[:, inner, inner])


def test_pixels_alone_are_varied_in_the_middle_of_the_window(stored):
    images, masks = stored(8, side=22, channels=3)
    draws, recipe = Draws.of(0, 0, 8), Recipe(**dict.fromkeys(VARIATIONS, 0.5))
    inner = slice(3, 19)
    with_margin = varying(recipe, margin=3, channels=3)(images, masks, draws)
    without = varying(recipe, channels=3)(images[:, inner, inner], masks[:, inner, inner], draws)
    for one, other in zip(with_margin, without, strict=True):
        assert torch.equal(one, other)


def test_an_idle_recipe_still_centres(stored):
    images, masks = stored(2, side=22, channels=2)
    centres = np.array([[3.0, -2], [0, 0]])
    pixels, labels = varying(Recipe(), margin=3, channels=2)(
        images, masks, Draws.of(0, 0, 2), centres=centres
    )
    for place, cut in enumerate([(slice(6, 22), slice(1, 17)), (slice(3, 19), slice(3, 19))]):
        np.testing.assert_allclose(
            pixels[place].permute(1, 2, 0), images[place].numpy()[cut].astype(np.float32), atol=1e-3
        )
        np.testing.assert_array_equal(labels[place], masks[place].numpy()[cut])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("recipe", WITHOUT_CUTMIX, ids=STRENGTHS)
def test_a_sample_is_varied_alike_alone_and_among_others(stored, recipe, dtype):
    images, masks = stored(12, side=20, channels=3, dtype=dtype)
    centres = np.random.default_rng(0).integers(-2, 3, (12, 2)).astype(float)
    vary, draws = varying(recipe, margin=2, channels=3), Draws.of(1, 40, 12)
    pixels, labels = vary(images, masks, draws, centres=centres)
    for row in range(12):
        only = slice(row, row + 1)
        lone, lone_labels = vary(images[only], masks[only], draws.at(np.array([row])), centres=centres[only])
        np.testing.assert_allclose(lone[0], pixels[row], atol=1e-5 * float(images.to(torch.float32).max()))
        np.testing.assert_array_equal(lone_labels[0], labels[row])


@pytest.mark.parametrize("strength", STRENGTHS)
def test_twice_the_same_draws_are_twice_the_same_patches(stored, strength):
    images, masks = stored(8, channels=3)
    one = varying(STRENGTHS[strength], channels=3)(images, masks, Draws.of(9, 100, 8))
    torch.manual_seed(7)
    torch.rand(3)
    other = varying(STRENGTHS[strength], channels=3)(images, masks, Draws.of(9, 100, 8))
    assert torch.equal(one[0], other[0])
    assert torch.equal(one[1], other[1])


def test_the_global_generator_is_left_alone(stored):
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    varying(STRENGTHS["strong"], channels=3)(*stored(8, channels=3), Draws.of(0, 0, 8))
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize("margin", [0, 4])
@pytest.mark.parametrize("strength", ["light", "standard", "strong"])
def test_masks_get_no_new_value_but_that_of_ignored_pixels(stored, margin, strength):
    images, masks = stored(60, side=16 + 2 * margin)
    masks = torch.where(masks == 255, 0, masks * 100).to(torch.uint8)  # 0, 100 and 200
    _, labels = varying(STRENGTHS[strength], margin=margin)(images, masks, Draws.of(2, 0, 60))
    assert set(labels.unique().tolist()) - {255} == {0, 100, 200}
    assert strength != "light" or 255 not in labels


def test_ignored_pixels_stay_ignored(stored):
    images, masks = stored(60)
    masks[:] = 255
    _, labels = varying(STRENGTHS["strong"])(images, masks, Draws.of(2, 0, 60))
    assert (labels == 255).all()


def test_flips_move_no_ignored_pixel_out_of_the_patch(stored):
    images, masks = stored(20)
    _, labels = varying(STRENGTHS["light"])(images, masks, Draws.of(2, 0, 20))
    for before, after in zip(masks, labels, strict=True):
        assert (before.unique(return_counts=True)[1] == after.unique(return_counts=True)[1]).all()


def test_colour_needs_three_channels_of_those_names_and_dropping_one_a_second(stored):
    strong = STRENGTHS["strong"]
    assert varying(strong, channels=1).recipe == replace(strong, color=0.0, drop_channel=0.0)
    assert varying(strong, channels=2).recipe == replace(strong, color=0.0)
    assert varying(strong, channels=4).recipe == strong
    vary = varying(Recipe(color=1.0, drop_channel=1.0), channels=1)
    images, masks = stored(3)
    assert vary.recipe.idle
    assert vary(images, masks, Draws.of(0, 0, 3))[0].dtype == torch.uint8


def test_channels_are_found_by_their_names_in_any_order(stored):
    images, masks = stored(6, channels=3)
    one = varying(Recipe(color=1.0), channels=3)(images, masks, Draws.of(0, 0, 6))[0]
    swapped = Augmentation(
        Recipe(color=1.0), patch=16, margin=0, device=CPU,
        channels=[{"name": name, "mean": 100.0, "std": 50.0} for name in ("blue", "green", "red")],
    )  # fmt: skip
    other = swapped(images.flip(-1), masks, Draws.of(0, 0, 6))[0]
    assert (one - images.permute(0, 3, 1, 2)).abs().max() > 10
    np.testing.assert_allclose(other.flip(1), one, atol=1e-3)


def test_a_channel_without_any_spread_is_no_division_by_zero(stored):
    images, masks = stored(6, channels=2)
    vary = Augmentation(
        STRENGTHS["strong"], patch=16, margin=0, device=CPU,
        channels=[{"name": "a", "mean": 3.0, "std": 0.0}, {"name": "b", "mean": 3.0, "std": 10.0}],
    )  # fmt: skip
    assert torch.isfinite(vary(images, masks, Draws.of(0, 0, 6))[0]).all()


def numbered(count, side):
    """Return patches whose pixels and masks are the number of the patch, (N, 2, S, S) and (N, S, S)."""
    numbers = torch.arange(count)
    images = numbers[:, None, None, None].expand(-1, 2, side, side).float()
    return images.clone(), numbers[:, None, None].expand(-1, side, side).to(torch.uint8)


def test_a_rectangle_comes_from_the_next_patch_with_its_mask():
    images, masks = numbered(200, 40)
    draws = Draws.of(0, 0, 200)
    pixels, labels = cutmix(images, masks, draws, 0.5)
    assert (pixels == labels[:, None]).all()
    hit = draws.hit("cutmix", 0.5)
    for row, label in enumerate(labels.numpy()):
        mixed = label == (row + 1) % 200
        assert (mixed | (label == row)).all()
        assert mixed.any() == hit[row]
        if mixed.any():
            rows, columns = np.flatnonzero(mixed.any(axis=1)), np.flatnonzero(mixed.any(axis=0))
            height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
            assert mixed.sum() == height * width
            # Sides are rounded to pixels, and a side ends at the patch.
            assert (height + 0.5) * (width + 0.5) >= 0.02 * 40**2
            assert (height - 0.5) * (width - 0.5) <= 0.4 * 40**2
    assert hit.mean() == pytest.approx(0.5, abs=0.18)


def test_a_rectangle_by_hand(drawn):
    # A fifth of 20 x 20 is 84 / 400 in the middle of 0.02 and 0.4; square it is sqrt(84) = 9.17 wide, at 6 and 3.
    images, masks = numbered(3, 20)
    draws = drawn(3, cutmix=[0, LAST, 0], cutmix_place=[6.5 / 12, 3.5 / 12])
    _, labels = cutmix(images, masks, draws, 0.5)
    expected = masks.clone()
    expected[0, 6:15, 3:12], expected[2, 6:15, 3:12] = 1, 0
    assert torch.equal(labels, expected)


def test_long_rectangles_end_at_the_patch(drawn):
    images, masks = numbered(2, 20)
    for shape, high, wide in [(0, 7, 20), (LAST, 20, 7)]:  # sqrt(0.4 * 0.3) and sqrt(0.4 / 0.3) of 20
        draws = drawn(2, cutmix=0, cutmix_area=LAST, cutmix_shape=shape, cutmix_place=0)
        _, labels = cutmix(images, masks, draws, 1.0)
        assert (labels[0, :high, :wide] == 1).all()
        assert (labels[0] == 1).sum() == 20 * 7


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_nothing_or_all_is_mixed(share):
    images, masks = numbered(10, 20)
    pixels, labels = cutmix(images, masks, Draws.of(0, 0, 10), share)
    assert ((labels != masks).any(dim=(1, 2)) == bool(share)).all()
    assert (pixels == labels[:, None]).all()
    lone = cutmix(images[:1], masks[:1], Draws.of(0, 0, 1), share)
    assert torch.equal(lone[0], images[:1])


def test_mixing_takes_from_patches_as_they_were(drawn):
    # Each gets from the next what that one had before it was mixed itself.
    images, masks = numbered(4, 20)
    _, labels = cutmix(images, masks, drawn(4, cutmix=0), 1.0)
    assert [sorted(label.unique().tolist()) for label in labels] == [[0, 1], [1, 2], [2, 3], [0, 3]]


def test_ignored_pixels_are_mixed_too(drawn):
    images, masks = numbered(2, 20)
    masks = torch.where(masks == 1, 255, masks)
    _, labels = cutmix(images, masks, drawn(2, cutmix=[0, LAST], cutmix_place=0), 1.0)
    assert labels[0].unique().tolist() == [0, 255]
    assert (labels[0, :9, :9] == 255).all()
