import json

import pytest


@pytest.fixture
def scores(here):
    """Write the scores of one image without files to show, and what other verbs leave in folders of their own."""
    numbers = {"mean_iou": None, "mean_iou_foreground": None, "pixel_accuracy": None}
    classes = [{"name": "a", "iou": None, "dice": None, "precision": None, "recall": None}]
    entry = {**numbers, "classes": classes, "name": "x", "image": None, "truth": "t.png", "mask": "m.png"}
    document = {**entry, "images": [entry], "confusion": [[0]], "palette": ["#000000"]}
    (here / "scores.json").write_text(json.dumps(document))
    curve = {"metric": "mean_iou", "points": [], "means": [], "fit": None, "forecast": [], "note": "too few"}
    for name, content in (("curve", curve), ("suspects", {"suspects": []}), ("suggestions", {"suggestions": []})):  # fmt: skip
        (here / name).mkdir()
        (here / name / f"{name}.json").write_text(json.dumps(content))
    return here


def test_what_other_verbs_wrote_is_shown_when_given(run, scores):
    bare = run("report", "scores.json", "-o", "bare.html")
    assert (bare.code, bare.out) == (0, "bare.html\n")
    words = ("--curve", "curve", "--suspects", "suspects/suspects.json", "--suggestions", "suggestions")
    assert run("report", "scores.json", *words).code == 0
    titles = ["Would more labels help?", "Given masks that may be wrong", "What to label next"]
    for name, there in (("bare.html", False), ("report.html", True)):
        text = (scores / name).read_text(encoding="utf-8")
        assert [title in text for title in titles] == [there] * 3


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--curve", "none.json"], 2, "none.json: cannot be read (no such file or directory); check the path"),
        (["--suspects", "curve/curve.json"], 3, "curve/curve.json: has no suspects; expected the suspects.json that `patchseg audit` writes"),
        (["--checkpoint", "none.pt"], 2, "none.pt: "),
    ],
)  # fmt: skip
def test_what_cannot_be_shown_is_one_sentence_and_no_page(run, scores, words, code, told):
    ended = run("report", "scores.json", *words)
    assert ended.code == code
    assert ended.error.startswith(told)
    assert "\n" not in ended.error
    assert not (scores / "report.html").exists()
