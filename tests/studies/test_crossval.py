import csv
import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from patchseg.errors import DataError, Interrupted, UsageError
from patchseg.evaluation.evaluate import evaluate
from patchseg.inference.infer import infer
from patchseg.parameters import EvaluateParameters, InferParameters
from patchseg.studies.crossval import crossval

NAMES = ["a/a1", "a/a2", "b/b1", "b/b2"]


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def files(folder, suffix):
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob(f"*{suffix}"))


def test_every_image_is_held_out_once_and_has_one_mask(done):
    folds = read(done / "crossval.json")["folds"]
    assert [fold["fold"] for fold in folds] == [1, 2]
    assert sorted(name for fold in folds for name in fold["images"]) == NAMES
    assert {len(fold["images"]) for fold in folds} == {2}
    assert files(done / "masks", ".png") == NAMES
    for layer in ("confidence", "probabilities"):
        assert files(done / "masks" / layer, ".tif") == NAMES
    for fold in folds:
        part = done / f"fold-{fold['fold']}-of-2"
        assert files(part / "masks", ".png") == sorted(fold["images"])
        for name in fold["images"]:
            assert (part / f"masks/{name}.png").samefile(done / f"masks/{name}.png")


def test_no_pixel_of_the_images_held_out_reaches_the_training(done):
    seen = []
    for fold in read(done / "crossval.json")["folds"]:
        held = {NAMES.index(name) for name in fold["images"]}
        with h5py.File(done / f"fold-{fold['fold']}-of-2/patches.h5") as file:
            trained = set(np.unique(file["train/images"][..., 0]).tolist())
            validated = {int(region["image"][0, 0, 0]) for region in file["regions"].values()}
        assert trained == set(range(4)) - held
        assert validated == held
        seen += held
    assert sorted(seen) == [0, 1, 2, 3]


def test_a_mask_comes_of_the_network_that_has_not_seen_its_image(done, tmp_path, kit):
    fold = read(done / "crossval.json")["folds"][1]
    name = fold["images"][0]
    assert fold["checkpoint"] == "fold-2-of-2/checkpoints/patches/last.pt"
    alone = InferParameters(output=str(tmp_path / "m"), threads=1, device="cpu")
    infer([kit.data.images / f"{name}.png"], checkpoint=done / fold["checkpoint"], parameters=alone)
    assert (tmp_path / f"m/{Path(name).name}.png").read_bytes() == (done / f"masks/{name}.png").read_bytes()


def test_probabilities_are_bytes_beside_the_masks_which_evaluate_knows_by_their_record(done, tmp_path, kit):
    record = read(done / "masks/parameters.effective.json")
    assert record["infer.probability_type"]["value"] == "uint8"
    assert record["infer.images"]["value"] == [str(kit.data.images)]
    again = evaluate(done / "masks", kit.data.masks, parameters=EvaluateParameters(output=str(tmp_path)))
    scores = read(done / "scores.json")
    assert read(again)["confusion"] == scores["confusion"]
    images = {entry["name"]: entry["image"] for entry in scores["images"]}
    assert (done / images["b/b1"]).resolve() == kit.data.images / "b/b1.png"
    with (done / "scores.csv").open() as file:
        assert [row["name"] for row in csv.DictReader(file)] == NAMES


def test_masks_are_made_where_the_networks_have_learned(done):
    for part in (done / "masks", done / "fold-1-of-2/masks"):
        record = json.loads((part / "parameters.effective.json").read_text(encoding="utf-8"))
        assert (record["infer.threads"]["value"], record["infer.device"]["value"]) == (1, "cpu")


def test_the_score_of_a_fold_is_that_of_its_masks_over_all_their_pixels(done, kit):
    for fold in read(done / "crossval.json")["folds"]:
        both = {"mask": [], "truth": []}
        for name in fold["images"]:
            both["mask"].append(pixels(done / f"masks/{name}.png"))
            both["truth"].append(pixels(kit.data.masks / f"{name}.png"))
        mask, truth = np.stack(both["mask"]), np.stack(both["truth"])
        ious = [((mask == k) & (truth == k)).sum() / ((mask == k) | (truth == k)).sum() for k in (0, 1)]
        assert fold["scores"]["mean_iou"] == pytest.approx(np.mean(ious), abs=1e-12)
        assert [item["iou"] for item in fold["scores"]["classes"]] == pytest.approx(ious, abs=1e-12)


# At the start of a fold, and between its training and its masks.
@pytest.mark.parametrize(
    "line",
    [pytest.param("fold 2/2: 2 images to train on", marks=pytest.mark.slow), "fold 2/2, 1/2 "],
)
def test_a_study_that_was_killed_goes_on_and_repeats_no_finished_fold(line, done, tmp_path, kit):
    folder = tmp_path / "cv"
    with pytest.raises(kit.killed):
        crossval(*kit.data, parameters=kit.settings(folder), progress=kit.hear(line))
    assert not (folder / "crossval.json").exists()
    first = folder / "fold-1-of-2/checkpoints/patches/last.pt"
    before = first.stat().st_mtime_ns
    told = kit.hear()
    crossval(*kit.data, parameters=kit.settings(folder), progress=told)
    assert first.stat().st_mtime_ns == before
    assert "1 fold finished already" in told.lines
    assert not any(text.startswith("fold 1/2") for text in told.lines)
    assert (folder / "crossval.json").read_bytes() == (done / "crossval.json").read_bytes()


def test_a_finished_study_is_only_scored_again(done, tmp_path, kit):
    folder = shutil.copytree(done, tmp_path / "cv")
    before = (folder / "crossval.json").read_bytes()
    told = kit.hear()
    assert crossval(*kit.data, parameters=kit.settings(folder), progress=told) == folder / "crossval.json"
    assert told.lines == [
        "4 images in 2 folds of about 2: 2 trainings of 2 steps",
        "2 folds finished already",
    ]
    assert (folder / "crossval.json").read_bytes() == before


def test_ctrl_c_says_that_the_same_command_goes_on(tmp_path, kit):
    told = kit.hear("fold 1/2, 1/2 ", KeyboardInterrupt)
    with pytest.raises(Interrupted, match=r"what is finished is in .*cv, and the same command goes on"):
        crossval(*kit.data, parameters=kit.settings(tmp_path / "cv"), progress=told)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"steps": 3}, "was begun with train.steps 2, now it is 3"),
        ({"prepare": {"per_image": 3}}, "was begun with prepare.per_image 2, now it is 3"),
        ({"folds": 3}, "was begun with crossval.folds 2, now it is 3"),
    ],
)
def test_other_settings_are_refused(change, sentence, done, tmp_path, kit):
    folder = shutil.copytree(done, tmp_path / "cv")
    with pytest.raises(UsageError, match=sentence):
        crossval(*kit.data, parameters=kit.settings(folder, **change))


def test_other_threads_and_another_place_of_the_same_images_are_not(done, tmp_path, kit):
    folder = shutil.copytree(done, tmp_path / "cv")
    moved = shutil.copytree(kit.data.images.parent, tmp_path / "moved")
    path = crossval(moved / "images", moved / "masks", parameters=kit.settings(folder, threads=2))
    assert path.read_bytes() == (done / "crossval.json").read_bytes()


def test_a_mask_that_has_changed_is_named_and_refused(done, tmp_path, kit):
    folder = shutil.copytree(done, tmp_path / "cv")
    moved = shutil.copytree(kit.data.images.parent, tmp_path / "moved")
    Image.fromarray(np.ones((24, 24), np.uint8)).save(moved / "masks/a/a2.png")
    with pytest.raises(
        UsageError, match="was begun with another a/a2: image, mask or group has changed; give the same"
    ):
        crossval(moved / "images", moved / "masks", parameters=kit.settings(folder))


def test_overwrite_begins_afresh_and_takes_away_what_it_wrote_only(done, tmp_path, kit):
    folder = shutil.copytree(done, tmp_path / "cv")
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(kit.killed):
        crossval(
            *kit.data, parameters=kit.settings(folder, steps=3), overwrite=True, progress=kit.hear("fold 1/2")
        )
    left = {path.name for path in folder.iterdir()}
    assert left == {"notes.txt", "parameters.effective.json"}
    assert read(folder / "parameters.effective.json")["train.steps"]["value"] == 3


def test_a_folder_of_something_else_is_refused_whatever_is_asked(tmp_path, kit):
    (tmp_path / "notes.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(UsageError, match=r"holds notes.txt, but nothing that crossval has begun"):
            crossval(*kit.data, parameters=kit.settings(tmp_path), overwrite=overwrite)


def test_bad_masks_leave_nothing_in_the_way_of_the_next_try(tmp_path, kit):
    moved = shutil.copytree(kit.data.images.parent, tmp_path / "moved")
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(moved / "masks/a/a2.png")
    with pytest.raises(DataError, match=r"a2.png"):
        crossval(moved / "images", moved / "masks", parameters=kit.settings(tmp_path / "cv"))
    assert not list((tmp_path / "cv").iterdir())


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"folds": 5}, "crossval.folds: 5 folds of 4 images; give 4 or less, or all"),
        ({"prepare": {"fold": "1/2"}}, "prepare.fold: is 1/2, but crossval takes every fold in turn"),
        ({"prepare": {"val_images": "x"}}, "prepare.val_images: crossval validates with every image in turn"),
        ({"prepare": {"group": "[ab]"}, "folds": 3}, "crossval.folds: 3 folds of 2 groups; give 2 or less"),
        ({"prepare": {"group": "()"}, "folds": None}, "holds 1 group; expected two or more"),
    ],
)
def test_folds_that_cannot_be_had_are_refused_before_anything_is_done(values, sentence, tmp_path, kit):
    with pytest.raises(UsageError, match=sentence):
        crossval(*kit.data, parameters=kit.settings(tmp_path / "cv", **values))
    assert not (tmp_path / "cv").exists()


def test_masks_that_fit_no_image_are_all_named(tmp_path, kit):
    images = kit.write(tmp_path / "one", ["a", "b"]).images
    masks = kit.write(tmp_path / "other", ["x", "y"]).masks
    with pytest.raises(DataError) as caught:
        crossval(images, masks, parameters=kit.settings(tmp_path / "cv"))
    assert len(str(caught.value).splitlines()) == 4


def test_whole_groups_are_held_out_and_images_may_lie_among_their_masks(tmp_path, kit):
    names = ["a1", "a2", "a3", "b1"]
    kit.write(tmp_path, names, masks="images/{}_mask.png")
    given = kit.settings(tmp_path / "cv", folds=None, prepare={"group": "^[ab]"})
    told = kit.hear()
    path = crossval(tmp_path / "images", parameters=given, progress=told)
    assert "4 images of 2 groups in 2 folds of about 2: 2 trainings of 2 steps" in told.lines
    summary = read(path)
    assert [fold["images"] for fold in summary["folds"]] == [["a1", "a2", "a3"], ["b1"]]
    assert (summary["unit"], summary["units"]) == ("group", 2)
    scores = {entry["name"]: entry["mean_iou"] for entry in read(tmp_path / "cv/scores.json")["images"]}
    assert summary["mean_iou"]["mean"] == pytest.approx(np.mean(list(scores.values())), abs=1e-12)
    assert files(tmp_path / "cv/truth", ".png") == names


@pytest.mark.slow
def test_a_list_may_name_any_files(tmp_path, kit):
    kit.write(tmp_path, ["x", "y"], masks="elsewhere/true {}.png")
    lines = [f'images/{name}.png "elsewhere/true {name}.png"' for name in ("x", "y")]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    path = crossval(tmp_path / "list.txt", parameters=kit.settings(tmp_path / "cv", folds="all"))
    assert [fold["images"] for fold in read(path)["folds"]] == [["x"], ["y"]]


def test_a_column_split_of_a_list_is_refused(tmp_path, kit):
    lines = [f"{kit.data.images}/{name}.png,{kit.data.masks}/{name}.png,train" for name in NAMES]
    (tmp_path / "list.csv").write_text("\n".join(["image,mask,split", *lines]))
    with pytest.raises(UsageError, match="has a column split, but crossval takes every image in turn"):
        crossval(tmp_path / "list.csv", parameters=kit.settings(tmp_path / "cv"))


def test_the_folds_are_an_ensemble(done, tmp_path, kit):
    masks = []
    each = [done / fold["checkpoint"] for fold in read(done / "crossval.json")["folds"]]
    for name, checkpoint in [("a", done), ("b", done / "crossval.json"), ("c", each), ("d", each[0])]:
        alone = InferParameters(output=str(tmp_path / name), threads=1, device="cpu", probabilities=True)
        infer([kit.data.images / "a/a1.png"], checkpoint=checkpoint, parameters=alone)
        masks.append((tmp_path / name / "probabilities/a1.tif").read_bytes())
    assert masks[0] == masks[1] == masks[2] != masks[3]


def test_what_lets_held_out_images_have_a_say_is_told(done, tmp_path, kit):
    weights = str(done / "fold-1-of-2/checkpoints/patches/last.pt")
    told = kit.hear("fold 1/2")
    given = kit.settings(tmp_path / "cv", weights=weights, patience=2)
    with pytest.raises(kit.killed):
        crossval(*kit.data, parameters=given, progress=told)
    assert (
        f"every training starts from {weights}; if that has seen these images, the scores are too good"
        in told.lines
    )
    assert any(line.startswith("--patience looks at the images that are held out") for line in told.lines)


def test_two_at_a_time_in_one_folder_are_refused(tmp_path, kit):
    fcntl = pytest.importorskip("fcntl")
    (tmp_path / "cv").mkdir()
    with (tmp_path / "cv/.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="another patchseg is at work in it"):
            crossval(*kit.data, parameters=kit.settings(tmp_path / "cv"))
