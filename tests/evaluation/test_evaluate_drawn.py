import json

import numpy as np
import pytest
from PIL import Image

from patchseg.errors import DataError, UsageError
from patchseg.evaluation.evaluate import evaluate
from patchseg.evaluation.report import report
from patchseg.parameters import DataParameters

CLASSES = [
    {"name": "ground", "value": 0, "color": "#000000"},
    {"name": "line", "value": 7, "color": "#e69f00"},
]


@pytest.fixture
def folder(tmp_path):
    """Return a folder with masks as infer writes them, 4 x 6, and a LabelMe file each: a square of 2 x 2 at the top left."""
    (tmp_path / "masks").mkdir()
    (tmp_path / "json").mkdir()
    for name in ("a", "b"):
        pixels = np.zeros((4, 6), np.uint8)
        pixels[0, :3] = 1
        Image.fromarray(pixels).save(tmp_path / f"masks/{name}.png")
        shape = {"label": "line", "points": [[0, 0], [2, 2]], "shape_type": "rectangle"}
        tree = {"shapes": [shape], "imagePath": f"{name}.jpg"}
        (tmp_path / f"json/{name}.json").write_text(json.dumps(tree))
    record(tmp_path, 7)
    return tmp_path


def record(folder, value):
    """Write what infer leaves beside its masks: the class line has a value in the data set."""
    classes = [CLASSES[0], {**CLASSES[1], "value": value}]
    tree = {"data.classes": {"value": classes}, "infer.images": {"value": ["nowhere"]}}
    (folder / "masks/parameters.effective.json").write_text(json.dumps(tree))


def scored(folder, **keywords):
    path = evaluate(folder / "masks", folder / "json", **keywords)
    return json.loads(path.read_text(encoding="utf-8"))


def test_masks_are_scored_against_drawings_by_hand(folder):
    # Of each 24 pixels, 2 are line in both, 1 only in the mask, 2 only in the drawing.
    assert scored(folder)["confusion"] == [[2 * 19, 2 * 1], [2 * 2, 2 * 2]]


def test_what_nothing_is_drawn_on_counts_only_as_background(folder):
    ignore = DataParameters(unlabeled="ignore")
    assert scored(folder, data=ignore)["confusion"] == [[0, 0], [2 * 2, 2 * 2]]
    record(folder, 255)
    with pytest.raises(UsageError, match=r"255, which is a class here"):
        scored(folder, data=ignore, overwrite=True)


def test_the_truth_is_painted_beside_the_scores_for_the_report(folder):
    entry = scored(folder)["images"][0]
    assert entry["truth"] == "truth/a.png"
    with Image.open(folder / "masks/truth/a.png") as image:
        assert np.array(image).tolist() == [[7, 7, 0, 0, 0, 0]] * 2 + [[0] * 6] * 2
    page = report(folder / "masks/scores.json", output=folder / "report.html")
    assert "could not" not in page.read_text(encoding="utf-8")


def test_truth_that_exists_is_kept_unless_told_otherwise(folder):
    scored(folder)
    for name in ("scores.json", "scores.csv"):
        (folder / "masks" / name).unlink()
    with pytest.raises(UsageError, match=r"truth/a\.png \(and 1 more\): exists already"):
        scored(folder)
    assert scored(folder, overwrite=True)["confusion"][1] == [4, 4]


def test_a_class_that_the_model_does_not_know_is_refused(folder):
    text = (folder / "json/a.json").read_text().replace("line", "lime")
    (folder / "json/a.json").write_text(text)
    with pytest.raises(
        DataError, match=r'draws 1 shape of class lime, which is none of ground, line; did you mean "line"'
    ):
        scored(folder)


def test_only_masks_with_a_drawing_are_scored_on_request(folder):
    (folder / "json/b.json").unlink()
    with pytest.raises(DataError, match=r"b\.png: is not listed in"):
        scored(folder)
    assert [entry["name"] for entry in scored(folder, data=DataParameters(unlisted="skip"))["images"]] == [
        "a"
    ]
