import json

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def drawn(folder):
    """Return a working folder with 4 images of 40 x 32 and via.json: a bug on each, on the first a leaf below it."""
    leaf = region("leaf", [0, 8, 8, 0], [0, 0, 4, 4])
    bug = region("bug", [4, 12, 12, 4], [0, 0, 4, 4])
    names = sorted(path.name for path in (folder / "images").iterdir())
    tree = {
        f"{name}1": {"filename": name, "regions": [leaf, bug] if name == names[0] else [bug]}
        for name in names
    }
    (folder / "via.json").write_text(json.dumps(tree))
    return folder


def region(kind, x, y):
    return {
        "shape_attributes": {"name": "polygon", "all_points_x": x, "all_points_y": y},
        "region_attributes": {"kind": kind},
    }


def test_a_table_tells_what_was_imported(drawn, run):
    ended = run("import", "via.json", "--images", "images", "-o", "drawn")
    assert ended.code == 0
    assert ended.err.splitlines() == [
        "shapes of different classes overlap in 16 pixels: the later one has them"
    ]
    assert ended.out.splitlines() == [
        "class       value          pixels    share",
        "background      0           4,976  97.19 %",
        "bug             1             128   2.50 %",
        "leaf            2              16   0.31 %",
        "5 shapes in 4 masks",
        "classes for prepare: --parameters drawn/parameters.json",
        "drawn",
    ]
    with Image.open("drawn/0001.png") as image:
        assert np.bincount(np.array(image).reshape(-1)).tolist()[:2] == [40 * 32 - 32, 32]


def test_ignored_pixels_stand_in_the_table(drawn, run):
    ended = run("import", "via.json", "--images", "images", "-o", "drawn", "--unlabeled", "ignore")
    assert [line.split()[:3] for line in ended.out.splitlines()[1:4]] == [
        ["bug", "0", "128"],
        ["leaf", "1", "16"],
        ["ignored", "255", "4,976"],
    ]


def test_json_is_one_document(drawn, run):
    ended = run("import", "via.json", "--images", "images", "-o", "drawn", "--json")
    document = json.loads(ended.out)
    assert [item["pixels"] for item in document["classes"]] == [4976, 128, 16]
    assert document == json.loads((drawn / "drawn/imported.json").read_text())


def test_the_masks_and_classes_go_on_to_prepare(drawn, run):
    run("import", "via.json", "--images", "images", "-o", "drawn")
    words = ["prepare", "images", "drawn", "--patch", 16, "--per-image", 1, "--overwrite"]
    assert run(*words, "--parameters", "drawn/parameters.json").code == 0
    assert run("prepare", "images", "via.json", "--patch", 16, "--per-image", 1, "--overwrite").code == 0


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["via.json"], 2, "--images missing; name it on the command line, or data.images in parameters.json"),
        (["none.json", "--images", "images"], 2, "none.json: is neither a file nor a folder of annotations"),
        (["via.json", "--images", "none"], 2, "none: is no folder"),
        (
            ["via.json", "--images", "images", "--attribute", "age"],
            2,
            "data.attribute: no region of via.json has age",
        ),
        (["images/0001.png", "--images", "images"], 3, "images/0001.png: is no UTF-8 text"),
        (["via.json", "--images", "images", "-o", "masks"], 2, "masks/0000.png (and 3 more): exists already"),
    ],
)
def test_what_does_not_work_is_one_sentence(drawn, run, words, code, told):
    ended = run("import", *words)
    assert ended.code == code
    assert ended.error.startswith(told)


def test_evaluate_takes_annotations_for_the_truth(drawn, run, write_parameters):
    run("import", "via.json", "--images", "images", "-o", "drawn")
    ended = run("evaluate", "drawn", "via.json", "--parameters", "drawn/parameters.json", "--json")
    assert ended.code == 0
    assert json.loads(ended.out)["mean_iou"] == 1.0
