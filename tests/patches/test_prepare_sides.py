import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from patchseg.errors import UsageError


def pixels(path):
    return np.asarray(Image.open(path))


def side_maps(made, shapes):
    """Paint the pixels of each side of each image that any of its patches or regions takes."""
    seen = {(side, i): np.zeros(shape, bool) for side in ("train", "val") for i, shape in enumerate(shapes)}
    for side in ("train", "val"):
        for source, (top, left, height, width) in zip(
            made[f"{side}/source"], made[f"{side}/box"], strict=True
        ):
            seen[side, source][max(top, 0) : top + height, max(left, 0) : left + width] = True
    for name in made:
        if name.endswith("@box"):
            top, left, height, width = made[name]
            source = int(made[name.replace("@box", "@source")])
            seen["val", source][top : top + height, left : left + width] = True
    return seen


several = st.lists(st.tuples(st.integers(17, 90), st.integers(9, 90)), min_size=2, max_size=5)
large = st.lists(st.tuples(st.integers(9, 60), st.integers(96, 120)), min_size=1, max_size=1)
ways = st.fixed_dictionaries(
    {
        "patch": st.sampled_from([8, 11, 16]),
        "validation": st.floats(0.01, 0.9),
        "group": st.sampled_from([None, r"\d$"]),
        "seed": st.integers(0, 99),
    }
)


@given(several | large, ways)
@settings(max_examples=30)
def test_no_pixel_reaches_both_sides(write, run, everything, shapes, way):
    names = [f"{'xyz'[i % 3]}{i // 3}" for i in range(len(shapes))]
    if way["group"] and len(shapes) < 4:
        way["group"] = r"^\w"  # else all were in one group
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), dict(zip(names, shapes, strict=True)))
        made = everything(run(Path(folder), per_image=12, flips=False, **way))
    seen = side_maps(made, shapes)
    assert any(seen["train", i].any() for i in range(len(shapes)))
    assert any(seen["val", i].any() for i in range(len(shapes)))
    for i in range(len(shapes)):
        assert not (seen["train", i] & seen["val", i]).any()
        rows, columns = (np.flatnonzero(seen["val", i].any(axis=axis)) for axis in (1, 0))
        if seen["train", i].any() and len(rows):  # blocks: a patch's width lies between
            near = seen["train", i][
                max(rows[0] - way["patch"], 0) : rows[-1] + way["patch"] + 1,
                max(columns[0] - way["patch"], 0) : columns[-1] + way["patch"] + 1,
            ]
            assert not near.any()
    of_group = {}
    for name, side in zip(made["sources/group"], made["sources/side"], strict=True):
        of_group.setdefault(name, set()).add(side)
    assert all(len(sides) == 1 for sides in of_group.values())


def test_one_large_image_gives_blocks_of_both_sides(tmp_path, write, run, everything):
    _, masks = write(tmp_path, {"big": (50, 200)})
    made = everything(run(tmp_path, validation=0.2))
    assert made["sources/side"].tolist() == [b"train+val"]
    top, left, height, width = made["regions/0@box"]
    assert (top, height, width) == (0, 50, 40)
    assert left in (0, 160)
    assert (made["regions/0/mask"] == pixels(masks / "big.png")[:, left : left + 40]).all()
    assert made["train/flip"].tolist() == [0, 1, 2, 3] * 5


def test_groups_stay_together_and_are_recorded_on_both_sides(tmp_path, write, run, everything):
    write(tmp_path, dict.fromkeys(["s1_a", "s1_b", "s2_a", "s3_a", "s4_a", "s4_b"], (20, 20)))
    made = everything(run(tmp_path, group=r"s\d"))
    sides = list(zip(made["sources/group"].tolist(), made["sources/side"].tolist(), strict=True))
    assert [group for group, _ in sides] == [b"s1", b"s1", b"s2", b"s3", b"s4", b"s4"]
    assert len(set(sides)) == 4
    assert {side for _, side in sides} == {b"train", b"val"}


def test_given_validation_images_are_the_validation_side_whole(tmp_path, write, run, everything):
    write(tmp_path, {"s1": (30, 30), "s2": (30, 30)})
    images, masks = write(tmp_path / "held", {"other": (20, 40)}, seed=1)
    made = everything(run(tmp_path, val_images=str(images), val_masks=str(masks), group=r"s\d"))
    assert made["sources/side"].tolist() == [b"train", b"train", b"val"]
    assert made["sources/group"].tolist() == [b"s1", b"s2", b"other"]
    assert (made["regions/0/image"] == pixels(images / "other.png")).all()
    assert set(made["val/source"]) == {2}
    with pytest.raises(UsageError, match="--val-masks needs --val-images"):
        run(tmp_path, val_masks=str(masks), overwrite=True)
