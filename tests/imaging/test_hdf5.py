import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchseg.errors import DataError
from patchseg.imaging import Box, is_image, open_image
from patchseg.imaging.address import Address

RANDOM = np.random.default_rng(0)
IMAGE = RANDOM.integers(0, 256, (23, 31, 3)).astype(np.uint8)


def made(file, **datasets):
    """Write datasets, whose names have __ for /."""
    with h5py.File(file, "w") as content:
        for name, values in datasets.items():
            content[name.replace("__", "/")] = values
    return file


@pytest.mark.parametrize("dtype", [np.uint8, ">u2", np.int32, np.float32, ">f8", np.float16, bool])
@pytest.mark.parametrize("shape", [(23, 31), (23, 31, 1), (23, 31, 4)])
@pytest.mark.parametrize("options", [{}, {"chunks": True, "compression": "gzip", "shuffle": True}])
def test_a_window_of_a_dataset_is_read_as_it_is(tmp_path, dtype, shape, options):
    pixels = (
        RANDOM.integers(0, 2, shape).astype(dtype)
        if dtype is bool
        else RANDOM.integers(0, 250, shape).astype(dtype)
    )
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("raw/image", data=pixels, **options)
    with open_image(tmp_path / "a.h5:/raw/image") as source:
        assert source.shape == (*shape, 1)[:3]
        found = source.read(Box(3, 5, 20, 7))
        assert source.dtype == found.dtype
        assert source.dtype == (np.uint8 if dtype is bool else np.dtype(dtype).newbyteorder("="))
        np.testing.assert_array_equal(found, pixels.reshape(source.shape)[3:23, 5:12])
        assert source.valid(Box(0, 0, 2, 2)) is None


def test_each_chunk_is_decoded_once_from_top_to_bottom(tmp_path):
    """A row of chunks is twice the usual cache: read in thin bands, it must stay in memory."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("image", (512, 20_000), np.uint8, chunks=(512, 1000))
    with open_image(tmp_path / "a.h5") as source:
        row = 512 * 20_000
        _, held, _ = source._dataset.id.get_access_plist().get_chunk_cache()
        assert row < held < 2 * row


def test_the_only_image_of_a_file_needs_no_name(tmp_path):
    made(
        tmp_path / "a.h5",
        raw__image=IMAGE,
        scale=0.5,
        times=np.arange(9),
        names=np.array([b"a"]),
        empty=np.zeros((0, 3)),
    )
    with open_image(tmp_path / "a.h5") as source:
        np.testing.assert_array_equal(source.read(Box(0, 0, 23, 31)), IMAGE)


def told(path):
    with pytest.raises(DataError) as caught:
        open_image(path)
    return str(caught.value).replace(str(Address.of(path).file.parent) + "/", "")


def test_several_images_are_listed_for_one_to_be_named(tmp_path):
    made(tmp_path / "a.h5", raw__image=IMAGE, mask=IMAGE[:, :, 0])
    assert told(tmp_path / "a.h5") == (
        "a.h5: holds 2 datasets that may be images; name the one to read, as in a.h5:/mask (it holds /mask, /raw/image)"
    )
    assert told(tmp_path / "a.h5:/imge").startswith(
        "a.h5: holds no dataset /imge; name the one to read, as in a.h5:/mask"
    )
    assert "; did you mean" in told(tmp_path / "a.h5:/raw/imag")
    assert "holds no dataset /raw;" in told(tmp_path / "a.h5:/raw")


def test_of_many_images_some_are_listed(tmp_path):
    made(tmp_path / "a.h5", **{f"slice_{number:02}": IMAGE for number in range(30)})
    assert told(tmp_path / "a.h5").endswith("/slice_19 and 10 more)")


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (np.arange(5), "int64 of shape (5,)"),
        (np.zeros((2, 2, 2, 2), np.uint8), "uint8 of shape (2, 2, 2, 2)"),
        (np.zeros((2, 2), complex), "complex128 of shape (2, 2)"),
        (5, "int64 of shape ()"),
        (np.zeros((3, 200, 300), np.uint8), "uint8 of shape (3, 200, 300)"),
    ],
)
def test_a_dataset_that_is_no_image_is_told_with_its_dtype_and_shape(tmp_path, values, found):
    made(tmp_path / "a.h5", it=values)
    assert told(tmp_path / "a.h5:/it").startswith(f"a.h5:/it: holds {found}; expected ")


def test_a_file_without_images_and_one_of_patches_are_told(tmp_path):
    made(tmp_path / "a.h5", times=np.arange(9))
    expected = (
        "a.h5: holds 0 datasets that may be images; expected one of numbers of shape (H, W) or (H, W, C)"
    )
    assert told(tmp_path / "a.h5") == expected
    with h5py.File(tmp_path / "patches.h5", "w") as file:
        file.attrs["patchseg_format"] = 1
        file["only"] = IMAGE
    assert "holds patches that prepare has cut, no image" in told(tmp_path / "patches.h5")
    assert is_image(tmp_path / "a.h5")
    assert not is_image(tmp_path / "patches.h5")


@given(st.data())
def test_a_file_cut_anywhere_is_one_sentence(tmp_path_factory, data):
    file = tmp_path_factory.getbasetemp() / "cut.h5"
    with h5py.File(file, "w") as content:
        content.create_dataset("image", data=IMAGE, chunks=(8, 8, 3), compression="gzip")
    whole = file.read_bytes()
    file.write_bytes(whole[: data.draw(st.integers(8, len(whole) - 1))])
    with pytest.raises(DataError, match=r"cut\.h5: is truncated or damaged .*; replace it by a whole copy"):
        open_image(file)


def test_a_chunk_that_has_changed_is_told_when_it_is_read(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = file.create_dataset("image", data=IMAGE, chunks=(8, 31, 3), compression="gzip")
        place = dataset.id.get_chunk_info(1).byte_offset
    content = bytearray((tmp_path / "a.h5").read_bytes())
    content[place : place + 20] = bytes(20)
    (tmp_path / "a.h5").write_bytes(content)
    with open_image(tmp_path / "a.h5") as source:
        np.testing.assert_array_equal(source.read(Box(0, 0, 8, 31)), IMAGE[:8])
        with pytest.raises(DataError, match=r"a\.h5: is truncated or damaged"):
            source.read(Box(7, 0, 2, 31))


def test_a_missing_file_is_told_by_its_name(tmp_path):
    assert told(tmp_path / "none.h5:/image").startswith(
        "none.h5:/image: cannot be read (no such file or directory)"
    )


@given(st.data())
def test_changed_bytes_are_an_image_or_one_sentence(tmp_path_factory, data):
    file = tmp_path_factory.getbasetemp() / "changed.h5"
    with h5py.File(file, "w") as made_up:
        made_up.create_dataset("image", data=IMAGE, chunks=(8, 8, 3), compression="gzip")
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(8, len(content) - 1))] = data.draw(st.integers(0, 255))
    file.write_bytes(content)
    try:
        with open_image(file) as source:
            if source.shape == IMAGE.shape:
                assert source.read(Box(0, 0, 23, 31)).shape == IMAGE.shape
    except DataError as error:
        assert str(error).startswith(f"{file}")  # noqa: PT017 - either outcome is right
