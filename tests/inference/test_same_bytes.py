"""A mask, and all that lies beside it, has the same bytes however the work was cut, shared out or interrupted.

What is held against all else is one image done at once, in one go, without a stage.
"""

import numpy as np
import pytest
import tifffile

from patchseg.inference import jobs, memory
from patchseg.inference.infer import infer
from patchseg.parameters import InferParameters
from patchseg.patches.pairs import RECORD

EVERYTHING = {
    "tile": 32, "probabilities": True, "confidence": True, "disagreement": True, "overlay": True, "polygons": True,
    "areas": True,
}  # fmt: skip
EXACT = EVERYTHING | {"blend": "exact", "disagreement": False}
SETTINGS = {
    "flat": (EVERYTHING, 1.0),
    "gaussian": (EVERYTHING | {"blend": "gaussian", "overlap": 0.3}, 1.0),
    "exact": (EXACT, 1.0),
    "flat, reduced": (EVERYTHING, 0.6),
    "gaussian, enlarged": (EVERYTHING | {"blend": "gaussian"}, 1.3),
    "exact, reduced": (EXACT, 0.6),
    "a region, flips": (EVERYTHING | {"roi": "40,30,90,77", "symmetries": "flips"}, 1.0),
    "a region, skipped blanks, reduced": (EVERYTHING | {"roi": "0,11,150,85", "skip_blank": True}, 0.7),
    "tiffs": (EVERYTHING | {"format": "tiff", "probability_type": "uint8"}, 1.0),
}  # fmt: skip


def image(height=150, width=131, seed=0):
    """Return soft noise with a flat corner, (height, width) uint8."""
    coarse = np.random.default_rng(seed).uniform(0, 255, (-(-height // 7), -(-width // 7)))
    pixels = np.kron(coarse, np.ones((7, 7)))[:height, :width].astype(np.uint8)
    pixels[:70, :60] = 9
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
    """Segment a.tif, or another image, into a folder: `work("straight", scale=1.0, **parameters)`."""
    tifffile.imwrite(tmp_path / "a.tif", image(), tile=(16, 16), compression="deflate", metadata=None)

    def work(name, scale, *, source="a.tif", **values):
        checkpoint = tmp_path / f"{scale}.pt"
        if not checkpoint.exists():
            make(classes=3, scale=scale).save(checkpoint)
        settings = {"output": str(tmp_path / name), "device": "cpu", "threads": 1} | values
        infer([tmp_path / source], checkpoint=checkpoint, parameters=InferParameters(**settings))
        return contents(tmp_path / name)

    return work


@pytest.fixture
def small(monkeypatch):
    """Let images of more than 1000 pixels be large ones."""
    monkeypatch.setattr(jobs, "LARGE", 1000)


@pytest.fixture
def narrow(monkeypatch):
    """Let there be so much memory beside that of the process: `narrow(4000)`."""

    def narrow(size):
        monkeypatch.setattr(memory, "measured", lambda engine, limit: memory.Base(0, 0, size))

    return narrow


@pytest.mark.parametrize("name", SETTINGS)
def test_by_a_stage_in_columns_and_in_shares_it_is_the_same(work, monkeypatch, narrow, name):
    settings, scale = SETTINGS[name]
    expected = work("straight", scale, **settings)
    assert len(expected) >= 7
    narrow(60_000)
    assert_same(work("columns", scale, **settings), expected)
    monkeypatch.setattr(jobs, "LARGE", 1000)
    for number in (3, 1, 2):
        found = work("shares", scale, shard=f"{number}/3", **settings)
    assert_same(found, expected)
    monkeypatch.undo()
    monkeypatch.setattr(jobs, "LARGE", 1000)
    assert_same(work("stage", scale, **settings), expected)
