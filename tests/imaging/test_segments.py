"""Segments that end early, directories that promise more than there is, and what may never be asked for."""

import time

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from patchseg.errors import DataError
from patchseg.imaging import Box, open_image
from patchseg.imaging.segments import Part, Segments, jpeg_2000_pixels, jpeg_pixels

RANDOM = np.random.default_rng(0)
COLOR = RANDOM.integers(0, 256, (75, 90, 3)).astype(np.uint8)
SMOOTH = np.add.outer(np.arange(75), np.arange(90)).astype(np.uint8)
DEEP = RANDOM.integers(0, 2**16, (75, 90)).astype(np.uint16)
TILES = {"tile": (32, 32)}
BYTE_COUNTS = {True: "TileByteCounts", False: "StripByteCounts"}

KINDS = {
    "raw": (COLOR, {}),
    "deflate": (COLOR, {"compression": "deflate"}),
    "deflate predictor": (DEEP, TILES | {"compression": "deflate", "predictor": True}),
    "lzw": (COLOR, {"compression": "lzw"}),
    "lzw predictor": (DEEP, TILES | {"compression": "lzw", "predictor": True}),
    "lzw doubles": (DEEP / 7, {"compression": "lzw"}),
    "packbits": (SMOOTH // 9, {"compression": "packbits"}),
    "zstd": (DEEP, TILES | {"compression": "zstd"}),
    "lzma": (DEEP, {"compression": "lzma"}),
    "jpeg": (SMOOTH, TILES | {"compression": "jpeg"}),
    "jpeg ycbcr": (
        np.stack([SMOOTH] * 3, axis=-1),
        {"compression": "jpeg", "photometric": "ycbcr", "subsampling": (2, 2)},
    ),
    "jpeg 2000": (COLOR, TILES | {"compression": "jpeg2000"}),
    "webp": (COLOR, {"compression": "webp", "photometric": "rgb"}),
    "one bit": (SMOOTH > 99, {"compression": "packbits", "photometric": "minisblack"}),
}


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Write one file a kind; return their paths, whole pixels, and the bytes of their segments."""
    folder, made = tmp_path_factory.mktemp("short"), {}
    for kind, (pixels, options) in KINDS.items():
        file = folder / f"{kind}.tif"
        tifffile.imwrite(file, pixels, metadata=None, **options)
        with tifffile.TiffFile(file) as opened:
            made[kind] = file, read(file), opened.pages[0].databytecounts
    return made


def read(file):
    with open_image(file) as source:
        return source.read(Box(0, 0, *source.shape[:2]))


def overwrite(file, **values):
    """Overwrite tags of the first directory."""
    with tifffile.TiffFile(file, mode="r+") as opened:
        for name, value in values.items():
            opened.pages[0].tags[name].overwrite(value)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=25)
def test_a_segment_that_ends_early_is_told_or_harmless_but_never_other_pixels(stored, kind, data):
    file, expected, counts = stored[kind]
    segment = data.draw(st.integers(0, len(counts) - 1))
    shorter = [*counts]
    shorter[segment] = data.draw(st.integers(1, counts[segment] - 1))
    overwrite(file, **{BYTE_COUNTS["tile" in KINDS[kind][1]]: shorter})
    try:
        pixels = read(file)
    except DataError as error:
        assert str(error).startswith(f"{file}: is truncated or damaged (")  # noqa: PT017 - or it is harmless
    else:
        np.testing.assert_array_equal(pixels, expected)  # what was cut off was padding


def test_a_jpeg_without_its_end_is_told(tmp_path):
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, SMOOTH, compression="jpeg", metadata=None)
    with tifffile.TiffFile(file) as opened:
        (count,) = opened.pages[0].databytecounts
    overwrite(file, StripByteCounts=count // 2)
    with pytest.raises(DataError, match=r"\(segment 0 ends before its JPEG picture does\)"):
        read(file)


class SlowHandle:
    """A file whose position others have time to move between a seek and the read that it is for."""

    def __init__(self, file):
        self._file, self.read = file, file.read

    def seek(self, offset):
        self._file.seek(offset)
        time.sleep(0.001)


def test_threads_do_not_move_the_file_under_each_other(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", DEEP, tile=(16, 16), metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif") as opened:
        page = opened.pages[0]
        part = Part(page, page.dataoffsets, page.databytecounts)
        segments = Segments(tmp_path / "a.tif", SlowHandle(opened.filehandle), [part], DEEP.dtype)
        keys = [(0, index) for index in range(24)]
        for (_, index), pixels in zip(keys, segments.fetch(keys), strict=True):
            top, left = index // 6 * 16, index % 6 * 16
            expected = DEEP[top : top + 16, left : left + 16]
            np.testing.assert_array_equal(pixels[: len(expected), : expected.shape[1], 0], expected)
        segments.close()


# Directories that lie

SIDE = 65536  # four billion pixels


def lying(folder, options, **tags):
    """Write an image of 16 x 16 and let its directory say something else."""
    file = folder / "a.tif"
    kind = {"compression": "deflate", "metadata": None, "photometric": "minisblack"}
    tifffile.imwrite(file, SMOOTH[:16, :16].copy(), **kind | options)
    assert file.stat().st_size < 1000
    overwrite(file, **tags)
    return file


CODECS = ["deflate", "lzw", "packbits", "zstd", "jpeg", "jpeg2000", "lzma", "webp", None]


@pytest.mark.parametrize("compression", CODECS)
def test_four_billion_pixels_in_a_kilobyte_are_refused_when_opened(tmp_path, compression):
    options = {"compression": compression} | ({"photometric": "rgb"} if compression == "webp" else {})
    pixels = np.stack([SMOOTH[:16, :16]] * 3, axis=-1) if compression == "webp" else SMOOTH[:16, :16].copy()
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, pixels, metadata=None, **options)
    overwrite(file, ImageWidth=SIDE, ImageLength=SIDE, RowsPerStrip=SIDE)
    with pytest.raises(
        DataError, match=r"is truncated or damaged \(its size of 65536 x 65536 asks for \d+ bytes"
    ):
        open_image(file)


@pytest.mark.parametrize(
    "tags",
    [
        {"ImageWidth": 2**32 - 1, "ImageLength": 1},
        {"ImageWidth": 2**32 - 1, "ImageLength": 2**32 - 1, "RowsPerStrip": 2**32 - 1},
        {"ImageLength": 2**32 - 1, "RowsPerStrip": 2**32 - 1},
        {"ImageWidth": 0},
        {"ImageLength": 0},
        {"RowsPerStrip": 0},
        {"SamplesPerPixel": 65535},
        {"StripByteCounts": 2**32 - 1},
        {"StripOffsets": 2**32 - 1},
        {"BitsPerSample": 64},
    ],
    ids=str,
)
def test_a_directory_that_lies_is_one_sentence(tmp_path, tags):
    file = lying(tmp_path, {}, **tags)
    with pytest.raises(DataError, match=r"a\.tif: (is truncated or damaged|has|holds)"):
        read(file)


def test_a_size_that_is_no_whole_number_is_damage(tmp_path):
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, SMOOTH, metadata=None)
    content = bytearray(file.read_bytes())
    with tifffile.TiffFile(file) as opened:
        tag = opened.pages[0].tags["ImageLength"]
    content[tag.offset + 2 : tag.offset + 12] = b"\x0b\0\1\0\0\0" + np.float32(75).tobytes()
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"\(its size is 75\.0 x 90"):
        open_image(file)


def test_tiles_of_four_billion_pixels_are_refused(tmp_path):
    file = lying(tmp_path, {"tile": (16, 16)}, TileWidth=SIDE, TileLength=SIDE)
    with pytest.raises(DataError, match="is truncated or damaged"):
        open_image(file)


def test_a_segment_that_is_left_out_may_not_be_all_of_a_huge_image(tmp_path):
    file = lying(
        tmp_path, {}, ImageWidth=SIDE, ImageLength=SIDE, RowsPerStrip=SIDE, StripByteCounts=0, StripOffsets=0
    )
    with pytest.raises(DataError, match="is truncated or damaged"):
        open_image(file)


def test_a_large_image_of_few_bytes_that_is_honest_is_read(tmp_path):
    tiles = (np.zeros((512, 512), np.uint8) for _ in range(400))
    options = {"shape": (10240, 10240), "dtype": np.uint8, "tile": (512, 512), "metadata": None}
    tifffile.imwrite(tmp_path / "a.tif", tiles, compression="deflate", **options)
    with open_image(tmp_path / "a.tif") as source:  # 105 MB in 150 kB: deflate reaches 1:1030
        assert not source.read(Box(10_000, 10_000, 240, 240)).any()


LIMITED = """
import resource, sys
from pathlib import Path
import imagecodecs, numpy
from patchseg.errors import DataError
from patchseg.imaging import Box, open_image

status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
taken = int(status["VmSize"].split()[0]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (taken + 400 * 2**20,) * 2)
for file in sys.argv[1:]:
    try:
        with open_image(Path(file)) as source:
            source.read(Box(0, 0, *source.shape[:2]))
    except DataError as error:
        print(error)
"""


@pytest.mark.skipif("not __import__('pathlib').Path('/proc/self/status').exists()")
def test_lies_within_the_data_are_refused_in_little_memory(tmp_path, run_python):
    jpeg, jpeg_2000 = tmp_path / "jpeg.tif", tmp_path / "jpeg 2000.tif"
    for file, compression in ((jpeg, "jpeg"), (jpeg_2000, "jpeg2000")):
        tifffile.imwrite(file, SMOOTH, compression=compression, metadata=None)
    stream = bytearray(jpeg.read_bytes())
    frame = stream.find(b"\xff\xc0")
    stream[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"
    jpeg.write_bytes(stream)
    stream = bytearray(jpeg_2000.read_bytes())
    size = stream.find(b"\xff\x4f\xff\x51") + 8
    stream[size : size + 8] = b"\0\1\0\0\0\1\0\0"
    jpeg_2000.write_bytes(stream)
    done = run_python(LIMITED, jpeg, jpeg_2000)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert f"{jpeg}: is truncated or damaged (segment 0 is 4294836225 pixels in itself" in first
    assert f"{jpeg_2000}: is truncated or damaged (segment 0 is 4294967296 pixels in itself" in second


@given(st.binary(max_size=64))
def test_any_bytes_have_a_size_or_none(data):
    assert jpeg_pixels(b"\xff\xd8" + data) >= 0
    assert jpeg_2000_pixels(b"\xff\x4f\xff\x51" + data) >= 0
