"""What open images hold in memory: no more than they say, and each segment decoded once for it."""

import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from patchseg.imaging import ArraySource, Box, Reading, open_image, segments, tiff
from patchseg.imaging.scale import ScaledSource
from patchseg.imaging.source import Held

HEIGHT, WIDTH = 210, 330
LAYOUTS = {"tiles": {"tile": (32, 16)}, "strips": {"rowsperstrip": 13}, "one strip": {"rowsperstrip": HEIGHT}}
linux = pytest.mark.skipif("not __import__('pathlib').Path('/proc/self/status').exists()")


@pytest.fixture
def decoded(monkeypatch):
    """Count how often each segment is decoded."""
    count = Counter()
    decode = segments.Segments._decode

    def counting(self, key):
        count[key] += 1
        return decode(self, key)

    monkeypatch.setattr(segments.Segments, "_decode", counting)
    return count


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("layout", LAYOUTS)
@given(data=st.data())
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_column_read_downwards_decodes_each_segment_once_and_keeps_no_more_than_is_said(
    tmp_path_factory, decoded, orientation, layout, data
):
    file = tmp_path_factory.getbasetemp() / f"held {orientation} {layout}.tif"
    if not file.exists():
        tag = [(274, 3, 1, orientation, True)]
        tifffile.imwrite(
            file, np.zeros((HEIGHT, WIDTH), np.uint8), metadata=None, extratags=tag, **LAYOUTS[layout]
        )
    decoded.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiff, "_BANDS", 0)  # else an image that fits into it proves nothing
        with open_image(file, Reading(downwards=True)) as source:
            height, width, _ = source.shape
            left = data.draw(st.integers(0, width - 1))
            columns = data.draw(st.integers(1, width - left))
            kept = (source._source if orientation > 1 else source)._segments
            rows, top = data.draw(st.integers(1, 90)), 0
            while top < height:
                source.read(Box(top, left, min(rows, height - top), columns))
                busy = min(segments.BUSY, len(kept._parts[0].offsets)) * source_segment(source)
                assert kept._held + busy <= source.held.always + source.held.column * columns
                top += rows
    assert set(decoded.values()) == {1}


def source_segment(source):
    return getattr(source, "_source", source).segment_bytes


def test_what_a_tiff_of_six_tiles_holds_as_worked_by_hand(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4096, 6144), np.uint8), tile=(2048, 2048), metadata=None)
    with open_image(tmp_path / "a.tif", Reading(downwards=True)) as source:
        tile = 2048 * 2048
        # Of a column two tiles beside each other and a quarter, of as many as it is wide, and all six on their way.
        assert source.held == Held(4 * 2**20 + int(2.5 * tile) + 6 * tile, 1.25 * tile / 2048)


def test_a_picture_holds_its_pixels_and_what_pillow_made_of_them(tmp_path):
    Image.fromarray(np.zeros((10, 20, 3), np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.zeros((10, 20), np.uint8)).save(tmp_path / "b.png")
    for name, pixel in (("a.png", 3 + 4), ("b.png", 1 + 1)):  # Pillow holds colours in 4 bytes
        with open_image(tmp_path / name) as source:
            assert source.held == Held(200 * pixel)


@linux
def test_what_was_read_of_an_npy_file_does_not_stay_in_memory(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((8000, 4000), np.float32))  # 128 MB
    with open_image(tmp_path / "a.npy") as source:
        before = mapped()
        for top in range(0, 8000, 100):
            assert source.read(Box(top, 0, 100, 4000)).all()
        assert mapped() - before < 16e6
        assert source.held == Held()


def mapped():
    """Return the bytes of files that this process holds in memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssFile"))


def test_resampling_takes_no_memory_by_the_square_of_the_width():
    pixels = np.ones((20, 20_000), np.uint8)
    with ScaledSource(ArraySource(pixels), 0.5) as source:
        tracemalloc.start()
        try:
            assert (source.read(Box(0, 0, 10, 10_000)) == 1).all()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 10e6  # a matrix of all columns by all columns would be 800 MB


def test_strips_of_which_the_last_is_lower_are_no_damage(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.ones((9000, 8000), np.uint8), rowsperstrip=4096, metadata=None)
    with open_image(tmp_path / "a.tif") as source:
        assert source.shape == (9000, 8000, 1)
