import errno
import json
import os
import resource
from contextlib import contextmanager
from dataclasses import replace

import h5py
import numpy as np
import pytest

from patchseg.errors import DataError, UsageError
from patchseg.imaging import Box
from patchseg.labels.classes import Classes
from patchseg.patches.store import Head, PatchFile, PatchWriter

CLASSES = Classes(("background", "line"), (0, 7), ("#000000", "#e69f00"))
HEAD = Head(
    patch=4,
    scale=0.5,
    seed=3,
    classes=CLASSES,
    channels=[{"name": "gray", "mean": 1.5, "std": 0.25}, {"name": "channel_1", "mean": 9, "std": 2}],
    parameters={"prepare.patch": {"value": 4, "source": "call"}},
)


def blocks(n, seed):
    """Return n random patches (n, 4, 4, 2) uint16 and masks (n, 4, 4) uint8."""
    draw = np.random.default_rng(seed)
    return draw.integers(0, 60000, (n, 4, 4, 2), dtype=np.uint16), draw.integers(
        0, 2, (n, 4, 4), dtype=np.uint8
    )


@pytest.fixture
def file(tmp_path):
    """A patches file of two training images, one validation image and an image that gives blocks to both."""
    path = tmp_path / "patches.h5"
    with PatchWriter(path, patch=4, channels=2, dtype=np.dtype(np.uint16)) as writer:
        for number, side in enumerate(["train", "train", "val", "train+val"]):
            assert writer.add_source(f"images/ä{number}.png", f"{number:064}", "g", side) == number
        for source, side, n in [(0, "train", 3), (1, "train", 2), (2, "val", 1), (3, "train", 1)]:
            boxes = [Box(source, -1 - i, 4, 4) for i in range(n)]
            images, masks = blocks(n, source)
            writer.add_patches(side, images, masks, source=source, boxes=boxes, flips=list(range(n)))
        for source in (2, 3):
            whole = np.full((5, 6 + source, 2), source, np.uint16)
            writer.add_region(
                whole, whole[:, :, 0].astype(np.uint8), source=source, box=Box(source, 0, 5, 6 + source)
            )
        writer.finish(HEAD)
    return path


def test_what_is_written_is_read_again(file):
    with PatchFile(file) as patches:
        assert replace(patches.head, sha256="") == HEAD
        assert patches.counts == {"train": 6, "val": 1, "unlabelled": 0}
        assert patches.dtype == np.uint16
        assert patches.nbytes == 6 * 4 * 4 * (2 * 2 + 1)
        images, masks = patches.read("train")
        expected = [blocks(3, 0), blocks(2, 1), blocks(1, 3)]
        assert (images == np.concatenate([block[0] for block in expected])).all()
        assert (masks == np.concatenate([block[1] for block in expected])).all()
        some = patches.read("train", [1, 4])
        assert (some[0] == images[[1, 4]]).all()
        assert (some[1] == masks[[1, 4]]).all()
        assert (patches.read("val", slice(0, 1))[0] == blocks(1, 2)[0]).all()
        assert patches.region_names() == ["0", "1"]
        image, mask = patches.region("1")
        assert image.shape == (5, 9, 2)
        assert (image[1:3, 2:] == 3).all()
        assert (mask[:] == 3).all()


def test_a_margin_is_stored_around_each_patch_and_read_again(tmp_path):
    draw = np.random.default_rng(0)
    images, masks = draw.integers(0, 9, (3, 10, 10, 2), dtype=np.uint16), np.zeros((3, 10, 10), np.uint8)
    with PatchWriter(tmp_path / "p.h5", patch=4, channels=2, dtype=np.dtype(np.uint16), margin=3) as writer:
        writer.add_patches("train", images, masks, source=0, boxes=[Box(-3, 1, 10, 10)] * 3, flips=[0] * 3)
        writer.finish(replace(HEAD, margin=3))
    with PatchFile(tmp_path / "p.h5") as patches:
        assert (patches.head.patch, patches.head.margin) == (4, 3)
        assert patches.nbytes == 3 * 10 * 10 * (2 * 2 + 1)
        stored = patches.read("train")
        assert (stored[0] == images).all()
        assert stored[1].shape == (3, 10, 10)
        assert patches.read("val")[0].shape == (0, 10, 10, 2)
        assert stored[0][:, patches.head.middle, patches.head.middle].shape == (3, 4, 4, 2)


def test_unlabelled_patches_are_a_group_of_their_own_whose_masks_take_no_room(tmp_path):
    path, images = tmp_path / "p.h5", blocks(5, 1)[0]
    with PatchWriter(path, patch=4, channels=2, dtype=np.dtype(np.uint16)) as writer:
        for name, side in (("a.png", "train+val"), ("b.png", "unlabelled"), ("c.png", "unlabelled")):
            writer.add_source(name, "0", name, side)
        writer.add_patches("train", *blocks(1, 0), source=0, boxes=[Box(0, 0, 4, 4)], flips=[0])
        writer.add_unlabelled(images[:2], source=1, boxes=[Box(7, i, 4, 4) for i in range(2)])
        writer.add_unlabelled(images[2:], source=2, boxes=[Box(8, i, 4, 4) for i in range(3)])
        writer.finish(HEAD)
    with PatchFile(path) as patches:
        assert patches.counts == {"train": 1, "val": 0, "unlabelled": 5}
        assert (patches.read("unlabelled")[0] == images).all()
        some = patches.read("unlabelled", [1, 4])
        assert (some[0] == images[[1, 4]]).all()
        assert (some[1] == np.full((2, 4, 4), 255)).all()
        assert (patches.nbytes, patches.nbytes_of("unlabelled")) == (4 * 4 * 5, 5 * 4 * 4 * 5)
        assert patches.sides() == ["train+val"]
        assert patches.sources == [tmp_path / "a.png"]
        assert patches.unlabelled_sources == [tmp_path / "b.png", tmp_path / "c.png"]
    with h5py.File(path) as file:
        group = file["unlabelled"]
        assert group["masks"].id.get_storage_size() == 0
        assert group["masks"].dtype == np.uint8
        assert group["source"][:].tolist() == [1, 1, 2, 2, 2]
        assert group["box"][:, 0].tolist() == [7, 7, 8, 8, 8]
        assert group["flip"][:].tolist() == [0] * 5


def test_the_digest_covers_unlabelled_pixels(tmp_path):
    digests = []
    for number, images in enumerate([blocks(1, 0)[0], blocks(1, 1)[0], blocks(1, 1)[0][:0]]):
        path = tmp_path / f"{number}.h5"
        with PatchWriter(path, patch=4, channels=2, dtype=np.dtype(np.uint16)) as writer:
            if len(images):
                writer.add_unlabelled(images, source=0, boxes=[Box(0, 0, 4, 4)])
            writer.finish(HEAD)
        with PatchFile(path) as file:
            digests.append(file.head.sha256)
            assert file.nbytes_of("unlabelled") == 80 * len(images)
    assert len(set(digests)) == 3


@contextmanager
def room_for(size):
    """Let no file grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def write(path, progress):
    """Write ten blocks of patches; `progress` lists those that are written."""
    with PatchWriter(path, patch=4, channels=2, dtype=np.dtype(np.uint16)) as writer:
        for number in range(10):
            box = Box(0, 0, 4, 4)
            writer.add_patches("train", *blocks(100, 0), source=0, boxes=[box] * 100, flips=[0] * 100)
            progress.append(number)
        writer.finish(HEAD)
        progress.append("finished")


def test_a_full_disk_stops_the_next_block_and_the_file_can_still_be_closed(tmp_path):
    done = []
    with room_for(30_000), pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
        write(tmp_path / "p.h5", done)
    assert len(done) < 5  # of ten blocks


def test_a_disk_that_is_full_at_the_very_end_is_no_success(tmp_path):
    write(tmp_path / "p.h5", [])
    done = []
    with room_for((tmp_path / "p.h5").stat().st_size - 1), pytest.raises(OSError, match="large"):
        write(tmp_path / "q.h5", done)
    assert done[-1] == "finished"


def test_pixels_are_counted_by_patch_and_class_without_those_to_ignore(tmp_path):
    count = 300  # more than are read at once
    masks = np.random.default_rng(0).choice(np.array([0, 1, 255], np.uint8), (count, 4, 4))
    with PatchWriter(tmp_path / "p.h5", patch=4, channels=2, dtype=np.dtype(np.uint16)) as writer:
        boxes = [Box(0, 0, 4, 4)] * count
        writer.add_patches("train", blocks(count, 0)[0], masks, source=0, boxes=boxes, flips=[0] * count)
        writer.finish(HEAD)
    with PatchFile(tmp_path / "p.h5") as file:
        counts = file.class_counts
        assert (file.read_masks("train", 7) == masks[7]).all()
    assert counts.tolist() == [[int((mask == k).sum()) for k in (0, 1)] for mask in masks]
    assert counts.base is None  # else the counts of 256 classes would be kept


def test_regions_come_in_the_order_of_their_numbers(tmp_path):
    with PatchWriter(tmp_path / "p.h5", patch=4, channels=1, dtype=np.dtype(np.uint8)) as writer:
        for i in range(12):
            writer.add_region(
                np.full((2, 2, 1), i, np.uint8), np.zeros((2, 2), np.uint8), source=0, box=Box(0, 0, 2, 2)
            )
        writer.finish(HEAD)
    with PatchFile(tmp_path / "p.h5") as patches:
        assert [int(patches.region(name)[0][0, 0, 0]) for name in patches.region_names()] == list(range(12))


def test_the_layout_is_the_one_that_is_written_down(file):
    found = {}
    with h5py.File(file) as h5:
        h5.visititems(
            lambda name, item: found.update(
                {name: (item.shape, item.dtype, item.chunks)} if isinstance(item, h5py.Dataset) else {}
            )
        )
        attributes = dict(h5.attrs)
        regions = [dict(h5["regions"][name].attrs) for name in "01"]
        sources = {name: h5["sources"][name].asstr()[:].tolist() for name in h5["sources"]}
    text = h5py.string_dtype()
    assert {name: entry[:2] for name, entry in found.items()} == {
        **{
            f"{side}/{name}": ((n, *shape), np.dtype(dtype))
            for side, n in (("train", 6), ("val", 1))
            for name, shape, dtype in [
                ("images", (4, 4, 2), np.uint16),
                ("masks", (4, 4), np.uint8),
                ("source", (), np.int32),
                ("box", (4,), np.int32),
                ("flip", (), np.uint8),
            ]
        },
        **{f"sources/{name}": ((4,), text) for name in ("path", "sha256", "group", "side")},
        "regions/0/image": ((5, 8, 2), np.uint16),
        "regions/0/mask": ((5, 8), np.uint8),
        "regions/1/image": ((5, 9, 2), np.uint16),
        "regions/1/mask": ((5, 9), np.uint8),
    }
    assert found["train/images"][2] == (1, 4, 4, 2), "a chunk is a patch"
    assert found["val/masks"][2] == (1, 4, 4)
    assert sources["path"] == [f"images/ä{i}.png" for i in range(4)]
    assert sources["side"] == ["train", "train", "val", "train+val"]
    assert [(int(r["source"]), r["box"].tolist()) for r in regions] == [(2, [2, 0, 5, 8]), (3, [3, 0, 5, 9])]
    assert {name: attributes.pop(name) for name in ("patchseg_format", "seed", "patch", "margin", "scale")} == {
        "patchseg_format": 1, "seed": 3, "patch": 4, "margin": 0, "scale": 0.5,
    }  # fmt: skip
    assert len(attributes.pop("sha256")) == 64
    assert {name: json.loads(value) for name, value in attributes.items()} == {
        "classes": [
            {"name": "background", "value": 0, "color": "#000000"},
            {"name": "line", "value": 7, "color": "#e69f00"},
        ],
        "channels": HEAD.channels,
        "parameters": HEAD.parameters,
        "reading": {"ignore": None, "tolerance": 0.0, "binary": False},
        "mapping": [],
    }


def test_ten_lines_of_plain_h5py_are_enough(file):
    with h5py.File(file) as f:
        names = [c["name"] for c in json.loads(f.attrs["classes"])]
        train = f["train"]
        for image, mask, source, box, flip in zip(
            *(train[key] for key in ("images", "masks", "source", "box", "flip")), strict=True
        ):
            path = f["sources/path"].asstr()[source]
            top, left, height, width = box
            assert (image.shape, mask.shape) == ((height, width, 2), (height, width))
            assert (path, top) == (f"images/ä{source}.png", source)
            assert left + flip == -1
            assert mask.max() < len(names)


def test_a_missing_an_empty_and_a_foreign_file_are_told_apart(tmp_path):
    for name, content in [("empty.h5", b""), ("text.h5", b"images and masks\n" * 99)]:
        (tmp_path / name).write_bytes(content)
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["train/images"] = np.zeros((2, 4, 4, 1))
    cure = "; make it with `patchseg prepare`"
    with pytest.raises(UsageError, match=r"none\.h5: is no file; make it with `patchseg prepare`"):
        PatchFile(tmp_path / "none.h5")
    for name, found in [
        ("empty.h5", "is empty (0 bytes)"),
        ("other.h5", "is HDF5, but holds no patches (no attribute patchseg_format)"),
    ]:
        with pytest.raises(DataError) as caught:
            PatchFile(tmp_path / name)
        assert str(caught.value) == f"{tmp_path / name}: {found}{cure}"
    with pytest.raises(DataError, match=r"text\.h5: is no HDF5 file, or a damaged one \(.+\); make it with"):
        PatchFile(tmp_path / "text.h5")


def test_a_file_cut_short_is_refused(file):
    file.write_bytes(file.read_bytes()[:-500])
    with pytest.raises(DataError, match=r"patches\.h5: is no HDF5 file, or a damaged one"):
        PatchFile(file)


def test_a_newer_format_is_refused_by_its_number(file):
    with h5py.File(file, "a") as h5:
        h5.attrs["patchseg_format"] = 2
    with pytest.raises(DataError, match=r"has format 2, this patchseg reads 1; install a newer patchseg"):
        PatchFile(file)


@pytest.mark.parametrize("name", ["patch", "margin", "scale", "seed", "classes", "channels", "parameters"])
def test_a_lacking_attribute_is_named(file, name):
    with h5py.File(file, "a") as h5:
        del h5.attrs[name]
    with pytest.raises(DataError, match=rf"is incomplete .*{name}.*; make it again with `patchseg prepare`"):
        PatchFile(file)


@pytest.mark.parametrize("part", ["train/images", "train/masks", "val", "regions"])
def test_a_lacking_part_is_no_half_read_file(file, part):
    with h5py.File(file, "a") as h5:
        del h5[part]
    with pytest.raises(DataError, match="is incomplete"):
        PatchFile(file)


def test_masks_fewer_than_images_are_noticed(file):
    with h5py.File(file, "a") as h5:
        h5["train/masks"].resize(5, axis=0)
    with pytest.raises(DataError, match=r"is incomplete \(images without masks\)"):
        PatchFile(file)


def test_broken_json_is_no_traceback(file):
    with h5py.File(file, "a") as h5:
        h5.attrs["classes"] = "[{]"
    with pytest.raises(DataError, match="is incomplete"):
        PatchFile(file)
