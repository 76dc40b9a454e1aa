"""A mask, and all that lies beside it, has the same bytes however the work was cut, shared out or stored.

What all else is held against is one image done at once, in one go, without a stage. Interruptions and processes are in
test_interrupted.py.
"""

import os
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile

import patchseg
from patchseg.errors import DataError
from patchseg.imaging import Box
from patchseg.imaging.write import open_writer
from patchseg.inference import jobs, memory
from patchseg.inference.infer import infer
from patchseg.parameters import InferParameters
from patchseg.patches.pairs import RECORD
from patchseg.progress import Progress

SIDES = 101, 83
EVERYTHING = {
    "tile": 32, "probabilities": True, "confidence": True, "disagreement": True, "overlay": True, "polygons": True,
    "areas": True,
}  # fmt: skip
EXACT = EVERYTHING | {"blend": "exact", "disagreement": False}
GAUSSIAN = EVERYTHING | {"blend": "gaussian", "overlap": 0.3}
CALIBRATION = {"temperature": 1.37, "thresholds": [0.3, 0.4, 0.3]}
SETTINGS = {  # and the scale of the checkpoint
    "flat": (EVERYTHING, 1.0),
    "gaussian": (GAUSSIAN, 1.0),
    "exact": (EXACT, 1.0),
    "flat, reduced": (EVERYTHING | {"tile": 16}, 0.6),
    "gaussian, enlarged": (GAUSSIAN, 1.3),
    "exact, reduced": (EXACT, 0.7),
    "a region of a TIFF": (EVERYTHING | {"roi": "30,20,60,50", "format": "tiff"}, 1.0),
    "calibrated, enlarged": (EVERYTHING | {"calibrated": True}, 1.2),
    "without blanks, flipped": (EVERYTHING | {"skip_blank": True, "symmetries": "flips"}, 0.9),
}  # fmt: skip


def image():
    """Return soft noise with a flat corner, uint8."""
    coarse = np.random.default_rng(0).integers(0, 256, (-(-SIDES[0] // 7), -(-SIDES[1] // 7)), np.uint8)
    pixels = np.kron(coarse, np.ones((7, 7), np.uint8))[: SIDES[0], : SIDES[1]]
    pixels[:60, :50] = 9
    return pixels


def contents(folder):
    """Return the bytes of all files that an image became, by their path."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != RECORD)
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, held in found.items():
        assert held == expected[name], name


@pytest.fixture
def work(tmp_path, make):
    """Segment a.tif into a folder and return what it became: `work("shares", 0.6, shard="1/2", tile=32)`."""
    tifffile.imwrite(tmp_path / "a.tif", image(), tile=(16, 16), compression="deflate", metadata=None)

    def work(name, scale=1.0, *, source="a.tif", progress=None, **values):
        checkpoint = tmp_path / f"{scale}.pt"
        if not checkpoint.exists():
            replace(make(classes=3, scale=scale), calibration=CALIBRATION).save(checkpoint)
        settings = {"output": str(tmp_path / name), "device": "cpu", "threads": 1} | values
        infer(
            [tmp_path / source], checkpoint=checkpoint, parameters=InferParameters(**settings), progress=progress
        )  # fmt: skip
        return contents(tmp_path / name)

    return work


@pytest.fixture
def by_stage(monkeypatch):
    """Have images of more than 1000 pixels go by way of a stage from now on."""
    return lambda: monkeypatch.setattr(jobs, "LARGE", 1000)


@pytest.fixture
def cut(monkeypatch):
    """Cut images into columns that end there, as little memory does: `cut(30, 50)`."""

    def cut(*edges):
        def columns(engine, base, area, image):
            inside = [edge for edge in edges if area.left < edge < area.right]
            sides = pairwise([area.left, *inside, area.right])
            return [Box(area.top, left, area.height, right - left) for left, right in sides]

        monkeypatch.setattr(memory, "columns", columns)

    return cut


@pytest.mark.parametrize("name", SETTINGS)
def test_in_columns_and_in_shares_it_is_as_in_one_go(work, by_stage, cut, name):
    settings, scale = SETTINGS[name]
    expected = work("straight", scale, **settings)
    assert len(expected) >= 7
    cut(29, 47, 48)
    assert_same(work("columns", scale, **settings), expected)
    by_stage()
    for shard in ("3/3", "1/3", "2/3"):
        found = work("shares", scale, shard=shard, **settings)
    assert_same(found, expected)
    cut()
    assert_same(work("stage", scale, **settings), expected)


class Stop(Progress):
    """Raises what stops a run after so many rows."""

    def __init__(self, rows):
        self._left = rows

    def step(self, count=1, note=""):
        self._left -= count
        if self._left < 0:
            raise DataError("stopped")


@pytest.mark.parametrize("name", ["flat", "exact, reduced"])
def test_in_other_columns_and_shares_after_each_stop_it_is_as_in_one_go(work, by_stage, cut, name):
    settings, scale = SETTINGS[name]
    expected = work("straight", scale, **settings)
    by_stage()
    for edges, shard in (((), "2/2"), ((35,), "1/2"), ((10, 70), "1/1"), ((50,), "2/3")):
        cut(*edges)
        with pytest.raises(DataError, match="stopped"):
            work("stopped", scale, shard=shard, progress=Stop(20), **settings)
    cut(20, 40, 60)
    assert_same(work("stopped", scale, **settings), expected)


def test_from_any_container_it_is_the_same(work, by_stage, cut, tmp_path):
    expected = work("straight", **EVERYTHING)
    np.save(tmp_path / "a.npy", image())
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("pixels", data=image(), chunks=(17, 19), compression="gzip")
    with open_writer(tmp_path / "a.zarr", SIDES) as writer:
        writer.write(image())
    for suffix in ("npy", "h5", "zarr"):
        assert_same(work(f"straight {suffix}", source=f"a.{suffix}", **EVERYTHING), expected)
    by_stage()
    cut(37)
    for suffix in ("npy", "h5", "zarr"):
        assert_same(work(f"stage {suffix}", source=f"a.{suffix}", **EVERYTHING), expected)


SCRIPT = """
import sys
from patchseg.cli import run
from patchseg.inference import jobs
jobs.LARGE = 1000
run(sys.argv[1:])
"""


@pytest.mark.slow
def test_two_processes_of_torchrun_give_the_same(work, tmp_path):
    expected = work("straight", **EVERYTHING)
    (tmp_path / "script.py").write_text(SCRIPT)
    flags = [f"--{name}" for name in EVERYTHING if name != "tile"]
    words = [
        "infer",
        tmp_path / "a.tif",
        "-m",
        tmp_path / "1.0.pt",
        "--device",
        "cpu",
        "--threads",
        1,
        "--tile",
        32,
    ]
    runner = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2, tmp_path / "script.py"]
    root = str(Path(patchseg.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, *map(str, [*runner, *words, *flags])], cwd=tmp_path, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for share in ("share 1 of 2", "share 2 of 2"):
        assert f"1 image on CPU, 1 thread; {share}: 1 image; at most" in done.stderr
    assert_same(contents(tmp_path / "masks"), expected)
