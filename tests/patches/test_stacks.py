"""Stacks whose pages are images of their own: the same as the pages saved one by one, from prepare to the report."""

import json

import h5py
import numpy as np
import pytest
import tifffile

import patchseg
from patchseg.errors import DataError, UsageError
from patchseg.imaging import Box, Reading, open_raw
from patchseg.imaging.tiff import page_count
from patchseg.parameters import (
    DataParameters,
    InferParameters,
    ModelParameters,
    PrepareParameters,
    TrainParameters,
)
from patchseg.patches.pairs import Unpaired
from patchseg.patches.stacks import pairs_of_pages, unstacked_images
from patchseg.progress import Progress

STACK = DataParameters(pages="stack")


class Lines(Progress):
    """Remembers what it was told."""

    def __init__(self):
        self.told = []

    def say(self, line):
        self.told.append(line)


def write(path, pages):
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, pages, photometric="minisblack", metadata=None)


def pages_of(seed, count=11):
    draw = np.random.default_rng(seed)
    images = draw.integers(0, 256, (count, 30, 34)).astype(np.uint8)
    return images, (images > 127).astype(np.uint8)


@pytest.fixture
def stacks(tmp_path):
    """Write two stacks, a.tif of 11 pages and b.tif of 3, and a file of one page; masks under the same names."""
    for name, seed, count in (("a", 0, 11), ("b", 1, 3), ("c", 2, 1)):
        images, masks = pages_of(seed, count)
        write(tmp_path / f"images/{name}.tif", images)
        write(tmp_path / f"masks/{name}.tif", masks)
    return tmp_path


def prepare(folder, *, data=STACK, progress=None, **values):
    given = {"patch": 16, "per_image": 2, "output": str(folder / "patches.h5")} | values
    return patchseg.prepare(
        folder / "images",
        folder / "masks",
        data=data,
        parameters=PrepareParameters(**given),
        progress=progress,
    )


def test_an_address_opens_its_page_of_images_and_of_masks(stacks):
    images, masks = pages_of(0)
    for number in (1, 11):
        for kind, pages in (("images", images), ("masks", masks)):
            with open_raw(stacks / f"{kind}/a.tif:/{number}", Reading(pages="stack")) as source:
                np.testing.assert_array_equal(source.read(Box(0, 0, 30, 34))[:, :, 0], pages[number - 1])


@pytest.mark.parametrize(
    ("inside", "told"),
    [
        ("12", "has 11 pages, data.pages asks for page 12"),
        ("0", "names no page of"),
        ("x", "names no page of"),
    ],
)
def test_an_address_that_is_no_page_is_refused(stacks, inside, told):
    with pytest.raises(DataError, match=told):
        open_raw(stacks / f"images/a.tif:/{inside}")


def test_pages_are_counted_and_named_so_that_they_sort(stacks):
    (stacks / "d.npy").write_bytes(b"no TIFF")
    assert [
        page_count(path) for path in (stacks / "images/a.tif", stacks / "images/c.tif", stacks / "d.npy")
    ] == [11, 1, 1]
    found = unstacked_images(
        [(stacks / f"images/{name}.tif", stacks.__class__(f"x/{name}.tif")) for name in "bca"]
    )
    assert [str(name) for _, name in found][:4] == ["x/b_1.tif", "x/b_2.tif", "x/b_3.tif", "x/c.tif"]
    assert found[4] == (stacks.__class__(f"{stacks}/images/a.tif:/1"), stacks.__class__("x/a_01.tif"))
    assert len(found) == 15


def test_patches_are_those_of_the_pages_saved_one_by_one(stacks, tmp_path_factory, everything):
    single = tmp_path_factory.mktemp("single")
    for name, seed, count in (("a", 0, 11), ("b", 1, 3), ("c", 2, 1)):
        for kind, pages in zip(("images", "masks"), pages_of(seed, count), strict=True):
            for number, page in enumerate(pages, 1):
                end = f"_{number:0{len(str(count))}}" if count > 1 else ""
                write(single / f"{kind}/{name}{end}.tif", page)
    ours = everything(prepare(stacks))
    theirs = everything(prepare(single, data=DataParameters(), group="^[abc]"))
    assert {str(group) for group in ours["sources/group"].astype(str)} == {"a", "b", "c"}
    for name in ("train/images", "train/masks", "train/box", "val/images", "sources/side"):
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


def test_pages_of_a_file_stay_on_one_side_unless_there_is_one_file(stacks):
    with h5py.File(prepare(stacks)) as file:
        sides = dict(zip(file["sources/path"].asstr()[:], file["sources/side"].asstr()[:], strict=True))
    assert len({side for path, side in sides.items() if "a.tif" in path}) == 1
    for name in ("b", "c"):
        (stacks / f"images/{name}.tif").unlink()
        (stacks / f"masks/{name}.tif").unlink()
    lines = Lines()
    with h5py.File(prepare(stacks, output=str(stacks / "lone.h5"), progress=lines)) as file:
        assert set(file["sources/side"].asstr()[:]) == {"train", "val"}
    assert any(
        line.startswith("all pages are of one stack, so neighbours may be on both sides")
        for line in lines.told
    )


def test_masks_of_other_pages_are_all_named(stacks):
    write(stacks / "masks/a.tif", pages_of(0)[1][:5])
    write(stacks / "masks/b.tif", pages_of(1)[1][:1])
    with pytest.raises(DataError) as caught:
        prepare(stacks)
    first, second, _ = str(caught.value).splitlines()
    assert "a.tif: has 5 pages, its image" in first
    assert "b.tif: has 1 pages, its image" in second


def test_a_stack_takes_no_drawings(stacks):
    (stacks / "via.json").write_text(json.dumps({"a": {"filename": "a.tif", "regions": []}}))
    data = DataParameters(pages="stack", unlisted="empty", classes=["ground", "thing"])
    with pytest.raises((UsageError, DataError)):
        patchseg.prepare(stacks / "images", stacks / "via.json", data=data)


def test_the_whole_job_on_stacks(stacks):
    best = patchseg.train(
        prepare(stacks), parameters=TrainParameters(steps=2, threads=1, device="cpu", name="run"),
        model=ModelParameters(width=4, levels=2), folder=stacks,
    )  # fmt: skip
    output = InferParameters(output=str(stacks / "predicted"), threads=1, device="cpu")
    masks = patchseg.infer([stacks / "images"], checkpoint=best, parameters=output)
    names = sorted(path.stem for path in masks.glob("*.png"))
    assert names == [*(f"a_{n:02}" for n in range(1, 12)), "b_1", "b_2", "b_3", "c"]
    scores = json.loads(patchseg.evaluate(masks, stacks / "masks").read_text())
    assert [image["name"] for image in scores["images"]] == names
    assert sum(map(sum, scores["confusion"])) == 15 * 30 * 34
    page = patchseg.report(masks / "scores.json", stacks / "runs/run", output=stacks / "report.html")
    assert page.read_text(encoding="utf-8").count("data:image/") >= 12  # three images of four panels each


def test_masks_and_pages_without_partner_are_all_named(stacks):
    for name in ("a_01", "z"):
        write(stacks / f"predicted/{name}.tif", pages_of(0)[1][0])
    with pytest.raises(Unpaired) as caught:
        pairs_of_pages(stacks / "predicted", stacks / "masks")
    assert "z.tif: has no page in" in caught.value.findings[0]
    assert "a.tif:/2: has no mask in" in caught.value.findings[1]
    assert len(caught.value.findings) == 1 + 10 + 3 + 1
    assert [pair.name for pair in caught.value.pairs] == ["a_01"]
