import json
import shutil

import h5py
import numpy as np
import pytest

from patchseg.errors import Interrupted, UsageError
from patchseg.models.checkpoint import load
from patchseg.studies.learning_curve import learning_curve

FIRST = "share-100-repeat-1"


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def many(tmp_path_factory, kit):
    """Return the folders of five images, and of their masks; read only."""
    return kit.write(tmp_path_factory.mktemp("many"), ["a", "b", "c", "d", "e"])


@pytest.fixture(scope="module")
def curved(tmp_path_factory, kit, many):
    """Return the folder of a learning curve of them, one held out; read only."""
    folder = tmp_path_factory.mktemp("curved") / "lc"
    learning_curve(*many, parameters=kit.settings(folder))
    return folder


def test_trainings_on_a_quarter_to_all_of_the_images_are_scored_on_the_same_others(curved):
    found = read(curved / "curve.json")
    assert [point["images"] for point in found["points"]] == [4, 3, 2, 1]
    assert len(found["held_out"]) == 1
    for point in found["points"]:
        folder = curved / f"share-{point['share']}-repeat-{point['repeat']}"
        last = load(folder / "checkpoints/patches/last.pt")
        assert last.training["step"] == last.training["total"] == 2
        assert last.scores["mean_iou"] == point["score"]
        assert not (folder / "patches.h5").exists()


def test_a_training_sees_its_own_images_and_never_those_held_out(curved, tmp_path, kit, many):
    split = read(curved / "split.json")
    with pytest.raises(kit.killed):
        learning_curve(
            *many, parameters=kit.settings(tmp_path / "lc"), progress=kit.hear("training 3/4, epoch")
        )
    with h5py.File(tmp_path / "lc/share-50-repeat-1/patches.h5") as file:
        trained = set(np.unique(file["train/images"][..., 0]).tolist())
        held_out = [int(region["image"][0, 0, 0]) for region in file["regions"].values()]
    assert ["abcde"[number] for number in held_out] == split["val"]
    assert len(trained) == 2
    assert {"abcde"[number] for number in trained} < set(split["train"])


def test_a_curve_that_was_killed_goes_on_and_repeats_no_finished_training(curved, tmp_path, kit, many):
    folder = tmp_path / "lc"
    with pytest.raises(kit.killed):
        learning_curve(*many, parameters=kit.settings(folder), progress=kit.hear("training 3/4, epoch"))
    before = (folder / FIRST / "checkpoints/patches/last.pt").stat().st_mtime_ns
    told = kit.hear()
    learning_curve(*many, parameters=kit.settings(folder), progress=told)
    assert (folder / FIRST / "checkpoints/patches/last.pt").stat().st_mtime_ns == before
    assert told.lines[:2] == [
        "4 trainings on 1 to 4 images, scored on 1 held-out image; each takes the steps of the first, 2 steps",
        "2 trainings finished already",
    ]
    assert (folder / "curve.json").read_bytes() == (curved / "curve.json").read_bytes()


def test_epochs_become_the_steps_of_the_training_on_all_images(tmp_path, kit, many):
    folder = tmp_path / "lc"
    given = kit.settings(folder, steps=None, epochs=1, batch=8)
    with pytest.raises(kit.killed):
        learning_curve(*many, parameters=given, progress=kit.hear("training 3/4, epoch"))
    for share in (100, 75):
        state = load(folder / f"share-{share}-repeat-1/checkpoints/patches/last.pt").training
        assert state["total"] == 4 * 2 * 4 // 8  # 4 images of 2 patches, each with its flips, 8 at a time


@pytest.mark.slow
def test_repeats_learn_from_other_images_with_other_seeds(tmp_path, kit, many):
    folder = tmp_path / "lc"
    with pytest.raises(kit.killed):
        learning_curve(
            *many, parameters=kit.settings(folder, repeats=2), progress=kit.hear("training 6/8, epoch")
        )
    seeds = [load(folder / f"share-100-repeat-{r}/checkpoints/patches/last.pt").parameters for r in (1, 2)]
    assert [record["train.seed"]["value"] for record in seeds] == [0, 1]


def test_other_settings_are_refused_and_ctrl_c_goes_on(curved, tmp_path, kit, many):
    folder = shutil.copytree(curved, tmp_path / "lc")
    with pytest.raises(UsageError, match=r"was begun with learning_curve.repeats 1, now it is 2"):
        learning_curve(*many, parameters=kit.settings(folder, repeats=2))
    stopped = kit.hear("training 1/4", KeyboardInterrupt)
    with pytest.raises(Interrupted, match="the same command without --overwrite goes on"):
        learning_curve(*many, parameters=kit.settings(folder), overwrite=True, progress=stopped)


def test_validation_images_of_their_own_are_what_is_held_out(tmp_path, kit, many):
    own = kit.write(tmp_path / "own", ["x", "y"])
    given = kit.settings(
        tmp_path / "lc", prepare={"val_images": str(own.images), "val_masks": str(own.masks)}
    )
    told = kit.hear("training 1/4, epoch")
    with pytest.raises(kit.killed):
        learning_curve(*many, parameters=given, progress=told)
    assert any(
        line.startswith("4 trainings on 1 to 5 images, scored on 2 held-out images") for line in told.lines
    )
    assert read(tmp_path / "lc/split.json")["val"] == ["x", "y"]


def test_two_images_are_too_few_and_the_folder_is_left_free(tmp_path, kit):
    few = kit.write(tmp_path, ["a", "b"])
    with pytest.raises(UsageError, match="leaves 1 image to learn from and 1 held out; expected two or more"):
        learning_curve(*few, parameters=kit.settings(tmp_path / "lc"))
    assert not list((tmp_path / "lc").iterdir())
