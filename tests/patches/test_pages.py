"""Stacks from their images to the report: what is read of them is chosen once, by prepare."""

import json

import h5py
import numpy as np
import pytest
import tifffile

import patchseg
from patchseg.errors import DataError
from patchseg.parameters import (
    DataParameters,
    InferParameters,
    ModelParameters,
    PrepareParameters,
    TrainParameters,
)

RANDOM = np.random.default_rng(0)
STACKS = RANDOM.integers(0, 256, (4, 3, 32, 40)).astype(np.uint8)  # image, page, rows, columns


@pytest.fixture
def data(tmp_path):
    """Write four stacks of three pages with a mask of one page each; return their folder."""
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for number, stack in enumerate(STACKS):
        tifffile.imwrite(tmp_path / f"images/{number}.tif", stack, photometric="minisblack", metadata=None)
        tifffile.imwrite(tmp_path / f"masks/{number}.tif", (stack[1] > 127).astype(np.uint8))
    return tmp_path


def prepare(folder, pages):
    return patchseg.prepare(
        folder / "images", folder / "masks", data=DataParameters(pages=pages),
        parameters=PrepareParameters(patch=16, per_image=4, output=str(folder / "patches.h5")),
    )  # fmt: skip


@pytest.mark.parametrize(("pages", "channels"), [(2, 1), ("channels", 3)])
def test_the_pages_chosen_are_cut_and_recorded(data, pages, channels):
    with h5py.File(prepare(data, pages)) as file:
        assert json.loads(file.attrs["parameters"])["data.pages"]["value"] == pages
        images, boxes, flips = (file["val"][name][:] for name in ("images", "box", "flip"))
        place = [file["sources/path"][source].decode() for source in file["val/source"][:]]
    assert images.shape[1:] == (16, 16, channels)
    chosen = STACKS[:, 1:2] if pages == 2 else STACKS
    for patch, (top, left, height, width), flip, path in zip(images, boxes, flips, place, strict=True):
        stack = chosen[int(path[-5])]
        np.testing.assert_array_equal(
            np.moveaxis(patch, 2, 0), stack[:, top : top + height, left : left + width]
        )
        assert flip == 0


def test_a_stack_without_a_choice_is_refused_by_name(data):
    with pytest.raises(
        DataError, match=r'0\.tif: is a stack of 3 pages; .* data\.pages \(1, "channels" or "stack"\)'
    ):
        prepare(data, None)


@pytest.mark.parametrize("pages", [3, "channels"])
def test_infer_and_report_read_as_prepare_did(data, pages, monkeypatch):
    monkeypatch.chdir(data)
    best = patchseg.train(
        prepare(data, pages), parameters=TrainParameters(steps=1, batch=2, device="cpu"),
        model=ModelParameters(width=2, levels=1),
    )  # fmt: skip
    masks = patchseg.infer(
        ["images"], checkpoint=best, parameters=InferParameters(output="out", device="cpu")
    )
    assert len(list(masks.glob("?.png"))) == 4
    scores = patchseg.evaluate(masks, "masks")
    assert patchseg.report(scores, output="report.html").exists()
