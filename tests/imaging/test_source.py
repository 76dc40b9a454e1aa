import numpy as np
import pytest

from patchseg.imaging import ArraySource, Box
from patchseg.imaging.source import PaletteColors

GRAY = np.arange(12, dtype=np.uint16).reshape(3, 4)


def test_a_gray_array_has_one_channel():
    with ArraySource(GRAY) as source:
        assert (source.shape, source.dtype, source.palette) == ((3, 4, 1), np.uint16, None)
        assert source.read(Box(1, 2, 2, 2)).tolist() == [[[6], [7]], [[10], [11]]]


def test_what_is_read_is_a_block_of_memory_of_the_machine_s_byte_order():
    source = ArraySource(GRAY.astype(">u2").T)
    pixels = source.read(Box(0, 0, 4, 3))
    assert source.dtype == pixels.dtype == np.dtype("=u2")
    assert pixels.dtype.isnative
    assert pixels.flags.c_contiguous
    np.testing.assert_array_equal(pixels[:, :, 0], GRAY.T)


def test_pixels_of_alpha_0_are_no_data_and_half_transparent_ones_are():
    alpha = np.array([[0, 1, 128, 255]] * 3, np.uint8)
    source = ArraySource(GRAY, alpha=alpha)
    assert source.valid(Box(0, 0, 1, 4)).tolist() == [[False, True, True, True]]
    assert source.valid(Box(1, 1, 2, 2)).tolist() == [[True, True], [True, True]]


def test_an_opaque_alpha_is_as_none():
    assert ArraySource(GRAY, alpha=np.ones((3, 4), np.uint8)).valid(Box(0, 0, 3, 4)) is None
    assert ArraySource(GRAY).valid(Box(0, 0, 3, 4)) is None


def test_a_palette_image_is_seen_in_its_colours():
    palette = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255]], np.uint8)
    indices = np.array([[0, 1], [2, 7]], np.uint8)
    alpha = np.array([[0, 1], [1, 1]], np.uint8)
    with PaletteColors(ArraySource(indices, palette=palette, alpha=alpha)) as source:
        assert (source.shape, source.dtype, source.palette) == ((2, 2, 3), np.uint8, None)
        # Beyond the palette all is black.
        assert source.read(Box(0, 0, 2, 2)).tolist() == [[[0, 0, 0], [255, 0, 0]], [[0, 0, 255], [0, 0, 0]]]
        assert source.valid(Box(0, 0, 1, 2)).tolist() == [[False, True]]


def test_a_palette_of_more_than_256_colours_is_used_to_its_end():
    palette = np.zeros((65536, 3), np.uint8)
    palette[40000] = (1, 2, 3)
    source = PaletteColors(ArraySource(np.array([[40000]], np.uint16), palette=palette))
    assert source.read(Box(0, 0, 1, 1)).tolist() == [[[1, 2, 3]]]


@pytest.mark.parametrize("colours", [False, True])
def test_a_closed_source_lets_go_of_its_pixels(colours):
    inner = ArraySource(GRAY.astype(np.uint8), palette=np.zeros((2, 3), np.uint8))
    with PaletteColors(inner) if colours else inner:
        assert inner.read(Box(0, 0, 3, 4)).size == 12
    assert inner.read(Box(0, 0, 3, 4)).size == 0
