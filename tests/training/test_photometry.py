from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from patchseg.training import photometry
from patchseg.training.draws import Draws
from patchseg.training.photometry import VARIATIONS, Scale, hue_and_saturation, vary
from patchseg.training.recipe import Recipe

torch.set_num_threads(1)

LAST = 1 - 2**-53
LUMA = np.array([0.299, 0.587, 0.114])
RECIPE = Recipe(brightness_by=0.4, contrast_by=2.0, blur_by=1.5, low_resolution_by=0.25)
ALL = Recipe(**dict.fromkeys(VARIATIONS, 0.5), low_resolution_by=0.25)


def scale_of(*std, mean=None, rgb=None):
    """Return a scale with those standard deviations, and means 10, 20, ... where there are no others."""
    mean = mean or [10.0 * (c + 1) for c in range(len(std))]
    columns = (torch.tensor(numbers, dtype=torch.float32)[:, None, None] for numbers in (mean, std))
    return Scale(*columns, rgb)


RGB = scale_of(40.0, 50.0, 60.0, 70.0, rgb=(0, 1, 2))


def patches(count=1, channels=3, side=12, *, seed=0, high=255.0):
    """Return random patches (N, C, S, S) float32, no two values of a patch alike."""
    draw = np.random.default_rng(seed)
    return torch.from_numpy((draw.random((count, channels, side, side)) * high).astype(np.float32))


def changed(name, part, draws, *, recipe=RECIPE, scale=RGB):
    """Return what a variation makes of patches, as an array; what it was given stays."""
    before = part.clone()
    after = VARIATIONS[name](part, draws, recipe, scale)
    assert torch.equal(part, before)
    assert after.dtype == torch.float32
    assert after.shape == part.shape
    return after.numpy()


@pytest.mark.parametrize(("number", "by"), [(0, -0.4), (0.25, -0.2), (0.5, 0), (LAST, 0.4)])
def test_brightness_adds_as_many_deviations_to_every_channel(drawn, number, by):
    part = patches(2, 4)
    after = changed("brightness", part, drawn(2, brightness_by=[number, 0.5]))
    added = np.minimum(part[0].numpy().std(axis=(1, 2)), [40, 50, 60, 70]) * by
    np.testing.assert_allclose(
        after[0] - part[0].numpy(), added[:, None, None] * np.ones((12, 12)), atol=1e-4
    )
    np.testing.assert_array_equal(after[1], part[1])


@pytest.mark.parametrize(("size", "added"), [(2, 0.8), (100, 16), (1000, 16)])
def test_a_dim_patch_is_changed_by_its_own_deviation_and_a_bright_one_by_that_of_the_set(drawn, size, added):
    part = torch.tensor([-1.0, 1.0]).repeat(32).view(1, 1, 8, 8).repeat(1, 4, 1, 1) * size
    after = changed("brightness", part, drawn(brightness_by=LAST))
    np.testing.assert_allclose((after - part.numpy())[0, 0], added, rtol=1e-4)


@pytest.mark.parametrize(("number", "factor"), [(0, 0.5), (0.25, 0.75), (0.5, 1), (0.75, 1.5), (LAST, 2)])
def test_contrast_keeps_the_mean_and_multiplies_what_differs(drawn, number, factor):
    part = patches(1, 2)
    before = part.numpy()
    after = changed("contrast", part, drawn(contrast_by=number))
    mean = before.mean(axis=(2, 3), keepdims=True)
    np.testing.assert_allclose(after.mean(axis=(2, 3), keepdims=True), mean, rtol=1e-5)
    np.testing.assert_allclose(after - mean, (before - mean) * factor, atol=1e-3)


def test_gamma_by_hand(drawn):
    part = torch.tensor([[[[10.0, 60, 110, 210]]]])  # 0, 1/4, 1/2 and 1 of the way
    after = changed("gamma", part, drawn(gamma_by=LAST), scale=scale_of(1.0))  # a power of 1.5
    assert after[0, 0, 0] == pytest.approx([10, 10 + 200 * 0.125, 10 + 200 * 0.5**1.5, 210])
    after = changed("gamma", part, drawn(gamma_by=0), scale=scale_of(1.0))
    assert after[0, 0, 0] == pytest.approx([10, 10 + 200 * 0.25**0.7, 10 + 200 * 0.5**0.7, 210])


def test_gamma_keeps_the_ends_and_the_order_of_each_channel():
    part = patches(20, 3)
    after = changed("gamma", part, Draws.of(0, 0, 20))
    before = part.numpy()
    np.testing.assert_allclose(after.min(axis=(2, 3)), before.min(axis=(2, 3)), rtol=1e-5)
    np.testing.assert_allclose(after.max(axis=(2, 3)), before.max(axis=(2, 3)), rtol=1e-5)
    flat, order = after.reshape(60, -1), before.reshape(60, -1).argsort(axis=1)
    assert (np.diff(np.take_along_axis(flat, order, axis=1), axis=1) >= 0).all()


@pytest.mark.parametrize(("number", "variance"), [(0, 0), (0.5, 0.05), (LAST, 0.1)])
def test_noise_has_the_drawn_variance_in_each_channel(drawn, number, variance):
    part = patches(1, 4, 128)
    after = changed("noise", part, drawn(noise_by=number, noise_seed=0.3))
    added = (after - part.numpy())[0] / np.array([40, 50, 60, 70])[:, None, None]
    assert added.std(axis=(1, 2)) == pytest.approx([variance**0.5] * 4, rel=0.03)
    assert added.mean(axis=(1, 2)) == pytest.approx([0] * 4, abs=0.012)
    if variance:
        assert abs(np.corrcoef(added.reshape(4, -1)) - np.eye(4)).max() < 0.04


def test_noise_of_a_sample_is_its_own_whatever_the_batch():
    part, draws = patches(1, 4).expand(6, -1, -1, -1), Draws.of(4, 0, 6)
    together = changed("noise", part, draws)
    for row in range(6):
        np.testing.assert_array_equal(
            changed("noise", part[row : row + 1], draws.at(np.array([row])))[0], together[row]
        )
    torch.manual_seed(0)
    np.testing.assert_array_equal(changed("noise", part, draws), together)
    noise = together - part.numpy()
    assert abs(np.corrcoef(noise.reshape(6, -1)) - np.eye(6)).max() < 0.3


@pytest.mark.parametrize(("number", "sigma"), [(0, 0.5), (0.25, 0.75), (0.5, 1), (0.75, 1.25), (LAST, 1.5)])
@pytest.mark.parametrize("side", [1, 3, 20])
def test_blur_is_that_of_scipy_with_what_lies_outside_left_out(drawn, number, sigma, side):
    part = patches(1, 2, side)
    after = changed("blur", part, drawn(blur_by=number))
    among = gaussian_filter(np.ones((side, side)), sigma, mode="constant")
    for channel in range(2):
        expected = (
            gaussian_filter(part[0, channel].numpy().astype(np.float64), sigma, mode="constant") / among
        )
        np.testing.assert_allclose(after[0, channel], expected, atol=2e-3)


@pytest.mark.parametrize("name", ["blur", "low_resolution"])
def test_what_is_constant_stays_so(name):
    part = patches(30, 3, 1).expand(-1, -1, 16, 16)
    np.testing.assert_allclose(changed(name, part, Draws.of(0, 0, 30)), part, rtol=1e-5)


def test_blur_keeps_the_sum_away_from_the_border(drawn):
    part = torch.zeros((1, 1, 21, 21))
    part[0, 0, 10, 10] = 100
    after = changed("blur", part, drawn(blur_by=0.5), scale=scale_of(1.0))[0, 0]
    assert after.sum() == pytest.approx(100, rel=1e-5)
    assert after[10, 10] == after.max() == pytest.approx(100 / (2 * np.pi), rel=0.01)
    np.testing.assert_allclose(after, after.T, atol=1e-5)
    np.testing.assert_allclose(after, after[::-1, ::-1], atol=1e-5)


def coarsened(row, share):
    """Return a row of pixels as larger ones would show it, by numpy's interpolation."""
    middles = (np.arange(len(row) + 1) + 0.5) / share
    assume(abs(middles - np.rint(middles)).min() > 1e-9)  # a middle between two pixels is either one's
    middles = middles[middles < len(row)]
    if not len(middles):
        return np.full(len(row), row[-1])
    return np.interp(np.arange(len(row)) + 0.5, middles, row[middles.astype(int)])


@given(share=st.floats(0.25, 1), side=st.integers(1, 40))
@settings(max_examples=60)
def test_low_resolution_is_that_of_rows_and_then_columns(share, side):
    image = patches(1, 1, side)
    number = min((share - 0.25) / 0.75, LAST)
    draws = Draws.of(0, 0, 1)
    draws["low_resolution_by"][:] = number
    after = changed("low_resolution", image, draws, scale=scale_of(1.0))[0, 0]
    share = 0.25 + 0.75 * number
    rows = np.stack([coarsened(row, share) for row in image[0, 0].numpy().astype(np.float64)])
    expected = np.stack([coarsened(column, share) for column in rows.T], axis=1)
    np.testing.assert_allclose(after, expected, atol=2e-3)


def test_full_resolution_changes_nothing(drawn):
    part = patches(1, 3, 17)
    np.testing.assert_array_equal(changed("low_resolution", part, drawn(low_resolution_by=LAST)), part)


def test_saturation_by_hand(drawn):
    part = torch.tensor([200.0, 100, 50])[None, :, None, None]  # as bright as a gray of 124.2
    scale = scale_of(1.0, 1.0, 1.0, rgb=(0, 1, 2))
    less = changed("color", part, drawn(saturation=0), scale=scale)  # 0.6 of what differs from it
    assert less[0, :, 0, 0] == pytest.approx([169.68, 109.68, 79.68])
    more = changed("color", part, drawn(saturation=LAST), scale=scale)
    assert more[0, :, 0, 0] == pytest.approx([124.2 + 1.4 * d for d in (75.8, -24.2, -74.2)])
    same = changed("color", part, drawn(), scale=scale)
    assert same[0, :, 0, 0] == pytest.approx([200, 100, 50])


def test_a_third_of_the_circle_turns_red_to_green_as_bright_as_red():
    # Of red, (0.701, -0.299, -0.299) differs from its gray of 0.299. Turned that is (-0.299, 0.701, -0.299), which is
    # 0.288 brighter than nothing, and so loses 0.288.
    (matrix,) = hue_and_saturation(np.array([2 * np.pi / 3]), np.array([1.0]))
    assert matrix @ [1, 0, 0] == pytest.approx([-0.288, 0.712, -0.288])


def test_colour_keeps_the_luma_gray_pixels_and_other_channels():
    part = patches(30, 4)
    part[:, :3, 0] = part[:, :1, 0]
    before, after = part.numpy(), changed("color", part, Draws.of(0, 0, 30))
    lumas = [np.einsum("c,nchw->nhw", LUMA, images[:, :3]) for images in (before, after)]
    np.testing.assert_allclose(*lumas, atol=1e-3)
    np.testing.assert_allclose(after[:, :, 0], before[:, :, 0], atol=1e-3)
    np.testing.assert_array_equal(after[:, 3], before[:, 3])
    assert (abs(after - before)[:, :3].max(axis=(1, 2, 3)) > 1).all()


def test_colour_finds_red_green_and_blue_by_their_places():
    part, draws = patches(5, 4), Draws.of(0, 0, 5)
    expected = changed("color", part, draws)
    places = [3, 0, 2, 1]  # of the channels of the other order
    mixed = scale_of(1.0, 1.0, 1.0, 1.0, rgb=(1, 3, 2))
    np.testing.assert_allclose(
        changed("color", part[:, places], draws, scale=mixed), expected[:, places], atol=1e-4
    )


def test_one_channel_is_dropped_to_its_mean(drawn):
    part = patches(4, 4)
    after = changed("drop_channel", part, drawn(4, channel=[0, 0.25, 0.5, LAST]))
    for row in range(4):
        for channel in range(4):
            if row == channel:
                assert (after[row, channel] == 10 * (channel + 1)).all()
            else:
                np.testing.assert_array_equal(after[row, channel], part[row, channel])


def blanked(part, after):
    """Return where all channels have become their means, (N, S, S); elsewhere nothing has changed."""
    means = 10 * np.arange(1, part.shape[1] + 1)[:, None, None]
    blank = (after == means).all(axis=1)
    np.testing.assert_array_equal(after, np.where(blank[:, None], means, part))
    return blank


@pytest.mark.parametrize(("number", "count"), [(0, 1), (0.5, 2), (LAST, 3)])
def test_rectangles_by_hand(drawn, number, count):
    # Of 30 pixels, a side is 3 to 10 long: 3 x 10 at the top left, 10 x 3 at the bottom right, 3 x 3 at row 14, column 20.
    corners = [0, LAST, 0, 0, LAST, 0, LAST, LAST, 0, 0, 14.5 / 28, 20.5 / 28]
    expected = np.zeros((3, 30, 30), bool)
    expected[0, :3, :10] = expected[1, 20:, 27:] = expected[2, 14:17, 20:23] = True
    part = patches(1, 4, 30)
    after = changed("cutout", part, drawn(rectangles=number, corners=corners))
    np.testing.assert_array_equal(blanked(part, after)[0], expected[:count].any(axis=0))


def test_a_lone_rectangle_is_within_its_bounds_and_anywhere():
    part, draws = patches(300, 1, 30), Draws.of(0, 0, 300)
    draws["rectangles"][:] = 0
    blank = blanked(part, changed("cutout", part, draws, scale=scale_of(1.0)))
    heights, widths = blank.any(axis=2).sum(axis=1), blank.any(axis=1).sum(axis=1)
    assert (heights * widths == blank.sum(axis=(1, 2))).all()
    assert set(heights) == set(widths) == set(range(3, 11))
    assert blank.any(axis=(0, 1)).all()
    assert blank.any(axis=(0, 2)).all()


def test_as_many_rectangles_are_equally_often():
    chosen = Draws.of(0, 0, 3000).choice("rectangles", photometry.RECTANGLES)
    assert np.bincount(chosen).tolist() == pytest.approx([1000] * 3, abs=130)


@pytest.mark.parametrize("name", VARIATIONS)
def test_patches_that_are_not_hit_stay_as_they_are_bit_by_bit(name):
    images, draws = patches(40, 4), Draws.of(0, 0, 40)
    recipe = Recipe(**{name: 0.5})
    hit = draws.hit(name, 0.5)
    after = vary(images.clone(), draws, recipe, RGB).numpy()
    differs = (after != images.numpy()).any(axis=(1, 2, 3))
    assert (differs == hit).all()
    assert 8 < hit.sum() < 32


@pytest.mark.parametrize("name", VARIATIONS)
def test_a_variation_that_is_switched_off_changes_nothing_of_the_others(name):
    images, draws = patches(24, 4), Draws.of(1, 0, 24)
    recipe = replace(ALL, **{name: 0.0})
    missed = ~draws.hit(name, 0.5)
    with_all, without = (vary(images.clone(), draws, given, RGB).numpy() for given in (ALL, recipe))
    assert 0 < missed.sum() < 24
    np.testing.assert_allclose(with_all[missed], without[missed], atol=1e-3)
    assert (abs(with_all - without)[~missed].max(axis=(1, 2, 3)) > 1e-2).all()


def test_variations_happen_in_their_order():
    images, draws = patches(16, 4), Draws.of(2, 0, 16)
    expected = images
    for name in VARIATIONS:
        hit = torch.from_numpy(draws.hit(name, 0.5))[:, None, None, None]
        expected = torch.where(hit, VARIATIONS[name](expected, draws, ALL, RGB), expected)
    np.testing.assert_allclose(vary(images.clone(), draws, ALL, RGB), expected, atol=1e-3)


IMAGES = {
    "black": torch.zeros((60, 3, 16, 16)),
    "white": torch.full((60, 3, 16, 16), 65535.0),
    "16 bits": patches(60, 3, 16, high=65535.0),
    "tiny": patches(60, 3, 16, high=1e-6),
    "tiny above an offset": patches(60, 3, 16, high=1e-3) + 1000,
    "huge": patches(60, 3, 16, high=1e12),
    "negative": patches(60, 3, 16, high=2.0) - 3,
    "a row wide": patches(60, 3, 1),
}


@pytest.mark.parametrize("name", VARIATIONS)
@pytest.mark.parametrize("kind", IMAGES)
def test_no_patch_becomes_infinite_or_no_number(name, kind):
    images = IMAGES[kind]
    spread = [float(images.std()) or 1.0] * 3
    scale = scale_of(*spread, mean=[float(images.mean())] * 3, rgb=(0, 1, 2))
    after = vary(images.clone(), Draws.of(0, 0, 60), Recipe(**{name: 1.0}), scale)
    assert torch.isfinite(after).all()
    assert (after - images).abs().max() < 20 * max(spread) + 1e-4 * images.abs().max()
