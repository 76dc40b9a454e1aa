import io

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from patchseg.errors import DataError
from patchseg.imaging import Box, open_image, raster

# Told apart from each of its turns and mirrors.
GRAY = np.arange(1, 16, dtype=np.uint8).reshape(3, 5) * 10
COLOR = np.stack([GRAY, GRAY + 1, GRAY + 2], axis=-1)

# What the EXIF standard says of row 0 and column 0 of the stored pixels, as the place that they take upright.
STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: upright.swapaxes(0, 1)[::-1],
    7: lambda upright: upright[::-1, ::-1].swapaxes(0, 1),
    8: lambda upright: upright.swapaxes(0, 1)[:, ::-1],
}


def read(file):
    with open_image(file) as source:
        pixels = source.read(Box(0, 0, *source.shape[:2]))
        assert pixels.shape == source.shape
        assert pixels.dtype == source.dtype
        return pixels


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def deep_png(pixels, orientation=None):
    """Return a PNG of 16 bits a channel, with an orientation in an eXIf chunk before its pixels."""
    data = imagecodecs.png_encode(np.ascontiguousarray(pixels))
    if orientation is None:
        return data
    stream = io.BytesIO()
    Image.new("L", (1, 1)).save(stream, "PNG", exif=exif(orientation))
    donor = stream.getvalue()
    at = donor.index(b"eXIf") - 4
    chunk = donor[at : at + 12 + int.from_bytes(donor[at : at + 4], "big")]
    return data[:33] + chunk + data[33:]  # after the signature and IHDR


def test_the_stored_size_is_told_by_the_header_alone(tmp_path):
    Image.fromarray(COLOR).save(tmp_path / "turned.jpg", exif=exif(6))
    Image.fromarray(GRAY).save(tmp_path / "a.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:50])
    (tmp_path / "text.png").write_text("no picture")
    np.save(tmp_path / "array.npy", GRAY)
    found = {
        name: raster.stored_size(tmp_path / name)
        for name in ("turned.jpg", "a.png", "cut.png", "text.png", "array.npy", "none.png")
    }
    assert found == {
        "turned.jpg": (3, 5), "a.png": (3, 5), "cut.png": (3, 5), "text.png": None, "array.npy": None, "none.png": None,
    }  # fmt: skip


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("kind", ["L", "RGB", "P", "RGBA", "I;16", "deep"])
def test_all_eight_orientations_come_out_upright(tmp_path, orientation, kind):
    upright = {"L": GRAY, "P": GRAY, "I;16": GRAY.astype(np.uint16) * 257}.get(kind, COLOR)
    if kind == "deep":
        upright = COLOR.astype(np.uint16) * 257
    stored = np.ascontiguousarray(STORED[orientation](upright))
    file = tmp_path / "a.png"
    if kind == "deep":
        file.write_bytes(deep_png(stored, orientation))
    else:
        image = Image.fromarray(stored)
        if kind == "P":
            image.putpalette([value for value in range(256) for _ in range(3)])
        elif kind == "RGBA":
            image.putalpha(255)
        image.save(file, exif=exif(orientation))
    assert raster.orientation(file) == orientation
    pixels = read(file)
    np.testing.assert_array_equal(pixels[:, :, 0], upright if upright.ndim == 2 else upright[:, :, 0])
    assert pixels.shape == (3, 5, 3 if kind in ("RGB", "RGBA", "P", "deep") else 1)


@pytest.mark.parametrize("orientation", STORED)
def test_a_jpeg_of_any_orientation_has_its_bright_corner_top_left(tmp_path, orientation):
    upright = np.zeros((48, 80), np.uint8)
    upright[:16, :16] = 255
    file = tmp_path / "a.jpg"
    Image.fromarray(np.ascontiguousarray(STORED[orientation](upright))).save(file, exif=exif(orientation))
    pixels = read(file)
    assert pixels.shape == (48, 80, 1)
    assert pixels[:14, :14].min() > 240
    assert pixels[24:].max() < 15
    assert pixels[:, 24:].max() < 15


def test_the_orientation_of_a_file_without_one_or_that_is_none_is_1(tmp_path):
    Image.fromarray(GRAY).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no image")
    assert raster.orientation(tmp_path / "a.png") == raster.orientation(tmp_path / "b.png") == 1
    assert raster.orientation(tmp_path / "none.png") == 1


@pytest.mark.parametrize("channels", [0, 2, 3, 4])
def test_a_png_of_16_bits_stays_one_and_its_alpha_is_no_channel(tmp_path, channels):
    shape = (6, 7, channels) if channels else (6, 7)
    pixels = np.random.default_rng(0).integers(0, 2**16, shape).astype(np.uint16)
    if channels in (2, 4):
        pixels[:, :, -1] = 65535
    file = tmp_path / "a.png"
    file.write_bytes(deep_png(pixels))
    expected = pixels.reshape(6, 7, -1)[:, :, : {2: 1, 4: 3}.get(channels)]
    np.testing.assert_array_equal(read(file), expected)
    assert read(file).dtype == np.uint16


def test_transparent_pixels_of_a_16_bit_png_are_no_data(tmp_path):
    pixels = np.full((2, 2, 4), 7, np.uint16)
    pixels[0, 1, 3] = 0
    (tmp_path / "a.png").write_bytes(deep_png(pixels))
    with open_image(tmp_path / "a.png") as source:
        assert source.valid(Box(0, 0, 2, 2)).tolist() == [[True, False], [True, True]]


def test_a_pgm_of_16_bits_is_uint16(tmp_path):
    pixels = np.array([[0, 1, 65535], [256, 4097, 2]], np.uint16)
    (tmp_path / "a.pgm").write_bytes(b"P5 3 2 65535\n" + pixels.astype(">u2").tobytes())
    np.testing.assert_array_equal(read(tmp_path / "a.pgm")[:, :, 0], pixels)
    assert read(tmp_path / "a.pgm").dtype == np.uint16


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_an_opaque_alpha_is_dropped_and_a_transparent_one_says_what_is_valid(tmp_path, mode):
    image = Image.fromarray(COLOR if mode == "RGBA" else GRAY)
    alpha = np.full((3, 5), 255, np.uint8)
    for name, at_corner in (("opaque.png", 255), ("thin.png", 1), ("clear.png", 0)):
        alpha[2, 4] = at_corner
        image.putalpha(Image.fromarray(alpha))
        image.save(tmp_path / name)
        with open_image(tmp_path / name) as source:
            assert source.shape == (3, 5, 3 if mode == "RGBA" else 1)
            np.testing.assert_array_equal(source.read(Box(0, 0, 3, 5))[:, :, 0], GRAY)
            valid = source.valid(Box(0, 0, 3, 5))
        if at_corner:
            assert valid is None
        else:
            assert valid.sum() == 14
            assert not valid[2, 4]


def test_one_bit_is_0_and_1(tmp_path):
    Image.fromarray(GRAY > 70).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read(tmp_path / "a.png")[:, :, 0], GRAY > 70)
    assert read(tmp_path / "a.png").dtype == np.uint8


def test_inks_become_colours(tmp_path):
    Image.new("CMYK", (16, 8), (0, 0, 0, 0)).save(tmp_path / "a.jpg")
    pixels = read(tmp_path / "a.jpg")
    assert pixels.shape == (8, 16, 3)
    assert pixels.min() > 250


def stored_noise(suffix):
    stream = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (24, 20, 3)).astype(np.uint8)
    Image.fromarray(noise).save(stream, Image.registered_extensions()[suffix])
    return stream.getvalue()


NOISE = {suffix: stored_noise(f".{suffix}") for suffix in ("png", "jpg", "bmp", "gif", "webp", "ppm")}


@pytest.mark.parametrize("suffix", NOISE)
@given(data=st.data())
def test_a_file_cut_short_is_one_sentence(tmp_path_factory, suffix, data):
    file = tmp_path_factory.getbasetemp() / f"cut.{suffix}"
    # Shorter ones are of no known format; the last bytes hold checksums and say that it ends.
    file.write_bytes(NOISE[suffix][: data.draw(st.integers(12, len(NOISE[suffix]) - 30))])
    expected = rf"cut\.{suffix}: is truncated or damaged .*; replace it by a whole copy"
    with pytest.raises(DataError, match=expected):
        open_image(file)


@given(st.integers(26, 400))
def test_a_png_of_16_bits_cut_short_is_one_sentence(tmp_path_factory, length):
    file = tmp_path_factory.getbasetemp() / "deep.png"
    noise = np.random.default_rng(0).integers(0, 2**16, (12, 10, 3)).astype(np.uint16)
    file.write_bytes(deep_png(noise)[:length])
    with pytest.raises(DataError, match=r"deep\.png: is truncated or damaged"):
        open_image(file)
