import json
import shutil

import h5py
import numpy as np
import pytest
from PIL import Image
from tifffile import imread, imwrite

from patchseg.errors import DataError, UsageError
from patchseg.imaging import Box
from patchseg.parameters import DataParameters, PrepareParameters
from patchseg.patches.prepare import prepare
from patchseg.patches.sampling import cut
from patchseg.patches.store import PatchFile
from patchseg.progress import Progress


class Lines(Progress):
    """Keeps what is said."""

    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


def noise(folder, shapes, *, seed=9, dtype=np.uint8, suffix=".png"):
    """Write noise of some shapes, (H, W) or (H, W, C), into a folder."""
    draw = np.random.default_rng(seed)
    for name, shape in shapes.items():
        path = folder / f"{name}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = draw.integers(0, 256, shape).astype(dtype)
        if suffix == ".png":
            Image.fromarray(pixels).save(path)
        else:
            imwrite(path, pixels)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory, write):
    """Four labelled images of 30 x 40, and four without masks, in a nested folder, one smaller than a patch."""
    folder = tmp_path_factory.mktemp("data")
    write(folder, dict.fromkeys("abcd", (30, 40)))
    sizes = {"z": (20, 60), "small": (9, 33), "x": (40, 40), "top": (50, 30)}
    noise(folder / "more", {f"y/{name}": (*size, 3) for name, size in sizes.items()})
    return folder


def test_patches_of_images_without_masks_are_a_third_group_and_change_nothing_else(
    data, tmp_path, run, everything
):
    without = everything(run(data, output=str(tmp_path / "without.h5")))
    made = everything(run(data, output=str(tmp_path / "with.h5"), unlabelled=str(data / "more")))
    assert not any("unlabelled" in name for name in without)
    for name, value in without.items():
        if name not in ("@sha256", "@parameters", "@channels") and not name.startswith("sources/"):
            assert np.array_equal(value, made[name]), name
    assert made["@sha256"] != without["@sha256"]
    assert made["sources/side"].tolist()[:4] == without["sources/side"].tolist()
    assert made["sources/side"].tolist()[4:] == [b"unlabelled"] * 4
    paths = [(tmp_path / path.decode()).resolve() for path in made["sources/path"][4:]]
    assert paths == [data / f"more/y/{name}.png" for name in ("small", "top", "x", "z")]
    assert made["sources/group"].tolist()[4:] == [b"y/small", b"y/top", b"y/x", b"y/z"]
    assert made["unlabelled/source"].tolist() == [4] * 5 + [5] * 5 + [6] * 5 + [7] * 5
    assert set(made["unlabelled/flip"]) == {0}
    assert (made["unlabelled/masks"] == 255).all()
    assert made["unlabelled/masks"].shape == (20, 16, 16)


@pytest.mark.parametrize("margin", [0, 5])
def test_every_unlabelled_patch_is_its_window_of_the_source(data, tmp_path, run, everything, margin):
    made = everything(run(data, output=str(tmp_path / "p.h5"), unlabelled=str(data / "more"), margin=margin))
    for stored, source, box in zip(
        made["unlabelled/images"], made["unlabelled/source"], made["unlabelled/box"], strict=True
    ):
        pixels = np.asarray(Image.open(tmp_path / made["sources/path"][source].decode()))
        top, left, height, width = box.tolist()
        assert (height, width) == (16 + 2 * margin, 16 + 2 * margin)
        middle = (top + margin, left + margin)
        for start, length in zip(middle, pixels.shape, strict=False):
            assert 0 <= start <= length - 16 if length >= 16 else start == (length - 16) // 2
        assert (stored == cut(pixels, Box(top, left, height, width))).all()


def test_boxes_fall_evenly_and_each_image_has_its_own(tmp_path, write, run, everything):
    write(tmp_path, dict.fromkeys("ab", (30, 30)))
    noise(tmp_path / "more", {"u": (20, 20, 3), "v": (20, 20, 3)})
    made = everything(run(tmp_path, per_image=2000, unlabelled=str(tmp_path / "more")))
    for source in (2, 3):
        tops = made["unlabelled/box"][made["unlabelled/source"] == source, 0]
        counts = np.bincount(tops, minlength=5)
        assert len(counts) == 5
        assert (abs(counts - 400) < 5 * np.sqrt(400 * 0.8)).all()  # five standard deviations
    drawn = made["unlabelled/box"].reshape(2, 2000, 4)
    assert (drawn[0] != drawn[1]).any()


def test_what_is_left_out_changes_no_other_image(tmp_path, write, run, everything):
    images, _ = write(tmp_path, dict.fromkeys("ab", (30, 30)))
    more = noise(tmp_path / "more", {"u": (25, 25, 3), "v": (25, 25, 3)})
    shutil.copy(images / "a.png", more / "t.png")  # before the others
    made = everything(run(tmp_path, unlabelled=str(more)))
    Image.fromarray(np.zeros((25, 25, 3), np.uint8)).save(more / "t.png")
    again = everything(run(tmp_path, unlabelled=str(more), overwrite=True))
    assert (made["unlabelled/box"] == again["unlabelled/box"][5:]).all()
    assert (made["unlabelled/images"] == again["unlabelled/images"][5:]).all()


def test_the_scale_is_that_of_the_labelled_images(tmp_path, write, run, everything):
    write(tmp_path, dict.fromkeys("ab", (60, 60)))
    noise(tmp_path / "more", {"u": (50, 90, 3)})
    made = everything(run(tmp_path, scale=0.5, per_image=200, unlabelled=str(tmp_path / "more")))
    assert made["unlabelled/box"][:, 0].max() == 25 - 16
    assert made["unlabelled/box"][:, 1].max() == 45 - 16


def test_copies_of_labelled_images_are_left_out_by_path_link_name_and_format(tmp_path, write, everything):
    images, masks = write(tmp_path, dict.fromkeys("abcde", (30, 30)))
    noise(images, {"new": (30, 30, 3)})
    listed = [f"{images / name}.png {masks / name}.png" for name in "abcd"]
    (tmp_path / "list.txt").write_text("\n".join(listed))
    (images / "e.png").unlink()
    (images / "link.png").symlink_to(images / "a.png")
    shutil.copy(images / "b.png", images / "other name.png")
    imwrite(images / "c again.tif", np.asarray(Image.open(images / "c.png")), photometric="rgb")
    told = Lines()
    values = PrepareParameters(
        output=str(tmp_path / "p.h5"), patch=16, validation=0.5, unlabelled=str(images)
    )
    made = everything(prepare(tmp_path / "list.txt", parameters=values, progress=told))
    assert made["sources/path"][4:].tolist() == [b"images/new.png"]
    assert "7 of 8 unlabelled images left out: their pixels are those of labelled images" in told.lines


def test_images_that_no_annotation_lists_may_be_the_unlabelled_ones(tmp_path, everything):
    images = noise(tmp_path / "images", dict.fromkeys("abcd", (30, 30, 3)))
    (tmp_path / "drawn").mkdir()
    for name in "ac":
        shape = {"label": "cell", "points": [[5, 5], [20, 5], [20, 20]], "shape_type": "polygon"}
        document = {"imagePath": f"{name}.png", "imageHeight": 30, "imageWidth": 30, "shapes": [shape]}
        (tmp_path / f"drawn/{name}.json").write_text(json.dumps(document))
    values = PrepareParameters(output=str(tmp_path / "p.h5"), patch=16, unlabelled=str(images))
    skip = DataParameters(unlisted="skip")
    made = everything(prepare(images, tmp_path / "drawn", parameters=values, data=skip))
    assert made["sources/path"].tolist() == [f"images/{name}.png".encode() for name in "acbd"]
    assert made["sources/side"].tolist()[2:] == [b"unlabelled"] * 2


def test_a_folder_of_copies_only_is_refused(tmp_path, write, run):
    images, _ = write(tmp_path, dict.fromkeys("ab", (30, 30)))
    with pytest.raises(
        DataError,
        match=rf"^{images}: holds no image but labelled ones \(2, by their pixels\); expected images without",
    ):
        run(tmp_path, unlabelled=str(images))
    assert not list(tmp_path.glob("*.h5"))


def test_copies_of_images_kept_for_a_test_are_left_out_though_they_are_not_prepared(
    tmp_path, write, everything
):
    images, masks = write(tmp_path, {"s1_a": (30, 30), "s2_a": (30, 30), "s3_a": (30, 30)})
    rows = [f"{images / n}.png,{masks / n}.png,{side}" for n, side in
            (("s1_a", "train"), ("s2_a", "val"), ("s3_a", "test"))]  # fmt: skip
    (tmp_path / "list.csv").write_text("\n".join(["image,mask,split", *rows]))
    more = noise(tmp_path / "more", {f"s{n}_b": (30, 30, 3) for n in (1, 2, 3, 4)})
    shutil.copy(images / "s3_a.png", more / "s5_b.png")
    values = {"output": str(tmp_path / "p.h5"), "patch": 16, "unlabelled": str(more)}
    made = everything(prepare(tmp_path / "list.csv", parameters=PrepareParameters(**values)))
    assert made["sources/path"][2:].tolist() == [f"more/s{n}_b.png".encode() for n in (1, 2, 3, 4)]
    told = Lines()
    grouped = PrepareParameters(**values, group=r"s\d")
    made = everything(prepare(tmp_path / "list.csv", parameters=grouped, overwrite=True, progress=told))
    assert made["sources/path"][2:].tolist() == [b"more/s1_b.png", b"more/s4_b.png"]
    assert made["sources/group"][2:].tolist() == [b"s1", b"s4"]
    assert "2 unlabelled images left out: of groups that are held out (s2, s3)" in told.lines


@pytest.mark.parametrize("fold", ["1/2", "2/2"])
def test_members_of_a_group_that_is_validated_are_left_out(tmp_path, write, run, everything, fold):
    write(tmp_path, dict.fromkeys(["s1_a", "s1_b", "s2_a"], (20, 20)))
    more = noise(tmp_path / "more", dict.fromkeys(["s1_c", "s2_c", "s3_c"], (20, 20, 3)))
    told = Lines()
    made = everything(run(tmp_path, group=r"s\d", fold=fold, unlabelled=str(more), progress=told))
    sides = dict(zip(made["sources/group"].tolist(), made["sources/side"].tolist(), strict=True))
    held = next(name for name, side in sides.items() if side == b"val")
    kept = [group for group, side in sides.items() if side == b"unlabelled"]
    assert held not in kept
    # The group that is trained on has the side of its unlabelled image, which comes last.
    assert sorted(kept) == sorted({b"s1", b"s2", b"s3"} - {held})
    assert f"1 unlabelled image left out: of groups that are held out ({held.decode()})" in told.lines


def test_groups_of_given_validation_images_count_where_the_pattern_tells_them(
    tmp_path, write, run, everything
):
    write(tmp_path, {"s1_a": (20, 20), "s2_a": (20, 20)})
    images, masks = write(tmp_path / "held", {"s3_a": (20, 20), "other": (20, 20)}, seed=1)
    more = noise(tmp_path / "more", dict.fromkeys(["s1_c", "s3_c"], (20, 20, 3)))
    held = {"val_images": str(images), "val_masks": str(masks)}
    made = everything(run(tmp_path, group=r"s\d", unlabelled=str(more), **held))
    assert made["sources/path"][4:].tolist() == [b"more/s1_c.png"]
    shutil.copy(images / "other.png", more / "s4_c.png")
    made = everything(run(tmp_path, group=r"s\d", unlabelled=str(more), overwrite=True, **held))
    assert made["sources/path"][4:].tolist() == [b"more/s1_c.png"]


def test_where_all_groups_are_held_out_the_file_has_no_unlabelled_patches(tmp_path, write, run):
    write(tmp_path, dict.fromkeys(["s1_a", "s2_a"], (20, 20)))
    for fold in ("1/2", "2/2"):
        more = noise(tmp_path / fold.replace("/", "of"), {"s1_c": (20, 20, 3)})
        with PatchFile(run(tmp_path, group=r"s\d", fold=fold, unlabelled=str(more), overwrite=True)) as file:
            held = dict(zip(("s1", "s2"), file.sides(), strict=True))["s1"] == "val"
            assert file.counts["unlabelled"] == (0 if held else 5)


def test_without_a_pattern_it_is_said_that_groups_of_a_list_say_nothing_of_unlabelled_images(
    tmp_path, write, everything
):
    images, masks = write(tmp_path, dict.fromkeys("abc", (20, 20)))
    rows = [f"{images / n}.png,{masks / n}.png,{n}" for n in "abc"]
    (tmp_path / "list.csv").write_text("\n".join(["image,mask,group", *rows]))
    more, told = noise(tmp_path / "more", {"u": (20, 20, 3)}), Lines()
    values = PrepareParameters(output=str(tmp_path / "p.h5"), patch=16, unlabelled=str(more))
    prepare(tmp_path / "list.csv", parameters=values, progress=told)
    assert (
        "unlabelled images have no group without --group, so relatives of validation images may be among them"
        in told.lines
    )


def test_a_name_that_is_in_no_group_is_refused_with_its_folder(tmp_path, write, run):
    write(tmp_path, dict.fromkeys(["s1_a", "s2_a"], (20, 20)))
    more = noise(tmp_path / "more", {"odd": (20, 20, 3)})
    with pytest.raises(UsageError, match=rf"^{more}: prepare\.group: 's\\\\d' does not match 'odd'"):
        run(tmp_path, group=r"s\d", unlabelled=str(more))


def test_images_split_by_blocks_take_unlabelled_ones_too(tmp_path, write, run, everything):
    images, _ = write(tmp_path, {"big": (50, 200)})
    more = noise(tmp_path / "more", {"u": (40, 40, 3)})
    shutil.copy(images / "big.png", more / "copy.png")
    made = everything(run(tmp_path, unlabelled=str(more)))
    assert made["sources/side"].tolist() == [b"train+val", b"unlabelled"]
    assert made["sources/path"].tolist() == [b"images/big.png", b"more/u.png"]
    assert len(made["unlabelled/images"]) == 5


def test_transparent_pixels_are_not_aimed_at(tmp_path, write, run, everything):
    write(tmp_path, dict.fromkeys("ab", (30, 30)))
    more = tmp_path / "more"
    more.mkdir()
    pixels = np.random.default_rng(0).integers(1, 256, (60, 60, 4), dtype=np.uint8)
    pixels[:, :, 3] = 0
    Image.fromarray(pixels).save(more / "gone.png")
    pixels[20, 50, 3] = 255
    Image.fromarray(pixels).save(more / "spot.png")
    made = everything(run(tmp_path, unlabelled=str(more)))
    assert made["sources/path"][2:].tolist() == [b"more/spot.png"]
    assert len(made["unlabelled/box"]) == 5
    for top, left, height, width in made["unlabelled/box"]:
        assert top <= 20 < top + height
        assert left <= 50 < left + width


def test_everything_wrong_is_listed_together_with_what_is_wrong_with_the_others(tmp_path, write, run):
    _, masks = write(tmp_path, dict.fromkeys("abc", (30, 30)))
    more = noise(tmp_path / "more", {"gray": (20, 20), "cut": (20, 20, 3)})
    noise(more, {"deep": (20, 20, 3)}, dtype=np.uint16, suffix=".tif")
    pixels = np.ones((20, 20, 3), np.float32)
    pixels[7, 5, 1] = np.nan
    imwrite(more / "nan.tif", pixels, photometric="rgb")
    (more / "cut.png").write_bytes((more / "cut.png").read_bytes()[:300])
    Image.fromarray(np.zeros((9, 30), np.uint8)).save(masks / "b.png")
    with pytest.raises(DataError) as caught:
        run(tmp_path, unlabelled=str(more))
    found = str(caught.value).splitlines()
    expected = [
        "b.png: is 9 x 30 pixels", "cut.png: is truncated", "nan.tif: holds NaN or infinity, first at row 7, column 5",
        "deep.tif: has 3 channels of uint16", "gray.png: has 1 channels of uint8",
    ]  # fmt: skip
    assert len(found) == len(expected) + 1
    for part, line in zip(expected, found, strict=False):
        assert part in line
    assert found[-1].endswith(f"--unlabelled {more}")


def gray_as_rgb(path):
    Image.open(path).convert("L").convert("RGB").save(path)


def test_gray_stored_as_rgb_is_gray_and_colour_among_it_is_refused(tmp_path, write, run, everything):
    images, _ = write(tmp_path, dict.fromkeys("ab", (30, 30)))
    for path in images.iterdir():
        gray_as_rgb(path)
    more = noise(tmp_path / "more", {"plain": (20, 20), "u": (20, 20, 3)})
    with pytest.raises(DataError, match=r"u\.png: is in colour, first at row 0, column 0; expected gray"):
        run(tmp_path, unlabelled=str(more))
    gray_as_rgb(more / "u.png")
    shutil.copy(images / "a.png", more / "a copy.png")
    Image.open(images / "b.png").convert("L").save(more / "b in one channel.png")
    made = everything(run(tmp_path, unlabelled=str(more)))
    assert made["sources/path"][2:].tolist() == [b"more/plain.png", b"more/u.png"]
    assert made["train/images"].shape[3] == 1
    assert made["unlabelled/images"].shape == (10, 16, 16, 1)


def test_where_labelled_images_are_plainly_gray_others_may_be_so_as_rgb(tmp_path, write, run, everything):
    images, _ = write(tmp_path, dict.fromkeys("ab", (30, 30)))
    for path in images.iterdir():
        Image.open(path).convert("L").save(path)
    more = noise(tmp_path / "more", {"u": (20, 20, 3)})
    gray_as_rgb(more / "u.png")
    Image.open(images / "a.png").convert("RGB").save(more / "a copy.png")
    without = everything(run(tmp_path))
    made = everything(run(tmp_path, unlabelled=str(more), overwrite=True))
    assert made["sources/path"][2:].tolist() == [b"more/u.png"]
    assert made["unlabelled/images"].shape == (5, 16, 16, 1)
    names = [json.loads(file["@channels"])[0]["name"] for file in (made, without)]
    assert names == ["gray"] * 2


def test_images_without_masks_are_in_the_mean_and_spread_that_pixels_are_normalized_with(
    tmp_path, write, run, everything
):
    images, _ = write(tmp_path, dict.fromkeys("ab", (30, 30)))
    for path in images.iterdir():
        Image.open(path).convert("L").save(path)
    more = noise(tmp_path / "more", {"u": (40, 20), "v": (20, 20)})
    pixels = [np.asarray(Image.open(path)) for path in (more / "u.png", more / "v.png")]
    made = everything(run(tmp_path, unlabelled=str(more), validation=0))
    trained = [np.asarray(Image.open(path)) for path in sorted(images.iterdir())]
    every = np.concatenate([image.ravel() for image in trained + pixels]).astype(float)
    (channel,) = json.loads(made["@channels"])
    assert channel["mean"] == pytest.approx(every.mean())
    assert channel["std"] == pytest.approx(every.std())
    assert (channel["min"], channel["max"]) == (every.min(), every.max())


def test_colour_and_gray_as_rgb_go_together(tmp_path, write, run, everything):
    write(tmp_path, dict.fromkeys("ab", (30, 30)))
    more = noise(tmp_path / "more", {"u": (20, 20, 3)})
    gray_as_rgb(more / "u.png")
    assert everything(run(tmp_path, unlabelled=str(more)))["unlabelled/images"].shape == (5, 16, 16, 3)


def test_values_on_another_scale_are_told(tmp_path, write, run):
    images, _ = write(tmp_path, dict.fromkeys("ab", (30, 30)))
    for path in list(images.iterdir()):
        pixels = np.asarray(Image.open(path)).astype(np.uint16) * 157
        path.unlink()
        imwrite(path.with_suffix(".tif"), pixels, photometric="rgb")
    more = noise(tmp_path / "more", dict.fromkeys(["u", "v"], (20, 20, 3)), dtype=np.uint16, suffix=".tif")
    imwrite(more / "bright.tif", np.full((20, 20, 3), 40000, np.uint16), photometric="rgb")
    imwrite(more / "black.tif", np.zeros((20, 20, 3), np.uint16), photometric="rgb")
    told = Lines()
    run(tmp_path, unlabelled=str(more), progress=told)
    assert [line for line in told.lines if "reaches" in line] == [
        f"{more / 'u.tif'} (and 1 more): reaches up to 255, the median image up to 40035 (likely other bits or another scale "
        "than the others); export all with one scale"
    ]


def test_pages_of_a_stack_are_images_each(tmp_path, run, everything):
    draw = np.random.default_rng(0)
    for name, values in (("images", 256), ("masks", 2)):
        (tmp_path / name).mkdir()
        for file in "ab":
            pixels = draw.integers(0, values, (3, 30, 30), dtype=np.uint8)
            imwrite(tmp_path / name / f"{file}.tif", pixels, photometric="minisblack")
    more = tmp_path / "more"
    more.mkdir()
    pages = draw.integers(0, 256, (3, 30, 30), dtype=np.uint8)
    pages[1] = imread(tmp_path / "images/a.tif")[1]
    imwrite(more / "s.tif", pages, photometric="minisblack")
    made = everything(run(tmp_path, data=DataParameters(pages="stack"), unlabelled=str(more)))
    assert made["sources/path"][6:].tolist() == [b"more/s.tif:/1", b"more/s.tif:/3"]


def test_a_folder_that_is_not_there_or_holds_no_image_is_refused(tmp_path, write, run):
    write(tmp_path, dict.fromkeys("ab", (30, 30)))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"nowhere: is no folder; expected one with images"):
        run(tmp_path, unlabelled=str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match=r"empty: holds no image; expected files ending in"):
        run(tmp_path, unlabelled=str(tmp_path / "empty"))
    with pytest.raises(UsageError, match=r"^--unlabelled ignore: expected a folder .* is --unlabeled ignore"):
        run(tmp_path, unlabelled="ignore")


def test_what_the_file_takes_is_told_with_the_unlabelled_patches_whose_masks_take_nothing(
    tmp_path, write, run
):
    write(tmp_path, dict.fromkeys("ab", (30, 30)))
    more, told = noise(tmp_path / "more", dict.fromkeys("uvw", (120, 120, 3))), Lines()
    path = run(tmp_path, patch=24, per_image=500, unlabelled=str(more), progress=told)
    said = next(line for line in told.lines if "training patches" in line)
    assert said.startswith("2000 training patches of 24 x 24 and 1500 of 3 unlabelled images; ")
    size = (2500 * 4 + 1500 * 3) * 24 * 24
    assert said.endswith(f"takes {size / 1e6:.0f} MB")
    with h5py.File(path) as file:
        assert file["unlabelled/masks"].id.get_storage_size() == 0
        assert path.stat().st_size < 1.2 * size
