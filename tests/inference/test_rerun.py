"""The same command once more: what is finished stays, what is missing comes, and nothing else is touched."""

import json
import os

import h5py
import numpy as np
import pytest
import tifffile

from patchseg.errors import DataError, SomeFailed, UsageError
from patchseg.imaging import Box, open_raw
from patchseg.inference import jobs, stage
from patchseg.inference.infer import FAILURES, infer
from patchseg.parameters import DataParameters, InferParameters
from patchseg.patches.pairs import RECORD
from patchseg.progress import Progress


class Told(Progress):
    """Remembers the first line, and the label of each bar."""

    def __init__(self):
        self.line, self.bars = "", []

    def say(self, line):
        self.line = self.line or line

    def start(self, label, total):
        self.bars.append(label)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Let images of more than 3000 pixels be large ones, of which every row is kept at once."""
    monkeypatch.setattr(jobs, "LARGE", 3000)
    monkeypatch.setattr(stage, "_EVERY", 0)


@pytest.fixture
def folder(tmp_path):
    """Return a folder with a large image, a.tif, and small ones, b.npy and c.npy."""
    (tmp_path / "in").mkdir()
    write_large(tmp_path)
    for name in "bc":
        np.save(tmp_path / f"in/{name}.npy", noise(30, 21))
    return tmp_path


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)


def write_large(folder, *, damaged=False):
    """Write a.tif; of what is damaged the last tile cannot be decoded."""
    path = folder / "in/a.tif"
    tifffile.imwrite(path, noise(120, 70), tile=(16, 16), compression="deflate", metadata=None)
    if damaged:
        with tifffile.TiffFile(path) as file:
            place = file.pages[0].dataoffsets[-1]
        with path.open("r+b") as file:
            file.seek(place)
            file.write(b"\xff" * 40)


@pytest.fixture
def work(folder, make):
    """Segment images, which are named within the folder, into masks; return what was told."""
    make().save(folder / "best.pt")

    def work(*images, overwrite=False, data=None, **values):
        told = Told()
        values = {"output": str(folder / "masks"), "device": "cpu", "threads": 1, "tile": 16} | values
        infer(
            [folder / image for image in images or ["in"]], checkpoint=folder / "best.pt", overwrite=overwrite,
            parameters=InferParameters(**values), data=data or DataParameters(), progress=told,
        )  # fmt: skip
        return told

    return work


def state(folder):
    """Return bytes and time of all files below the masks."""
    paths = [path for path in (folder / "masks").rglob("*") if path.is_file()]
    return {
        str(path.relative_to(folder / "masks")): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in paths
    }


def test_what_is_finished_is_not_done_again(folder, work):
    work(areas=True)
    before = state(folder)
    told = work(areas=True)
    assert told.line == "3 images on CPU, 1 thread; 3 finished already"
    assert told.bars == []
    after = state(folder)
    assert {name: held for name, (held, _) in after.items()} == {
        name: held for name, (held, _) in before.items()
    }
    assert [name for name in after if after[name][1] != before[name][1]] == ["areas.csv"]


def test_what_is_missing_is_done_and_what_is_new_is_added(folder, work):
    work("in/a.tif", "in/b.npy")
    before = state(folder)
    (folder / "masks/b.png").unlink()
    told = work("in/b.npy", "in/c.npy", "in/a.tif")
    assert told.line.startswith("3 images on CPU, 1 thread; 1 finished already; at most ")
    assert told.bars == ["1/2 b.npy", "2/2 c.npy"]
    assert sorted(state(folder)) == ["a.png", "b.png", "c.png", RECORD]
    assert state(folder)["a.png"] == before["a.png"]
    recorded = json.loads((folder / "masks" / RECORD).read_text())["infer.images"]["value"]
    assert recorded == [str(folder / f"in/{name}") for name in ("a.tif", "b.npy", "c.npy")]


def test_an_image_that_is_newer_than_its_mask_is_done_again(folder, work):
    work()
    later = (folder / "masks/a.png").stat().st_mtime_ns + 10**9
    for name in ("a.tif", "b.npy"):
        os.utime(folder / "in" / name, ns=(later, later))
    assert work().bars == ["1/2 a.tif", "2/2 b.npy"]


def test_pages_and_datasets_are_not_done_again(folder, work, make):
    work()
    with h5py.File(folder / "many.h5", "w") as file:
        for name, shape in (("large", (90, 50)), ("small", (20, 20))):
            file[name] = noise(*shape)
    pages = np.stack([noise(90, 50), noise(90, 50, seed=1)])
    tifffile.imwrite(folder / "stack.tif", pages, metadata=None, photometric="minisblack")
    checkpoint = make()
    checkpoint.parameters["data.pages"] = {"value": "stack", "source": "call"}
    checkpoint.save(folder / "best.pt")
    images = ["many.h5:/large", "many.h5:/small", "stack.tif"]
    assert len(work(*images, output=str(folder / "pages")).bars) == 4
    assert work(*images, output=str(folder / "pages")).bars == []


def test_other_settings_replace_masks_on_request_only(folder, work):
    work(overlap=0.25)
    before = state(folder)
    with pytest.raises(UsageError, match=r"masks that were made with infer\.overlap 0\.25, now 0\.5; choose"):
        work()
    assert state(folder) == before
    assert len(work(overwrite=True).bars) == 3
    assert all(state(folder)[name] != before[name] for name in before)
    assert not list((folder / "masks").rglob("*.stage"))
    assert work().bars == []


def test_masks_that_were_not_part_of_an_overwriting_are_not_taken_for_finished(folder, work):
    work(overlap=0.25)
    work("in/b.npy", overwrite=True)
    assert work().bars == ["1/2 a.tif", "2/2 c.npy"]


def test_half_an_image_is_not_gone_on_with_after_an_overwriting_with_other_settings(folder, work):
    work(output=str(folder / "expected"))
    write_large(folder, damaged=True)
    with pytest.raises(SomeFailed):
        work(overlap=0.25)
    assert list((folder / "masks").rglob("*.stage"))
    write_large(folder)
    work("in/b.npy", overwrite=True)
    work()
    assert (folder / "masks/a.png").read_bytes() == (folder / "expected/a.png").read_bytes()


def test_a_large_image_that_is_damaged_is_named_and_when_it_is_repaired_its_stage_is_asked_for(folder, work):
    write_large(folder, damaged=True)
    with pytest.raises(SomeFailed, match=r"a\.tif: is truncated or damaged"):
        work()
    assert json.loads((folder / "masks" / FAILURES).read_text())["failures"][0]["image"].endswith("a.tif")
    write_large(folder)
    with pytest.raises(
        SomeFailed, match=r"a\.tif: is not as it was when its segmentation began; remove .+\.stage, and"
    ):
        work()
    stage.remove(folder / "masks/.patchseg/stages/a.stage")
    work()
    assert sorted(state(folder)) == ["a.png", "b.png", "c.png", RECORD]


def test_where_the_only_image_fails_half_way_what_was_finished_stays(folder, work):
    write_large(folder, damaged=True)
    with pytest.raises(DataError, match="is truncated or damaged"):
        work("in/a.tif")
    assert (folder / "masks" / RECORD).exists()
    rows = sum(box.height for box in stage.finished(folder / "masks/.patchseg/stages/a.stage"))
    assert 0 < rows < 120


def test_where_the_only_image_fails_at_once_nothing_stays(folder, work):
    tifffile.imwrite(folder / "in/a.tif", noise(120, 70).astype(np.uint16))
    with pytest.raises(DataError, match="holds uint16"):
        work("in/a.tif")
    assert state(folder) == {}


def test_a_stage_that_a_kill_has_left_behind_a_finished_image_is_taken_away(folder, work):
    work()
    left = folder / "masks/.patchseg/stages/a.stage"
    left.mkdir(parents=True)
    (left / "mask.raw").write_bytes(b"0" * 100)
    work()
    assert not left.exists()


def test_failures_of_shares_are_gone_when_all_is_done(folder, work):
    (folder / "in/b.npy").write_text("no image")
    failed = 0
    for shard in ("1/2", "2/2"):
        try:
            work(shard=shard)
        except SomeFailed:
            failed += 1
    assert failed == 1
    assert len(list((folder / "masks").glob("failures-?-of-2.json"))) == 1
    np.save(folder / "in/b.npy", noise(30, 21))
    work()
    assert sorted(state(folder)) == ["a.png", "b.png", "c.png", RECORD]


def test_a_size_that_one_image_does_not_tell_fails_that_image_alone(folder, work):
    # c.npy is as wide as b.npy, and none says how large its pixels are; a.tif does.
    tifffile.imwrite(
        folder / "in/a.tif", noise(40, 20), resolution=(10_000, 10_000), resolutionunit="CENTIMETER"
    )
    with pytest.raises(SomeFailed) as caught:
        work(pixel_size=2.0)
    assert [line.split(": ")[0][-5:] for line in str(caught.value).splitlines()] == ["b.npy", "c.npy"]
    assert (folder / "masks/a.png").exists()


def test_shares_may_not_overwrite(folder, work):
    with pytest.raises(
        UsageError, match="--overwrite: one job of several would remove what another has begun"
    ):
        work(shard="1/2", overwrite=True)


def test_what_was_done_meanwhile_by_another_process_is_left(folder, work, monkeypatch):
    """A process that begins late finds images done that were missing when it planned."""
    plain = jobs.Job.is_finished
    asked = []

    def late(job, since):
        asked.append(job.name)
        return False if len(asked) <= 3 else plain(job, since)

    work()
    before = state(folder)
    monkeypatch.setattr(jobs.Job, "is_finished", late)
    assert work().bars == []
    assert state(folder) == before


def test_masks_are_the_ones_of_each_image(folder, work):
    work()
    for name, shape in (("a", (120, 70)), ("b", (30, 21))):
        with open_raw(folder / f"masks/{name}.png") as source:
            assert source.shape[:2] == shape
            assert source.read(Box(0, 0, *shape)).max() <= 1
