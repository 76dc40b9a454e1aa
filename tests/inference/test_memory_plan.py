"""What an image is said to take, by hand, and how it is cut into columns so that it fits."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image as Picture

from patchseg import device as devices
from patchseg.errors import PatchsegError
from patchseg.imaging import Box
from patchseg.imaging.source import Held
from patchseg.inference import memory
from patchseg.inference.engine import Engine
from patchseg.inference.infer import infer
from patchseg.inference.memory import Base, Image, Need
from patchseg.parameters import InferParameters

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def engine(make):
    """Build an engine of a small network: `engine(channels=3, blend="exact")`."""

    def engine(channels=1, classes=2, *, dtype="uint8", calibration=None, **values):
        settings = {"tile": 100, "blend": "flat"} | values
        checkpoint = replace(make(channels, classes, dtype=dtype, width=1, levels=1), calibration=calibration)
        return Engine.of([checkpoint], InferParameters(device="cpu", threads=1, **settings), CPU)

    return engine


def test_what_ten_columns_take_as_worked_by_hand(engine):
    # Two classes of 4 bytes, tiles of 100 that lie 50 apart. 100 rows of sums. As many finished ones, with 16 bytes for each pixel
    # to make layers of them. Of the source, and of two tiles beside, twice 100 rows and three times 50. A fifth of it all lies between.
    assert memory.need(engine(), 10, Image()) == Need(
        sums=8000, rows=(8 + 16) * 100 * 10, source=350 * 210, decoder=0, writers=0, gaps=21_100
    )


def test_every_number_of_a_pixel_counts(engine):
    # Three channels of 4 bytes; five classes and the entropy, of which 5 bytes each and 4 more are needed to make layers.
    need = memory.need(engine(3, 5, dtype="float32", disagreement=True), 10, Image())
    assert need[:3] == (24 * 100 * 10, (24 + 34) * 100 * 10, 12 * 350 * 210)


def test_calibrated_probabilities_and_their_votes_count(engine):
    # Beside the 16 bytes of layers twice two classes of 4 bytes, and the highest and the sum of a pixel.
    known = {"temperature": 2.0, "thresholds": None}
    need = memory.need(engine(calibrated=True, calibration=known), 10, Image())
    assert need.rows == (8 + 16 + 24) * 100 * 10


def test_of_exact_tiles_there_are_sums_of_the_highest_zone(engine):
    exact = engine(blend="exact")
    halo, _ = exact.halo
    assert 0 < halo < 10
    need = memory.need(exact, 10, Image())
    assert need.sums == 8 * (100 - halo) * 10
    assert need.source == (200 + 3 * (100 - 2 * halo)) * 210


def test_at_half_the_size_there_are_half_the_columns_and_rows_are_resampled_64_at_a_time(engine):
    need = memory.need(engine(), 10, Image(scale=0.5))
    assert need.sums == 8 * 100 * 5
    # 64 rows across, as many that wait, and four times those 128 that they become; of these the layers are made.
    assert need.rows == (8 + 16) * 100 * 5 + 8 * 64 * (2 + 8) * 10 + 16 * 128 * 10
    # 100 rows are made out of 200 and four at the ends, twice: apart and put together.
    assert need.source == 350 * 205 + 204 * 410 + 100 * 205


def test_what_reading_and_writing_take_is_added(engine):
    need = memory.need(engine(), 10, Image(held=Held(1000, 2.5), written=77))
    assert need[3:5] == (1025, 77)


edges = st.integers(1, 3000)


@given(
    area=st.builds(Box, st.integers(0, 50), st.integers(0, 50), edges, edges),
    room=st.integers(100_000, 3_000_000),
    scale=st.sampled_from([1.0, 0.5, 1.7]),
    blend=st.sampled_from(["flat", "exact"]),
)
def test_columns_cover_an_area_side_by_side_and_each_of_them_fits(engine, area, room, scale, blend):
    engine, image = engine(blend=blend), Image(scale, Held(5000, 3.0), 700)
    base = Base(10**9, 10**8, 10**9 + 10**8 + room)
    try:
        columns = memory.columns(engine, base, area, image)
    except PatchsegError:
        columns = []
    assume(columns)
    assert columns[0].left == area.left
    assert columns[-1].right == area.right
    assert [column.left for column in columns[1:]] == [column.right for column in columns[:-1]]
    assert {(column.top, column.height) for column in columns} == {(area.top, area.height)}
    assert all(sum(memory.need(engine, column.width, image)) <= room for column in columns)
    if len(columns) > 1:
        # One more would not have been cut if all of it fitted, and they are whole steps of tiles wide.
        assert sum(memory.need(engine, area.width, image)) > room
        step = 50 if blend == "flat" else 100 - 2 * engine.halo[0]
        assert {column.width % max(1, round(step / scale)) for column in columns[:-1]} == {0}
        assert len({column.width for column in columns[:-1]}) == 1


def test_an_image_that_fits_is_not_cut(engine):
    image = Image()
    exactly = Base(5, 6, 11 + sum(memory.need(engine(), 730, image)))
    area = Box(0, 0, 10**6, 730)
    assert memory.columns(engine(), exactly, area, image) == [area]
    # 15 steps of 50 are more than its 730 columns, half of them are 400.
    less = exactly._replace(limit=exactly.limit - 1)
    assert [column.width for column in memory.columns(engine(), less, area, image)] == [400, 330]


def test_where_not_even_one_step_of_columns_fits_that_is_told_with_all_that_it_would_take(engine):
    image = Image(written=4 * 10**6)
    base = Base(200 * 10**6, 50 * 10**6, 10**8)
    with pytest.raises(PatchsegError) as caught:
        memory.columns(engine(), base, Box(0, 0, 10**6, 10**6), image)
    assert str(caught.value) == (
        "out of memory: 255 MB (process 200 MB, network 50 MB, sums less than 1 MB, finished rows less than 1 MB, source less "
        "than 1 MB, writing 4 MB, gaps less than 1 MB) for the narrowest column of an image, which is more than the 100 MB "
        "there are (--max-memory); choose a smaller --tile, or allow more"
    )
    assert caught.value.exit_code == 1


def test_what_is_narrower_than_a_step_need_not_fit_a_whole_one(engine):
    base = Base(0, 0, sum(memory.need(engine(), 7, Image())))
    area = Box(0, 0, 100, 7)
    assert memory.columns(engine(), base, area, Image()) == [area]


def test_nine_tenths_of_what_is_free_may_be_taken_unless_it_is_said(engine, monkeypatch):
    monkeypatch.setattr(devices, "free_bytes", lambda device: (10**9, 10**9))
    base = memory.measured(engine(), None)
    assert base.limit - base.process == 9 * 10**8
    assert memory.measured(engine(), 1234).limit == 1234


@pytest.mark.skipif("not __import__('pathlib').Path('/proc/self/clear_refs').exists()")
def test_a_batch_is_measured_at_its_peak(make, tmp_path, run_python):
    make(width=1, levels=1).save(tmp_path / "c.pt")
    # In a process of its own, where no other test has left memory to be used unseen.
    code = """
import sys, torch
from pathlib import Path
from patchseg.inference import memory
from patchseg.inference.engine import Engine
from patchseg.parameters import InferParameters
settings = InferParameters(device="cpu", threads=1, tile=1000, blend="flat")
torch.set_num_threads(1)
base = memory.measured(Engine.of([Path(sys.argv[1])], settings, torch.device("cpu")), None)
print(base.workspace, base.process)
"""
    ended = run_python(code, tmp_path / "c.pt")
    assert ended.returncode == 0, ended.stderr
    workspace, process = map(int, ended.stdout.split())
    # Two tiles of 1000: pixels, at least one feature and the logits of four bytes, and probabilities.
    least = 2 * 1000 * 1000 * (1 + 4 + 8 + 8)
    assert least < workspace < 10 * least
    assert process > 10**8


def test_all_terms_are_told_but_those_of_nothing():
    assert memory.told(Base(0, 0, 0), Need(10**6, 0, 0, 3 * 10**6, 0)) == "4 MB (sums 1 MB, decoding 3 MB)"


def test_infer_says_what_a_picture_that_is_read_and_written_whole_takes(tmp_path, make, hear):
    told = hear()
    Picture.fromarray(np.zeros((2000, 1000), np.uint8)).save(tmp_path / "a.png")
    make(width=1, levels=1).save(tmp_path / "c.pt")
    settings = InferParameters(device="cpu", threads=1, tile=500, output=str(tmp_path / "out"), overlay=True)
    infer([tmp_path / "a.png"], checkpoint=tmp_path / "c.pt", parameters=settings, progress=told)
    decoding, writing = re.findall(r"(?:decoding|writing) (\d+) MB", told.lines[0])
    assert int(decoding) == 2 * 2  # by Pillow, and kept
    # Mask and overlay twice each, colours once in 4 bytes; of 500 rows 65 bytes a pixel while they are painted.
    assert int(writing) == round(2 * (2 + 7) + 0.5 * 65)
