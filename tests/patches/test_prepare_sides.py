import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from patchseg.errors import DataError, UsageError
from patchseg.parameters import ClassParameters, DataParameters, PrepareParameters
from patchseg.patches.prepare import prepare
from patchseg.progress import Progress


def pixels(path):
    return np.asarray(Image.open(path))


def tell_their_place(images, names, shapes, *, first=0):
    """Give every pixel its image, row and column for its colour, so that it is known wherever it is stored."""
    for number, (name, shape) in enumerate(zip(names, shapes, strict=True), first):
        colors = np.stack([np.full(shape, number), *np.indices(shape)], axis=2)
        Image.fromarray(colors.astype(np.uint8)).save(images / f"{name}.png")


def side_maps(made, shapes):
    """Paint the pixels of each side of each image that any of its patches, with their margins, or regions holds.

    What is learned from without masks is on the side of training.
    """
    seen = {(side, i): np.zeros(shape, bool) for side in ("train", "val") for i, shape in enumerate(shapes)}
    regions = [made[name] for name in made if name.startswith("regions/") and name.endswith("/image")]
    unlabelled = [made[name] for name in made if name == "unlabelled/images"]
    learned = [made["train/images"], *unlabelled]
    for side, stored in [("train", learned), ("val", [made["val/images"], *regions])]:
        for pixels in stored:
            for number, row, column in np.unique(pixels.reshape(-1, 3), axis=0).tolist():
                seen[side, number][row, column] = True
    return seen


def spread(folder, images, names, how):
    """Put images without masks into a folder: others, and copies of labelled ones under other names, as `how` says."""
    others = ["x10", "y11"]
    folder.mkdir()
    for name, way in zip(names, how, strict=False):
        if way == "link":
            (folder / f"{name}9.png").symlink_to(images / f"{name}.png")
        elif way == "copy":
            shutil.copy(images / f"{name}.png", folder / f"{name}9.png")
        elif way == "other format":
            Image.open(images / f"{name}.png").save(folder / f"{name}9.bmp")
    tell_their_place(folder, others, [(20, 30)] * 2, first=len(names))
    return [(20, 30)] * 2


several = st.lists(st.tuples(st.integers(17, 90), st.integers(9, 90)), min_size=2, max_size=5)
large = st.lists(st.tuples(st.integers(9, 60), st.integers(96, 120)), min_size=1, max_size=1)
ways = st.fixed_dictionaries(
    {
        "patch": st.sampled_from([8, 11, 16]),
        "margin": st.sampled_from([0, 1, 9, 50]),
        "validation": st.floats(0.01, 0.9),
        "group": st.sampled_from([None, r"\d$"]),
        "fold": st.sampled_from([None, None, "1/2", "2/2", "2/3", "1/all"]),
        "seed": st.integers(0, 99),
    }
)
# Which classes an image has may decide its side.
held = st.lists(st.sets(st.integers(0, 2), min_size=1), min_size=5, max_size=5)


def folds(way, count, groups, shape):
    """Tell whether the fold can be had: by groups, or by slices of one image that is long enough."""
    of = way["fold"].partition("/")[2]
    wanted = groups if of == "all" else int(of)
    return (
        wanted <= groups and wanted > 1
        if count > 1
        else of != "all" and max(shape) // wanted >= 2 * way["patch"]
    )


# What else there is of each image, without its mask.
copies = (
    st.lists(st.sampled_from(["nothing", "link", "copy", "other format"]), min_size=5, max_size=5) | st.none()
)


@given(shapes=several | large, way=ways, held=held, how=copies)
@settings(max_examples=60)
def test_no_pixel_reaches_both_sides(write, run, everything, *, shapes, way, held, how):
    names = [f"{'xyz'[i % 3]}{i // 3}" for i in range(len(shapes))]
    if way["group"] and len(shapes) < 4:
        way["group"] = r"^\w"  # else all were in one group
    groups = len({name[1 if way["group"] == r"\d$" else 0] if way["group"] else name for name in names})
    if way["fold"] and not folds(way, len(shapes), groups, shapes[0]):
        way["fold"] = None
    with tempfile.TemporaryDirectory() as folder:
        images, masks = write(Path(folder), dict(zip(names, shapes, strict=True)))
        tell_their_place(images, names, shapes)
        for name, classes in zip(names, held, strict=False):
            mask = pixels(masks / f"{name}.png")
            Image.fromarray(np.where(np.isin(mask, list(classes)), mask, min(classes)).astype(np.uint8)).save(
                masks / f"{name}.png"
            )
        data, others = DataParameters(classes=[ClassParameters(name=name) for name in "abc"]), []
        if how is not None:
            others = spread(Path(folder) / "more", images, names, how)
            way |= {"unlabelled": f"{folder}/more"}
        made = everything(run(Path(folder), per_image=12, flips=False, data=data, **way))
    seen = side_maps(made, [*shapes, *others])
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
    assert all(len(sides - {b"unlabelled"}) < 2 for sides in of_group.values())
    assert not any(
        b"unlabelled" in sides and len(sides) > 1 and b"train" not in sides for sides in of_group.values()
    )
    if how is not None and not way["group"]:
        assert made["sources/path"].tolist()[len(shapes) :] == [b"more/x10.png", b"more/y11.png"]


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


class Lines(Progress):
    """Keeps what is said."""

    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


def test_a_single_image_too_small_for_blocks_is_all_trained_on_and_that_is_said(
    tmp_path, write, run, everything
):
    write(tmp_path, {"a": (47, 40)})
    told = Lines()
    made = everything(run(tmp_path, progress=told))
    assert made["sources/side"].tolist() == [b"train"]
    assert made["val/images"].shape == (0, 16, 16, 3)
    assert told.lines[1:3] == [
        "1 image to train on, 0 to validate",
        "  a is the only image and too small to be split by blocks (47 px; 48 are needed for patches of 16), so nothing "
        "tells how good the network is, and the last weights are kept, not the best; give --val-images, more images or a "
        "smaller --patch",
    ]
    assert len(told.lines) == 4, "and nothing of classes that are not validated"


def test_a_single_image_of_three_patches_gives_a_block_to_each_side(tmp_path, write, run, everything):
    write(tmp_path, {"a": (48, 40)})
    told = Lines()
    made = everything(run(tmp_path, progress=told))
    assert made["sources/side"].tolist() == [b"train+val"]
    assert made["regions/0/mask"].shape == (16, 40)
    assert told.lines[1] == "1 block to train on, 1 to validate (of the same images, a guard band between)"


def test_classes_that_one_side_lacks_are_told(tmp_path, write, run):
    _, masks = write(tmp_path, dict.fromkeys("abcd", (20, 20)))
    for name, value in zip("abcd", (0, 0, 1, 2), strict=True):
        Image.fromarray(np.full((20, 20), value, np.uint8)).save(masks / f"{name}.png")
    told = Lines()
    classes = DataParameters(
        classes=[ClassParameters(name=name) for name in ("ground", "pore", "crack", "rust")]
    )
    run(tmp_path, validation=0.25, progress=told, data=classes)
    unknown = "is in 1 of what is trained on and in nothing kept for validation, so its scores stay unknown until `evaluate`"
    assert told.lines[-3:] == [
        f"  pore: {unknown}",
        f"  crack: {unknown}",
        "  rust: is nowhere, so it cannot be learned; label some, or take it out of data.classes",
    ]
    images, truth = write(tmp_path / "held", {"x": (20, 20)})
    Image.fromarray(np.full((20, 20), 3, np.uint8)).save(truth / "x.png")
    run(tmp_path, val_images=str(images), val_masks=str(truth), progress=told, data=classes, overwrite=True)
    assert told.lines[-1] == (
        "  rust: is in 1 of what is kept for validation and in nothing to train on, so it cannot be learned; label more of it"
    )


def test_a_fold_is_said_and_recorded(tmp_path, write, run, everything):
    write(tmp_path, dict.fromkeys("abcdef", (20, 20)))
    told, kept = Lines(), set()
    for fold in ("1/3", "2/3", "3/3"):
        made = everything(run(tmp_path, fold=fold, progress=told, overwrite=True))
        kept |= {
            path
            for path, side in zip(made["sources/path"], made["sources/side"], strict=True)
            if side == b"val"
        }
        assert told.lines[-2] == f"4 images to train on, 2 to validate (fold {fold[0]} of 3)"
    assert len(kept) == 6


def of_list(tmp_path, text, progress=None, **values):
    (tmp_path / "list.csv").write_text(text)
    parameters = PrepareParameters(output=str(tmp_path / "l.h5"), **{"patch": 16, "per_image": 5} | values)
    return prepare(tmp_path / "list.csv", parameters=parameters, overwrite=True, progress=progress)


def test_a_list_says_what_is_trained_on_validated_with_and_left_out(tmp_path, write, everything):
    write(tmp_path, dict.fromkeys("abcd", (20, 20)))
    text = "image,mask,group,split\n" + "".join(
        f"images/{name}.png,masks/{name}.png,g{name},{side}\n"
        for name, side in zip("abcd", ("train", "val", "test", "train"), strict=True)
    )
    told = Lines()
    made = everything(of_list(tmp_path, text, told))
    assert made["sources/path"].tolist() == [b"images/a.png", b"images/b.png", b"images/d.png"]
    assert made["sources/side"].tolist() == [b"train", b"val", b"train"]
    assert made["sources/group"].tolist() == [b"ga", b"gb", b"gd"]
    assert told.lines[0] == "1 image of the test set left out"
    for more, what in (
        ({"group": "."}, "a column group"),
        ({"fold": "1/2"}, "column split of the list and --fold"),
    ):
        with pytest.raises(UsageError, match=what):
            of_list(tmp_path, text, **more)
    with pytest.raises(DataError, match="all 3 images are given for validation"):
        of_list(tmp_path, text.replace("train", "val"))


def test_groups_of_a_list_stay_together(tmp_path, write, everything):
    write(tmp_path, dict.fromkeys("abcdef", (20, 20)))
    rows = "".join(f"images/{n}.png,masks/{n}.png,p{i // 2}\n" for i, n in enumerate("abcdef"))
    made = everything(of_list(tmp_path, "image,mask,group\n" + rows, validation=0.3))
    sides = made["sources/side"].tolist()
    assert sides[::2] == sides[1::2]
    assert sides.count(b"val") == 2


def test_of_the_images_to_train_on_only_those_are_cut_that_are_named_and_all_else_stays(
    tmp_path, write, everything
):
    images, masks = write(tmp_path, dict.fromkeys(["a", "b", "c", "d", "e"], (24, 24)))
    Image.fromarray(np.zeros((24, 24), np.uint8)).save(
        masks / "a.png"
    )  # two classes less than the others have

    def run(name, only):
        settings = PrepareParameters(output=str(tmp_path / name), patch=8, per_image=3, fold="2/5")
        return everything(prepare(images, masks, parameters=settings, only=only))

    whole = run("whole.h5", None)
    sides = dict(
        zip([path.decode()[7] for path in whole["sources/path"]], whole["sources/side"], strict=True)
    )
    kept = ["a", next(name for name in "bcde" if sides[name] == b"train")]
    part = run("part.h5", kept)
    held_out = [name for name in "abcde" if sides[name] == b"val"]
    assert [path.decode()[7] for path in part["sources/path"]] == sorted(kept + held_out)
    assert part["@classes"] == whole["@classes"]
    assert (part["regions/0/image"] == whole["regions/0/image"]).all()
    # The patches of an image are the same, whatever else is cut.
    place = sorted(kept + held_out).index(kept[1])
    mine = part["train/images"][part["train/source"] == place]
    assert (mine == whole["train/images"][whole["train/source"] == "abcde".index(kept[1])]).all()
