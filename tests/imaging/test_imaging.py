"""The door of imaging: files are told apart by their first bytes."""

import h5py
import numpy as np
import pytest
import tifffile
from PIL import Image

from patchseg.errors import DataError
from patchseg.imaging import FORMATS, SUFFIXES, Box, hdf5, open_image, open_raw

PIXELS = np.random.default_rng(0).integers(0, 256, (13, 17, 3)).astype(np.uint8)
EVERYTHING = Box(0, 0, 13, 17)


def store(file, suffix):
    """Write an image of the kind that a suffix promises."""
    if suffix in (".tif", ".tiff"):
        tifffile.imwrite(file, PIXELS)
    elif suffix == ".npy":
        with file.open("wb") as stream:
            np.save(stream, PIXELS)
    elif suffix in hdf5.SUFFIXES:
        with h5py.File(file, "w") as made:
            made["image"] = PIXELS
    else:
        kind = {".pgm": "L", ".pbm": "1", ".gif": "P"}.get(suffix, "RGB")
        Image.fromarray(PIXELS).convert(kind).save(file, Image.registered_extensions()[suffix])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_promised_suffix_is_read_and_by_exactly_one_format(tmp_path, suffix):
    file = tmp_path / f"a{suffix}"
    store(file, suffix)
    head = file.read_bytes()[:32]
    assert [name for name, format in FORMATS.items() if format.accepts(head)] == [
        name for name, format in FORMATS.items() if suffix in format.suffixes
    ]
    with open_image(file) as source:
        assert source.shape == (13, 17, 1 if suffix in (".pgm", ".pbm") else 3)
        assert source.read(EVERYTHING).dtype == np.uint8


@pytest.mark.parametrize("real", [".png", ".tif", ".npy", ".bmp"])
@pytest.mark.parametrize("said", [".png", ".tif", ".npy", ".xyz", ""])
def test_a_file_is_read_for_what_it_is_whatever_its_name_says(tmp_path, real, said):
    file = tmp_path / f"a{said}"
    store(file, real)
    with open_image(file) as source:
        np.testing.assert_array_equal(source.read(EVERYTHING), PIXELS)


def test_a_palette_image_is_indices_to_masks_and_colours_to_viewers(tmp_path):
    indices = np.array([[0, 1], [2, 1]], np.uint8)
    image = Image.fromarray(indices)
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 255])
    image.save(tmp_path / "a.png")
    with open_raw(tmp_path / "a.png") as source:
        np.testing.assert_array_equal(source.read(Box(0, 0, 2, 2))[:, :, 0], indices)
        assert source.palette[:3].tolist() == [[0, 0, 0], [255, 0, 0], [0, 0, 255]]
    with open_image(tmp_path / "a.png") as source:
        assert source.read(Box(0, 1, 2, 1)).tolist() == [[[255, 0, 0]], [[255, 0, 0]]]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "is empty (0 bytes)"),
        (b"hello, I am a text", "is no image of a known format"),
        (b"\x89PN", "is no image of a known format"),
        (b"%PDF-1.7", "is no image of a known format"),
    ],
)
def test_what_is_no_image_is_told_with_the_formats_there_are(tmp_path, content, found):
    file = tmp_path / "a.png"
    file.write_bytes(content)
    with pytest.raises(DataError) as caught:
        open_image(file)
    expected = f"{file}: {found}; expected one of tiff, npy, hdf5, raster (.tif .tiff .npy .h5"
    assert str(caught.value).startswith(expected)


def test_a_missing_file_and_a_folder_are_told_by_name(tmp_path):
    for file, why in ((tmp_path / "none.png", "no such file or directory"), (tmp_path, "is a directory")):
        with pytest.raises(DataError) as caught:
            open_image(file)
        assert str(caught.value) == f"{file}: cannot be read ({why}); check the path"
