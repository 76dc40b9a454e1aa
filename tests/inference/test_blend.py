from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from patchseg.errors import UsageError
from patchseg.imaging.box import Box
from patchseg.inference.blend import Blender
from patchseg.inference.tiling import Grid
from patchseg.inference.windows import WINDOWS

sides = st.integers(1, 40)
shapes = st.tuples(sides, sides)
# Up to six tiles deep an axis. Beyond, float32 sums alone stray further than 1e-6; see the test for any overlap.
usual = st.builds(Grid, shapes, st.integers(1, 24), st.floats(0, 0.75))
extreme = st.builds(Grid, shapes, st.integers(1, 24), st.floats(0, 0.97))
windows = st.sampled_from(sorted(WINDOWS))
seeds = st.integers(0, 2**32 - 1)
quick = settings(deadline=None, max_examples=60)


def bands(grid, tiles, window="flat"):
    """Stream tiles (one (K, h, w) each) through a Blender and return the bands that it hands out."""
    blender = Blender(grid, len(tiles[0]), window)
    finished = [blender.add(box, tile) for box, tile in zip(grid, tiles, strict=True)]
    return [rows for rows in finished if rows is not None] + [blender.finish()]


def blend(grid, tiles, window="flat"):
    return torch.cat(bands(grid, tiles, window), dim=1)


def crops(grid, image):
    """Return what an identity predictor makes of a (K, H, W) image."""
    return [image[:, *box.slices] for box in grid]


def random_tiles(grid, classes, seed):
    """Return tiles that contradict each other, as a network's do: softmax of noise."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(len(grid), classes, *grid.tile_shape, generator=generator)
    return list((3 * noise).softmax(1))


def average_in_full_size(grid, tiles, window):
    """The slow way in float64, with a buffer of sums and one of weights, a pixel's weight counted tile by tile."""
    weight = np.outer(*(WINDOWS[window](side).astype(np.float64) for side in grid.tile_shape))
    total, weights = np.zeros((len(tiles[0]), *grid.shape)), np.zeros(grid.shape)
    for box, tile in zip(grid, tiles, strict=True):
        total[:, *box.slices] += tile.double().numpy() * weight
        weights[box.slices] += weight
    return total / weights


# Four 3x3 tiles on a 4x4 image. The first says 36 everywhere, the one right of it 18, the one below 9, the last 0,
# all over 36. Rows and columns 1 and 2 see two tiles each: worked out by hand as the mix of both along each axis.
OVER_36 = {
    # Both halves count alike: (36 + 18) / 2 = 27, (36 + 9) / 2 = 22.5, (36 + 18 + 9 + 0) / 4 = 15.75, ...
    "flat": [[36, 27, 27, 18], [22.5, 15.75, 15.75, 9], [22.5, 15.75, 15.75, 9], [9, 4.5, 4.5, 0]],
    # Weights 1/2, 1, 1/2: the nearer tile counts 2/3, the other 1/3, which is linear interpolation.
    "hann": [[36, 30, 24, 18], [27, 22, 17, 12], [18, 14, 10, 6], [9, 6, 3, 0]],
    # Weights e^(-32/9), 1, e^(-32/9): the other tile counts f = 1 / (1 + e^(32/9)) = 0.02777.
    # 36 - 18 f = 35.500, 36 - 27 f = 35.250, 36 - 45 f + 9 f^2 = 34.757, 9 - 9 f = 8.750, ...
    "gaussian": [
        [36, 35.500, 18.500, 18],
        [35.250, 34.757, 17.993, 17.500],
        [9.750, 9.493, 0.757, 0.500],
        [9, 8.750, 0.250, 0],
    ],
}


@pytest.mark.parametrize("window", WINDOWS)
def test_a_4x4_image_of_four_tiles_worked_by_hand(window):
    tiles = [torch.full((1, 3, 3), value / 36) for value in (36, 18, 9, 0)]
    result = 36 * blend(Grid((4, 4), tile=3), tiles, window)
    np.testing.assert_allclose(result[0], OVER_36[window], atol=6e-4)


def test_the_hand_worked_rows_leave_as_soon_as_they_can():
    grid = Grid((4, 4), tile=3)
    blender = Blender(grid, 1)
    finished = [
        blender.add(box, torch.full((1, 3, 3), v)) for box, v in zip(grid, (4.0, 2, 1, 0), strict=True)
    ]
    assert [None if rows is None else rows.tolist() for rows in finished] == [
        None,
        None,
        [[[4, 3, 3, 2]]],
        None,
    ]
    assert blender.finish().tolist() == [[[2.5, 1.75, 1.75, 1], [2.5, 1.75, 1.75, 1], [1, 0.5, 0.5, 0]]]


@given(usual, windows, seeds)
@quick
def test_an_identity_predictor_reproduces_any_image(grid, window, seed):
    image = torch.rand(2, *grid.shape, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(blend(grid, crops(grid, image), window), image, rtol=0, atol=1e-6)


@given(extreme, windows, seeds)
@quick
def test_a_one_hot_map_keeps_its_argmax_exactly(grid, window, seed):
    mask = torch.randint(5, grid.shape, generator=torch.Generator().manual_seed(seed))
    one_hot = torch.nn.functional.one_hot(mask, 5).permute(2, 0, 1).float()
    assert torch.equal(blend(grid, crops(grid, one_hot), window).argmax(0), mask)


@given(usual, windows, seeds)
@quick
def test_contradicting_tiles_average_as_in_one_full_size_buffer(grid, window, seed):
    tiles = random_tiles(grid, 3, seed)
    expected = average_in_full_size(grid, tiles, window)
    np.testing.assert_allclose(blend(grid, tiles, window), expected, rtol=0, atol=1e-6)


@given(extreme, windows, seeds)
@quick
def test_at_any_overlap_the_error_grows_by_1e_7_a_tile_at_most(grid, window, seed):
    tiles = random_tiles(grid, 2, seed)
    deepest = max(sum(s <= p < s + grid.tile for s in grid.rows) for p in range(grid.shape[0])) * max(
        sum(s <= p < s + grid.tile for s in grid.columns) for p in range(grid.shape[1])
    )
    expected = average_in_full_size(grid, tiles, window)
    np.testing.assert_allclose(blend(grid, tiles, window), expected, rtol=0, atol=1e-6 + 1e-7 * deepest)


@given(extreme, windows, seeds)
@quick
def test_the_bytes_are_those_of_adding_up_whole_tiles_in_row_major_order(grid, window, seed):
    tiles = random_tiles(grid, 3, seed)
    height, width = grid.tile_shape
    rows, columns = (torch.from_numpy(WINDOWS[window](side)) for side in grid.tile_shape)
    row_weights, column_weights = (torch.zeros(side) for side in grid.shape)
    for top in grid.rows:
        row_weights[top : top + height] += rows
    for left in grid.columns:
        column_weights[left : left + width] += columns
    total = torch.zeros(3, *grid.shape)
    for box, tile in zip(grid, tiles, strict=True):
        total[:, *box.slices] += tile * torch.outer(rows, columns)
    expected = total / torch.outer(row_weights, column_weights)
    assert blend(grid, tiles, window).numpy().tobytes() == expected.numpy().tobytes()


@st.composite
def parts(draw):
    """Draw a grid and the same grid of a part of its image."""
    grid = draw(extreme)
    top, left = (draw(st.integers(0, side - 1)) for side in grid.shape)
    bottom, right = (
        draw(st.integers(start + 1, side)) for start, side in zip((top, left), grid.shape, strict=True)
    )
    return grid, replace(grid, part=Box(top, left, bottom - top, right - left))


@given(parts(), windows, seeds)
@quick
def test_a_part_of_an_image_has_the_bytes_that_it_has_in_the_whole(grids, window, seed):
    grid, part = grids
    tiles = dict(zip(grid, random_tiles(grid, 2, seed), strict=True))
    found = torch.cat(bands(part, [tiles[box] for box in part], window), dim=1)
    whole = blend(grid, list(tiles.values()), window)[:, *part.area.slices]
    assert found.numpy().tobytes() == whole.contiguous().numpy().tobytes()


@given(usual, windows, seeds)
@quick
def test_probabilities_that_sum_to_1_keep_doing_so(grid, window, seed):
    sums = blend(grid, random_tiles(grid, 4, seed), window).sum(0)
    torch.testing.assert_close(sums, torch.ones(grid.shape), rtol=0, atol=1e-6)


@given(extreme, windows)
@quick
def test_each_row_of_tiles_finishes_the_rows_above_it_and_all_rows_come(grid, window):
    finished = bands(grid, [torch.ones(1, *grid.tile_shape)] * len(grid), window)
    edges = [*grid.rows, grid.shape[0]]
    assert [rows.shape[1] for rows in finished] == [b - a for a, b in pairwise(edges)]
    assert {rows.shape[2] for rows in finished} == {grid.shape[1]}


def test_a_weight_sums_exactly_so_that_flat_keeps_a_certain_1():
    grid = Grid((50, 50), tile=16, overlap=0.9)
    assert (blend(grid, [torch.ones(1, 16, 16)] * len(grid)) == 1).all()


def test_a_bad_tile_spoils_the_pixels_it_covers_and_no_other():
    # A band that were cleared by multiplying with 0 would carry a NaN on.
    grid = Grid((9, 9), tile=4)
    tiles = [torch.full((1, 4, 4), float("nan") if box.top == box.left == 2 else 0.5) for box in grid]
    spoilt = torch.zeros(9, 9, dtype=torch.bool)
    spoilt[2:6, 2:6] = True
    assert torch.equal(blend(grid, tiles).isnan()[0], spoilt)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_sums_are_float32_whatever_the_tiles_are(dtype):
    grid = Grid((20, 20), tile=8, overlap=0.75)
    tiles = [tile.to(dtype) for tile in random_tiles(grid, 3, seed=0)]
    result = blend(grid, tiles, "hann")
    assert result.dtype == torch.float32
    np.testing.assert_allclose(result, average_in_full_size(grid, tiles, "hann"), rtol=0, atol=1e-6)


def test_no_gradient_is_kept():
    grid = Grid((6, 6), tile=4)
    tiles = [torch.ones(1, 4, 4, requires_grad=True)] * len(grid)
    assert not blend(grid, tiles).requires_grad


def test_rows_handed_out_stay_as_they_were():
    grid = Grid((30, 11), tile=6)
    blender = Blender(grid, 2, "hann")
    seen = []
    for box, tile in zip(grid, random_tiles(grid, 2, seed=1), strict=True):
        rows = blender.add(box, tile)
        seen += [] if rows is None else [(rows, rows.clone())]
    blender.finish()
    assert len(seen) == len(grid.rows) - 1
    assert all(torch.equal(rows, copy) for rows, copy in seen)


def held(blender):
    """Return the storage of each tensor that a Blender holds, as {name: (address, bytes)}."""
    tensors = {name: value for name, value in vars(blender).items() if isinstance(value, torch.Tensor)}
    return {
        name: (t.untyped_storage().data_ptr(), t.untyped_storage().nbytes()) for name, t in tensors.items()
    }


def test_memory_is_one_band_whatever_the_height_and_never_moves():
    sizes = []
    for height in (40, 4000):
        grid = Grid((height, 50), tile=16)
        blender = Blender(grid, 3, "gaussian")
        before = held(blender)
        for box in grid:
            blender.add(box, torch.ones(3, 16, 16))
        blender.finish()
        assert held(blender) == before, "the band is used again, not made anew"
        sizes.append(sorted(size for _, size in before.values()))
    assert sizes[0] == sizes[1]
    assert sizes[0][-1] == 3 * 16 * 50 * 4


@pytest.mark.parametrize("wrong", [Box(0, 2, 4, 4), Box(0, 0, 4, 3), Box(2, 0, 4, 4)])
def test_a_tile_out_of_order_is_refused_and_leaves_the_work_as_it_was(wrong):
    grid = Grid((6, 6), tile=4)
    tiles = random_tiles(grid, 2, seed=2)
    blender = Blender(grid, 2)
    with pytest.raises(ValueError, match=r"Box\(top=0, left=0, height=4, width=4\) is next \(got Box"):
        blender.add(wrong, tiles[0])
    finished = [blender.add(box, tile) for box, tile in zip(grid, tiles, strict=True)]
    assert torch.equal(torch.cat([finished[2], blender.finish()], dim=1), blend(grid, tiles))


def test_a_tile_given_twice_or_after_the_last_is_refused():
    grid = Grid((4, 6), tile=4)
    first, last = grid
    blender = Blender(grid, 1)
    blender.add(first, torch.ones(1, 4, 4))
    with pytest.raises(ValueError, match="left=2"):
        blender.add(first, torch.ones(1, 4, 4))
    blender.add(last, torch.ones(1, 4, 4))
    with pytest.raises(ValueError, match="None is next"):
        blender.add(last, torch.ones(1, 4, 4))


# Each would broadcast or be cropped without a word: fewer classes, a batch of one, rows and columns swapped.
@pytest.mark.parametrize("shape", [(1, 4, 6), (2, 1, 6), (1, 2, 4, 6), (2, 6, 4)])
def test_probabilities_of_another_shape_are_refused(shape):
    grid = Grid((4, 6), tile=6)
    with pytest.raises(ValueError, match=r"shape \(2, 4, 6\) \(got "):
        Blender(grid, 2).add(next(iter(grid)), torch.ones(shape))


def test_an_image_is_finished_once_and_only_when_all_its_tiles_are_in():
    grid = Grid((4, 4), tile=4)
    blender = Blender(grid, 1)
    with pytest.raises(ValueError, match="all tiles"):
        blender.finish()
    blender.add(Box(0, 0, 4, 4), torch.ones(1, 4, 4))
    assert blender.finish().shape == (1, 4, 4)
    with pytest.raises(ValueError, match="once"):
        blender.finish()


def test_an_unknown_window_is_refused_with_a_hint():
    with pytest.raises(
        UsageError, match=r'flat, gaussian, hann \(got "gausian"\); did you mean "gaussian"\?'
    ):
        Blender(Grid((4, 4), tile=4), 2, "gausian")
