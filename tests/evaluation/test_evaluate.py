import csv
import json

import numpy as np
import pytest
from PIL import Image

from patchseg.errors import DataError, UsageError
from patchseg.evaluation import evaluate as module
from patchseg.evaluation.evaluate import evaluate
from patchseg.parameters import DataParameters, EvaluateParameters
from patchseg.progress import Progress

CLASSES = [{"name": "ground", "value": 0}, {"name": "line", "value": 7}, {"name": "blob", "value": 9}]
COLORS = ["#000000", "#e69f00", "#56b4e9"]
DATA = DataParameters.model_validate({"classes": CLASSES})

# What infer writes (the place of each class), and the truth in its own values; 255 is not counted.
MASKS = {"a": [[0, 0, 1], [1, 1, 0]], "b": [[0, 0, 0], [0, 0, 1]]}
TRUTH = {"a": [[0, 0, 7], [7, 0, 255]], "b": [[0, 0, 0], [0, 0, 0]]}
# Over both: ground 7 right, 1 + 1 taken for line; line 2 right.
CONFUSION = [[7, 2, 0], [0, 2, 0], [0, 0, 0]]


def save(folder, masks, suffix=""):
    folder.mkdir(exist_ok=True)
    for name, mask in masks.items():
        Image.fromarray(np.array(mask, np.uint8)).save(folder / f"{name}{suffix}.png")
    return folder


def record(folder, classes=CLASSES, images=("nowhere",)):
    """Write what infer leaves beside its masks."""
    listed = [
        {"name": c["name"], "value": c["value"], "color": color}
        for c, color in zip(classes, COLORS, strict=True)
    ]
    content = {"data.classes": {"value": listed}, "infer.images": {"value": [str(image) for image in images]}}
    (folder / "parameters.effective.json").write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
def folders(tmp_path):
    masks = save(tmp_path / "masks", MASKS)
    record(masks)
    return masks, save(tmp_path / "truth", TRUTH)


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_scores_are_those_worked_out_by_hand_over_all_pixels(folders):
    path = evaluate(*folders)
    scores = read(path)
    assert path == folders[0] / "scores.json"
    assert scores["confusion"] == CONFUSION
    ground, line, blob = scores["classes"]
    assert ground == {
        "name": "ground", "value": 0,
        "iou": 7 / 9, "dice": 14 / 16, "precision": 1, "recall": 7 / 9,
    }  # fmt: skip
    assert line == {"name": "line", "value": 7, "iou": 2 / 4, "dice": 4 / 6, "precision": 2 / 4, "recall": 1}
    assert {blob[kind] for kind in ("iou", "dice", "precision", "recall")} == {None}
    assert scores["mean_iou"] == pytest.approx((7 / 9 + 1 / 2) / 2)
    assert scores["mean_iou_foreground"] == 1 / 2
    assert scores["pixel_accuracy"] == 9 / 11
    assert scores["palette"] == COLORS


def test_each_image_has_scores_of_its_own(folders):
    a, b = read(evaluate(*folders))["images"]
    assert (a["name"], b["name"]) == ("a", "b")
    assert a["pixel_accuracy"] == 4 / 5
    assert [item["iou"] for item in a["classes"]] == [2 / 3, 2 / 3, None]
    assert [item["iou"] for item in b["classes"]] == [5 / 6, 0, None]
    assert b["mean_iou"] == pytest.approx(5 / 12)


def test_the_table_has_a_line_an_image_and_leaves_empty_what_is_undefined(folders):
    evaluate(*folders)
    with (folders[0] / "scores.csv").open(newline="", encoding="utf-8") as file:
        a, b = csv.DictReader(file)
    assert (a["name"], b["name"]) == ("a", "b")
    assert float(a["iou line"]) == pytest.approx(2 / 3)
    assert float(b["mean_iou"]) == pytest.approx(5 / 12)
    assert a["recall blob"] == b["iou blob"] == ""
    kinds = [f"{kind} {name}" for kind in ("iou", "dice", "precision", "recall") for name in ("ground", "line", "blob")]  # fmt: skip
    assert list(a) == ["name", "mean_iou", "mean_iou_foreground", "pixel_accuracy", *kinds]


@pytest.mark.parametrize("band", [1, 3, 4, 6])
def test_bands_of_any_height_count_the_same(folders, band, monkeypatch):
    monkeypatch.setattr(module, "_BAND", band)
    assert read(evaluate(*folders))["confusion"] == CONFUSION


def test_masks_that_infer_did_not_write_are_read_by_the_given_classes(tmp_path):
    masks, truth = save(tmp_path / "masks", TRUTH), save(tmp_path / "truth", TRUTH)
    scores = read(evaluate(masks, truth, data=DATA))
    assert scores["confusion"] == [[9, 0, 0], [0, 2, 0], [0, 0, 0]]
    assert scores["mean_iou"] == 1


def test_what_infer_recorded_wins_over_the_given_classes(folders):
    other = DataParameters.model_validate({"classes": ["x", "y"]})
    assert [item["name"] for item in read(evaluate(*folders, data=other))["classes"]] == [
        "ground", "line", "blob",
    ]  # fmt: skip


def test_colour_coded_truth_is_read_by_the_colours_of_the_classes(folders):
    palette = {0: (0, 0, 0), 7: (230, 159, 0)}
    for name, mask in TRUTH.items():
        colors = np.array([[palette.get(value, (0, 0, 0)) for value in row] for row in mask], np.uint8)
        Image.fromarray(colors).save(folders[1] / f"{name}.png")
    # The pixel that was left out is ground now, and a hit.
    assert read(evaluate(*folders))["confusion"] == [[8, 2, 0], [0, 2, 0], [0, 0, 0]]


def test_names_are_matched_as_those_of_images_and_masks(tmp_path):
    masks, truth = save(tmp_path / "masks", MASKS), save(tmp_path / "truth", TRUTH, "_label")
    record(masks)
    assert read(evaluate(masks, truth))["confusion"] == CONFUSION


def test_files_are_named_relative_to_the_scores(folders, tmp_path):
    images = save(tmp_path / "images", MASKS)
    record(folders[0], images=[images])
    output = tmp_path / "far/away"
    path = evaluate(*folders, parameters=EvaluateParameters(output=str(output)))
    assert path == output / "scores.json"
    assert (output / "scores.csv").is_file()
    assert not (folders[0] / "scores.json").exists()
    first = read(path)["images"][0]
    for key, folder in (("mask", "masks"), ("truth", "truth"), ("image", "images")):
        assert first[key] == f"../../{folder}/a.png"
        assert (output / first[key]).samefile(tmp_path / folder / "a.png")


def test_images_that_have_moved_away_are_left_out(folders):
    assert [entry["image"] for entry in read(evaluate(*folders))["images"]] == [None, None]


def test_progress_moves_once_an_image(folders):
    class Counting(Progress):
        total = steps = 0

        def start(self, label, total):
            self.total = total

        def step(self, count=1, note=""):
            self.steps += count

    progress = Counting()
    evaluate(*folders, progress=progress)
    assert (progress.total, progress.steps) == (2, 2)


def test_existing_scores_are_kept_unless_told_otherwise(folders):
    table = folders[0] / "scores.csv"
    table.write_text("mine")
    with pytest.raises(UsageError, match=r"scores\.csv: exists already; choose another output or give --ove"):
        evaluate(*folders)
    assert table.read_text() == "mine"
    assert not (folders[0] / "scores.json").exists()
    evaluate(*folders, overwrite=True)
    assert table.read_text() != "mine"


def test_every_mistake_is_told_at_once_and_nothing_is_written(folders):
    masks, truth = folders
    save(masks, {"c": [[0, 1]], "d": [[0, 5]]})
    save(truth, {"c": [[0], [7]], "d": [[0, 0]]})
    save(truth, {"b": [[0, 0, 0], [0, 0, 8]]})
    with pytest.raises(DataError) as caught:
        evaluate(masks, truth)
    assert str(caught.value).splitlines() == [
        f"{truth / 'b.png'}: value 8 is no class (0 ground, 7 line, 9 blob); add it to data.classes or set it to 255",
        f"{masks / 'c.png'}: is 1 x 2 pixels, its truth {truth / 'c.png'} is 2 x 1; rows x columns must be equal",
        f"{masks / 'd.png'}: value 5 is no class (0 ground, 1 line, 2 blob); add it to data.classes or set it to 255",
    ]
    assert not (masks / "scores.json").exists()


def test_a_mask_without_truth_is_refused(folders):
    (folders[1] / "b.png").unlink()
    with pytest.raises(DataError, match=r"b\.png: has no mask in .*truth"):
        evaluate(*folders)


def test_unknown_classes_are_a_usage_error(folders):
    (folders[0] / "parameters.effective.json").unlink()
    with pytest.raises(UsageError) as caught:
        evaluate(*folders)
    assert str(caught.value) == (
        f"{folders[0]}: holds no parameters.effective.json of `infer`; give data.classes in parameters.json"
    )


def test_folders_that_were_swapped_are_told_apart_by_the_record(folders):
    masks, truth = folders
    with pytest.raises(UsageError, match=rf"swap the two: {masks} holds one"):
        evaluate(truth, masks)


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"data.classes": {"value": [{"name": "a"}]}}', '{"data.classes": 3}']
)
def test_a_record_of_something_else_is_a_data_error(folders, content):
    (folders[0] / "parameters.effective.json").write_text(content)
    with pytest.raises(
        DataError, match=r"parameters\.effective\.json: is no record of `infer` \(.+\); infer"
    ):
        evaluate(*folders)
