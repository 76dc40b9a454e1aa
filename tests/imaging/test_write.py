import threading

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from patchseg.imaging import Box, open_image, open_raw, picture
from patchseg.imaging.write import open_writer, palette_image

RANDOM = np.random.default_rng(0)


def read(file):
    with open_raw(file) as source:
        return source.read(Box(0, 0, *source.shape[:2]))


@st.composite
def chunkings(draw):
    """Draw a height and the heights of the chunks that its rows come in, some of them empty."""
    chunks = draw(st.lists(st.integers(0, 300) | st.just(256), min_size=1, max_size=6).filter(any))
    return sum(chunks), chunks


@pytest.mark.parametrize(
    ("suffix", "channels", "dtype"),
    [
        (".png", None, np.uint8),
        (".png", 3, np.uint8),
        (".tif", None, np.uint8),
        (".tif", None, np.float32),
        (".tif", 3, np.uint8),
        (".tif", 2, np.float16),
        (".tif", 5, np.float16),
    ],
)
@given(chunking=chunkings(), width=st.integers(1, 300))
@settings(max_examples=12)
def test_what_is_written_in_any_chunks_of_rows_is_read_back(
    tmp_path_factory, suffix, channels, dtype, *, chunking, width
):
    height, chunks = chunking
    file = tmp_path_factory.getbasetemp() / f"round{suffix}"
    shape = (height, width, channels) if channels else (height, width)
    pixels = RANDOM.integers(0, 256, shape).astype(dtype)
    with open_writer(file, shape, dtype) as writer:
        top = 0
        for rows in chunks:
            writer.write(pixels[top : top + rows])
            top += rows
    read_back = read(file)
    assert read_back.dtype == dtype
    np.testing.assert_array_equal(read_back, pixels.reshape(height, width, -1))


def test_empty_rows_after_the_last_ones_are_not_waited_for(tmp_path):
    pixels = RANDOM.integers(0, 256, (256, 5)).astype(np.uint8)
    with open_writer(tmp_path / "a.tif", (256, 5), np.uint8) as writer:
        writer.write(pixels)
        for _ in range(4):
            writer.write(pixels[:0])
    np.testing.assert_array_equal(read(tmp_path / "a.tif")[:, :, 0], pixels)


def test_more_rows_than_the_image_has_are_a_mistake(tmp_path):
    def write(rows):
        with open_writer(tmp_path / "a.tif", (256, 5), np.uint8) as writer:
            for _ in range(9):
                writer.write(rows)

    with pytest.raises(AssertionError, match="more rows than"):
        write(np.zeros((256, 5), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_the_bytes_of_a_tiff_do_not_depend_on_the_chunks(tmp_path):
    pixels = RANDOM.integers(0, 3, (700, 300)).astype(np.uint8)
    for name, step in (("a.tif", 1), ("b.tif", 256), ("c.tif", 700)):
        with open_writer(tmp_path / name, pixels.shape) as writer:
            for top in range(0, 700, step):
                writer.write(pixels[top : top + step])
    contents = {(tmp_path / name).read_bytes() for name in ("a.tif", "b.tif", "c.tif")}
    assert len(contents) == 1


def test_a_tiff_is_deflated_tiles_that_tifffile_reads_too(tmp_path):
    pixels = RANDOM.integers(0, 9, (300, 520)).astype(np.uint8)
    with open_writer(tmp_path / "a.tif", pixels.shape) as writer:
        writer.write(pixels)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        page = file.pages[0]
        assert (page.tilelength, page.tilewidth) == (256, 256)
        assert page.compression in (8, 32946)
        assert not file.is_bigtiff
        np.testing.assert_array_equal(page.asarray(), pixels)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_mask_carries_its_palette(tmp_path, suffix):
    palette = picture.palette(3)
    indices = np.array([[0, 1, 2, 255]], np.uint8)
    with open_writer(tmp_path / f"a{suffix}", indices.shape, palette=palette) as writer:
        writer.write(indices)
    np.testing.assert_array_equal(read(tmp_path / f"a{suffix}")[:, :, 0], indices)
    with open_image(tmp_path / f"a{suffix}") as source:
        # The ignored pixels are gray.
        assert source.read(Box(0, 0, 1, 4))[0].tolist() == [*palette.tolist(), [128, 128, 128]]


def test_the_palette_of_a_picture_does_not_change_its_indices():
    indices = np.array([[0, 1], [1, 255]], np.uint8)
    image = palette_image(indices, picture.palette(2))
    assert image.mode == "P"
    np.testing.assert_array_equal(np.asarray(image), indices)
    assert image.convert("RGB").getpixel((1, 0)) == tuple(picture.palette(2)[1])


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
@pytest.mark.parametrize("rows", [0, 1, 20])
def test_an_error_between_rows_leaves_no_file_and_no_thread(tmp_path, suffix, error, rows):
    threads = threading.active_count()

    def write_some():
        with open_writer(tmp_path / f"a{suffix}", (3000, 10)) as writer:
            for _ in range(rows):
                writer.write(np.zeros((100, 10), np.uint8))
            raise error

    with pytest.raises(type(error)) as caught:
        write_some()
    assert caught.value is error
    assert not list(tmp_path.iterdir())
    assert threading.active_count() == threads


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_too_few_rows_are_an_error_and_no_file(tmp_path, suffix):
    with (
        pytest.raises((AssertionError, RuntimeError)),
        open_writer(tmp_path / f"a{suffix}", (600, 10)) as writer,
    ):
        writer.write(np.zeros((300, 10), np.uint8))
    assert not list(tmp_path.iterdir())


def test_rows_wait_for_the_disk_instead_of_filling_the_memory(tmp_path):
    writer = open_writer(tmp_path / "a.tif", (256 * 8, 256))
    writer._part = tmp_path / "a.part"  # its thread is not started, so that nothing leaves the queue
    for _ in range(2):
        writer.write(np.zeros((256, 256), np.uint8))
    assert writer._queue.full()


def test_an_indexed_png_is_small(tmp_path):
    with open_writer(tmp_path / "a.png", (500, 500), palette=picture.palette(2)) as writer:
        writer.write(np.zeros((500, 500), np.uint8))
    assert (tmp_path / "a.png").stat().st_size < 2000
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "P"
