"""The arithmetic of tiles, by hand and against numpy's slices."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchseg.imaging import ArraySource, Box
from patchseg.view.levels import TILE, Levels, decimated


def test_levels_halve_down_to_one_tile():
    levels = Levels(1000, 700)  # 2 ** 10 is the first power that holds 1000
    assert (levels.first, levels.last) == (8, 10)
    assert [levels.step(level) for level in (8, 9, 10)] == [4, 2, 1]
    assert [levels.size(level) for level in (8, 9, 10)] == [(250, 175), (500, 350), (1000, 700)]


def test_an_image_of_one_tile_has_one_level():
    assert Levels(1, 1) == (1, 1)
    assert (Levels(1, 1).first, Levels(1, 1).last, Levels(1, 1).size(0)) == (0, 0, (1, 1))
    assert (Levels(100, 256).first, Levels(100, 256).last) == (8, 8)


@pytest.mark.parametrize(
    "place", [(10, 3, 0), (10, 0, 4), (10, -1, 0), (10, 0, -1), (11, 0, 0), (7, 0, 0), (-1, 0, 0)]
)
def test_there_is_no_tile_beyond_the_image(place):
    assert Levels(1000, 700).tile(*place) is None


def test_the_last_tile_of_a_level_is_as_small_as_what_is_left():
    assert Levels(1000, 700).tile(10, 2, 3) == Box(768, 512, 232, 188)
    assert Levels(1000, 700).tile(8, 0, 0) == Box(0, 0, 250, 175)


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_the_tiles_of_a_level_cover_it_once(height, width):
    levels = Levels(height, width)
    for level in range(levels.first, levels.last + 1):
        rows, columns = levels.size(level)
        tiles = [
            levels.tile(level, column, row)
            for row in range(-(-rows // TILE)) for column in range(-(-columns // TILE))
        ]  # fmt: skip
        assert sum(tile.height * tile.width for tile in tiles) == rows * columns
    assert max(levels.size(levels.first)) <= TILE


def test_decimation_keeps_every_third_row_and_column():
    image = np.arange(35).reshape(5, 7)
    kept = decimated(ArraySource(image), Box(0, 0, 2, 3), 3)
    assert kept[:, :, 0].tolist() == [[0, 3, 6], [21, 24, 27]]
    assert decimated(ArraySource(image), Box(1, 1, 1, 2), 3)[:, :, 0].tolist() == [[24, 27]]


@given(st.integers(1, 600), st.integers(1, 40), st.sampled_from([1, 2, 4, 16, 64]), st.booleans(), st.data())
def test_decimation_is_what_numpys_slices_give(height, width, step, wide, data):
    image = np.random.default_rng(height).integers(0, 256, (height, width, 2)).astype(np.uint8)
    kept = image[::step, ::step]
    top = data.draw(st.integers(0, kept.shape[0] - 1))
    left = data.draw(st.integers(0, kept.shape[1] - 1))
    box = Box(
        top,
        left,
        data.draw(st.integers(1, kept.shape[0] - top)),
        data.draw(st.integers(1, kept.shape[1] - left)),
    )
    np.testing.assert_array_equal(decimated(ArraySource(image), box, step, wide=wide), kept[box.slices])


def test_what_a_smaller_size_lacks_at_the_edge_repeats_it():
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)  # a file may round down where we round up
    assert decimated(ArraySource(image), Box(0, 0, 4, 5), 1)[:, :, 0].tolist() == [
        [0, 1, 2, 3, 3], [4, 5, 6, 7, 7], [8, 9, 10, 11, 11], [8, 9, 10, 11, 11],
    ]  # fmt: skip
    assert decimated(ArraySource(image), Box(3, 0, 1, 1), 1, wide=True)[0, 0, 0] == 8
