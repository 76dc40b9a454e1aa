"""Tiles as a browser gets them: PNG, decoded again."""

import io
import math

import numpy as np
import pytest
from PIL import Image

from patchseg.parameters import DataParameters
from patchseg.progress import Progress
from patchseg.view.layers import contrast, of_contrast, of_nats, of_share
from patchseg.view.opening import open_shown


@pytest.fixture
def tiles(job):
    """Return the first tile of each layer at full size, as RGBA."""
    shown = open_shown(job.image, job.mask, DataParameters(), Progress())
    yield {
        layer.id: np.asarray(Image.open(io.BytesIO(layer.tile(9, 0, 0)[0])).convert("RGBA"))
        for layer in shown.layers
    }
    shown.close()


def test_the_image_is_as_it_is(tiles, job):
    np.testing.assert_array_equal(tiles["image"][:, :, :3], job.pixels[:256, :256])
    assert tiles["image"][:, :, 3].min() == 255


def test_the_mask_shows_its_colours_and_lets_the_background_through(tiles):
    assert tiles["mask"][100, 100].tolist() == [230, 159, 0, 255]
    assert tiles["mask"][220, 120].tolist() == [86, 180, 233, 255]
    assert tiles["mask"][2, 2].tolist() == [128, 128, 128, 255]  # ignored
    assert tiles["mask"][30, 30, 3] == 0


def test_a_probability_is_the_colour_of_its_class_as_opaque_as_it_is_probable(tiles):
    assert tiles["probability-2"][220, 120].tolist() == [86, 180, 233, 204]  # 0.8 of 255
    assert tiles["probability-2"][30, 30, 3] in (25, 26)


def test_low_confidence_and_high_disagreement_are_what_is_seen(tiles):
    assert tiles["confidence"][0, 0].tolist() == [213, 94, 0, 64]  # 1 - 0.75
    assert tiles["disagreement"][0, 0, 3] == round(0.25 / math.log(3) * 255)


def test_shares_beyond_their_bounds_and_nan_are_no_trouble():
    assert of_share(np.array([-1.0, 2.0, np.nan, np.inf])).tolist() == [0, 255, 0, 255]
    assert of_nats(np.array([math.log(2)]), 2).tolist() == [255]


def test_of_many_channels_the_first_three_are_shown():
    pixels = np.arange(10, dtype=np.uint8).reshape(1, 2, 5)
    assert of_contrast(pixels, 0, 255).tolist() == [[[0, 1, 2], [5, 6, 7]]]
    assert of_contrast(pixels[:, :, :2], 0, 255).tolist() == [[[0], [5]]]


@pytest.mark.parametrize("pixels", [np.full((4, 4, 1), np.nan, np.float32), np.full((4, 4, 1), 7, np.uint16)])
def test_flat_and_empty_images_have_a_contrast(pixels):
    low, high = contrast(pixels)
    assert math.isfinite(low)
    assert math.isfinite(high)
    assert of_contrast(pixels, low, high).max() == 0
