import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchseg.errors import DataError
from patchseg.imaging import Box, array, open_image


def stored(folder, pixels, name="a.npy"):
    np.save(folder / name, pixels, allow_pickle=True)
    return folder / name


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32, np.float16, np.float64, ">u2"])
@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 1), (7, 5, 4)])
def test_numbers_of_two_or_three_axes_are_read_as_they_are(tmp_path, dtype, shape):
    pixels = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    with open_image(stored(tmp_path, pixels)) as source:
        assert source.shape == (*shape, 1)[:3]
        read = source.read(Box(2, 1, 4, 3))
        assert source.dtype == read.dtype == np.dtype(dtype).newbyteorder("=")
        np.testing.assert_array_equal(read, pixels.reshape(source.shape)[2:6, 1:4])


def test_truth_values_are_read_as_0_and_1(tmp_path):
    with open_image(stored(tmp_path, np.array([[True, False]]))) as source:
        assert source.dtype == np.uint8
        assert source.read(Box(0, 0, 1, 2)).tolist() == [[[1], [0]]]


def test_only_the_window_is_read_from_the_disk(tmp_path):
    source = array.open_source(stored(tmp_path, np.zeros((50, 40, 3), np.uint8)))
    assert isinstance(source._pixels, np.memmap)


@pytest.mark.parametrize(
    ("pixels", "found"),
    [
        (np.zeros(4), "float64 of shape (4,)"),
        (np.zeros((2, 2, 2, 2), np.uint8), "uint8 of shape (2, 2, 2, 2)"),
        (np.zeros((2, 2), complex), "complex128 of shape (2, 2)"),
        (np.zeros((0, 2), np.uint8), "uint8 of shape (0, 2)"),
        (np.array([["a", "b"]]), "<U1 of shape (1, 2)"),
        (np.array(5), "int64 of shape ()"),
    ],
)
def test_what_is_no_image_is_told_with_its_dtype_and_shape(tmp_path, pixels, found):
    file = stored(tmp_path, pixels)
    with pytest.raises(DataError) as caught:
        open_image(file)
    expected = f"{file}: holds {found}; expected numbers of shape (H, W) or (H, W, C)"
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("shape", "first"),
    [((3, 200, 300), True), ((40, 41, 42), True), ((30, 30, 200), False), ((3, 200, 32), False)],
)
def test_slices_or_channels_that_come_first_are_not_taken_for_rows(tmp_path, shape, first):
    file = stored(tmp_path, np.zeros(shape, np.uint8))
    if first:
        with pytest.raises(
            DataError, match=r"holds uint8 of shape .*; expected \(H, W, C\), the channels last, so"
        ):
            open_image(file)
    else:
        with open_image(file) as source:
            assert source.shape == shape


def test_objects_are_refused_and_never_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    with pytest.raises(DataError, match="damaged"):
        open_image(stored(tmp_path, np.array([[Trap()]], object)))
    assert not (tmp_path / "sprung").exists()


@given(st.data())
def test_a_file_cut_anywhere_is_one_sentence(tmp_path_factory, data):
    file = stored(tmp_path_factory.mktemp("cut"), np.zeros((9, 9), np.uint8))
    whole = file.read_bytes()
    file.write_bytes(whole[: data.draw(st.integers(6, len(whole) - 1))])
    with pytest.raises(DataError, match=r"a\.npy: is a damaged \.npy file"):
        open_image(file)


def test_a_header_that_is_no_python_is_one_sentence(tmp_path):
    file = stored(tmp_path, np.zeros((9, 9), np.uint8))
    file.write_bytes(file.read_bytes().replace(b"}", b"("))
    with pytest.raises(DataError, match="damaged"):
        open_image(file)
