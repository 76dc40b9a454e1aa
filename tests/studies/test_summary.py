import json

import numpy as np
import pytest

from patchseg.cli.crossval import told
from patchseg.evaluation.averages import statistics_of
from patchseg.evaluation.metrics import Confusion
from patchseg.studies.summary import regroup, summarize

NAMES = ["ground", "tree"]
# Of image c no tree is true or predicted.
COUNTS = {"a": [[3, 1], [0, 2]], "b": [[1, 2], [2, 1]], "c": [[6, 0], [0, 0]]}
FOLDS = [
    {"fold": 1, "images": ["a", "b"], "checkpoint": "x"},
    {"fold": 2, "images": ["c"], "checkpoint": "y"},
]
IOUS = {"a": (3 / 4 + 2 / 3) / 2, "b": 1 / 5, "c": 1.0}


@pytest.fixture
def scores():
    """Return what scores.json says of three images."""
    counts = np.array(list(COUNTS.values()))
    entries = [
        {"name": name, "confusion": image, **Confusion(np.array(image)).as_dict(NAMES)}
        for name, image in COUNTS.items()
    ]
    return {
        **Confusion(counts.sum(axis=0)).as_dict(NAMES), "images": entries, "statistics": statistics_of(counts, None, NAMES),
    }  # fmt: skip


def test_a_fold_is_scored_over_all_pixels_of_its_images(scores):
    first, second = (fold["scores"] for fold in summarize(FOLDS, scores)["folds"])
    # ground: 4 right of 7 true and 6 predicted; tree: 3 right of 5 true and 6 predicted.
    assert [item["iou"] for item in first["classes"]] == [4 / 9, 3 / 8]
    assert first["mean_iou"] == pytest.approx((4 / 9 + 3 / 8) / 2)
    assert first["pixel_accuracy"] == 7 / 12
    assert (second["mean_iou"], second["mean_iou_foreground"]) == (1, None)


def test_the_mean_is_over_images_and_the_spread_over_folds(scores):
    found = summarize(FOLDS, scores)
    score, mean = found["mean_iou"], sum(IOUS.values()) / 3
    sd = (sum((value - mean) ** 2 for value in IOUS.values()) / 2) ** 0.5
    assert (found["unit"], found["units"], score["units"]) == ("image", 3, 3)
    assert score["mean"] == pytest.approx(mean)
    assert score["low"] == pytest.approx(max(0, mean - 4.302653 * sd / 3**0.5), abs=1e-6)
    assert score["spread"] == pytest.approx((1 - (4 / 9 + 3 / 8) / 2) / 2**0.5)
    assert score["pooled"]["value"] == pytest.approx((10 / 15 + 3 / 8) / 2)
    assert found["mean_iou_foreground"]["spread"] is None  # one fold has no tree, so there is but one score
    assert found["classes"][1]["iou"]["units"] == 2
    assert "spread is the standard deviation over folds" in found["note"]


def test_the_worst_images_are_named_with_their_folds(scores):
    worst = summarize(FOLDS, scores)["worst"]
    assert [(item["name"], item["fold"]) for item in worst] == [("b", 1), ("a", 1), ("c", 2)]


def test_intervals_rest_on_the_groups_that_were_dealt(scores, tmp_path):
    file = tmp_path / "scores.json"
    file.write_text(json.dumps(scores))
    before = file.read_bytes()
    assert regroup(file, {name: name for name in "abc"}) == scores
    assert file.read_bytes() == before
    found = regroup(file, {"a": "x", "b": "x", "c": "c"})
    assert json.loads(file.read_text()) == found
    assert [entry["group"] for entry in found["images"]] == ["x", "x", "c"]
    assert (found["statistics"]["unit"], found["statistics"]["units"]) == ("group", 2)
    assert summarize(FOLDS, found)["unit"] == "group"


def test_the_tables_fit_into_80_columns_whatever_names_there_are(scores):
    found = summarize(FOLDS, scores)
    found["classes"][1]["name"] = scores["classes"][1]["name"] = "a class of a very long name " * 4
    found["worst"][0]["name"] = "nested/folders/with/long/names/" * 4 + "image"
    lines = told(found, scores).splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.split() == ["2", "of", "2", "1", "1.0000", "-", "1.0000"] for line in lines)
    assert any("names/image " in line for line in lines)
