"""The kinds of pictures that a format knows: transparency by key, deep Netpbm, animations, damaged EXIF."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from patchseg.errors import DataError
from patchseg.imaging import Box, open_image, open_raw
from patchseg.imaging.netpbm import decode

RAMP = np.arange(24, dtype=np.uint8).reshape(4, 6)
COLOR = np.stack([RAMP, RAMP + 100, 255 - RAMP], axis=-1)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth, color, data, *chunks):
    """Return a PNG by the letter of the standard, one row a `data` of `height` equal parts."""
    size = len(data) // height
    rows = b"".join(b"\0" + data[row * size : (row + 1) * size] for row in range(height))
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def whole(file, opened=open_image):
    """Return pixels and what is valid of them."""
    with opened(file) as source:
        box = Box(0, 0, *source.shape[:2])
        return source.read(box), source.valid(box)


PALETTE = chunk(b"PLTE", b"abcdefghijkl")


@pytest.mark.parametrize(
    ("kind", "data", "key", "expected"),
    [
        ((1, 0), b"\x50", b"\0\1", ([[0], [1], [0], [1]], [1, 0, 1, 0])),
        ((1, 0), b"\x50", b"\0\0", ([[0], [1], [0], [1]], [0, 1, 0, 1])),
        ((2, 0), b"\x1b", b"\0\2", ([[0], [85], [170], [255]], [1, 1, 0, 1])),
        ((4, 0), b"\x1b\x2c", b"\0\x0b", ([[17], [187], [34], [204]], [1, 0, 1, 1])),
        ((8, 0), b"\1\2\3\4", b"\0\3", ([[1], [2], [3], [4]], [1, 1, 0, 1])),
        ((16, 0), b"\1\0\2\0\3\0\4\0", b"\2\0", ([[256], [512], [768], [1024]], [1, 0, 1, 1])),
        ((8, 2), b"abcabdabcaba", b"\0a\0b\0d", ([[97, 98, c] for c in b"cdca"], [1, 0, 1, 1])),
        ((16, 2), b"\0\1\0\2\0\3\0\1\0\2\1\3" * 2, b"\0\1\0\2\1\3", ([[1, 2, 3], [1, 2, 259]] * 2, [1, 0, 1, 0])),
        ((2, 3), b"\x1b", b"\xff\0", ([[97, 98, 99], [100, 101, 102], [103, 104, 105], [106, 107, 108]], [1, 0, 1, 1])),
        ((8, 3), b"\3\1\0\1", b"\x80\xff\xff\0", ([[106, 107, 108], [100, 101, 102], [97, 98, 99], [100, 101, 102]], [0, 1, 1, 1])),
    ],
)  # fmt: skip
def test_a_transparent_colour_of_a_png_is_no_data(tmp_path, kind, data, key, expected):
    pixels, valid = expected
    between = [PALETTE] if kind[1] == 3 else []
    (tmp_path / "a.png").write_bytes(png(4, 1, *kind, data, *between, chunk(b"tRNS", key)))
    found, where = whole(tmp_path / "a.png")
    assert found.tolist() == [pixels]
    assert where.astype(int).tolist() == [valid]
    assert found.dtype == (np.uint16 if kind[0] == 16 else np.uint8)


def test_a_transparent_colour_that_no_pixel_has_leaves_all_valid(tmp_path):
    (tmp_path / "a.png").write_bytes(png(4, 1, 8, 0, b"\1\2\3\4", chunk(b"tRNS", b"\0\x63")))
    assert whole(tmp_path / "a.png")[1] is None


def test_transparency_turns_with_the_picture(tmp_path):
    tags = Image.Exif()
    tags[0x0112] = 6  # row 0 is the right side
    image = Image.fromarray(RAMP)
    image.save(tmp_path / "a.png", exif=tags, transparency=1)
    pixels, valid = whole(tmp_path / "a.png")
    assert pixels.shape == (6, 4, 1)
    assert np.argwhere(~valid).tolist() == [[1, 3]]
    assert pixels[1, 3] == 1


def test_the_transparent_index_of_a_gif_is_no_data_in_images_and_in_masks(tmp_path):
    image = Image.fromarray(np.array([[0, 1, 2], [2, 1, 0]], np.uint8))
    image.putpalette([9, 9, 9, 255, 0, 0, 0, 0, 255])
    image.save(tmp_path / "a.gif", transparency=1)
    for opened in (open_image, open_raw):
        pixels, valid = whole(tmp_path / "a.gif", opened)
        assert valid.tolist() == [[True, False, True], [True, False, True]]
    assert pixels[:, :, 0].tolist() == [[0, 1, 2], [2, 1, 0]]


@pytest.mark.parametrize(
    ("suffix", "options"),
    [(".webp", {"lossless": True, "exact": True}), (".bmp", {}), (".ppm", {}), (".png", {})],
)
def test_formats_without_loss_give_back_every_pixel(tmp_path, suffix, options):
    Image.fromarray(COLOR).save(tmp_path / f"a{suffix}", **options)
    pixels, valid = whole(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(pixels, COLOR)
    assert valid is None


def test_transparent_pixels_of_a_webp_are_no_data(tmp_path):
    alpha = np.where(RAMP < 5, 0, 255)[:, :, None].astype(np.uint8)
    Image.fromarray(np.concatenate([COLOR, alpha], axis=2)).save(
        tmp_path / "a.webp", lossless=True, exact=True
    )
    pixels, valid = whole(tmp_path / "a.webp")
    np.testing.assert_array_equal(pixels, COLOR)
    np.testing.assert_array_equal(valid, RAMP >= 5)


def test_inks_of_a_jpeg_are_the_colours_that_their_paper_shows(tmp_path):
    Image.new("CMYK", (16, 16), (255, 0, 0, 51)).save(tmp_path / "a.jpg", quality=100)
    pixels, _ = whole(tmp_path / "a.jpg")
    # No red is left by full cyan; a fifth of black takes a fifth of the rest.
    assert np.abs(pixels.astype(int) - [0, 204, 204]).max() <= 3


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_an_animation_is_refused_and_a_single_frame_is_none(tmp_path, suffix):
    frames = [Image.fromarray(np.roll(COLOR, step, axis=0)) for step in range(3)]
    frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:])
    with pytest.raises(
        DataError, match=rf"a\{suffix}: is an animation of several frames; expected one picture"
    ):
        open_image(tmp_path / f"a{suffix}")
    frames[0].save(tmp_path / f"b{suffix}", save_all=True)
    assert whole(tmp_path / f"b{suffix}")[0].shape == (4, 6, 3)


def test_a_photograph_with_its_preview_is_the_photograph(tmp_path):
    first, second = (Image.new("RGB", (16, 16), color) for color in ("#ff0000", "#0000ff"))
    first.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[second])
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.n_frames == 2
    pixels, _ = whole(tmp_path / "a.jpg")
    assert pixels[:, :, 0].min() > 250
    assert pixels[:, :, 2].max() < 5


@pytest.mark.parametrize("content", [b"nonsense", b"II*\0\xff\xff\xff\xff"])
def test_damaged_exif_does_not_keep_a_picture_from_being_read(tmp_path, content):
    broken = b"Exif\0\0" + content
    Image.fromarray(COLOR).save(tmp_path / "a.png", exif=broken)
    np.testing.assert_array_equal(whole(tmp_path / "a.png")[0], COLOR)


@given(
    arrays.arrays(np.uint16, arrays.array_shapes(min_dims=2, max_dims=2, max_side=5), elements=st.integers(0, 4095)),
    st.sampled_from([1, 3]),
    st.booleans(),
    st.sampled_from([b"\n", b" # by hand\n ", b"\n#a\n#b\n"]),
)  # fmt: skip
def test_deep_netpbm_holds_the_numbers_that_were_written(tmp_path_factory, pixels, channels, plain, gap):
    pixels = np.repeat(pixels[:, :, None], channels, axis=2)
    kind = {(1, True): 2, (3, True): 3, (1, False): 5, (3, False): 6}[channels, plain]
    head = gap.join([b"P%d" % kind, b"%d" % pixels.shape[1], b"%d" % pixels.shape[0], b"4095"]) + b"\n"
    body = " ".join(map(str, pixels.ravel())).encode() if plain else pixels.astype(">u2").tobytes()
    file = tmp_path_factory.getbasetemp() / "deep.ppm"
    file.write_bytes(head + body)
    found, _ = whole(file)
    np.testing.assert_array_equal(found, pixels)
    assert found.dtype == np.uint16


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"P5 2 2 4095\n\0\1\0\2\0\3\0", "3 of its 4 numbers are there"),
        (b"P2 2 2 4095\n1 2 3", "3 of its 4 numbers are there"),
        (b"P5 1 1 4095\n\xff\xff", "a pixel is 65535, its header says 4095 at most"),
        (b"P2 1 1 4095\nseven", "invalid literal"),
    ],
)
def test_a_deep_netpbm_that_breaks_its_word_is_refused(tmp_path, content, why):
    (tmp_path / "a.pgm").write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.pgm: is truncated or damaged \({why}"):
        open_image(tmp_path / "a.pgm")


def test_what_follows_the_numbers_is_left_alone():
    assert decode(b"P2 1 1 999\n7 # the last\n 8").tolist() == [[7]]
