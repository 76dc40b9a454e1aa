import os
import resource
import shutil
import signal
import threading
from contextlib import ExitStack, suppress
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchseg.errors import DataError, PatchsegError, UsageError
from patchseg.imaging import Box
from patchseg.inference import stage as stages
from patchseg.inference.layers import LAYERS
from patchseg.inference.stage import Stage

CLASSES, HEIGHT, WIDTH = 3, 12, 10
IMAGE = {"path": "/data/a.tif", "bytes": 120, "modified": 7, "shape": [HEIGHT, WIDTH]}
NAMES = ["mask", "float16", "confidence"]


def picture(seed=0, height=HEIGHT, width=WIDTH):
    """Return rows of all layers of an image."""
    draw = np.random.default_rng(seed)
    return {
        name: draw.integers(1, 250, LAYERS[name].shape(height, width, CLASSES)).astype(LAYERS[name].dtype)
        for name in NAMES
    }


def cut(rows, box):
    return {name: layer[box.slices] for name, layer in rows.items()}


def whole(stage, size=200):
    """Return all rows of a stage together."""
    bands = list(stage.rows(size))
    return {name: np.concatenate([band[name] for band in bands]) for name in bands[0]}


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, layer in found.items():
        assert layer.dtype == expected[name].dtype
        np.testing.assert_array_equal(layer, expected[name])


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """Let nothing be written down but on request, however slow the machine is."""
    monkeypatch.setattr(stages, "_EVERY", 1e9)


@pytest.fixture
def open_stage(tmp_path):
    """Open a stage of the image: `open_stage(bytes=9)` of another state of it; all are closed at the end."""
    with ExitStack() as opened:

        def open_stage(names=NAMES, **about):
            return opened.enter_context(Stage(tmp_path / "stage", IMAGE | about, names, CLASSES))

        yield open_stage


@st.composite
def dealt(draw):
    """Draw boxes that cut an image into columns and each of those into rows, in any order."""
    edges = sorted({0, WIDTH, *draw(st.lists(st.integers(1, WIDTH - 1), max_size=3))})
    boxes = []
    for left, right in pairwise(edges):
        rows = sorted({0, HEIGHT, *draw(st.lists(st.integers(1, HEIGHT - 1), max_size=4))})
        boxes += [Box(a, left, b - a, right - left) for a, b in pairwise(rows)]
    return draw(st.permutations(boxes))


@given(dealt(), st.integers(1, 900))
@settings(max_examples=15)
def test_what_was_written_in_parts_in_any_order_comes_back_whole(tmp_path_factory, boxes, size):
    rows = picture()
    with Stage(tmp_path_factory.mktemp("stage"), IMAGE, NAMES, CLASSES) as stage:
        for number, box in enumerate(boxes):
            assert not stage.is_complete(Box(0, 0, HEIGHT, WIDTH))
            stage.write(box, cut(rows, box))
            if number % 2:
                stage.commit()
        stage.commit()
        assert stage.is_complete(Box(0, 0, HEIGHT, WIDTH))
        assert_equal(whole(stage, size), rows)


def test_rows_are_read_in_as_many_bytes_as_are_asked_for_but_a_row_at_least(open_stage):
    stage = open_stage(["mask", "float16"])  # 7 bytes a pixel, 70 a row
    assert [len(band["mask"]) for band in stage.rows(400)] == [5, 5, 2]
    assert [len(band["mask"]) for band in stage.rows(1)] == [1] * HEIGHT


def test_rows_that_follow_each_other_are_one_line_of_the_journal(open_stage):
    stage, rows = open_stage(), picture()
    for box in (Box(0, 0, 2, 10), Box(2, 0, 3, 10), Box(5, 0, 1, 4), Box(6, 0, 2, 4), Box(9, 0, 3, 4)):
        stage.write(box, cut(rows, box))
    stage.commit()
    assert stage.done() == [Box(0, 0, 5, 10), Box(5, 0, 3, 4), Box(9, 0, 3, 4)]


def test_what_is_not_committed_is_not_done_and_leaving_commits(tmp_path):
    rows, box = picture(), Box(0, 0, 4, WIDTH)
    with Stage(tmp_path, IMAGE, NAMES, CLASSES) as stage:
        stage.write(box, cut(rows, box))
        assert stage.done() == []
    with Stage(tmp_path, IMAGE, NAMES, CLASSES) as stage:
        assert stage.done() == [box]
        assert_equal(cut(whole(stage), box), cut(rows, box))


def test_every_now_and_then_what_was_written_is_committed(open_stage, monkeypatch):
    opened, rows = open_stage(), picture()
    monkeypatch.setattr(stages, "_EVERY", 0)
    for top in range(3):
        opened.write(Box(top, 0, 1, WIDTH), cut(rows, Box(top, 0, 1, WIDTH)))
        assert len(opened.done()) == top + 1


def test_an_error_and_ctrl_c_keep_what_was_finished_before(tmp_path):
    rows, box = picture(), Box(3, 0, 4, WIDTH)
    with suppress(KeyboardInterrupt), Stage(tmp_path, IMAGE, NAMES, CLASSES) as stage:
        stage.write(box, cut(rows, box))
        raise KeyboardInterrupt
    with Stage(tmp_path, IMAGE, NAMES, CLASSES) as stage:
        assert stage.done() == [box]


@pytest.mark.parametrize(
    "torn", [b"[5, 0, 3, 1", b"[5, 0, 3", b"[", b"\0\0\0\0", b"[5, 0, \xff\xfe", b"[5, 0]"]
)
def test_a_torn_last_line_counts_for_nothing(open_stage, torn):
    stage, box = open_stage(), Box(0, 0, 5, WIDTH)
    stage.write(box, cut(picture(), box))
    stage.commit()
    (journal,) = stage.folder.glob("*.jsonl")
    journal.write_bytes(journal.read_bytes() + b"\n" + torn)
    assert open_stage().done() == [box]
    # Nor does what follows it in the same file get lost.
    stage.write(Box(5, 0, 1, WIDTH), cut(picture(), Box(5, 0, 1, WIDTH)))
    stage.commit()
    assert stage.done() == [box, Box(5, 0, 1, WIDTH)]


def test_two_at_once_see_what_the_other_has_finished(open_stage):
    first, second = open_stage(), open_stage()
    rows, (upper, lower) = picture(), (Box(0, 0, 5, WIDTH), Box(5, 0, 7, WIDTH))
    first.write(upper, cut(rows, upper))
    second.write(lower, cut(rows, lower))
    first.commit()
    assert first.done() == second.done() == [upper]
    second.commit()
    for stage in (first, second):
        assert stage.is_complete(Box(0, 0, HEIGHT, WIDTH))
        assert_equal(whole(stage), rows)


def test_many_who_begin_at_once_share_one_stage(tmp_path):
    gate, failures = threading.Barrier(8), []

    def begin():
        gate.wait()
        try:
            with Stage(tmp_path / "stage", IMAGE, NAMES, CLASSES):
                pass
        except (OSError, PatchsegError) as error:
            failures.append(error)

    for _ in range(20):
        threads = [threading.Thread(target=begin) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        shutil.rmtree(tmp_path / "stage")
    assert failures == []


@pytest.mark.parametrize(
    "other", [{"bytes": 121}, {"modified": 8}, {"shape": [HEIGHT, WIDTH + 1]}, {"path": "/data/b.tif"}]
)
def test_an_image_that_has_changed_since_is_refused_and_what_was_done_stays(open_stage, other):
    stage, box = open_stage(), Box(0, 0, 5, WIDTH)
    stage.write(box, cut(picture(), box))
    stage.commit()
    with pytest.raises(DataError) as caught:
        open_stage(**other)
    path = other.get("path", "/data/a.tif")
    assert str(caught.value) == (
        f"{path}: is not as it was when its segmentation began; remove {stage.folder}, and it begins anew"
    )
    assert open_stage().done() == [box]


def test_of_an_image_that_has_changed_before_anything_was_finished_nothing_is_said(open_stage):
    open_stage()
    stage, rows = open_stage(bytes=121, shape=[5, WIDTH]), picture(height=5)
    stage.write(Box(0, 0, 5, WIDTH), rows)
    stage.commit()
    assert_equal(whole(stage), rows)
    with pytest.raises(DataError, match="is not as it was"):
        open_stage()


@pytest.mark.parametrize("harm", ["other layers", "damaged", "removed"])
def test_what_else_does_not_fit_what_was_finished_is_refused(open_stage, harm):
    stage, box = open_stage(), Box(0, 0, 5, WIDTH)
    stage.write(box, cut(picture(), box))
    stage.commit()
    about = stage.folder / "image.json"
    if harm == "damaged":
        about.write_text("{")
    if harm == "removed":
        about.unlink()
    with pytest.raises(DataError, match="is not as it was"):
        open_stage(["mask"] if harm == "other layers" else NAMES)


@pytest.mark.parametrize("harm", ["removed", "shortened"])
def test_rows_that_are_gone_do_not_count_as_finished(open_stage, harm):
    stage, box = open_stage(), Box(0, 0, HEIGHT, WIDTH)
    stage.write(box, picture())
    stage.commit()
    file = stage.folder / "float16.raw"
    file.unlink() if harm == "removed" else os.truncate(file, 100)
    with pytest.raises(DataError) as caught:
        open_stage()
    assert (
        str(caught.value)
        == f"{file}: lacks rows that were finished; remove {stage.folder}, and the image begins anew"
    )


def test_what_is_removed_is_gone_and_late_comers_are_not_troubled(open_stage):
    first, second = open_stage(), open_stage()
    rows, box = picture(), Box(0, 0, HEIGHT, WIDTH)
    first.write(box, rows)
    first.commit()
    first.remove()
    assert not first.folder.exists()
    second.write(box, rows)
    second.commit()
    assert not second.is_complete(box)


@pytest.fixture
def limit():
    """Let no file grow beyond so many bytes: `limit(100)`; `limit(None)` takes it back."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def limit(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft if size is None else size, hard))

    yield limit
    limit(None)
    signal.signal(signal.SIGXFSZ, before)


FULL = r"stage: cannot be written, a size limit is reached; make room or choose another place"


@pytest.mark.parametrize("size", [0, 40, 100, 300])
def test_a_disk_that_is_full_at_the_start_is_told(open_stage, limit, size):
    limit(size)
    with pytest.raises(PatchsegError, match="cannot be written, a size limit is reached"):
        open_stage()
    limit(None)
    assert open_stage().done() == []


def test_a_disk_that_becomes_full_keeps_what_was_finished_and_nothing_else(open_stage, limit):
    stage, rows = open_stage(["mask"]), picture()
    boxes = [Box(0, 0, 3, WIDTH), Box(3, 0, 5, WIDTH), Box(8, 0, 4, WIDTH)]
    stage.write(boxes[0], {"mask": rows["mask"][:3]})
    stage.commit()
    limit(60)
    with pytest.raises(PatchsegError, match=FULL):
        stage.write(boxes[1], {"mask": rows["mask"][3:8]})
    limit(None)
    stage.close()
    again = open_stage(["mask"])
    assert again.done() == [boxes[0]]
    for box in boxes[1:]:
        again.write(box, {"mask": rows["mask"][box.slices]})
    assert_equal(whole(again), {"mask": rows["mask"]})


@pytest.mark.parametrize("room", range(0, 34, 3))
def test_a_journal_that_cannot_be_written_whole_tells_of_nothing_false(open_stage, limit, room):
    stage, rows = open_stage(["mask"]), picture()
    box = Box(2, 0, 5, WIDTH)
    stage.write(box, {"mask": rows["mask"][box.slices]})
    stage.commit()
    (journal,) = stage.folder.glob("*.jsonl")
    for more in (Box(9, 0, 1, WIDTH), Box(11, 0, 1, WIDTH)):
        stage.write(more, {"mask": rows["mask"][more.slices]})
    limit(journal.stat().st_size + room)
    if room < 28:
        with pytest.raises(PatchsegError, match=FULL):
            stage.commit()
    limit(None)
    stage.commit()
    assert set(stage.done()) == {box, Box(9, 0, 1, WIDTH), Box(11, 0, 1, WIDTH)}


def test_a_folder_that_is_none_is_a_usage_error(tmp_path, open_stage):
    (tmp_path / "stage").write_text("a file")
    with pytest.raises(UsageError, match=r"stage: cannot be written \(file exists\)"):
        open_stage()


def test_the_journal_is_a_box_a_line_for_whoever_looks(open_stage):
    stage = open_stage(["mask"])
    for top in (4, 9):
        stage.write(Box(top, 0, 2, WIDTH), {"mask": np.ones((2, WIDTH), np.uint8)})
    stage.commit()
    (journal,) = stage.folder.glob("*.jsonl")
    assert journal.read_text().split("\n")[1:] == ["[4, 0, 2, 10]", "[9, 0, 2, 10]"]
