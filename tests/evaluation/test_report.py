"""The report: complete, harmless and legible, from made-up scores and a made-up run."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from patchseg.errors import DataError, UsageError
from patchseg.evaluation.courses import training
from patchseg.evaluation.metrics import Confusion
from patchseg.evaluation.panels import Panels, error_kinds, read_panels
from patchseg.evaluation.report import report, telling
from patchseg.evaluation.views import draw
from patchseg.labels.classes import Classes

EVIL = "<script>alert(1)</script>"
CLASSES = ["background", EVIL, "ellipse & co"]
PALETTE = ["#000000", "#e69f00", "#56b4e9"]


def masks(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return an image, its truth, and a prediction that is the worse the higher its number."""
    random = np.random.default_rng(number)
    truth = np.zeros((40, 60), np.uint8)
    truth[5:20, 5:30], truth[25:35, 20:50], truth[:2] = 1, 2, 255
    prediction = truth.copy()
    wrong = random.random(truth.shape) < 0.05 * number
    prediction[wrong] = random.integers(0, 3, int(wrong.sum()))
    return (80 * truth + random.integers(0, 40, truth.shape)).astype(np.uint8), truth, prediction


def write_scores(folder: Path, count: int = 5) -> Path:
    """Write images, masks and the scores.json that `evaluate` would write of them."""
    total, entries = Confusion.empty(3), []
    for number in range(count):
        paths = {kind: f"{kind}{number}.png" for kind in ("image", "truth", "mask")}
        image, truth, prediction = masks(number)
        for path, pixels in zip(paths.values(), (image, truth, prediction), strict=True):
            Image.fromarray(pixels).save(folder / path)
        confusion = Confusion.of(truth, prediction, 3)
        total += confusion
        entries.append({"name": f"{EVIL}{number}", **paths, **confusion.as_dict(CLASSES)})
    document = {
        **total.as_dict(CLASSES),
        "images": entries,
        "confusion": total.counts.tolist(),
        "palette": PALETTE,
    }
    (folder / "scores.json").write_text(json.dumps(document))
    return folder / "scores.json"


def write_run(folder: Path) -> Path:
    run = folder / "runs" / EVIL.replace("/", "")
    run.mkdir(parents=True)
    lines = [
        {
            "epoch": epoch,
            "step": 10 * epoch,
            "loss/train": 1 / epoch,
            "loss/val": None if epoch == 2 else 1.1 / epoch,
            "rate": 0.004 * (4 - epoch),
            "mean_iou": [0.5, 0.875, 0.75][epoch - 1],
            f"iou/{EVIL}": 0.1 * epoch,
            "seconds": 2.0 * epoch,
        }
        for epoch in (1, 2, 3)
    ]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    parameters = {
        "train.rate": {"value": 0.004, "source": f"parameters {EVIL}.json"},
        "train.clip": {"value": 5.0, "source": "default"},
    }
    (run / "parameters.effective.json").write_text(json.dumps(parameters))
    return run


@pytest.fixture
def text(tmp_path):
    path = report(write_scores(tmp_path), write_run(tmp_path), output=tmp_path / "report.html")
    return path.read_text(encoding="utf-8")


def test_the_report_is_well_formed_runs_nothing_and_fetches_nothing(tree, text):
    parsed = tree(text)
    assert parsed.open == []
    assert not {"script", "link", "iframe"} & {tag for tag, _ in parsed.seen}
    assert "<script" not in text
    assert not re.search(r"https?:", text)


def test_every_name_is_in_the_report_as_it_is(tree, text):
    words = tree(text).words
    assert words.count(EVIL) >= 4  # class table, matrix twice, legends
    assert "Report: " + EVIL.replace("/", "") in words
    assert {f"{EVIL}{number}" for number in range(5)} <= set(words)
    assert f"parameters {EVIL}.json" in words


def test_the_report_tells_the_pooled_scores(tree, text, tmp_path):
    scores = json.loads((tmp_path / "scores.json").read_text())
    words = tree(text).words
    start = words.index("mean IoU")
    pooled = [scores[key] for key in ("mean_iou", "mean_iou_foreground", "pixel_accuracy")]
    assert [float(word) for word in words[start + 1 : start + 6 : 2]] == pytest.approx(pooled, abs=1e-4)
    assert f"{scores['confusion'][1][1]:,}" in words


def test_the_report_shows_the_best_the_median_and_the_worst_image(tree, text):
    headings = [word for word in tree(text).words if re.match("Best|Median|Worst", word)]
    assert headings == [f"Best: {EVIL}0", f"Median: {EVIL}2", f"Worst: {EVIL}4"]
    assert text.count("<img") == 12
    assert text.count(">no errors<") == 1


def test_the_report_lists_the_images_from_the_worst_on(tree, text):
    words = tree(text).words
    listed = words[words.index("5 images, the worst first") :]
    assert [w[-1] for w in listed if w.startswith(EVIL) and w != EVIL] == list("43210")
    assert text.count('<details open="">') == 1


def test_the_report_draws_the_curves_of_the_training(tree, text):
    words = tree(text).words
    assert {"Loss", "IoU on the validation images", "Learning rate"} <= set(words)
    assert (
        "training: from 1 at epoch 1 to 0.3333 at epoch 3; validation: from 1.1 at epoch 1 to 0.3667 at epoch 3"
        in words
    )
    assert "Highest mean IoU on the validation images: 0.8750, in epoch 2 of 3." in words


def test_the_report_draws_what_a_teacher_has_said(tree):
    lines = [
        {"epoch": k, "loss/train": 1 / k, "mean_iou": 0.5, "loss/labelled": 0.25 / k, "loss/unlabelled": 0.5 / k,
         "unlabelled/learned": 0.2 * k, "mean_iou/student": 0.4}
        for k in (1, 2)
    ]  # fmt: skip
    words = tree(str(training({"classes": [], "palette": []}, lines))).words
    assert any(
        "of labels: from 0.25 at epoch 1 to 0.125 at epoch 2; of the teacher: from 0.5" in word
        for word in words
    )
    assert any("mean, student: from 0.4 at epoch 1" in word for word in words)
    assert any("learned: from 0.2 at epoch 1 to 0.4 at epoch 2" in word for word in words)
    shown = str(training({"classes": [], "palette": []}, lines, np.zeros((9, 12, 3), np.uint8)))
    assert shown.count("<img") == 1
    assert any("Patches without labels" in word for word in tree(shown).words)
    plain = [{key: line[key] for key in ("epoch", "loss/train", "mean_iou")} for line in lines]
    assert not any(
        "teacher" in word or "without a label" in word
        for word in tree(str(training({"classes": [], "palette": []}, plain))).words
    )


def test_the_report_opens_with_the_parameters_that_are_no_defaults(tree, text):
    words = tree(text).words
    opened = words[words.index("Parameters") : words.index("all 2")]
    assert ("train.rate" in opened, "train.clip" in opened) == (True, False)
    assert "train.clip" in words


def test_without_a_run_there_is_no_training(tree, tmp_path):
    path = report(write_scores(tmp_path), output=tmp_path / "out" / "report.html")
    words = tree(path.read_text(encoding="utf-8")).words
    assert not {"Training", "Parameters"} & set(words)
    assert f"Report: {tmp_path.name}" in words


def test_an_image_without_its_picture_is_shown_by_its_masks(tmp_path):
    scores = write_scores(tmp_path, 1)
    document = json.loads(scores.read_text())
    document["images"][0]["image"] = None
    scores.write_text(json.dumps(document))
    text = report(scores, output=tmp_path / "report.html").read_text(encoding="utf-8")
    assert text.count("<img") == 3
    assert "--count: 3" in text


def test_a_report_is_replaced_only_when_asked(tmp_path):
    scores, output = write_scores(tmp_path, 1), tmp_path / "report.html"
    output.write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        report(scores, output=output)
    assert output.read_text() == "mine"
    report(scores, output=output, overwrite=True)
    assert output.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_what_is_no_scores_file_is_refused(tmp_path):
    path, output = tmp_path / "scores.json", tmp_path / "report.html"
    with pytest.raises(UsageError, match=r"scores.json: cannot be read \(no such file"):
        report(path, output=output)
    for content, sentence in {
        "{": "is no JSON",
        "[]": "has no mean_iou, mean_iou_foreground",
        '{"mean_iou": 1}': "has no mean_iou_foreground, pixel_accuracy, classes",
    }.items():
        path.write_text(content)
        with pytest.raises(DataError, match=sentence):
            report(path, output=output)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="is no text"):
        report(path, output=output)
    assert not output.exists()


@pytest.mark.parametrize("palette", [["#000000"], ["#000000", "red;}", "#56b4e9"]])
def test_a_palette_that_is_no_colour_a_class_is_refused(tmp_path, palette):
    scores = write_scores(tmp_path, 1)
    scores.write_text(json.dumps({**json.loads(scores.read_text()), "palette": palette}))
    with pytest.raises(DataError, match="expected a colour #rrggbb for each class"):
        report(scores, output=tmp_path / "report.html")


def test_a_damaged_line_of_the_metrics_is_named_and_an_unfinished_one_is_left_out(tmp_path):
    scores, run, output = write_scores(tmp_path, 1), write_run(tmp_path), tmp_path / "report.html"
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 4, ')
    assert "in epoch 2 of 3." in report(scores, run, output=output).read_text(encoding="utf-8")
    with (run / "metrics.jsonl").open("a") as file:
        file.write("\n")
    with pytest.raises(DataError, match="line 4: is no JSON"):
        report(scores, run, output=output, overwrite=True)


def test_a_long_list_of_images_is_folded(tmp_path):
    scores = write_scores(tmp_path, 1)
    document = json.loads(scores.read_text())
    scores.write_text(json.dumps({**document, "images": document["images"] * 31}))
    assert "<details open" not in report(scores, output=tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([], []),
        ([None], []),
        ([0.5], [("The only image", 0)]),
        ([0.2, 0.9], [("Best", 1), ("Worst", 0)]),
        ([0.2, None, 0.9, 0.5], [("Best", 2), ("Median", 3), ("Worst", 0)]),
    ],
)
def test_no_image_is_shown_twice(scores, expected):
    images = [{"name": name, "mean_iou": score} for name, score in enumerate(scores)]
    assert [(rank, entry["name"]) for rank, entry in telling(images)] == expected


def test_each_pair_of_classes_is_wrong_in_its_own_way():
    truth, prediction = (
        np.array([[0, 1, 2, 1, 0, 1, 255, 0]], np.uint8),
        np.array([[0, 1, 0, 2, 2, 255, 1, 255]], np.uint8),
    )
    assert error_kinds(truth, prediction).tolist() == [[0, 0, 1, 3, 2, 255, 255, 255]]


def test_errors_are_told_as_shares_of_the_pixels_that_count(tree):
    truth, prediction = np.zeros((10, 25), np.uint8), np.zeros((10, 25), np.uint8)
    truth[:2], prediction[2, :5], truth[3, :1] = 255, 1, 1
    drawn = draw(Panels(None, truth, prediction), np.zeros((2, 3), np.uint8), name="a")
    told = [word for word in tree(str(drawn)).words if "%" in word]
    assert told == ["0.50 % missed", "2.50 % false alarm"]


def test_a_large_image_is_shown_reduced(tmp_path):
    truth = np.zeros((500, 2500), np.uint8)
    truth[:, 1250:] = 1
    for name, pixels in {"t.png": truth, "m.png": 1 - truth, "i.png": 100 * truth}.items():
        Image.fromarray(pixels).save(tmp_path / name)
    classes = Classes(("a", "b"), (0, 1), ("#000000", "#ffffff"))
    shown = read_panels(tmp_path / "i.png", tmp_path / "t.png", tmp_path / "m.png", classes)
    half = np.arange(1000) >= 500
    assert shown.scale == 0.4
    assert shown.image is not None
    assert shown.image.shape == (200, 1000, 3)
    np.testing.assert_array_equal(shown.truth, np.tile(half, (200, 1)))
    np.testing.assert_array_equal(shown.prediction, 1 - shown.truth)


def test_truth_is_read_by_its_values_and_predictions_by_the_places_of_classes(tmp_path):
    Image.fromarray(np.array([[0, 200, 255]], np.uint8)).save(tmp_path / "t.png")
    Image.fromarray(np.array([[0, 1, 1]], np.uint8)).save(tmp_path / "m.png")
    classes = Classes(("a", "b"), (0, 200), ("#000000", "#ffffff"))
    shown = read_panels(None, tmp_path / "t.png", tmp_path / "m.png", classes)
    assert (shown.truth.tolist(), shown.prediction.tolist()) == ([[0, 1, 255]], [[0, 1, 1]])


@pytest.mark.browser
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium on the PATH")
@pytest.mark.parametrize("width", [390, 1280])
def test_no_browser_window_has_to_scroll_sideways(text, tmp_path, width):
    # A frame is as narrow as we say, a window is not; its own width and that of its content end up in the title.
    literal = json.dumps(text).replace("<", r"\u003c")
    frame = f"""<iframe style="width:{width}px;height:800px;border:0"></iframe><script>
        const frame = document.querySelector("iframe");
        frame.onload = () => {{
            const page = frame.contentDocument.documentElement;
            document.title = page.clientWidth + " " + page.scrollWidth + " " + page.querySelectorAll("svg").length;
        }};
        frame.srcdoc = {literal};</script>"""
    (tmp_path / "frame.html").write_text(frame, encoding="utf-8")
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
    ]
    dump = subprocess.run(
        ["chromium", *flags, f"--user-data-dir={tmp_path}/profile", "--dump-dom", f"file://{tmp_path}/frame.html"],
        capture_output=True, text=True, timeout=60, check=True,
    ).stdout  # fmt: skip
    title = re.search("<title>(.*?)</title>", dump)
    assert title is not None
    client, content, charts = map(int, title[1].split())
    assert client in range(width - 20, width + 1)  # a vertical scroll bar may take its share
    assert content == client
    assert charts >= 3
