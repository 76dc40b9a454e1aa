import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from patchseg.errors import UsageError
from patchseg.parameters import ClassParameters, DataParameters, PrepareParameters
from patchseg.patches.prepare import prepare
from patchseg.progress import Progress

SHAPES = {
    "s1_a": (40, 56),
    "s1_b": (30, 70),
    "s2_a": (12, 33),
    "s3_a": (64, 20),
    "s4_a": (41, 41),
    "s4_b": (16, 16),
}


def same(one, other):
    assert one.keys() == other.keys()
    return {name for name in one if not np.array_equal(one[name], other[name])}


def pixels(path):
    return np.asarray(Image.open(path))


class Lines(Progress):
    """Keeps what is said."""

    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


@pytest.fixture(scope="module")
def data(tmp_path_factory, write):
    """Six images, three smaller than the patch or just as large, an eighth of their pixels ignored."""
    folder = tmp_path_factory.mktemp("data")
    write(folder, SHAPES, ignored=0.125)
    return folder


@pytest.fixture(scope="module")
def made(data, run, everything):
    """The patches file of `data`."""
    return everything(run(data, output=str(data / "out" / "patches.h5")))


def test_every_stored_patch_is_its_window_of_the_source_flipped_by_its_code(data, made):
    folder = data / "out"
    for side in ("train", "val"):
        parts = (made[f"{side}/{name}"] for name in ("images", "masks", "source", "box", "flip"))
        for image, mask, source, (top, left, height, width), flip in zip(*parts, strict=True):
            path = folder / made["sources/path"][source].decode()
            assert (height, width) == (16, 16)
            # The whole image in a wide frame, from which any window can be taken.
            wide = np.pad(pixels(path), ((16, 16), (16, 16), (0, 0)), mode="reflect")
            frame = np.pad(pixels(data / "masks" / f"{path.stem}.png"), 16, constant_values=255)
            window = np.s_[top + 16 : top + 32, left + 16 : left + 32]
            axes = {0: (), 1: 1, 2: 0, 3: (0, 1)}[int(flip)]
            assert (image == np.flip(wide[window], axes)).all()
            assert (mask == np.flip(frame[window], axes)).all()


def test_each_training_image_gives_its_patches_in_four_flips_and_validation_none(made):
    sides = [side.decode() for side in made["sources/side"]]
    assert sorted(sides) == ["train"] * 4 + ["val"] * 2
    for side, codes in (("train", [0, 1, 2, 3]), ("val", [0])):
        assert made[f"{side}/flip"].tolist() == codes * 5 * sides.count(side)
        numbers = [number for number, its in enumerate(sides) if its == side]
        assert made[f"{side}/source"].tolist() == np.repeat(numbers, 5 * len(codes)).tolist()
    boxes = made["train/box"].reshape(-1, 4, 4)
    assert (boxes == boxes[:, :1]).all(), "the four flips of a patch stand one after the other"
    assert len(np.unique(boxes[:, 0], axis=0)) > 10


def test_flips_can_be_left_out(tmp_path, write, run, everything):
    write(tmp_path, {"a": (20, 20), "b": (20, 20)})
    made = everything(run(tmp_path, flips=False))
    assert made["train/flip"].tolist() == made["val/flip"].tolist() == [0] * 5


def test_mean_and_standard_deviation_are_those_of_the_labelled_training_pixels(data, made):
    taken = []
    for path, side in zip(made["sources/path"], made["sources/side"], strict=True):
        stem = Path(path.decode()).stem
        if side == b"train":
            mask = pixels(data / "masks" / f"{stem}.png")
            taken.append(pixels(data / "images" / f"{stem}.png")[mask != 255].astype(float))
    labelled = np.concatenate(taken)
    channels = json.loads(made["@channels"])
    assert [channel["name"] for channel in channels] == ["red", "green", "blue"]
    np.testing.assert_allclose([c["mean"] for c in channels], labelled.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose([c["std"] for c in channels], labelled.std(axis=0), rtol=1e-12)


def test_a_large_offset_does_not_drown_the_standard_deviation(tmp_path, write, run, everything):
    images, _ = write(tmp_path, {"a": (700, 18), "b": (700, 18)})
    for number, name in enumerate("ab"):
        (images / f"{name}.png").unlink()
        signal = 1e7 + np.random.default_rng(number).integers(0, 3, (700, 18))
        tifffile.imwrite(images / f"{name}.tif", signal.astype(np.float32))
    (channel,) = json.loads(everything(run(tmp_path, validation=0.0))["@channels"])
    both = np.concatenate([tifffile.imread(images / f"{name}.tif") for name in "ab"]).astype(float)
    assert channel["name"] == "gray"
    assert (channel["mean"], channel["std"]) == pytest.approx((both.mean(), both.std()), rel=1e-9)


def test_regions_are_the_validation_images_whole(data, made):
    chosen = [number for number, side in enumerate(made["sources/side"]) if side == b"val"]
    for region, source in enumerate(chosen):
        stem = Path(made["sources/path"][source].decode()).stem
        assert (made[f"regions/{region}/image"] == pixels(data / "images" / f"{stem}.png")).all()
        assert (made[f"regions/{region}/mask"] == pixels(data / "masks" / f"{stem}.png")).all()
        assert made[f"regions/{region}@source"] == source
        assert made[f"regions/{region}@box"].tolist() == [0, 0, *SHAPES[stem]]
    assert len([name for name in made if name.endswith("/image")]) == len(chosen) == 2


def test_sources_are_named_by_relative_path_checksum_and_group(data, made):
    paths = [path.decode() for path in made["sources/path"]]
    assert paths == [f"../images/{name}.png" for name in SHAPES]
    assert [digest.decode() for digest in made["sources/sha256"]] == [
        hashlib.sha256((data / "out" / path).read_bytes()).hexdigest() for path in paths
    ]
    assert [group.decode() for group in made["sources/group"]] == list(SHAPES)


def test_the_head_says_what_was_asked_for(made):
    assert (made["@seed"], made["@patch"], made["@scale"], made["@margin"], made["@patchseg_format"]) == (
        0, 16, 1, 0, 1,
    )  # fmt: skip
    classes = json.loads(made["@classes"])
    assert [(c["name"], c["value"]) for c in classes] == [("background", 0), ("class_1", 1), ("class_2", 2)]
    parameters = json.loads(made["@parameters"])
    assert parameters["prepare.per_image"] == {"value": 5, "source": "call"}
    assert parameters["prepare.foreground"] == {"value": 0.33, "source": "default"}
    assert parameters["data.classes"] == {"value": None, "source": "default"}


def test_equal_seeds_give_equal_files_and_another_seed_other_boxes(data, made, run, everything):
    again = everything(run(data, output=str(data / "twin" / "other.h5")))
    assert same(made, again) == set()
    other = everything(run(data, output=str(data / "third" / "p.h5"), seed=1))
    assert {"train/box", "train/images", "val/box", "@seed"} <= same(made, other)


def test_an_image_draws_its_own_patches_whatever_stands_after_it(tmp_path, write, run, everything):
    write(tmp_path, {"a": (50, 50), "b": (50, 50)})
    anywhere = {"validation": 0.0, "foreground": 0.0, "overwrite": True}
    few, other = (everything(run(tmp_path, seed=seed, **anywhere))["train/box"] for seed in (0, 1))
    write(tmp_path, {"a": (50, 50), "b": (50, 50), "c": (50, 50)})
    more = everything(run(tmp_path, **anywhere))["train/box"]
    assert (more[:40] == few).all()
    assert not (few[:20] == few[20:]).all()
    assert not (few == other).all()


def test_the_share_of_foreground_is_passed_on(tmp_path, write, run, everything):
    _, masks = write(tmp_path, {"a": (50, 50), "b": (50, 50)})
    for name in "ab":
        mask = np.zeros((50, 50), np.uint8)
        mask[20, 30] = 1
        Image.fromarray(mask).save(masks / f"{name}.png")
    made = everything(run(tmp_path, validation=0.0, foreground=0.6, flips=False))
    centred = (made["train/box"] == [12, 22, 16, 16]).all(axis=1).reshape(2, 5)
    assert centred[:, 2:].all()  # three of five
    assert not centred[:, :2].all()


def test_half_the_scale_halves_images_regions_and_boxes(tmp_path, write, run, everything):
    images, masks = write(tmp_path, dict.fromkeys("abc", (60, 80)))
    rows, columns = np.mgrid[:60, :80]
    for name in "abc":
        (images / f"{name}.png").unlink()
        # A slope stays a slope; the pixel (i, j) of the half image is centred on (2 i + 0.5, 2 j + 0.5).
        tifffile.imwrite(images / f"{name}.tif", (rows + 100 * columns).astype(np.float32))
    made = everything(run(tmp_path, scale=0.5, per_image=40))
    assert made["@scale"] == 0.5
    assert made["regions/0@box"].tolist() == [0, 0, 30, 40]
    assert made["regions/0/image"].shape == (30, 40, 1)
    half = (2 * np.mgrid[:30] + 0.5)[:, None] + 100 * (2 * np.mgrid[:40] + 0.5)
    np.testing.assert_allclose(made["regions/0/image"][2:-2, 2:-2, 0], half[2:-2, 2:-2], atol=0.01)
    boxes = made["train/box"]
    assert boxes[:, 0].max() == 30 - 16
    assert 40 - 20 <= boxes[:, 1].max() <= 40 - 16
    source = Path(made["sources/path"][int(made["regions/0@source"])].decode()).stem
    assert (made["regions/0/mask"] == pixels(masks / f"{source}.png")[1::2, 1::2]).all()


def test_transparent_pixels_are_ignored_and_leave_the_mean_alone(tmp_path, write, run, everything):
    images, masks = write(tmp_path, {"a": (20, 20), "b": (20, 20)})
    for name in "ab":
        rgba = np.full((20, 20, 4), [200, 100, 50, 9], np.uint8)
        rgba[:7, :, :] = 0
        Image.fromarray(rgba).save(images / f"{name}.png")
    made = everything(run(tmp_path))
    assert made["train/images"].shape[-1] == 3
    assert [c["mean"] for c in json.loads(made["@channels"])] == [200, 100, 50]
    expected = pixels(
        masks / f"{Path(made['sources/path'][int(made['regions/0@source'])].decode()).stem}.png"
    )
    assert (made["regions/0/mask"][:7] == 255).all()
    assert (made["regions/0/mask"][7:] == expected[7:]).all()


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_patches_keep_the_dtype_and_channels_of_the_images(tmp_path, dtype, write, run, everything):
    images, _ = write(tmp_path, {"a": (20, 30), "b": (20, 30)})
    for name in "ab":
        (images / f"{name}.png").unlink()
        np.save(images / f"{name}.npy", (np.arange(20 * 30 * 5).reshape(20, 30, 5) * 17.5).astype(dtype))
    made = everything(run(tmp_path))
    assert made["train/images"].dtype == made["regions/0/image"].dtype == dtype
    assert made["train/images"].shape == (20, 16, 16, 5)
    assert [c["name"] for c in json.loads(made["@channels"])] == [f"channel_{i}" for i in range(5)]


def test_0_and_255_become_two_classes_and_that_is_said(tmp_path, write, run, everything):
    _, masks = write(tmp_path, {"a": (20, 20), "b": (20, 20)})
    for name in "ab":
        Image.fromarray((np.arange(400).reshape(20, 20) % 2 * 255).astype(np.uint8)).save(
            masks / f"{name}.png"
        )
    told = Lines()
    made = everything(run(tmp_path, progress=told))
    assert set(np.unique(made["train/masks"])) == {0, 1}
    assert told.lines[0] == "classes (from the masks): 0 background, 255 foreground"
    assert "255 is class 1" in told.lines[1]
    assert told.lines[2] == "1 image to train on, 1 to validate"
    assert told.lines[3].startswith("20 training patches of 16 x 16; ")


def test_given_classes_are_taken_and_not_announced(tmp_path, write, run, everything):
    write(tmp_path, {"a": (20, 20), "b": (20, 20)})
    told = Lines()
    classes = [ClassParameters(name=name, value=value) for name, value in [("b", 2), ("a", 0), ("c", 1)]]
    made = everything(run(tmp_path, data=DataParameters(classes=classes), progress=told))
    source = Path(made["sources/path"][int(made["regions/0@source"])].decode()).stem
    truth = pixels(tmp_path / "masks" / f"{source}.png")
    assert (made["regions/0/mask"] == np.array([1, 2, 0])[truth]).all()
    assert not any(line.startswith("classes") for line in told.lines)


def test_pairs_come_from_a_list_file_or_from_one_folder_too(tmp_path, write, run, everything):
    images, masks = write(tmp_path, {"a": (20, 20), "b": (20, 20)})
    made = everything(run(tmp_path))
    (tmp_path / "list.txt").write_text("images/a.png masks/a.png\nimages/b.png masks/b.png\n")
    values = {"patch": 16, "per_image": 5, "validation": 0.34}
    for name in "ab":
        (masks / f"{name}.png").rename(images / f"{name}_mask.png")
    one = prepare(images, parameters=PrepareParameters(output=str(tmp_path / "1.h5"), **values))
    for name in "ab":
        (images / f"{name}_mask.png").rename(masks / f"{name}.png")
    two = prepare(
        tmp_path / "list.txt", parameters=PrepareParameters(output=str(tmp_path / "2.h5"), **values)
    )
    assert same(made, everything(one)) == same(made, everything(two)) == set()
    with pytest.raises(UsageError, match="nowhere: is neither a folder of images nor a list file"):
        prepare(tmp_path / "nowhere", parameters=PrepareParameters(output=str(tmp_path / "3.h5"), **values))


PEAK = """
import sys
from pathlib import Path
from patchseg.parameters import PrepareParameters
from patchseg.patches.prepare import prepare
folder = Path(sys.argv[1])
prepare(folder / "images", folder / "masks", parameters=PrepareParameters(output=str(folder / "p.h5"), per_image=4))
print(next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line).split()[1])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak memory from Linux's /proc")
def test_many_images_take_no_more_memory_than_few(tmp_path, write, run_python):
    peaks = {}
    for count in (8, 40):
        images, masks = write(tmp_path / str(count), {"0": (512, 512)})
        for number in range(1, count):
            (images / f"{number}.png").write_bytes((images / "0.png").read_bytes())
            (masks / f"{number}.png").write_bytes((masks / "0.png").read_bytes())
        done = run_python(PEAK, tmp_path / str(count))
        assert done.returncode == 0, done.stderr
        peaks[count] = int(done.stdout) / 1024
    # 32 more images are 32 MB, and as much again in patches.
    assert peaks[40] - peaks[8] < 20, f"MB: {peaks}"
