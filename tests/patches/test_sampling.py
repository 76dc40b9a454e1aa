import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchseg.imaging import Box
from patchseg.patches.sampling import cut, flips, sample_boxes
from patchseg.patches.split import random


def random_mask(shape, classes, ignored, seed):
    draw = np.random.default_rng(seed)
    mask = draw.integers(0, classes, shape, dtype=np.uint8)
    mask[draw.random(shape) < ignored] = 255
    return mask


masks = st.builds(
    random_mask,
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.integers(1, 4),
    st.sampled_from([0, 0.5, 0.99, 1]),
    st.integers(0, 999),
)


def slow_start(length, patch):
    """Where a patch begins that is centred on a shorter axis: as much outside before as after, or one less after."""
    return -((patch - length) - (patch - length) // 2)


@given(masks, st.integers(1, 24), st.integers(1, 12), st.floats(0, 1), st.integers(0, 99))
@settings(max_examples=200)
def test_boxes_lie_inside_or_centred_and_hold_a_labelled_pixel(mask, patch, number, foreground, seed):
    boxes = sample_boxes(mask, patch, number, foreground=foreground, random=random(seed))
    assert len(boxes) == (0 if (mask == 255).all() else number)
    for box in boxes:
        assert (box.height, box.width) == (patch, patch)
        for start, length in zip((box.top, box.left), mask.shape, strict=True):
            assert 0 <= start <= length - patch if length >= patch else start == slow_start(length, patch)
        assert (cut(mask, box, fill=255) != 255).any()


@given(masks, st.integers(1, 24), st.integers(1, 12), st.floats(0, 1), st.integers(0, 99))
def test_the_last_boxes_are_centred_on_foreground_or_moved_from_a_border(
    mask, patch, number, foreground, seed
):
    boxes = sample_boxes(mask, patch, number, foreground=foreground, random=random(seed))
    if not ((mask > 0) & (mask < 255)).any():
        return
    for box in boxes[number - round(foreground * number) :]:
        # Where a box touches the border, the pixel that it was drawn for is between centre and border.
        spans = []
        for start, length in zip((box.top, box.left), mask.shape, strict=True):
            first = 0 if start <= 0 else start + patch // 2
            last = length - 1 if start + patch >= length else start + patch // 2
            spans.append(slice(first, last + 1))
        seen = mask[tuple(spans)]
        assert ((seen > 0) & (seen < 255)).any()


def test_the_share_of_centred_patches_draws_classes_evenly_whatever_their_size():
    mask = np.zeros((120, 150), np.uint8)
    mask[20:22, 30:33] = 1  # 6 pixels
    mask[50:110, 60:130] = 2  # 4200 pixels
    mask[30:40, 100:110] = 255
    boxes = sample_boxes(mask, 9, 3000, foreground=0.4, random=random(5))
    centres = np.array([mask[box.top + 4, box.left + 4] for box in boxes])
    # 1200 centred boxes, two classes: 600 each, give or take 4 standard deviations of 17.
    assert np.isin(centres[1800:], [1, 2]).all()
    assert abs((centres[1800:] == 1).sum() - 600) < 70
    # The others fall anywhere: class 2 covers 4200 of the 112 x 142 possible centres.
    assert abs((centres[:1800] == 2).mean() - 4200 / (112 * 142)) < 0.04
    assert {0, 255} <= set(centres[:1800].tolist())


def test_without_a_share_and_without_foreground_boxes_fall_evenly():
    boxes = sample_boxes(np.zeros((12, 9), np.uint8), 8, 5000, foreground=1, random=random(1))
    places, counts = np.unique([(box.top, box.left) for box in boxes], axis=0, return_counts=True)
    assert places.tolist() == [[top, left] for top in range(5) for left in range(2)]
    assert np.abs(counts - 500).max() < 90  # 4 standard deviations of 21


def test_each_pixel_of_a_class_is_drawn_as_often_as_the_others():
    mask = np.zeros((30, 30), np.uint8)
    pixels = [(10, 7), (10, 20), (11, 7), (15, 15), (22, 8)]
    for pixel in pixels:
        mask[pixel] = 3
    boxes = sample_boxes(mask, 5, 5000, foreground=1, random=random(2))
    places, counts = np.unique([(box.top + 2, box.left + 2) for box in boxes], axis=0, return_counts=True)
    assert [tuple(place) for place in places.tolist()] == pixels
    assert np.abs(counts - 1000).max() < 115  # 4 standard deviations of 28


def test_a_pixel_in_a_corner_moves_its_box_inside():
    mask = np.zeros((20, 30), np.uint8)
    mask[0, 29] = 1
    assert sample_boxes(mask, 8, 2, foreground=1, random=random(0)) == [Box(0, 22, 8, 8)] * 2


def test_one_labelled_pixel_in_a_large_ignored_mask_is_found():
    mask = np.full((500, 500), 255, np.uint8)
    mask[321, 123] = 0
    for box in sample_boxes(mask, 16, 10, foreground=0.5, random=random(3)):
        assert box.top <= 321 < box.bottom
        assert box.left <= 123 < box.right


def test_an_axis_shorter_than_the_patch_is_centred_and_reflected():
    image = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)
    (box,) = sample_boxes(np.zeros((2, 3), np.uint8), 5, 1, foreground=0, random=random(0))
    assert box == Box(-2, -1, 5, 5)
    assert cut(image, box).tolist() == [
        [2, 1, 2, 3, 2],
        [5, 4, 5, 6, 5],
        [2, 1, 2, 3, 2],
        [5, 4, 5, 6, 5],
        [2, 1, 2, 3, 2],
    ]
    assert cut(image, box, fill=255).tolist() == [
        [255] * 5,
        [255] * 5,
        [255, 1, 2, 3, 255],
        [255, 4, 5, 6, 255],
        [255] * 5,
    ]


@given(
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.integers(1, 30),
    st.integers(-40, 20),
    st.integers(-40, 20),
)
def test_a_cut_reflects_like_two_mirrors_facing_each_other(shape, patch, top, left):
    image = np.arange(shape[0] * shape[1] * 2, dtype=np.uint16).reshape(*shape, 2)
    got = cut(image, Box(top, left, patch, patch))

    def mirrored(at, length):
        """Step back at each end, a pixel at a time."""
        steps = [*range(length), *range(length - 2, 0, -1)]
        return steps[at % len(steps)]

    for row, column in np.ndindex(patch, patch):
        source = (mirrored(top + row, shape[0]), mirrored(left + column, shape[1]))
        assert (got[row, column] == image[source]).all()


def test_what_lies_between_two_mirrors_a_pixel_apart_is_that_pixel():
    column = np.array([[3], [5]], np.uint16)
    assert cut(column, Box(-3, -2, 6, 4)).tolist() == [[value] * 4 for value in (5, 3, 5, 3, 5, 3)]
    assert cut(column[:1, :, None], Box(-1, -1, 3, 2)).tolist() == [[[3]] * 2] * 3


windows = st.builds(Box, st.integers(-30, 20), st.integers(-30, 20), st.integers(1, 20), st.integers(1, 20))


@given(st.tuples(st.integers(1, 14), st.integers(1, 14)), windows, st.integers(0, 40))
def test_the_middle_of_a_cut_with_a_margin_is_the_cut_without(shape, box, margin):
    pixels = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    middle = np.s_[margin : margin + box.height, margin : margin + box.width]
    for fill in (None, 255):
        around = cut(pixels, box.grown(margin), fill=fill)
        assert around.shape == (box.height + 2 * margin, box.width + 2 * margin)
        assert around.dtype == np.uint8
        assert (around[middle] == cut(pixels, box, fill=fill)).all()


@given(st.tuples(st.integers(1, 14), st.integers(1, 14)), windows)
def test_a_filled_cut_holds_the_image_where_it_is_and_the_filling_elsewhere(shape, box):
    mask = np.arange(shape[0] * shape[1], dtype=np.uint8).reshape(shape)
    got = cut(mask, box, fill=255)
    for row, column in np.ndindex(box.height, box.width):
        at = (box.top + row, box.left + column)
        inside = 0 <= at[0] < shape[0] and 0 <= at[1] < shape[1]
        assert got[row, column] == (mask[at] if inside else 255)


def test_flip_codes_are_none_left_right_up_down_and_both():
    patch = np.array([[1, 2], [3, 4]])
    assert [flipped.tolist() for flipped in flips(patch)] == [
        [[1, 2], [3, 4]],
        [[2, 1], [4, 3]],
        [[3, 4], [1, 2]],
        [[4, 3], [2, 1]],
    ]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_flips_leave_channels_and_dtype_alone(dtype):
    patch = np.arange(24).reshape(2, 4, 3).astype(dtype)
    for flipped in flips(patch):
        assert flipped.dtype == dtype
        assert sorted(map(tuple, flipped.reshape(-1, 3))) == sorted(map(tuple, patch.reshape(-1, 3)))
