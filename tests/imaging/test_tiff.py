from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from patchseg.imaging import Box, open_image, open_raw, segments, tiff

RANDOM = np.random.default_rng(0)
HEIGHT, WIDTH = 75, 90
GRAY = RANDOM.integers(0, 256, (HEIGHT, WIDTH)).astype(np.uint8)
COLOR = RANDOM.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
SMOOTH = np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)).astype(np.uint8)  # 0..163
DEEP = RANDOM.integers(0, 2**16, (HEIGHT, WIDTH)).astype(np.uint16)
EVERYTHING = Box(0, 0, HEIGHT, WIDTH)

TILES = {"tile": (32, 16)}
KINDS = {
    "one strip": (GRAY, {}),
    "strips": (GRAY, {"rowsperstrip": 7}),
    "tiles": (GRAY, TILES),
    "deflate": (COLOR, TILES | {"compression": "deflate"}),
    "deflate strips": (COLOR, {"rowsperstrip": 16, "compression": "deflate"}),
    "lzw": (COLOR, TILES | {"compression": "lzw"}),
    "lzw predictor": (DEEP, TILES | {"compression": "lzw", "predictor": True}),
    "packbits": (SMOOTH // 9, {"rowsperstrip": 10, "compression": "packbits"}),
    "zstd": (DEEP, TILES | {"compression": "zstd"}),
    "jpeg": (np.stack([SMOOTH] * 3, axis=-1), TILES | {"compression": "jpeg", "photometric": "rgb"}),
    "jpeg gray strips": (SMOOTH, {"rowsperstrip": 16, "compression": "jpeg"}),
    "planar tiles": (np.moveaxis(COLOR, 2, 0), TILES | {"planarconfig": "separate", "photometric": "rgb"}),
    "planar strips": (
        np.moveaxis(COLOR, 2, 0),
        {"rowsperstrip": 8, "planarconfig": "separate", "photometric": "rgb", "compression": "deflate"},
    ),
    "float predictor": (DEEP.astype(np.float32) / 7, TILES | {"compression": "deflate", "predictor": True}),
    "half floats": (SMOOTH.astype(np.float16), TILES | {"compression": "deflate"}),
    "bigtiff": (DEEP, TILES | {"bigtiff": True}),
    "big-endian": (DEEP, {"rowsperstrip": 9, "byteorder": ">"}),
    "five channels": (
        np.tile(DEEP[:, :, None], 5),
        TILES | {"photometric": "minisblack", "planarconfig": "contig"},
    ),
    "signed": (DEEP.astype(np.int16), TILES),
    "lzw strips": (COLOR, {"rowsperstrip": 7, "compression": "lzw"}),
    "lzw big-endian predictor": (DEEP, TILES | {"compression": "lzw", "predictor": True, "byteorder": ">"}),
    "lzw float predictor": (DEEP / np.float32(7), TILES | {"compression": "lzw", "predictor": True}),
    "lzw signed": (DEEP.astype(np.int16), {"rowsperstrip": 9, "compression": "lzw"}),
    "lzw planar": (
        np.moveaxis(COLOR, 2, 0),
        TILES | {"planarconfig": "separate", "photometric": "rgb", "compression": "lzw", "predictor": True},
    ),
    "lzw doubles": (DEEP / 7, TILES | {"compression": "lzw"}),
    "packbits tiles": (SMOOTH // 9, TILES | {"compression": "packbits"}),
    "deflate predictor": (COLOR, TILES | {"compression": "deflate", "predictor": True}),
    "jpeg ycbcr": (
        np.stack([SMOOTH] * 3, axis=-1),
        TILES | {"compression": "jpeg", "photometric": "ycbcr", "subsampling": (2, 2)},
    ),
    "jpeg ycbcr strips": (
        np.stack([SMOOTH, SMOOTH // 2, 255 - SMOOTH], axis=-1),
        {"rowsperstrip": 32, "compression": "jpeg", "photometric": "ycbcr", "subsampling": (2, 1)},
    ),
    "jpeg 2000": (COLOR, TILES | {"compression": "jpeg2000", "photometric": "rgb"}),
    "jpeg 2000 deep": (DEEP, {"rowsperstrip": 32, "compression": "jpeg2000"}),
    "webp": (COLOR, TILES | {"compression": "webp", "photometric": "rgb"}),
    "lzma": (DEEP, TILES | {"compression": "lzma"}),
    "32 bits": (DEEP.astype(np.uint32) * 65537, TILES | {"compression": "zstd", "predictor": True}),
    "32 bits signed": (DEEP.astype(np.int32) - 9999, {"rowsperstrip": 11}),
    "doubles": (DEEP / 7, TILES | {"compression": "zstd"}),
    "one bit": (GRAY > 99, {"photometric": "minisblack", "rowsperstrip": 7, "compression": "packbits"}),
    "one bit tiles": (GRAY > 99, TILES | {"photometric": "minisblack", "compression": "deflate"}),
    "twelve bits": (DEEP >> 4, {"rowsperstrip": 7, "bitspersample": 12}),
    "thirteen planes": (
        np.stack([np.roll(DEEP, shift) for shift in range(13)]),
        TILES | {"photometric": "minisblack", "planarconfig": "separate"},
    ),
    "bigtiff big-endian planar": (
        np.moveaxis(COLOR, 2, 0).astype(np.uint16),
        TILES | {"bigtiff": True, "byteorder": ">", "planarconfig": "separate", "photometric": "rgb"},
    ),
}
PLANAR = {kind for kind in KINDS if "plan" in kind}
LOSSY = {kind for kind in KINDS if kind.startswith("jpeg") and "2000" not in kind}


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Write one file a kind, once, and return their folder."""
    folder = tmp_path_factory.mktemp("kinds")
    for name, (pixels, options) in KINDS.items():
        tifffile.imwrite(folder / f"{name}.tif", pixels, metadata=None, **options)
    return folder


def truth(file):
    """Return the pixels as tifffile reads them whole, (H, W, C)."""
    pixels = tifffile.imread(file)
    pixels = pixels.astype(np.uint8) if pixels.dtype == bool else pixels
    return np.moveaxis(pixels, 0, 2) if file.stem in PLANAR else pixels.reshape(HEIGHT, WIDTH, -1)


def boxes(height=HEIGHT, width=WIDTH):
    def box(top, left, bottom, right):
        return Box(min(top, bottom), min(left, right), abs(bottom - top) + 1, abs(right - left) + 1)

    rows, columns = st.integers(0, height - 1), st.integers(0, width - 1)
    return st.builds(box, rows, columns, rows, columns)


def written(folder, pixels, **options):
    tifffile.imwrite(folder / "a.tif", pixels, **options)
    return folder / "a.tif"


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=10)
def test_any_window_is_that_window_of_the_whole(stored, kind, data):
    expected = truth(stored / f"{kind}.tif")
    with open_raw(stored / f"{kind}.tif") as source:
        assert source.shape == expected.shape
        assert source.dtype == expected.dtype
        # Several of one source, so that its cache is met warm and cold.
        for box in data.draw(st.lists(boxes(), min_size=1, max_size=4)):
            pixels = source.read(box)
            assert pixels.dtype == source.dtype
            np.testing.assert_array_equal(pixels, expected[box.slices])
            assert source.valid(box) is None


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - LOSSY))
def test_the_files_hold_what_was_written(stored, kind):
    pixels = KINDS[kind][0]
    expected = np.moveaxis(pixels, 0, 2) if kind in PLANAR else pixels.reshape(HEIGHT, WIDTH, -1)
    np.testing.assert_array_equal(truth(stored / f"{kind}.tif"), expected)


class Counting(segments.Segments):
    """Counts how often each segment is decoded."""

    decoded: ClassVar = Counter()

    def _decode(self, key):
        self.decoded[key] += 1
        return super()._decode(key)


@pytest.fixture
def decoded(monkeypatch):
    """Return what counts how often each segment, by part and index, is decoded."""
    monkeypatch.setattr(tiff, "Segments", Counting)
    monkeypatch.setattr(Counting, "decoded", Counter())
    return Counting.decoded


def bands(length, thicknesses):
    """Yield starts and thicknesses that cover a length, the thicknesses over and over."""
    start = 0
    for thickness in thicknesses * length:
        yield start, min(thickness, length - start)
        start += thickness
        if start >= length:
            return


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("layout", [{"tile": (32, 32)}, {"rowsperstrip": 13}], ids=["tiles", "strips"])
@given(heights=st.lists(st.integers(1, 100), min_size=1, max_size=8))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_segment_is_decoded_once_when_read_band_by_band(
    tmp_path_factory, decoded, planar, layout, heights
):
    height, width = 350, 370
    file = tmp_path_factory.getbasetemp() / f"bands {planar} {sorted(layout)}.tif"
    if not file.exists():
        shape = (3, height, width) if planar else (height, width, 3)
        options = {"photometric": "rgb", "planarconfig": "separate" if planar else "contig"}
        tifffile.imwrite(file, np.zeros(shape, np.uint8), metadata=None, **options, **layout)
    decoded.clear()
    with pytest.MonkeyPatch.context() as patch, open_raw(file) as source:
        patch.setattr(tiff, "_BANDS", 0)  # else an image that fits into it proves nothing
        for top, rows in bands(height, heights):
            source.read(Box(top, 0, rows, width))
        kept = source._segments
        # It holds a row of segments and a bit, whatever the height of the image.
        assert kept._held == sum(segment.nbytes for segment in kept._cache.values())
        assert kept._held <= 1.25 * 32 * 384 * 3
    with tifffile.TiffFile(file) as opened:
        assert decoded == Counter((0, index) for index in range(len(opened.pages[0].dataoffsets)))


@pytest.mark.parametrize("step", [16, 40, 64])
def test_each_tile_is_decoded_once_when_overlapping_windows_sweep(tmp_path, monkeypatch, decoded, step):
    monkeypatch.setattr(tiff, "_WINDOWS", 0)
    pixels = RANDOM.integers(0, 256, (300, 500)).astype(np.uint8)
    with open_raw(written(tmp_path, pixels, tile=(32, 32))) as source:
        for top in range(0, 300 - 63, step):
            for left in range(0, 500 - 63, step):
                box = Box(top, left, 64, 64)
                np.testing.assert_array_equal(source.read(box)[:, :, 0], pixels[box.slices])
        assert source._segments._held <= 1.25 * 4 * 32 * 512
    assert set(decoded.values()) == {1}


def test_each_tile_is_decoded_once_when_read_from_left_to_right(tmp_path, monkeypatch, decoded):
    monkeypatch.setattr(tiff, "_WINDOWS", 0)
    pixels = RANDOM.integers(0, 256, (300, 500)).astype(np.uint8)
    with open_raw(written(tmp_path, pixels, tile=(32, 32))) as source:
        for left, columns in bands(500, [7, 50, 90]):
            source.read(Box(0, left, 300, columns))
            assert source._segments._held <= 1.25 * 32 * 320
    assert decoded == Counter((0, index) for index in range(10 * 16))


def test_a_window_decodes_only_the_segments_that_it_touches(stored, decoded):
    with open_raw(stored / "tiles.tif") as source:
        source.read(Box(31, 15, 2, 2))  # tiles of 32 x 16, six a row
    assert set(decoded) == {(0, 0), (0, 1), (0, 6), (0, 7)}


def test_several_threads_read_one_source(stored):
    expected = truth(stored / "deflate.tif")
    boxes = [Box(top, left, 30, 30) for top in range(0, 45, 5) for left in range(0, 60, 5)]
    with open_raw(stored / "deflate.tif") as source, ThreadPoolExecutor(4) as pool:
        for box, pixels in zip(boxes, pool.map(source.read, boxes), strict=True):
            np.testing.assert_array_equal(pixels, expected[box.slices])


def test_segments_that_a_sparse_file_leaves_out_are_0(tmp_path):
    def tiles():
        for number in range(6):
            yield None if number % 2 else np.full((16, 16), number + 1, np.uint8)

    options = {"shape": (32, 48), "dtype": np.uint8, "tile": (16, 16), "compression": "deflate"}
    file = written(tmp_path, tiles(), metadata=None, **options)
    with open_raw(file) as source:
        np.testing.assert_array_equal(source.read(Box(0, 0, 32, 48))[::16, ::16, 0], [[1, 0, 3], [0, 5, 0]])
        np.testing.assert_array_equal(source.read(Box(0, 0, 32, 48))[:, :, 0], tifffile.imread(file))


# What the samples mean


@pytest.mark.parametrize("kind", ["assocalpha", "unassalpha"])
def test_an_opaque_alpha_is_dropped_and_a_transparent_one_says_what_is_valid(tmp_path, kind):
    alpha = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
    options = {"photometric": "rgb", "extrasamples": [kind]}
    for at_corner in (255, 1, 0):
        alpha[3, 4] = at_corner
        with open_image(written(tmp_path, np.concatenate([COLOR, alpha], axis=2), **options)) as source:
            np.testing.assert_array_equal(source.read(EVERYTHING), COLOR)
            valid = source.valid(EVERYTHING)
        if at_corner:
            assert valid is None
        else:
            assert np.argwhere(~valid).tolist() == [[3, 4]]


def test_a_fourth_channel_that_is_no_alpha_stays(tmp_path):
    pixels = np.concatenate([COLOR, GRAY[:, :, None]], axis=2)
    file = written(tmp_path, pixels, photometric="rgb", extrasamples=["unspecified"])
    with open_image(file) as source:
        np.testing.assert_array_equal(source.read(EVERYTHING), pixels)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_where_the_least_is_white_it_is_turned_into_the_greatest(tmp_path, dtype):
    pixels = np.array([[0, 1, 200]], dtype)
    with open_image(written(tmp_path, pixels, photometric="miniswhite")) as source:
        top = np.iinfo(dtype).max
        assert source.read(Box(0, 0, 1, 3)).ravel().tolist() == [top, top - 1, top - 200]


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_one_bit_is_0_and_1_and_black_is_0(tmp_path, photometric):
    stored_bits = GRAY > 99
    with open_image(written(tmp_path, stored_bits, photometric=photometric)) as source:
        assert source.dtype == np.uint8
        black_is_0 = stored_bits if photometric == "minisblack" else ~stored_bits
        np.testing.assert_array_equal(source.read(EVERYTHING)[:, :, 0], black_is_0)


def test_twelve_bits_have_their_own_white(tmp_path):
    file = written(tmp_path, np.array([[0, 5, 4095]], np.uint16), photometric="miniswhite", bitspersample=12)
    with open_image(file) as source:
        assert source.read(Box(0, 0, 1, 3)).ravel().tolist() == [4095, 4090, 0]


def test_a_palette_comes_along_in_8_bits(tmp_path):
    colors = np.zeros((3, 256), np.uint16)
    colors[:, 1], colors[:, 2] = (65535, 0, 0x1234), (257, 514, 771)
    indices = (SMOOTH % 3).astype(np.uint8)
    file = written(tmp_path, indices, photometric="palette", colormap=colors)
    with open_raw(file) as source:
        assert source.palette[:3].tolist() == [[0, 0, 0], [255, 0, 0x12], [1, 2, 3]]
        np.testing.assert_array_equal(source.read(EVERYTHING)[:, :, 0], indices)
    with open_image(file) as source:
        assert source.read(Box(0, 1, 1, 2)).tolist() == [[[255, 0, 0x12], [1, 2, 3]]]


def test_the_full_size_of_a_pyramid_is_read(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(DEEP, subifds=1, **TILES)
        file.write(DEEP[::2, ::2], subfiletype=1, **TILES)
    with open_raw(tmp_path / "a.tif") as source:
        np.testing.assert_array_equal(source.read(EVERYTHING)[:, :, 0], DEEP)
