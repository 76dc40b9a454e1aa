import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchseg.imaging.picture import colorize, hexadecimal, overlay, palette, rgb, to_rgb8


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_colours_survive_their_hexadecimal_form(color):
    assert rgb(hexadecimal(color)) == color
    assert rgb(hexadecimal(color).upper()) == color


@pytest.mark.parametrize("classes", [0, 1, 2, 8, 9, 60, 254])
def test_a_palette_starts_black_and_has_no_colour_twice(classes):
    colors = palette(classes)
    assert colors.shape == (classes, 3)
    assert colors.dtype == np.uint8
    assert len({tuple(color) for color in colors.tolist()}) == classes
    assert not colors[:1].any()
    # A class keeps its colour when others join.
    np.testing.assert_array_equal(colors, palette(254)[:classes])


def test_classes_are_painted_and_ignored_pixels_are_gray():
    colors = np.array([[0, 0, 0], [9, 8, 7]], np.uint8)
    painted = colorize(np.array([[0, 1], [255, 1]], np.uint8), colors)
    assert painted.tolist() == [[[0, 0, 0], [9, 8, 7]], [[128, 128, 128], [9, 8, 7]]]
    assert painted.dtype == np.uint8


@pytest.mark.parametrize(
    ("channels", "shown"), [(1, [0, 0, 0]), (2, [0, 0, 0]), (3, [0, 1, 2]), (5, [0, 1, 2])]
)
def test_8_bits_are_shown_as_they_are_with_the_first_channel_or_three(channels, shown):
    image = np.random.default_rng(0).integers(0, 256, (4, 5, channels)).astype(np.uint8)
    np.testing.assert_array_equal(to_rgb8(image), image[:, :, shown])
    np.testing.assert_array_equal(to_rgb8(image[:, :, 0]), image[:, :, [0, 0, 0]])


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32, np.float64])
def test_other_numbers_are_stretched_between_black_and_white(dtype):
    image = np.linspace(0, 1000, 101).reshape(1, 101).astype(dtype)
    shown = to_rgb8(image)
    assert shown.shape == (1, 101, 3)
    assert shown.dtype == np.uint8
    # The first and last percent are 10 and 990; half-way between them is half of 255, cut off.
    assert shown[0, [0, 1, 50, 99, 100], 0].tolist() == [0, 0, 127, 255, 255]
    assert (np.diff(shown[0, :, 0].astype(int)) >= 0).all()


def test_black_and_white_can_be_given():
    assert to_rgb8(np.array([[0, 50, 100, 150]], np.uint8), 50, 100)[0, :, 0].tolist() == [0, 0, 255, 255]


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_an_image_of_one_value_is_shown_without_a_warning(dtype):
    assert to_rgb8(np.full((3, 3), 7, dtype)).tolist() == np.zeros((3, 3, 3)).tolist()


def test_an_overlay_mixes_the_colours_of_classes_and_leaves_the_background():
    image = np.full((1, 3, 3), 100, np.uint8)
    colors = np.array([[200, 200, 200], [0, 50, 200]], np.uint8)
    indices = np.array([[0, 1, 255]], np.uint8)
    mixed = overlay(image, indices, colors)
    assert mixed.dtype == np.uint8
    assert mixed.tolist() == [[[100, 100, 100], [50, 75, 150], [114, 114, 114]]]
    assert overlay(image, indices, colors, opacity=1)[0, 1].tolist() == [0, 50, 200]
    assert overlay(image, indices, colors, opacity=0).tolist() == image.tolist()
