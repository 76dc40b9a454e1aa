import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchseg.errors import UsageError
from patchseg.imaging.box import Box
from patchseg.inference.tiling import Grid

sides = st.integers(1, 60)
grids = st.builds(Grid, st.tuples(sides, sides), st.integers(1, 40), st.floats(0, 0.98))


def test_a_4x4_image_has_four_tiles_of_3x3_row_by_row():
    assert list(Grid((4, 4), tile=3)) == [Box(0, 0, 3, 3), Box(0, 1, 3, 3), Box(1, 0, 3, 3), Box(1, 1, 3, 3)]


def test_the_last_tile_is_shifted_inside():
    grid = Grid((10, 9), tile=4)
    assert grid.rows == (0, 2, 4, 6)
    assert grid.columns == (0, 2, 4, 5)


def test_without_overlap_a_multiple_of_the_tile_is_cut_like_a_chessboard():
    grid = Grid((6, 9), tile=3, overlap=0)
    assert (grid.rows, grid.columns) == ((0, 3), (0, 3, 6))


@pytest.mark.parametrize(
    ("overlap", "columns"),
    [(0, (0, 4, 6)), (0.25, (0, 3, 6)), (0.75, tuple(range(7))), (0.999, tuple(range(7)))],
)
def test_the_overlap_sets_the_stride_and_leaves_a_pixel_of_it(overlap, columns):
    assert Grid((4, 10), tile=4, overlap=overlap).columns == columns


def test_an_image_smaller_than_the_tile_is_one_tile_of_its_own_size():
    assert list(Grid((5, 7), tile=96)) == [Box(0, 0, 5, 7)]


def test_an_image_as_large_as_the_tile_is_one_tile():
    assert list(Grid((8, 8), tile=8)) == [Box(0, 0, 8, 8)]


def test_a_strip_lower_than_the_tile_is_tiled_along_its_length():
    # The stride is half of the nominal tile, not of the strip's height.
    assert list(Grid((2, 7), tile=4)) == [Box(0, 0, 2, 4), Box(0, 2, 2, 4), Box(0, 3, 2, 4)]


@given(grids)
@settings(deadline=None)
def test_tiles_lie_inside_cover_every_pixel_and_come_row_major(grid):
    height, width = grid.shape
    boxes = list(grid)
    assert len(grid) == len(boxes)
    assert boxes == sorted(set(boxes)), "row-major, and no box twice"
    for box in boxes:
        assert (box.height, box.width) == grid.tile_shape == (min(grid.tile, height), min(grid.tile, width))
        assert box.clip(height, width) == box
    # The product of the axes: a pixel is covered where its row and its column are.
    assert {(box.top, box.left) for box in boxes} == {
        (top, left) for top in grid.rows for left in grid.columns
    }
    assert {row for box in boxes for row in range(box.top, box.bottom)} == set(range(height))
    assert {column for box in boxes for column in range(box.left, box.right)} == set(range(width))


@given(grids)
@settings(deadline=None)
def test_starts_are_multiples_of_the_stride_up_to_the_last_which_ends_at_the_border(grid):
    for size, tile, starts in zip(grid.shape, grid.tile_shape, (grid.rows, grid.columns), strict=True):
        assert [start % grid.stride for start in starts[:-1]] == [0] * (len(starts) - 1)
        assert starts[0] == 0
        assert starts[-1] == size - tile
        gaps = [later - earlier for earlier, later in pairwise(starts)]
        assert all(1 <= gap <= grid.stride for gap in gaps)


@given(grids, st.data())
def test_a_grid_of_a_part_has_the_tiles_that_touch_it(grid, data):
    top, left = (data.draw(st.integers(0, side - 1)) for side in grid.shape)
    height, width = (
        data.draw(st.integers(1, side - start)) for side, start in zip(grid.shape, (top, left), strict=True)
    )
    part = Grid(grid.shape, grid.tile, grid.overlap, Box(top, left, height, width))
    touching = [
        box
        for box in grid
        if box.top < top + height and box.bottom > top and box.left < left + width and box.right > left
    ]
    assert list(part) == touching
    assert part.span.clip(*grid.shape) == part.span
    assert (part.span.top, part.span.left) == touching[0][:2]
    assert (part.span.bottom, part.span.right) == (touching[-1].bottom, touching[-1].right)


@pytest.mark.parametrize(
    ("values", "got"),
    [
        (((0, 5), 4, 0.5), "(got (0, 5))"),
        (((5, -1), 4, 0.5), "(got (5, -1))"),
        (((5, 5, 3), 4, 0.5), "(got (5, 5, 3))"),
        (((5, 5), 0, 0.5), "(got 0)"),
        (((5, 5), 4, 1.0), "(got 1.0)"),
        (((5, 5), 4, -0.1), "(got -0.1)"),
        (((5, 5), 4, float("nan")), "(got nan)"),
    ],
)
def test_a_grid_that_cannot_be_is_refused_at_birth(values, got):
    with pytest.raises(UsageError) as caught:
        Grid(*values)
    assert str(caught.value).endswith(got)


def test_planning_and_weighing_tiles_imports_no_torch():
    code = "import sys, patchseg.inference.tiling, patchseg.inference.windows; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"
