import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import affine_transform, gaussian_filter
from torch.nn import functional as F

from patchseg.training.draws import KNOTS, Draws
from patchseg.training.geometry import grid_of, moved, place
from patchseg.training.recipe import Recipe

torch.set_num_threads(1)

CPU = torch.device("cpu")
LAST = 1 - 2**-53
BENDING = Recipe(flips="both", turns=True, rotation=0.5, scale=0.5, shear=0.5, shift=0.5, elastic=0.5)


def window(side, *, count=1, channels=2, seed=0):
    """Return random images (N, C, T, T) float32 and masks (N, T, T) uint8 of 4 classes, some pixels ignored."""
    draw = np.random.default_rng(seed)
    masks = draw.integers(0, 4, (count, side, side), dtype=np.uint8)
    masks[draw.random(masks.shape) < 0.1] = 255
    images = draw.random((count, channels, side, side)) * 255
    return torch.from_numpy(images.astype(np.float32)), torch.from_numpy(masks)


def seen(images, masks, draws, recipe, *, margin=0, centres=None):
    """Return what a recipe shows of windows, as arrays: (N, C, S, S) and (N, S, S)."""
    patch = images.shape[-1] - 2 * margin
    grid = grid_of(draws, recipe, patch=patch, margin=margin, centres=centres, device=CPU)
    pixels, labels = moved(images, masks, grid)
    assert pixels.dtype == torch.float32
    assert labels.dtype == torch.uint8
    assert pixels.shape[-2:] == labels.shape[-2:] == (patch, patch)
    return pixels.numpy(), labels.numpy()


def assert_shows(shown, images, masks):
    # A place among n pixels is a float32, and so is off by some 1e-7 n pixels.
    np.testing.assert_allclose(shown[0], images, atol=1e-3 * max(1, images.shape[-1] / 16))
    np.testing.assert_array_equal(shown[1], masks)


@pytest.mark.parametrize("side", [1, 2, 7, 8, 128, 257])
@pytest.mark.parametrize("margin", [0, 3])
def test_nothing_drawn_shows_the_middle_as_it_is(drawn, side, margin):
    images, masks = window(side + 2 * margin)
    inner = slice(margin, margin + side)
    shown = seen(images, masks, drawn(turn=0), BENDING, margin=margin)
    assert_shows(shown, images.numpy()[..., inner, inner], masks.numpy()[..., inner, inner])


@pytest.mark.parametrize("side", [7, 8])
@pytest.mark.parametrize(
    ("numbers", "turned"),
    [
        ({"left_right": 0}, lambda a: a[..., ::-1]),
        ({"up_down": 0}, lambda a: a[..., ::-1, :]),
        ({"left_right": 0, "up_down": 0}, lambda a: a[..., ::-1, ::-1]),
    ],
)
def test_flips_are_those_of_numpy(drawn, side, numbers, turned):
    images, masks = window(side)
    shown = seen(images, masks, drawn(**numbers), Recipe(flips="both"))
    assert_shows(shown, turned(images.numpy()), turned(masks.numpy()))


@pytest.mark.parametrize(
    ("flips", "kinds"), [("none", "0"), ("left-right", "0L"), ("up-down", "0U"), ("both", "0LUB")]
)
def test_only_flips_that_are_allowed_happen_each_half_of_the_time(flips, kinds):
    affine = place(Draws.of(0, 0, 400), Recipe(flips=flips), patch=8, margin=0)
    found = {(1, 1): "0", (-1, 1): "L", (1, -1): "U", (-1, -1): "B"}
    names = [found[tuple(np.diag(matrix[:, :2]))] for matrix in affine]
    assert set(names) == set(kinds)
    assert all(names.count(kind) == pytest.approx(400 / len(kinds), abs=50) for kind in kinds)


@pytest.mark.parametrize("side", [7, 8])
@pytest.mark.parametrize("turn", range(4))
def test_quarter_turns_are_those_of_numpy(drawn, side, turn):
    images, masks = window(side)
    shown = seen(images, masks, drawn(turn=turn / 4), Recipe(turns=True))
    assert_shows(shown, np.rot90(images.numpy(), turn, (-2, -1)), np.rot90(masks.numpy(), turn, (-2, -1)))


@pytest.mark.parametrize(("angle", "turn"), [(0, 2), (0.25, 3), (0.75, 1)])
def test_a_rotation_by_quarters_is_a_quarter_turn(drawn, angle, turn):
    images, masks = window(9)
    shown = seen(images, masks, drawn(angle=angle), Recipe(rotation=1))
    assert_shows(shown, np.rot90(images.numpy(), turn, (-2, -1)), np.rot90(masks.numpy(), turn, (-2, -1)))


def test_angles_reach_as_far_as_the_recipe_says(drawn):
    affine = place(drawn(3, angle=[0, 0.5, LAST]), Recipe(rotation=1, degrees=30), patch=8, margin=0)
    angles = [math.degrees(math.atan2(matrix[1, 0], matrix[0, 0])) for matrix in affine]
    assert angles == pytest.approx([-30, 0, 30])


@pytest.mark.parametrize(("rows", "columns"), [(-2, 0), (0, -2), (1, 0), (0, 1), (-2, 1), (1, 1)])
def test_a_shift_shows_a_slice_mirrored_and_ignored_outside(drawn, rows, columns):
    images, masks = window(20)
    numbers = [(rows + 2) / 4, (columns + 2) / 4]  # from -2 to 2, a tenth of the patch
    shown = seen(images, masks, drawn(shift_by=numbers), Recipe(shift=1))
    cut = (..., slice(5 + rows, 25 + rows), slice(5 + columns, 25 + columns))
    around = ((0, 0), (5, 5), (5, 5))
    mirrored = np.pad(images.numpy(), ((0, 0), *around), mode="symmetric")
    ignored = np.pad(masks.numpy(), around, constant_values=255)
    assert_shows(shown, mirrored[cut], ignored[cut])


@pytest.mark.parametrize(("rows", "columns"), [(-4, 4), (4, 0), (3, -1)])
def test_a_shift_within_the_margin_shows_true_pixels(drawn, rows, columns):
    images, masks = window(28)
    numbers = np.minimum([(rows + 4) / 8, (columns + 4) / 8], LAST)
    shown = seen(images, masks, drawn(shift_by=numbers), Recipe(shift=1), margin=4)
    cut = (..., slice(4 + rows, 24 + rows), slice(4 + columns, 24 + columns))
    assert_shows(shown, images.numpy()[cut], masks.numpy()[cut])


def test_twice_the_size_by_hand():
    # Pixel j of the patch, j - 1.5 from the middle, shows what is half as far: 0.75, 1.25, 1.75, 2.25.
    images = torch.arange(4.0).expand(4, 4)[None, None] * 10
    masks = torch.tensor([[0, 1, 2, 3]] * 4, dtype=torch.uint8)[None]
    half = torch.tensor([[[0.5, 0, 0], [0, 0.5, 0]]])
    pixels, labels = moved(images, masks, F.affine_grid(half, [1, 1, 4, 4], align_corners=False))
    assert pixels[0, 0].tolist() == [[7.5, 12.5, 17.5, 22.5]] * 4
    assert labels[0].tolist() == [[1, 1, 2, 2]] * 4


def test_half_the_size_by_hand():
    # Pixel j shows what is twice as far: -1.5, 0.5, 2.5, 4.5; -1.5 is mirrored to 0.5 and 4.5 to 2.5.
    images = torch.arange(4.0).expand(4, 4)[None, None] * 10
    masks = torch.full((1, 4, 4), 7, dtype=torch.uint8)
    twice = torch.tensor([[[2.0, 0, 0], [0, 2, 0]]])
    pixels, labels = moved(images, masks, F.affine_grid(twice, [1, 1, 4, 4], align_corners=False))
    assert pixels[0, 0].tolist() == [[5, 5, 25, 25]] * 4
    assert labels[0].tolist() == [[255] * 4, [255, 7, 7, 255], [255, 7, 7, 255], [255] * 4]


def test_scale_and_shear_by_hand(drawn):
    larger = place(drawn(scale_by=0.75), Recipe(scale=1), patch=8, margin=0)
    assert larger[0].tolist() == [[1 / 1.2, 0, 0], [0, 1 / 1.2, 0]]
    smaller = place(drawn(scale_by=0), Recipe(scale=1), patch=8, margin=0)
    assert smaller[0, :, :2] == pytest.approx(np.eye(2) / 0.7)
    sheared = place(drawn(shear_by=[0, LAST]), Recipe(shear=1), patch=8, margin=0)
    tangent = math.tan(math.radians(10))
    assert sheared[0] == pytest.approx(np.array([[1, -tangent, 0], [tangent, 1, 0]]))


def test_shares_are_respected():
    affine = place(Draws.of(1, 0, 2000), Recipe(rotation=0.2), patch=8, margin=0)
    assert (affine[:, 0, 0] != 1).mean() == pytest.approx(0.2, abs=0.045)  # five standard errors
    affine = place(Draws.of(1, 0, 2000), Recipe(scale=0.5, shear=0.1, shift=0.1), patch=99, margin=0)
    assert (affine[:, 0, 0] != 1).mean() == pytest.approx(0.5, abs=0.056)
    assert (affine[:, 0, 1] != 0).mean() == pytest.approx(0.1, abs=0.034)
    assert (affine[:, :, 2] % 1 == 0).all()  # a shift alone blurs nothing
    assert (affine[:, 0, 2] != 0).mean() == pytest.approx(
        0.1 * 18 / 19, abs=0.034
    )  # one of 19 shifts is none


def looked_up(image, mask, affine, patch):
    """Return what an affine map shows, pixel by pixel: of an image (T, T) mirrored around and a mask (T, T)."""
    side = len(image)
    around = np.pad(image, 2 * side, mode="symmetric").astype(np.float64)
    pixels, labels = np.empty((patch, patch)), np.full((patch, patch), 255)
    for row, column in np.ndindex(patch, patch):
        point = np.array([column - (patch - 1) / 2, row - (patch - 1) / 2, 1])
        x, y = affine @ point + (side - 1) / 2
        left, top = math.floor(x), math.floor(y)
        corners = around[top + 2 * side : top + 2 * side + 2, left + 2 * side : left + 2 * side + 2]
        pixels[row, column] = [1 - (y - top), y - top] @ corners @ [1 - (x - left), x - left]
        if -0.5 < x < side - 0.5 and -0.5 < y < side - 0.5:
            labels[row, column] = mask[round(y), round(x)]
    return pixels, labels


@given(seed=st.integers(0, 2**40), patch=st.integers(2, 9), margin=st.integers(0, 5))
@settings(max_examples=40)
def test_pixels_come_from_where_the_map_says(seed, patch, margin):
    images, masks = window(patch + 2 * margin, channels=1, seed=seed)
    recipe = Recipe(flips="both", turns=True, rotation=1, scale=0.8, shear=0.5, shift=0.5)
    draws = Draws.of(seed, 0, 1)
    pixels, labels = seen(images, masks, draws, recipe, margin=margin)
    affine = place(draws, recipe, patch=patch, margin=margin)[0]
    expected, classes = looked_up(images[0, 0].numpy(), masks[0].numpy(), affine, patch)
    np.testing.assert_allclose(pixels[0, 0], expected, atol=0.01)  # of 255, a pixel's place being a float32
    np.testing.assert_array_equal(labels[0], classes)


@pytest.mark.parametrize("degrees", [-160, -45, 10, 30, 90])
def test_a_margin_shows_what_turning_the_whole_image_shows(drawn, degrees):
    size, patch, margin = 61, 21, 6  # a turned square of 21 is 30 wide
    image = gaussian_filter(np.random.default_rng(0).random((size, size)), 1) * 255
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    matrix = np.array([[cos, sin], [-sin, cos]])  # rows and columns
    middle = np.full(2, (size - 1) / 2)
    whole = affine_transform(image, matrix, middle - matrix @ middle, order=1, mode="reflect")
    cut = slice((size - patch) // 2, (size + patch) // 2)
    wide = slice(cut.start - margin, cut.stop + margin)
    images = torch.from_numpy(image[wide, wide].astype(np.float32))[None, None]
    masks = torch.zeros((1, patch + 2 * margin, patch + 2 * margin), dtype=torch.uint8)
    turned = drawn(angle=(degrees / 180 + 1) / 2)
    pixels, labels = seen(images, masks, turned, Recipe(rotation=1), margin=margin)
    np.testing.assert_allclose(pixels[0, 0], whole[cut, cut], atol=1e-3)
    assert not labels.any()


def test_knots_in_the_middle_of_their_range_bend_nothing(drawn):
    straight = grid_of(drawn(2), Recipe(), patch=16, margin=2, centres=None, device=CPU)
    bent = grid_of(drawn(2), Recipe(elastic=1), patch=16, margin=2, centres=None, device=CPU)
    assert torch.equal(straight, bent)


def test_equal_knots_shift(drawn):
    # 0.03 of 100 pixels to the right, and 0.06 of 100 up.
    images, masks = window(120)
    for axis, knot, far, number in [(0, LAST, 3, 0.25), (1, 0, -6, LAST)]:
        knots = np.full((2, KNOTS**2), 0.5)
        knots[axis] = knot
        draws = drawn(knots=knots.ravel(), elastic_by=number)
        pixels, labels = seen(images, masks, draws, Recipe(elastic=1), margin=10)
        cuts = [slice(10, 110), slice(10 + far, 110 + far)]
        rows, columns = cuts if axis == 0 else cuts[::-1]
        np.testing.assert_allclose(pixels, images.numpy()[..., rows, columns], atol=0.05)
        np.testing.assert_array_equal(labels, masks.numpy()[..., rows, columns])


def test_bending_stays_within_its_bound_and_folds_nothing():
    straight = grid_of(Draws.of(0, 0, 200), Recipe(), patch=32, margin=8, centres=None, device=CPU)
    bent = grid_of(Draws.of(0, 0, 200), Recipe(elastic=1), patch=32, margin=8, centres=None, device=CPU)
    far = (bent - straight).abs().amax(dim=(1, 2, 3)) * 48 / 2  # pixels
    # Between its knots, a cubic overshoots them.
    assert far.max() < 1.3 * 0.06 * 32
    assert far.min() > 0.01 * 32
    # Neighbours in a row stay in their order: what was to the right is to the right.
    assert (bent[:, :, 1:, 0] > bent[:, :, :-1, 0]).all()
    assert (bent[:, 1:, :, 1] > bent[:, :-1, :, 1]).all()


@given(seed=st.integers(0, 2**40), margin=st.sampled_from([0, 6]))
@settings(max_examples=25)
def test_image_and_mask_move_together(seed, margin):
    side = 32 + 2 * margin
    blobs = gaussian_filter(np.random.default_rng(seed).standard_normal((4, side, side)), (0, 4, 4)) > 0
    masks = torch.from_numpy(blobs.astype(np.uint8))
    draws = Draws.of(seed, 0, 4)
    pixels, labels = seen(masks[:, None].float(), masks, draws, BENDING, margin=margin)
    agreed = (abs(pixels[:, 0] - 0.5) > 0.4999) & (labels != 255)  # all four neighbours are the same
    assert agreed.mean() > 0.3
    np.testing.assert_array_equal(np.rint(pixels[:, 0][agreed]), labels[agreed])
    assert set(np.unique(labels)) <= {0, 1, 255}


def test_ignored_is_what_lies_outside_the_window_and_nothing_else():
    masks = torch.zeros((50, 16, 16), dtype=torch.uint8)
    draws = Draws.of(3, 0, 50)
    grid = grid_of(draws, BENDING, patch=16, margin=0, centres=None, device=CPU)
    _, labels = moved(masks[:, None].float(), masks, grid)
    outside = (grid.abs() > 1).any(dim=-1)
    assert outside.any()
    assert ((labels == 255) == outside).all()


@pytest.mark.parametrize("classes", [0, 1, 127, 128, 253, 254, 255])
def test_every_class_survives(drawn, classes):
    masks = torch.full((1, 8, 8), classes, dtype=torch.uint8)
    _, labels = seen(torch.zeros((1, 1, 8, 8)), masks, drawn(turn=0.25), Recipe(turns=True))
    assert (labels == classes).all()


@pytest.mark.parametrize("patch", [8, 9])
@pytest.mark.parametrize("numbers", [{}, {"left_right": 0}, {"turn": 0.25}, {"turn": 0.75, "up_down": 0}])
def test_what_a_patch_is_centred_on_is_in_its_middle(drawn, patch, numbers):
    margin, recipe = 4, Recipe(flips="both", turns=True)
    side = patch + 2 * margin
    images, masks = window(side, channels=1)
    stored = np.sort(images.numpy(), axis=None)
    for row, column in np.array([[-4, 3], [0, 0], [2, -1]]) + side // 2:
        centres = np.array([[row - (side - 1) / 2, column - (side - 1) / 2]])
        pixels, labels = seen(images, masks, drawn(**numbers), recipe, margin=margin, centres=centres)
        middle = slice((patch - 1) // 2, patch // 2 + 1)  # one pixel, or the four around the middle
        assert abs(pixels[0, 0, middle, middle] - float(images[0, 0, row, column])).min() < 1e-3
        # The patch is as sharp as it was stored: each of its pixels is one of the window's.
        assert abs(stored[:, None] - pixels.ravel()).min(axis=0).max() < 1e-3
        assert (labels == 255).sum() <= (masks == 255).sum()


def test_a_patch_is_moved_no_farther_than_the_margin(drawn):
    images, masks = window(16)
    centres = np.array([[-7.5, 7.5]])  # the corner at the top right
    shown = seen(images, masks, drawn(), Recipe(), margin=3, centres=centres)
    assert_shows(shown, images.numpy()[..., :10, 6:], masks.numpy()[..., :10, 6:])
    without = seen(images, masks, drawn(), Recipe(), margin=0, centres=centres)
    assert_shows(without, images.numpy(), masks.numpy())
