import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from patchseg.cli.audit import told


@pytest.fixture
def audited(folder, run):
    """Return a folder with `masks` and what `infer` makes of `images` in `predicted`."""
    ended = run("infer", "images", "-m", "best.pt", "-o", "predicted", "--confidence", "--threads", 1)
    assert ended.code == 0
    return folder


def spoiled(folder):
    """Let the prediction be the given mask, and sure, but for a missing and an extra object."""
    import tifffile

    for file in sorted((folder / "masks").glob("*.png")):
        mask = np.array(Image.open(file))
        if file.stem == "0001":
            mask[:], mask[5:15, 5:15] = 0, 2
        Image.fromarray(mask).save(folder / "predicted" / file.name)
        tifffile.imwrite(
            folder / f"predicted/confidence/{file.stem}.tif", np.full(mask.shape, 0.9, np.float16)
        )
    given = np.zeros((40, 32), np.uint8)
    given[25:30, 20:30] = 1
    Image.fromarray(given).save(folder / "masks/0001.png")


def test_the_table_has_80_columns_and_says_what_to_do(audited, run):
    spoiled(audited)
    ended = run("audit", "predicted", "masks")
    assert ended.code == 0
    assert ended.out.splitlines() == [
        "   # image           kind           given       predicted    row, column  score",
        "   1 0001            missing object background  class_2             5, 5   0.80",
        "   2 0001            extra object   class_1     background        25, 20   0.67",
        "",
        "4 images, 2 suspects: look at the first 2 in audit/gallery.html;",
        "correct the mask where it is wrong, and leave it where the prediction is",
        "audit/suspects.json",
    ]
    assert max(map(len, ended.out.splitlines())) <= 80


def test_json_is_what_is_written(audited, run):
    spoiled(audited)
    ended = run("audit", "predicted", "masks", "--json", "--count", 1, "-o", "out")
    document = json.loads(ended.out)
    assert document == json.loads((audited / "out/suspects.json").read_text())
    assert [suspect["picture"] for suspect in document["suspects"]] == ["../images/0001.png"]


def test_many_suspects_with_long_names_fit_the_terminal():
    one = {
        "rank": 1, "image": "plates/2024/b-row/0001_channel", "kind": "shifted mask", "given": None, "predicted": None,
        "box": [0, 0, 9, 9], "score": 0.9, "shift": [-32, -32],
    }  # fmt: skip
    other = one | {
        "kind": "missing object", "given": "a" * 40, "predicted": "b" * 40, "box": [19999, 19999, 9, 9], "score": 0.1, "shift": None
    }  # fmt: skip
    lines = told({"suspects": [one] + [other] * 29, "found": 31, "images": 3}, Path("audit")).splitlines()
    assert len(lines) == 1 + 20 + 1 + 1 + 2
    assert lines[1] == "   1 ...0001_channel shifted mask   by (-32, -32) pixels      everywhere   0.90"
    assert lines[21] == "... and 10 more"
    assert "look at the first in audit" in lines[-2]
    assert max(map(len, lines)) <= 80


def test_nothing_suspect_is_said_in_a_sentence():

    document = {"suspects": [], "found": 0, "images": 3}
    assert told(document, Path("audit")) == "3 images: the predictions contradict the given masks nowhere"


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["audit"], 2, "PREDICTED missing"),
        (["audit", "nowhere", "masks"], 2, "nowhere"),
        (["audit", "predicted"], 2, "predicted: does not say which masks were given"),
        (["audit", "predicted", "nowhere"], 2, "nowhere: is no folder"),
        (["audit", "predicted", "masks", "--count", 0], 2, "--count should be greater than or equal to 1"),
    ],
)
def test_what_cannot_be_followed_is_told_in_a_sentence(audited, run, words, code, sentence):
    ended = run(*words)
    assert ended.code == code
    assert sentence in ended.error
    assert not (audited / "audit").exists()


def test_masks_of_infer_without_confidence_are_refused(folder, run):
    assert run("infer", "images", "-m", "best.pt", "-o", "predicted", "--threads", 1).code == 0
    ended = run("audit", "predicted", "masks")
    assert ended.code == 2
    assert "infer again with --confidence" in ended.error
