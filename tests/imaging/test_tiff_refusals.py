"""TIFF files that are damaged, or are no flat upright image."""

import io
import logging
import re

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from patchseg.errors import DataError
from patchseg.imaging import Box, Reading, open_image

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
        (
            np.dstack([COLOR, GRAY]),
            {"photometric": "separated"},
            "holds colours as inks (CMYK); expected gray, RGB or a palette",
        ),
        (COLOR, {"photometric": "cielab"}, "holds colours as CIELab; expected gray, RGB or a palette"),
        (
            COLOR,
            {"photometric": "ycbcr", "compression": "deflate"},
            "holds colours as YCbCr that no codec turns to RGB; expected gray, RGB or a palette",
        ),
    ],
)
def test_what_is_no_flat_upright_image_is_told_with_the_cure(tmp_path, pixels, options, found):
    file = written(tmp_path, pixels, **options)
    with pytest.raises(DataError) as caught:
        open_image(file)
    assert str(caught.value).startswith(f"{file}: {found}, so ")


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_numbers_without_a_greatest_cannot_be_turned_around(tmp_path, dtype):
    file = written(tmp_path, GRAY.astype(dtype), photometric="miniswhite")
    with pytest.raises(DataError, match=r"says that its least \w+ is white, which has no greatest"):
        open_image(file)


def test_a_codec_that_hides_damage_is_refused(tmp_path):
    file = written(tmp_path, COLOR, compression="jpegxr")
    with pytest.raises(DataError, match="is compressed as JPEG XR, whose decoder hides damage; save it with"):
        open_image(file)


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


def bytes_of_pages(pages, **options):
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        for page in pages:
            writer.write(page, metadata=None, **options)
    return stream.getvalue()


DAMAGED = {
    "tiles": bytes_of(COLOR, compression="deflate", **TILES),
    "strips": bytes_of(GRAY, rowsperstrip=8),
    "jpeg": bytes_of(SMOOTH, compression="jpeg"),
    "jpeg 2000": bytes_of(COLOR, compression="jpeg2000", **TILES),
    "zstd": bytes_of(DEEP, compression="zstd", predictor=True, rowsperstrip=20),
    "stack": bytes_of_pages(np.stack([DEEP] * 3), compression="deflate"),
    "one bit": bytes_of(GRAY > 99, compression="packbits", rowsperstrip=20),
    "bigtiff": bytes_of(DEEP, bigtiff=True, compression="lzw", **TILES),
}


def read_some(file, height=HEIGHT, width=WIDTH):
    with open_image(file, Reading(pages="channels")) as source:
        return source.read(Box(0, 0, height, width).clip(*source.shape[:2]))


@pytest.mark.parametrize("kind", DAMAGED)
@given(data=st.data())
@settings(max_examples=40)
@pytest.mark.usefixtures("quiet")
def test_a_file_cut_anywhere_is_one_sentence_or_harmless(tmp_path_factory, kind, data):
    file = tmp_path_factory.getbasetemp() / f"cut {kind}.tif"
    whole = DAMAGED[kind]
    file.write_bytes(whole[: data.draw(st.integers(4, len(whole) - 2))])
    try:
        pixels = read_some(file)
    except DataError as error:
        found = re.fullmatch(
            r".*\.tif: is truncated or damaged \(.*\); replace it by a whole copy", str(error)
        )
        assert found
    else:  # what was lost says nothing of the pixels, such as the name of the program
        file.write_bytes(whole)
        np.testing.assert_array_equal(pixels, read_some(file))


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


@pytest.mark.parametrize("pages", [None, 1, "channels"])
@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.usefixtures("quiet")
def test_a_stack_cut_between_two_pages_is_no_smaller_stack(tmp_path, pages, bigtiff):
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream, bigtiff=bigtiff) as writer:
        for _ in range(3):
            writer.write(DEEP, metadata=None, compression="deflate")
    with tifffile.TiffFile(io.BytesIO(stream.getvalue())) as opened:
        second, third = opened.pages[1].offset, opened.pages[2].offset
    for cut, missing in ((second, 2), (third, 3)):
        (tmp_path / "a.tif").write_bytes(stream.getvalue()[:cut])
        with pytest.raises(DataError, match=rf"\(the directory of page {missing} is missing\); replace"):
            open_image(tmp_path / "a.tif", Reading(pages=pages))


def test_a_height_of_more_rows_than_there_are_is_damage(tmp_path):
    file = written(tmp_path, GRAY, rowsperstrip=8)
    with tifffile.TiffFile(file, mode="r+") as opened:
        opened.pages[0].tags["ImageLength"].overwrite(HEIGHT + 50)
    # 75 rows are 10 strips, 125 rows would be 16.
    with pytest.raises(DataError, match=r"is truncated or damaged \(10 of its 16 segments are listed\)"):
        open_image(file)
