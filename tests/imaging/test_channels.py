import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchseg.errors import DataError
from patchseg.imaging import ArraySource, Box, Reading, open_image
from patchseg.imaging.channels import are_gray, channel_names, choose

RANDOM = np.random.default_rng(0)


@pytest.fixture
def stored(tmp_path):
    """Store an array as an image and open it with some channels chosen: `stored(pixels, channels)`."""

    def stored(pixels, channels=None):
        np.save(tmp_path / "a.npy", pixels)
        return open_image(tmp_path / "a.npy", Reading(channels=channels))

    return stored


@given(st.data())
def test_chosen_channels_come_in_the_order_that_is_asked_for(tmp_path_factory, data):
    count = data.draw(st.integers(1, 5))
    chosen = data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=6))
    pixels = RANDOM.integers(0, 2**16, (7, 6, count)).astype(np.uint16)
    file = tmp_path_factory.getbasetemp() / "chosen.npy"
    np.save(file, pixels)
    with open_image(file, Reading(channels=tuple(chosen))) as source:
        assert source.shape == (7, 6, len(chosen))
        found = source.read(Box(1, 2, 5, 3))
        assert source.dtype == found.dtype == np.uint16
    for place, channel in enumerate(chosen):
        np.testing.assert_array_equal(found[:, :, place], pixels[1:6, 2:5, channel])


@pytest.mark.parametrize(
    ("count", "names"),
    [(1, ("gray",)), (2, ("channel_0", "channel_1")), (3, ("red", "green", "blue"))],
)
def test_channels_without_names_are_named_by_their_number(stored, count, names):
    with stored(np.zeros((2, 2, count), np.uint8)) as source:
        assert channel_names(source) == names


def test_channels_are_chosen_by_name_and_keep_it(stored):
    pixels = RANDOM.integers(0, 256, (4, 5, 3)).astype(np.uint8)
    with stored(pixels, ("blue", 0)) as source:
        np.testing.assert_array_equal(source.read(Box(0, 0, 4, 5)), pixels[:, :, [2, 0]])
        assert channel_names(source) == ("blue", "red")


@pytest.mark.parametrize(
    ("channels", "told"),
    [
        ((3,), "has no channel 3; it has 3 (0 red, 1 green, 2 blue), so mend data.channels"),
        (("gren",), 'has no channel gren; it has 3 (0 red, 1 green, 2 blue), so mend data.channels; did you mean "green"?'),
        (("gray", "red"), "has no channel gray; it has 3 (0 red, 1 green, 2 blue), so mend data.channels"),
    ],
)  # fmt: skip
def test_a_channel_that_is_not_there_is_told_with_those_that_are(tmp_path, stored, channels, told):
    with pytest.raises(DataError) as caught:
        stored(np.zeros((4, 5, 3), np.uint8), channels)
    assert str(caught.value) == f"{tmp_path}/a.npy: {told}"


def test_of_many_channels_the_first_are_listed(stored):
    with pytest.raises(DataError, match=r"it has 20 \(0 channel_0, .*, 7 channel_7, \.\.\.\), so mend"):
        stored(np.zeros((30, 30, 20), np.uint8), (20,))


def test_gray_is_one_channel_however_it_is_stored(stored):
    gray = RANDOM.integers(0, 256, (4, 5)).astype(np.uint8)
    for pixels in (gray, gray[:, :, None], np.repeat(gray[:, :, None], 3, axis=2)):
        with stored(pixels, ("gray",)) as source:
            assert source.shape == (4, 5, 1)
            assert channel_names(source) == ("gray",)
            np.testing.assert_array_equal(source.read(Box(1, 1, 2, 3))[:, :, 0], gray[1:3, 1:4])


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_colour_where_gray_is_expected_is_told_with_its_place(stored, channel):
    pixels = np.full((6, 5, 3), 7, np.uint8)
    pixels[3, 4, channel] = 8
    with stored(pixels, ("gray",)) as source:
        assert source.read(Box(0, 0, 3, 5)).tolist() == [[[7]] * 5] * 3
        with pytest.raises(DataError, match=r"a\.npy: is in colour, first at row 3, column 4; expected gray"):
            source.read(Box(2, 1, 3, 4))


def test_two_equal_channels_of_three_are_no_gray():
    pixels = np.zeros((2, 2, 3), np.uint8)
    for channel in range(3):
        other = pixels.copy()
        other[1, 1, channel] = 1
        assert not are_gray(other)
    assert are_gray(pixels)


def test_the_only_channel_is_gray_whatever_its_name(tmp_path):
    class Named(ArraySource):
        channel_names = ("DAPI",)

    source = Named(np.zeros((2, 2), np.uint8))
    assert choose(source, ("gray",), tmp_path) is source
