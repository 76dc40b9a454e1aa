import os
import resource

import numpy as np
import pytest
import tifffile
import torch

from patchseg.errors import DataError, PatchsegError
from patchseg.imaging import Box, Reading, open_raw
from patchseg.inference import jobs, memory, segment, stage
from patchseg.inference.engine import Engine
from patchseg.inference.jobs import plan_jobs
from patchseg.inference.locks import lock
from patchseg.inference.memory import Base
from patchseg.inference.segment import Segmenter
from patchseg.inference.shares import Share
from patchseg.labels.region import Regions
from patchseg.parameters import InferParameters
from patchseg.progress import Progress

SIDES = 90, 75
ALL = Share()


class Rows(Progress):
    """Counts the rows of each bar."""

    def __init__(self):
        self.bars = []

    def start(self, label, total):
        self.bars.append([total, 0])

    def step(self, count=1, note=""):
        self.bars[-1][1] += count


class Stop(Progress):
    """Raises an error after so many rows."""

    def __init__(self, rows, error=KeyboardInterrupt):
        self._left, self._error = rows, error

    def step(self, count=1, note=""):
        self._left -= count
        if self._left < 0:
            raise self._error


def read(path):
    with open_raw(path) as source:
        return source.read(Box(0, 0, *source.shape[:2]))


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Let images of more than 1000 pixels be large ones, of which every row is kept at once."""
    monkeypatch.setattr(jobs, "LARGE", 1000)
    monkeypatch.setattr(stage, "_EVERY", 0)


@pytest.fixture
def cut(monkeypatch):
    """Cut images into columns that end there: `cut(30, 50)`."""

    def cut(*edges):
        def columns(engine, base, area, scale):
            ends = [*(edge for edge in edges if area.left < edge < area.right), area.right]
            starts = [area.left, *ends[:-1]]
            return [
                Box(area.top, left, area.height, right - left)
                for left, right in zip(starts, ends, strict=True)
            ]

        monkeypatch.setattr(memory, "columns", columns)

    return cut


@pytest.fixture
def folder(tmp_path):
    """Return a folder with large images a.tif, a/b.tif, and a smaller one, c.tif."""
    draw = np.random.default_rng(0)
    for name, shape in (("a", SIDES), ("a/b", SIDES), ("c", (30, 20))):
        path = tmp_path / "in" / f"{name}.tif"
        path.parent.mkdir(exist_ok=True, parents=True)
        tifffile.imwrite(path, draw.integers(0, 256, shape, np.uint8), tile=(16, 16), metadata=None)
    return tmp_path


@pytest.fixture
def plan(folder, make):
    """Plan the job of an image and who does it: `plan("a", Share(0, 2), roi="0,0,9,9")`."""

    def plan(name, share=ALL, **values):
        image, values = folder / f"in/{name}.tif", {"probabilities": True, "tile": 16} | values
        parameters = InferParameters(**values)
        engine = Engine.of([make(classes=3)], parameters, torch.device("cpu"))
        found = [(image, image.relative_to(folder / "in"))]
        (job,) = plan_jobs(found, folder / "masks", parameters)
        regions = Regions.parse(parameters.roi, found) if parameters.roi else None
        base = Base(0, 0, 10**12)
        return job, Segmenter(engine, parameters, Reading(), base, None, regions, share)

    return plan


@pytest.fixture
def work(plan):
    """Do so; return how many rows there were to do, and how many were done."""

    def work(name, share=ALL, *, progress=None, **values):
        job, segmenter = plan(name, share, **values)
        rows = progress or Rows()
        segmenter.segment(job, rows, name)
        return rows.bars[0] if progress is None else None

    return work


@pytest.fixture
def contents(folder):
    """Return the mask and the probabilities of an image, None where they are not there."""

    def contents(name):
        paths = [folder / f"masks/{name}.png", folder / f"masks/probabilities/{name}.tif"]
        return [path.read_bytes() for path in paths] if all(path.exists() for path in paths) else None

    return contents


@pytest.fixture
def expected(folder, work, contents, monkeypatch):
    """Return what an image becomes without a stage, and leave no trace."""

    def expected(name, **values):
        with monkeypatch.context() as context:
            context.setattr(jobs, "LARGE", 10**9)
            work(name, **values)
        found = contents(name)
        (folder / f"masks/{name}.png").unlink()
        (folder / f"masks/probabilities/{name}.tif").unlink()
        return found

    return expected


def stages(folder):
    return sorted(path.name for path in folder.glob("masks/.patchseg/stages/**/*.stage"))


def test_rows_that_were_finished_are_not_done_again(folder, work, contents, expected):
    whole = expected("a")
    with pytest.raises(KeyboardInterrupt):
        work("a", progress=Stop(50))
    assert contents("a") is None
    assert stages(folder) == ["a.stage"]
    total, done = work("a")
    assert total == done < SIDES[0] - 30
    assert contents("a") == whole
    assert stages(folder) == []


def test_what_was_finished_in_other_columns_counts_too(folder, work, contents, expected, cut):
    whole = expected("a")
    cut(40)
    # All rows of the first column, and 30 or more of the second.
    with pytest.raises(KeyboardInterrupt):
        work("a", progress=Stop(SIDES[0] + 40))
    cut(20, 60)
    total, done = work("a")
    # Of the middle one and the last one what the second of before had left.
    assert total == done <= 2 * (SIDES[0] - 24)
    assert contents("a") == whole


def test_each_share_does_its_rows_and_the_last_one_writes(folder, work, contents, expected, cut):
    whole = expected("a")
    cut(33)
    for index in (2, 0):
        assert work("a", Share(index, 3)) == [60, 60]
        assert contents("a") is None
    assert work("a", Share(0, 3)) == [0, 0]  # once more
    assert contents("a") is None
    assert work("a", Share(1, 3)) == [60, 60]
    assert contents("a") == whole
    assert stages(folder) == []


def test_one_job_alone_does_what_shares_have_left(work, contents, expected):
    whole = expected("a")
    work("a", Share(1, 4))
    assert work("a") == [SIDES[0] - 23] * 2  # rows 22 to 44 were done
    assert contents("a") == whole


def test_more_shares_than_rows_are_no_trouble(work, contents, expected):
    whole = expected("a", roi="10,5,3,60")
    for index in range(5):
        assert contents("a") is None
        work("a", Share(index, 5), roi="10,5,3,60")
    assert contents("a") == whole


def test_an_image_that_is_cut_for_memory_alone_falls_to_one_share_whole(
    folder, work, expected, contents, cut
):
    whole = expected("c")
    cut(7, 15)
    assert work("c", Share(1, 2)) == [90, 90]
    assert contents("c") == whole
    assert stages(folder) == []


def test_stages_of_images_in_nested_folders_do_not_meet(folder, work, contents):
    work("a/b", Share(0, 2))
    work("a")
    assert contents("a")
    assert stages(folder) == ["b.stage"]
    work("a/b", Share(1, 2))
    assert contents("a/b")


def test_an_image_that_changed_in_between_is_named_and_nothing_is_written(folder, work, contents):
    work("a", Share(0, 2))
    image = folder / "in/a.tif"
    os.utime(image, ns=(1, 1))
    with pytest.raises(
        DataError, match=r"a\.tif: is not as it was when its segmentation began; remove .*a\.stage"
    ):
        work("a", Share(1, 2))
    assert contents("a") is None


def test_an_image_that_was_not_whole_when_the_work_was_planned_is_named(folder, plan, contents):
    job, segmenter = plan("a")
    tifffile.imwrite(folder / "in/a.tif", np.zeros((20, 30), np.uint8))
    with pytest.raises(DataError) as caught:
        segmenter.segment(job, Progress(), "a")
    assert str(caught.value) == (
        f"{folder}/in/a.tif: is 20 x 30 pixels and was another image when the work was planned; let it be finished, and "
        "give the same command once more"
    )
    assert stages(folder) == []


def test_an_older_mask_is_replaced(folder, work, contents, expected):
    whole = expected("a")
    path = folder / "masks/a.png"
    path.write_text("of another checkpoint")
    (folder / "masks/probabilities/a.tif").write_text("of another checkpoint")
    work("a")
    assert contents("a") == whole


def test_while_another_process_writes_the_files_this_one_goes_on(folder, plan, work, contents):
    job, _ = plan("a")
    job.stage.mkdir(parents=True)
    with lock(job.stage / "lock", wait=False) as is_alone:
        assert is_alone
        assert work("a") == [SIDES[0], SIDES[0]]
        assert contents("a") is None
    # It has died before it was through: a rerun does what is missing.
    assert work("a") == [0, 0]
    assert contents("a")


def test_an_error_while_files_are_written_leaves_no_half_file_and_the_stage(
    folder, work, contents, expected, monkeypatch
):
    whole = expected("a")

    def fail(outputs, rows):
        raise PatchsegError("the disk is full")

    with monkeypatch.context() as context:
        context.setattr(segment.Outputs, "write", fail)
        with pytest.raises(PatchsegError):
            work("a")
    assert [path.name for path in (folder / "masks").iterdir()] == [".patchseg", "probabilities"]
    assert list((folder / "masks/probabilities").iterdir()) == []
    assert work("a") == [0, 0]
    assert contents("a") == whole


def test_a_disk_that_becomes_full_is_told_and_with_more_room_it_goes_on(folder, work, contents, expected):
    whole = expected("a")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    class Full(Rows):
        def step(self, count=1, note=""):
            super().step(count)
            if self.bars[0][1] >= 40:
                resource.setrlimit(resource.RLIMIT_FSIZE, (30 * SIDES[1], hard))

    rows = Full()
    try:
        with pytest.raises(
            PatchsegError, match=r"a\.stage: cannot be written, a size limit is reached; make room"
        ):
            work("a", progress=rows)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    ((_, done),) = rows.bars
    assert work("a") == [SIDES[0] - done] * 2
    assert contents("a") == whole


def test_what_is_finished_is_known_by_the_time_of_its_image_and_of_its_folder(folder, plan, work):
    job, _ = plan("a")
    assert not job.is_finished(0)
    work("a")
    written = min(path.stat().st_mtime_ns for path in job.outputs)
    assert job.is_finished(0)
    assert job.is_finished(written)
    assert not job.is_finished(written + 1)
    os.utime(job.image, ns=(written + 1, written + 1))
    assert not job.is_finished(0)
    os.utime(job.image, ns=(written, written))
    assert job.is_finished(0)
    job.outputs[1].unlink()
    assert not job.is_finished(0)


def test_the_time_of_a_page_is_that_of_its_file(folder, plan, work):
    job, _ = plan("a")
    work("a")
    assert job._replace(image=folder / "in/a.tif:/1").is_finished(0)
    assert not job._replace(image=folder / "in/none.tif:/1").is_finished(0)
