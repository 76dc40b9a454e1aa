"""Turned and mirrored images: Pillow's turning of the whole is the reference."""

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from patchseg.imaging import Box, open_image, open_raw
from patchseg.imaging.source import ArraySource
from patchseg.imaging.upright import TURNS, UprightSource

PIXELS = np.random.default_rng(0).integers(0, 256, (21, 34, 3)).astype(np.uint8)


def write(file, orientation, pixels=PIXELS, **options):
    tag = [(274, 3, 1, orientation, True)]
    tifffile.imwrite(file, pixels, photometric="rgb", metadata=None, extratags=tag, **options)
    return file


@pytest.mark.parametrize("layout", [{"tile": (16, 16)}, {"rowsperstrip": 5, "compression": "lzw"}])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_read_as_a_viewer_shows_it(tmp_path, orientation, layout):
    file = write(tmp_path / "a.tif", orientation, **layout)
    with Image.open(file) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    assert expected.shape[0] == (21 if orientation < 5 else 34)
    for opened in (open_image(file), open_raw(file)):
        with opened as source:
            assert source.shape == expected.shape
            pixels = source.read(Box(0, 0, *source.shape[:2]))
            assert pixels.flags.c_contiguous
            np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("orientation", TURNS)
@given(data=st.data())
@settings(max_examples=15)
def test_any_window_is_that_window_of_the_whole(orientation, data):
    alpha = np.arange(21 * 34).reshape(21, 34) % 5
    source = UprightSource(ArraySource(PIXELS, alpha=alpha), orientation)
    height, width, _ = source.shape
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    box = Box(top, left, data.draw(st.integers(1, height - top)), data.draw(st.integers(1, width - left)))
    everything = Box(0, 0, height, width)
    np.testing.assert_array_equal(source.read(box), source.read(everything)[box.slices])
    np.testing.assert_array_equal(source.valid(box), source.valid(everything)[box.slices])


def test_a_transparent_pixel_turns_with_its_colour(tmp_path):
    pixels = np.dstack([PIXELS, np.full((21, 34), 255, np.uint8)])
    pixels[0, 1] = (1, 2, 3, 0)
    with open_image(write(tmp_path / "a.tif", 6, pixels, extrasamples=["unassalpha"])) as source:
        # Turned clockwise, the top row becomes the right column.
        assert np.argwhere(~source.valid(Box(0, 0, 34, 21))).tolist() == [[1, 20]]
        assert source.read(Box(1, 20, 1, 1)).ravel().tolist() == [1, 2, 3]


@pytest.mark.parametrize("nonsense", [0, 9, 77])
def test_an_orientation_that_there_is_none_of_is_left_alone(tmp_path, nonsense):
    with open_image(write(tmp_path / "a.tif", nonsense)) as source:
        np.testing.assert_array_equal(source.read(Box(0, 0, 21, 34)), PIXELS)
