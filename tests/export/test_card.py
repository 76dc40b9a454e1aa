"""What a model card tells, and that it says of what it does not know that it does not."""

import json

import pytest

from patchseg.errors import DataError, UsageError
from patchseg.export.card import card
from patchseg.export.facts import Told, shares
from patchseg.parameters import ExportParameters

MAPPING = [
    {"source": 0, "target": 0, "pixels": 899},
    {"source": 1, "target": 1, "pixels": 60},
    {"source": 2, "target": 1, "pixels": 40},
    {"source": 3, "target": 2, "pixels": 1},
    {"source": 255, "target": 255, "pixels": 1000},
]


def lines(checkpoint, told=None, **given):
    told, settings = told or Told("A model"), ExportParameters(**given)
    text = card(checkpoint, told, settings, form="onnx", result="logits", file="model.onnx")
    return text.splitlines()


def test_shares_are_those_of_labelled_pixels(make):
    assert shares(make(mapping=MAPPING)) == ([0.899, 0.1, 0.001], 0.5)
    assert shares(make()) is None


def test_a_card_tells_classes_with_their_shares_and_which_are_rare(make):
    found = lines(make(mapping=MAPPING))
    assert "| 1 | class 1 | `#e69f00` | 10.00% |" in found
    assert "50.00% of the pixels were ignored." in found
    assert "- Rare in the labelled pixels, below 1 %: class 2." in found


def test_what_is_unknown_is_said(make):
    text = "\n".join(lines(make()))
    assert text.count("| not recorded |") == 3
    for sentence in (
        "The number of images is not recorded in the checkpoint.", "The size of a pixel is not recorded.",
        "The checkpoint holds no validation score.", "Scores on images that were left out are not known here.",
        "Licence: not stated.", "Probabilities are not calibrated: 0.9 does not mean",
    ):  # fmt: skip
        assert sentence in text
    assert "None" not in text.partition("## How")[0]
    assert "nan" not in text


def test_what_is_known_is_told(make):
    scores = {"step": 60, "mean_iou": 0.5, "iou/class 0": 0.75, "iou/class 1": 0.25, "iou/class 2": None}
    model = make(scores=scores, scale=0.5, calibration={"temperature": 1.25, "thresholds": None})
    text = "\n".join(lines(model, author="Ada, Bo", license="CC-BY-4.0"))
    for part in (
        "By Ada, Bo. Licence: CC-BY-4.0.", "- steps: 60\n", "- patch: 16 x 16 pixels\n", "- loss: ce+dice",
        "mean IoU 0.500 (class 0 0.750, class 1 0.250)", "Images are brought to 0.5 times their size first.",
        "a temperature of 1.25 was fitted", "| channel 0 | 128 | 64 | 0 to 256 |",
    ):  # fmt: skip
        assert part in text


def document(names=("class 0", "class 1", "class 2")):
    classes = [{"name": name, "iou": 0.5} for name in names]
    pooled = {
        "mean_iou": {"value": 0.5, "low": 0.4, "high": 0.6},
        "iou": [
            {"value": 0.5, "low": None, "high": None},
            {"value": None},
            {"value": 0.3, "low": 0.1, "high": 0.55},
        ],
    }
    return {
        "mean_iou": 0.5, "mean_iou_foreground": 0.4, "pixel_accuracy": 0.9, "classes": classes, "images": [{}, {}],
        "confusion": [], "palette": ["#000000"] * len(names),
        "statistics": {"pooled": pooled, "note": "95 % intervals over 2 images"},
    }  # fmt: skip


def test_scores_come_with_their_intervals(make, tmp_path):
    (tmp_path / "scores.json").write_text(json.dumps(document()))
    told = Told.of(tmp_path / "best.pt", make(), ExportParameters(scores=str(tmp_path / "scores.json")))
    found = lines(make(), told)
    assert "`patchseg evaluate` on 2 images (95 % intervals over 2 images):" in found
    assert found[found.index("| score | value | 95 % interval |") + 2 :][:4] == [
        "| mean IoU | 0.500 | 0.400 to 0.600 |",
        "| IoU of class 0 | 0.500 | unknown |",
        "| IoU of class 1 | - | unknown |",
        "| IoU of class 2 | 0.300 | 0.100 to 0.550 |",
    ]


def test_scores_of_other_classes_are_refused(make, tmp_path):
    (tmp_path / "scores.json").write_text(json.dumps(document(("sky", "sea", "class 2"))))
    with pytest.raises(
        DataError, match=r"scores\.json: scores the classes sky, sea, class 2, best\.pt has class 0,"
    ):
        Told.of("best.pt", make(), ExportParameters(scores=str(tmp_path / "scores.json")))
    with pytest.raises(UsageError, match=r"none\.json"):
        Told.of("best.pt", make(), ExportParameters(scores="none.json"))


def test_the_code_in_a_card_runs(make, graph, noise, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.onnx").write_bytes(graph(2, 3))
    text = "\n".join(lines(make(2, 3)))
    code = text.partition("```python\n")[2].partition("```")[0]
    names = {"image": noise(20, 30, 2)}
    exec(code, names)
    assert names["mask"].shape == (20, 30)


def test_a_name_cannot_break_the_table(make):
    model = make()
    model.channels[0]["name"] = "a|b\nc"
    assert r"| a\|b c | 128 | 64 | 0 to 256 |" in lines(model)
