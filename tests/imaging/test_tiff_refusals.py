"""TIFF files that are damaged, or are no flat upright image."""

import io
import logging

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from patchseg.errors import DataError
from patchseg.imaging import Box, open_image

RANDOM = np.random.default_rng(0)
HEIGHT, WIDTH = 75, 90
COLOR = RANDOM.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
GRAY = COLOR[:, :, 0]
SMOOTH = np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)).astype(np.uint8)
DEEP = RANDOM.integers(0, 2**16, (HEIGHT, WIDTH)).astype(np.uint16)
TILES = {"tile": (32, 16)}


def written(folder, pixels, **options):
    tifffile.imwrite(folder / "a.tif", pixels, **options)
    return folder / "a.tif"


@pytest.mark.parametrize(
    ("pixels", "options", "found"),
    [
        (
            np.stack([DEEP] * 3),
            {"photometric": "minisblack"},
            "is a stack of 3 pages; expected one image a file",
        ),
        (
            RANDOM.integers(0, 9, (16, 16, 16)).astype(np.uint8),
            {"volumetric": True, "tile": (16, 16, 16)},
            "is a volume 16 deep; expected a flat image",
        ),
        (GRAY.astype(np.complex64), {}, "holds samples of complex64; expected whole or real numbers"),
    ],
)
def test_what_is_no_flat_upright_image_is_told_with_the_cure(tmp_path, pixels, options, found):
    file = written(tmp_path, pixels, **options)
    with pytest.raises(DataError) as caught:
        open_image(file)
    assert str(caught.value).startswith(f"{file}: {found}, so ")


def test_an_orientation_tag_of_1_is_welcome(tmp_path):
    with open_image(written(tmp_path, GRAY, extratags=[(274, 3, 1, 1, True)])) as source:
        np.testing.assert_array_equal(source.read(Box(0, 0, HEIGHT, WIDTH))[:, :, 0], GRAY)


@pytest.fixture
def quiet():
    """Keep tifffile from logging what it thinks of damaged files."""
    logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)
    yield
    logging.getLogger("tifffile").setLevel(logging.NOTSET)


def bytes_of(pixels, **options):
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels, **options)
    return stream.getvalue()


DAMAGED = {
    "tiles": bytes_of(COLOR, compression="deflate", **TILES),
    "strips": bytes_of(GRAY, rowsperstrip=8),
    "jpeg": bytes_of(SMOOTH, compression="jpeg"),
    "bigtiff": bytes_of(DEEP, bigtiff=True, compression="lzw", **TILES),
}


def read_some(file, height=HEIGHT, width=WIDTH):
    with open_image(file) as source:
        return source.read(Box(0, 0, height, width).clip(*source.shape[:2]))


@pytest.mark.parametrize("kind", DAMAGED)
@given(data=st.data())
@settings(max_examples=40)
@pytest.mark.usefixtures("quiet")
def test_a_file_cut_anywhere_is_one_sentence(tmp_path_factory, kind, data):
    file = tmp_path_factory.getbasetemp() / f"cut {kind}.tif"
    whole = DAMAGED[kind]
    file.write_bytes(whole[: data.draw(st.integers(4, len(whole) - 2))])
    with pytest.raises(DataError, match=r"\.tif: is truncated or damaged \(.*\); replace it by a whole copy"):
        read_some(file)


@pytest.mark.parametrize("kind", DAMAGED)
@given(data=st.data())
@settings(max_examples=40)
@pytest.mark.usefixtures("quiet")
def test_a_wrong_byte_is_one_sentence_or_none_but_never_a_traceback(tmp_path_factory, kind, data):
    file = tmp_path_factory.getbasetemp() / f"flip {kind}.tif"
    damaged = bytearray(DAMAGED[kind])
    damaged[data.draw(st.integers(4, 600) | st.integers(4, len(damaged) - 1))] ^= data.draw(
        st.integers(1, 255)
    )
    file.write_bytes(damaged)
    try:
        pixels = read_some(file, 40, 40)  # whatever size the damage makes of it
    except DataError as error:
        assert str(error).startswith(f"{file}: ")  # noqa: PT017 - some wrong bytes are harmless
    else:
        assert pixels.ndim == 3


def test_a_height_of_more_rows_than_there_are_is_damage(tmp_path):
    file = written(tmp_path, GRAY, rowsperstrip=8)
    with tifffile.TiffFile(file, mode="r+") as opened:
        opened.pages[0].tags["ImageLength"].overwrite(HEIGHT + 50)
    # 75 rows are 10 strips, 125 rows would be 16.
    with pytest.raises(DataError, match=r"is truncated or damaged \(10 of its 16 segments are listed\)"):
        open_image(file)
