"""Headers that promise too much, and files whose bytes have changed: one sentence, in little time and memory."""

import io
import resource
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from patchseg.errors import DataError
from patchseg.imaging import Box, Reading, open_image


def stored(kind, pixels, **options):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


NOISE = np.random.default_rng(0).integers(0, 256, (9, 11, 3)).astype(np.uint8)
SEEDS = {
    "png": stored("PNG", NOISE), "deep": stored("PNG", NOISE[:, :, 0].astype(np.uint16) * 200),
    "jpg": stored("JPEG", NOISE), "bmp": stored("BMP", NOISE), "gif": stored("GIF", NOISE),
    "webp": stored("WEBP", NOISE), "ppm": b"P6 11 9 255\n" + NOISE.tobytes(),
    "pgm": b"P5 11 9 65535\n" + NOISE[:, :, :2].tobytes(), "txt": b"P2 3 1 999 1 2 3 ",
}  # fmt: skip


def claims(width, height):
    """Return files of a few bytes whose headers say so many pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    png = bytearray(SEEDS["png"])
    png[16:29], png[29:33] = header, struct.pack(">I", zlib.crc32(b"IHDR" + header))
    bmp = bytearray(SEEDS["bmp"])
    bmp[18:26] = struct.pack("<ii", width, height)
    ppm = [
        b"P%d %d %d %d\n12345678" % (kind, width, height, most)
        for kind in (2, 3, 5, 6)
        for most in (255, 999)
    ]
    return {"a.png": png, "a.bmp": bmp} | {f"{number}.ppm": head for number, head in enumerate(ppm)}


@pytest.mark.parametrize("size", [(65000, 65000), (2**30, 4), (13000, 13000)])
def test_a_header_of_billions_of_pixels_is_refused_before_anything_is_allocated(tmp_path, size):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, content in claims(*size).items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(
            DataError, match=rf"{name}: (is truncated or damaged|is {size[1]} x {size[0]} pixels)"
        ):
            open_image(tmp_path / name, Reading(memory=10**12))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # of 13 GB, in KB


def test_what_a_file_cannot_hold_is_told_with_its_size(tmp_path):
    (tmp_path / "a.png").write_bytes(claims(65000, 64000)["a.png"])
    with pytest.raises(
        DataError, match=rf"its header says 64000 x 65000 pixels, which no {len(SEEDS['png'])} bytes"
    ):
        open_image(tmp_path / "a.png")


def test_a_picture_above_the_usual_limit_is_told_with_the_memory_it_needs(tmp_path):
    Image.new("1", (20000, 10000)).save(tmp_path / "a.png")
    with pytest.raises(DataError) as caught:
        open_image(tmp_path / "a.png")
    assert str(caught.value) == (
        f"{tmp_path}/a.png: is 10000 x 20000 pixels, which take 400 MB to be read whole; allow them with "
        "--max-memory 1GB, or store it as a tiled TIFF, which is read by window"
    )


@pytest.mark.parametrize(("kind", "need"), [("L", 2), ("RGB", 7), ("RGBA", 8), ("P", 2), ("I;16", 8)])
def test_a_picture_is_read_within_the_memory_that_is_allowed_and_not_beyond(tmp_path, kind, need):
    Image.new(kind, (300, 200)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"200 x 300 pixels, which take .* more than the .* of --max-memory"):
        open_image(tmp_path / "a.png", Reading(memory=300 * 200 * need - 1))
    with open_image(tmp_path / "a.png", Reading(memory=300 * 200 * need)) as source:
        assert source.shape[:2] == (200, 300)


def test_the_limit_of_pillow_is_as_before_for_everyone_else(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 12345)
    (tmp_path / "a.png").write_bytes(SEEDS["png"])
    open_image(tmp_path / "a.png")
    with pytest.raises(DataError):
        open_image(tmp_path / "a.png", Reading(memory=1))
    assert Image.MAX_IMAGE_PIXELS == 12345


@settings(max_examples=150)
@given(st.sampled_from(sorted(SEEDS)), st.data())
def test_changed_bytes_are_an_image_or_one_sentence(tmp_path_factory, kind, data):
    content = bytearray(SEEDS[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(4, min(len(content) - 1, 80)) | st.integers(4, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    file = tmp_path_factory.getbasetemp() / "changed"
    file.write_bytes(content)
    try:
        source = open_image(file)
    except DataError as error:
        assert str(error).startswith(f"{file}: ")  # noqa: PT017 - either outcome is right
    else:
        assert source.read(Box(0, 0, *source.shape[:2])).shape == source.shape


@pytest.mark.parametrize("kind", sorted(set(SEEDS) - {"txt"}))
def test_a_file_that_lacks_its_last_bytes_is_refused_or_has_all_its_pixels(tmp_path, kind):
    """Behind the pixels may stand what nobody needs; in plain text a last digit that is cut off is not missed."""

    def read(content):
        (tmp_path / "cut").write_bytes(content)
        with open_image(tmp_path / "cut") as source:
            return source.read(Box(0, 0, *source.shape[:2]))

    expected, refused = read(SEEDS[kind]), 0
    for length in range(len(SEEDS[kind]) - 60, len(SEEDS[kind])):
        try:
            np.testing.assert_array_equal(read(SEEDS[kind][:length]), expected)
        except DataError:
            refused += 1
    assert refused >= 30
