import time

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from patchseg.imaging import ArraySource, Box, open_image
from patchseg.imaging.scale import ScaledSource
from patchseg.inference.predictor import Predictor
from patchseg.inference.stream import stream
from patchseg.inference.tiling import Grid

CPU = torch.device("cpu")
sides = st.integers(1, 50)


class Recorder(ArraySource):
    """An image in memory that remembers which boxes were read."""

    def __init__(self, pixels):
        super().__init__(pixels)
        self.boxes = []

    def read(self, box):
        self.boxes.append(box)
        return super().read(box)


class Batches:
    """Predicts that the first channel of a tile is the probability of class 0; remembers what it was given."""

    def __init__(self):
        self.given = []

    def __call__(self, tiles):
        self.given.append(tiles.clone())
        share = tiles[..., 0].float() / 255
        return torch.stack([share, 1 - share], dim=1)


def noise(*shape, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(dtype)


def bands(source, predict, grid, *, classes=2, window="flat", batch=4):
    return list(stream(source, predict, grid, classes=classes, window=window, batch=batch, device=CPU))


def whole(source, predict, grid, **settings):
    return torch.cat(bands(source, predict, grid, **settings), dim=1)


@pytest.fixture(scope="module")
def network(make):
    return make(channels=2, classes=3).network()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@given(
    grid=st.builds(Grid, st.tuples(sides, sides), st.integers(8, 20), st.sampled_from([0.0, 0.3, 0.5, 0.7]))
)
@settings(max_examples=12)
def test_a_network_streamed_over_an_image_equals_the_average_in_full_size(network, naive, dtype, grid):
    pixels = noise(*grid.shape, 2, dtype=dtype)
    got = whole(ArraySource(pixels), Predictor([network], CPU), grid, classes=3)
    assert got.dtype == torch.float32
    np.testing.assert_allclose(got, naive(pixels, network, grid), rtol=0, atol=1e-5)


@given(st.tuples(sides, sides), st.integers(1, 20), st.floats(0, 0.9), st.integers(1, 7))
def test_every_row_is_read_once_and_in_order(shape, tile, overlap, batch):
    source = Recorder(noise(*shape, 1))
    grid = Grid(shape, tile, overlap)
    bands(source, Batches(), grid, batch=batch)
    rows = [row for box in source.boxes for row in range(box.top, box.bottom)]
    assert rows == list(range(shape[0]))
    assert {(box.left, box.width) for box in source.boxes} == {(0, shape[1])}
    assert max(box.height for box in source.boxes) <= tile


def test_rows_are_read_one_row_of_tiles_ahead_and_no_further():
    source = Recorder(noise(1000, 20, 1))
    rows = stream(source, Batches(), Grid((1000, 20), 16), classes=2, window="flat", batch=4, device=CPU)
    assert next(rows).shape == (2, 8, 20)
    # One batch holds two rows of two tiles: rows 0 to 15 and 8 to 23. The next is read while they are predicted.
    time.sleep(0.2)
    assert source.boxes[-1].bottom == 32


@given(st.tuples(sides, sides), st.integers(1, 20), st.integers(1, 9))
def test_batches_run_on_across_rows_of_tiles_and_the_last_is_filled_with_zeros(shape, tile, batch):
    pixels, grid, predict = noise(*shape, 1), Grid(shape, tile), Batches()
    bands(ArraySource(pixels), predict, grid, batch=batch)
    assert len(predict.given) == -(-len(grid) // max(2, batch))
    sizes = {tiles.shape for tiles in predict.given}
    assert len(sizes) == 1, "the size of a batch may change its rounding"
    ((size, *shape),) = sizes
    assert tuple(shape) == (*grid.tile_shape, 1)
    assert 2 <= size <= max(2, batch)
    assert size * len(predict.given) - len(grid) < max(2, len(predict.given)), "no more zeros than must be"
    given_tiles = torch.cat(predict.given)
    expected = np.stack([pixels[box.slices] for box in grid])
    np.testing.assert_array_equal(given_tiles[: len(grid)], expected)
    assert not given_tiles[len(grid) :].any()


@given(st.tuples(sides, sides), st.integers(1, 20), st.integers(1, 9), st.sampled_from(["flat", "hann"]))
def test_the_size_of_a_batch_is_no_matter_to_a_predictor_that_rounds_alike(shape, tile, batch, window):
    source, grid = ArraySource(noise(*shape, 1)), Grid(shape, tile)
    one = whole(source, Batches(), grid, batch=1, window=window)
    assert torch.equal(whole(source, Batches(), grid, batch=batch, window=window), one)


@pytest.mark.parametrize("options", [{"rowsperstrip": 1}, {"rowsperstrip": 13}, {"tile": (16, 32)}])
def test_how_a_file_is_cut_into_segments_is_no_matter(tmp_path, network, options):
    pixels, grid = noise(70, 45, 2), Grid((70, 45), 16)
    predict = Predictor([network], CPU)
    settings = {"planarconfig": "contig", "photometric": "minisblack", "metadata": None}
    tifffile.imwrite(tmp_path / "a.tif", pixels, **settings, **options)
    with open_image(tmp_path / "a.tif") as source:
        got = whole(source, predict, grid, classes=3)
    assert torch.equal(got, whole(ArraySource(pixels), predict, grid, classes=3))


def test_an_image_smaller_than_the_tile_is_predicted_as_one_tile_of_its_size():
    predict, pixels = Batches(), noise(5, 7, 1)
    result = bands(ArraySource(pixels), predict, Grid((5, 7), 96), batch=2)
    assert [tiles.shape for tiles in predict.given] == [(2, 5, 7, 1)]
    np.testing.assert_allclose(result[0][0], pixels[:, :, 0] / 255, atol=1e-6)


def test_rows_already_handed_out_stay_as_they_were():
    rows = stream(
        ArraySource(noise(60, 30, 1)), Batches(), Grid((60, 30), 8), classes=2, window="flat", batch=4, device=CPU
    )  # fmt: skip
    seen = [(band, band.clone()) for band in rows]
    assert len(seen) > 10
    assert all(torch.equal(band, copy) for band, copy in seen)


@pytest.mark.parametrize("scale", [0.5, 1.7])
def test_an_image_is_streamed_at_another_size_too(scale):
    pixels = noise(41, 33, 1)
    with ScaledSource(ArraySource(pixels), scale) as source:
        expected = source.read(Box(0, 0, *source.shape[:2]))
        got = whole(source, Batches(), Grid(source.shape[:2], 8))
    np.testing.assert_allclose(got[0], expected[:, :, 0] / 255, atol=1e-6)
