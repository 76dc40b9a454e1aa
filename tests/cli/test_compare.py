import json

import numpy as np
import pytest
from PIL import Image

CLASSES = '{"data": {"classes": ["ground", "a class with a rather long name"]}}'


@pytest.fixture
def masks(here):
    """Write 25 images with long names: the truth, masks `good` and `bad`, and the classes."""
    generator = np.random.default_rng(0)
    for folder in ("truth", "good", "bad"):
        (here / folder).mkdir()
    for number in range(25):
        name = f"a-name-that-is-longer-than-a-column-of-the-table-is-wide-{number:02}.png"
        truth = generator.integers(0, 2, (12, 12), np.uint8)
        for folder, share in (("truth", 0), ("good", 0.05), ("bad", 0.2)):
            wrong = generator.random(truth.shape) < share
            Image.fromarray(np.where(wrong, 1 - truth, truth).astype(np.uint8)).save(here / folder / name)
    (here / "parameters.json").write_text(CLASSES)
    return here


def test_a_comparison_is_told_in_80_columns_the_verdict_last(masks, run):
    ended = run("compare", "bad", "good", "--truth", "truth")
    assert ended.code == 0
    assert max(map(len, ended.out.splitlines())) <= 80
    assert ended.out.startswith("A: bad\nB: good\n\nmean over images ")
    assert "... and 5 more, which --json has\n" in ended.out
    last = " ".join(ended.out.split("\n\n")[-1].split())
    assert last.startswith("B is better on ")
    assert last.endswith("is unlikely to be chance (p < 0.001).")
    assert sorted(path.name for path in masks.iterdir()) == ["bad", "good", "parameters.json", "truth"]


def test_evaluate_tells_both_averages_in_80_columns(masks, run):
    ended = run("evaluate", "bad", "truth")
    lines = ended.out.splitlines()
    assert max(map(len, lines)) <= 80
    (head,) = [line for line in lines if line.startswith("score")]
    assert head.split("  ", 1)[1].split() == [
        "all",
        "pixels",
        "pooled",
        "(95",
        "%)",
        "mean",
        "over",
        "images",
        "(95",
        "%)",
    ]
    scores = json.loads((masks / "bad/scores.json").read_text())
    (row,) = [line for line in lines[lines.index(head) :] if line.startswith("mean IoU")]
    pixels, images = (scores["statistics"][way]["mean_iou"] for way in ("pooled", "images"))
    assert row.split("  ", 1)[1].split() == [
        part
        for one in (pixels, images)
        for part in (f"{one['value']:.4f}", f"({one['low']:.4f}", "to", f"{one['high']:.4f})")
    ]
    assert lines[-2] == "95 % intervals over 25 images; approximate: fewer than 30"


def test_evaluate_says_of_one_image_why_it_has_no_interval(masks, run):
    for folder in ("bad", "truth"):
        for file in list((masks / folder).iterdir())[1:]:
            file.unlink()
    told = run("evaluate", "bad", "truth").out
    assert "no intervals: one image is all there is" in told
    assert "95 %" not in told


def test_groups_are_given_by_a_flag(masks, run):
    ended = run("compare", "bad", "good", "--truth", "truth", "--group", r"(\d)\.?\d$", "--json")
    document = json.loads(ended.out)
    assert (document["unit"], document["units"]) == ("group", 3)
    assert run("evaluate", "bad", "truth", "--group", r"(\d)\d$", "--json").code == 0
    assert json.loads((masks / "bad/scores.json").read_text())["statistics"]["units"] == 3


def test_the_output_is_written_on_request_only(masks, run):
    words = ["compare", "bad", "good", "--truth", "truth", "-o", "c.json", "--json"]
    ended = run(*words)
    assert json.loads((masks / "c.json").read_text()) == json.loads(ended.out)
    again = run(*words)
    assert (again.code, again.out) == (2, "")
    assert again.error == "c.json: exists already; choose another output or give --overwrite"
    assert run(*words, "--overwrite").code == 0


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (
            ["bad", "good"],
            2,
            "bad: holds no scores.json; expected the masks of `infer` with --truth, or what",
        ),
        (["bad", "gone", "--truth", "truth"], 2, "gone: is no file or folder; expected"),
        (["bad", "good", "--truth", "gone"], 2, "gone: is no folder; expected one with images"),
        (["bad", "parameters.json", "--truth", "truth"], 3, "parameters.json: has no mean_iou,"),
        (
            ["bad", "good", "--truth", "truth", "--group", "x"],
            2,
            "evaluate.group: 'x' does not match 'a-name",
        ),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(masks, run, words, code, told):
    ended = run("compare", *words)
    assert (ended.code, ended.out) == (code, "")
    assert ended.error.startswith(told)
