import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.nn.functional import interpolate

from patchseg.imaging.box import Box
from patchseg.imaging.scale import scaled_length
from patchseg.inference.rescale import RowResampler

sides = st.integers(1, 40)
shapes = st.tuples(sides, sides)
seeds = st.integers(0, 2**32 - 1)


def random_probabilities(shape, classes=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(classes, *shape, generator=generator).softmax(0)


def push(rows, target, chunks):
    """Push rows (K, h, w) in chunks of these heights; return what comes out of each push."""
    resampler, top, results = RowResampler(tuple(rows.shape[1:]), target), 0, []
    for height in chunks:
        results.append(resampler.push(rows[:, top : top + height]))
        top += height
    assert top == rows.shape[1]
    return results


def resample(rows, target, chunks=None):
    finished = push(rows, target, chunks or [rows.shape[1]])
    return torch.cat([part for part in finished if part is not None], dim=1)


@st.composite
def chunked(draw):
    """Draw the shape of an image and the heights of the chunks that its rows come in."""
    chunks = draw(st.lists(st.integers(1, 12), min_size=1, max_size=8))
    return (sum(chunks), draw(sides)), chunks


def test_two_pixels_become_four_as_worked_by_hand():
    # Centres at 0.25, 0.75, 1.25, 1.75 of a line from 0 (at 0.5) to 1 (at 1.5), flat beyond its ends.
    column = torch.tensor([[[0.0], [1.0]]])
    assert resample(column, (4, 1)).flatten().tolist() == [0, 0.25, 0.75, 1]
    assert resample(column.transpose(1, 2), (1, 4)).flatten().tolist() == [0, 0.25, 0.75, 1]


def test_four_pixels_become_two_as_worked_by_hand():
    # Centres at 1 and 3, a triangle 2 wide to each side: 0.75, 0.75, 0.25 over the first three pixels.
    column = torch.tensor([[[0.0], [0.1], [0.2], [1.0]]])
    first, second = (0.75 * 0.1 + 0.25 * 0.2) / 1.75, (0.25 * 0.1 + 0.75 * 0.2 + 0.75 * 1) / 1.75
    for rows, shape in ((column, (2, 1)), (column.transpose(1, 2), (1, 2))):
        np.testing.assert_allclose(resample(rows, shape).flatten(), [first, second], rtol=1e-6)


def test_rows_leave_when_the_source_row_below_them_is_there():
    # At twice the size, source row k lies between the target rows 2k and 2k + 1.
    results = push(random_probabilities((4, 2)), (8, 4), [1, 1, 1, 1])
    assert [None if rows is None else rows.shape[1] for rows in results] == [None, 2, 2, 4]


def test_a_push_that_finishes_no_row_gives_none():
    results = push(random_probabilities((4, 2)), (1, 2), [1, 1, 1, 1])
    assert [None if rows is None else tuple(rows.shape) for rows in results] == [None, None, None, (3, 1, 2)]


@given(chunked(), shapes, seeds)
def test_rows_are_the_same_in_any_chunks(chunking, target, seed):
    shape, chunks = chunking
    rows = random_probabilities(shape, seed=seed)
    result = resample(rows, target, chunks)
    assert result.shape == (3, *target)
    assert torch.equal(result, resample(rows, target))


@given(shapes, shapes, st.data())
def test_a_part_has_the_bytes_that_it_has_in_the_whole_and_says_what_it_needs(shape, target, data):
    top, left = (data.draw(st.integers(0, side - 1)) for side in target)
    height, width = (
        data.draw(st.integers(1, side - start)) for side, start in zip(target, (top, left), strict=True)
    )
    part = Box(top, left, height, width)
    rows, resampler = random_probabilities(shape), RowResampler(shape, target, part)
    needed = resampler.needed
    # What lies elsewhere may be anything.
    inside = torch.full_like(rows, float("nan"))
    inside[:, *needed.slices] = rows[:, *needed.slices]
    found, start = [], needed.top
    while start < needed.bottom:
        stop = data.draw(st.integers(start + 1, needed.bottom))
        found.append(resampler.push(inside[:, start:stop, needed.left : needed.right]))
        start = stop
    result = torch.cat([band for band in found if band is not None], dim=1)
    assert torch.equal(result, resample(rows, target)[:, *part.slices])


@given(chunked(), st.integers(0, 60), st.integers(0, 60), seeds)
def test_enlarging_is_linear_interpolation(chunking, more_rows, more_columns, seed):
    shape, chunks = chunking
    target = (shape[0] + more_rows, shape[1] + more_columns)
    rows = random_probabilities(shape, seed=seed)
    expected = interpolate(rows[None].double(), target, mode="bilinear", align_corners=False)[0]
    np.testing.assert_allclose(resample(rows, target, chunks), expected, rtol=0, atol=1e-5)


@given(chunked(), shapes, seeds)
def test_any_size_equals_what_pillow_makes_of_the_whole(chunking, target, seed):
    # Pillow's "bilinear" is a triangle too, as wide as a target pixel when it reduces.
    shape, chunks = chunking
    rows = random_probabilities(shape, seed=seed)
    expected = [
        Image.fromarray(plane).resize(target[::-1], Image.Resampling.BILINEAR) for plane in rows.numpy()
    ]
    np.testing.assert_allclose(
        resample(rows, target, chunks), [np.asarray(plane) for plane in expected], rtol=0, atol=1e-5
    )


@given(chunked(), shapes, seeds)
def test_probabilities_keep_summing_to_1_and_a_constant_stays(chunking, target, seed):
    shape, chunks = chunking
    sums = resample(random_probabilities(shape, seed=seed), target, chunks).sum(0)
    torch.testing.assert_close(sums, torch.ones(target), rtol=0, atol=2e-6)
    flat = torch.full((2, *shape), 0.3)
    torch.testing.assert_close(
        resample(flat, target, chunks), torch.full((2, *target), 0.3), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("scale", [0.5, 0.3, 1.5, 2.0, 8.0])
@given(st.integers(1, 101), st.integers(1, 20))
def test_what_prepare_scales_comes_back_at_its_own_size(scale, height, width):
    small = (scaled_length(height, scale), scaled_length(width, scale))
    result = resample(random_probabilities(small), (height, width), [1] * small[0])
    assert result.shape == (3, height, width)
    assert result.is_contiguous()


@pytest.mark.parametrize(("scale", "rows"), [(0.5, 3), (2, 6)])
def test_only_the_rows_that_the_next_one_depends_on_are_held(scale, rows):
    # A target row is a triangle over two source rows (four when halving), and a row or two more by rounding.
    resampler = RowResampler((1000, 7), (round(1000 / scale), 7))
    for _ in range(24):
        resampler.push(torch.ones(2, 40, 7))
        assert resampler._held.untyped_storage().nbytes() <= rows * 2 * 7 * 4
