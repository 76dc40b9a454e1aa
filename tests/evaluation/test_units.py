import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from patchseg.errors import UsageError
from patchseg.evaluation.evaluate import evaluate
from patchseg.evaluation.units import groups_in, groups_of
from patchseg.parameters import DataParameters, EvaluateParameters
from patchseg.patches.pairs import Pair
from patchseg.progress import Progress

DATA = DataParameters.model_validate({"classes": ["ground", "line"]})
NAMES = ["s1_a", "s1_b", "s2_a"]


class Told(Progress):
    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


def pairs(names=NAMES) -> list[Pair]:
    return [Pair(name, Path(f"m/{name}.png"), Path(f"t/{name}.png")) for name in names]


@pytest.fixture
def folders(tmp_path):
    """Write three masks and their truth, whose middle pixel differs in the first."""
    for kind in ("masks", "truth"):
        (tmp_path / kind).mkdir()
        for name in NAMES:
            mask = np.array([[0, 1, 0], [0, 0, 1]], np.uint8)
            mask[0, 1] = kind == "truth" or name != "s1_a"
            Image.fromarray(mask).save(tmp_path / kind / f"{name}.png")
    return tmp_path / "masks", tmp_path / "truth"


def record(folder, **more):
    """Write what infer leaves beside its masks."""
    classes = [
        {"name": "ground", "value": 0, "color": "#000000"}, {"name": "line", "value": 1, "color": "#e69f00"},
    ]  # fmt: skip
    content = {"data.classes": {"value": classes}, "infer.images": {"value": ["nowhere"]}}
    content |= {key.replace("__", "."): {"value": value} for key, value in more.items()}
    (folder / "parameters.effective.json").write_text(json.dumps(content), encoding="utf-8")


def test_images_stand_for_themselves_unless_something_says_otherwise():
    assert groups_of(pairs(), None, None, Progress()) is None


def test_the_given_pattern_wins_over_that_of_prepare():
    assert groups_of(pairs(), r"s\d", None, Progress()) == ["s1", "s1", "s2"]
    assert groups_of(pairs(), None, r"_(.)", Progress()) == ["a", "b", "a"]
    assert groups_of(pairs(), r"s\d", r"_(.)", Progress()) == ["s1", "s1", "s2"]


def test_a_pattern_by_which_no_images_belong_together_makes_no_groups():
    assert groups_of(pairs(), ".*", r"s\d", Progress()) is None


def test_the_pattern_of_prepare_is_left_aside_where_it_does_not_fit_and_that_is_said():
    told = Told()
    assert groups_of(pairs(), None, "slide", told) is None
    assert told.lines == [
        "learned from images in groups by 'slide', which does not fit the names here: each image counts as independent; "
        "give --group if some belong together"
    ]


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("slide", "evaluate.group: 'slide' does not match 's1_a'; every image must be in a group"),
        ("(", "evaluate.group: '(' is no regular expression (missing"),
    ],
)
def test_a_given_pattern_has_to_fit(pattern, sentence):
    with pytest.raises(UsageError) as caught:
        groups_of(pairs(), pattern, None, Progress())
    assert str(caught.value).startswith(sentence)


def test_the_pages_of_a_stack_are_one_group(tmp_path):
    names = ["a_1", "a_2", "b_1"]
    pages = [Pair(name, Path("m.png"), Path(f"{tmp_path / name[0]}.tif:/{name[-1]}")) for name in names]
    assert groups_of(pages, None, None, Progress()) == ["a", "a", "b"]
    assert groups_of(pages[::2], None, None, Progress()) is None


def test_groups_are_read_back_from_scores():
    assert groups_in([{"name": "a"}, {"name": "b"}]) is None
    assert groups_in([{"name": "a", "group": "x"}, {"name": "b"}]) == ["x", "b"]


def test_scores_say_which_group_an_image_is_of_and_rest_on_groups(folders):
    path = evaluate(*folders, data=DATA, parameters=EvaluateParameters(group=r"s\d"))
    document = json.loads(path.read_text(encoding="utf-8"))
    assert [entry["group"] for entry in document["images"]] == ["s1", "s1", "s2"]
    assert document["statistics"]["note"] == (
        "95 % intervals over 2 groups of 3 images; approximate: fewer than 30"
    )
    assert document["statistics"]["pooled"]["mean_iou"]["units"] == 2
    with (folders[0] / "scores.csv").open(newline="", encoding="utf-8") as file:
        assert [line["group"] for line in csv.DictReader(file)] == ["s1", "s1", "s2"]


def test_without_groups_nothing_is_said_of_them(folders):
    document = json.loads(evaluate(*folders, data=DATA).read_text(encoding="utf-8"))
    assert not any("group" in entry for entry in document["images"])
    assert document["statistics"]["unit"] == "image"
    assert (folders[0] / "scores.csv").read_text().startswith("name,mean_iou,")


def test_the_groups_of_prepare_come_with_the_record_of_infer(folders):
    record(folders[0], prepare__group=r"s\d")
    document = json.loads(evaluate(*folders).read_text(encoding="utf-8"))
    assert document["statistics"]["units"] == 2


def test_both_averages_and_the_counts_of_each_image_are_in_the_file(folders):
    document = json.loads(evaluate(*folders, data=DATA).read_text(encoding="utf-8"))
    assert [entry["confusion"] for entry in document["images"]] == [
        [[4, 0], [1, 1]], [[4, 0], [0, 2]], [[4, 0], [0, 2]],
    ]  # fmt: skip
    statistics = document["statistics"]
    assert statistics["pooled"]["mean_iou"]["value"] == document["mean_iou"]
    assert statistics["pooled"]["iou"][1]["value"] == 5 / 6
    assert statistics["images"]["iou"][1]["value"] == pytest.approx((1 / 2 + 1 + 1) / 3)
    low, high = (statistics["images"]["iou"][1][end] for end in ("low", "high"))
    # The standard error of 1/2, 1, 1 is 1/6; t is 4.303.
    assert (low, high) == (pytest.approx(5 / 6 - 4.30265 / 6, abs=1e-5), 1)


def test_one_stack_is_one_unit(tmp_path):
    (tmp_path / "masks").mkdir(), (tmp_path / "truth").mkdir()
    page = np.eye(4, dtype=np.uint8)
    for number in (1, 2, 3):
        Image.fromarray(page).save(tmp_path / "masks" / f"cells_{number}.png")
    tifffile.imwrite(tmp_path / "truth/cells.tif", np.stack([page] * 3), photometric="minisblack")
    data = DataParameters.model_validate({"classes": ["ground", "line"], "pages": "stack"})
    document = json.loads(
        evaluate(tmp_path / "masks", tmp_path / "truth", data=data).read_text(encoding="utf-8")
    )
    assert document["statistics"]["note"].startswith("no intervals: all 3 images are of one group")
    assert document["statistics"]["pooled"]["mean_iou"]["low"] is None
