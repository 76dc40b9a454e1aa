"""The report of all that there can be: everything is on it, as words, and it stays small."""

import itertools
import json
import re

import numpy as np
import pytest
from PIL import Image

from patchseg.errors import DataError, UsageError
from patchseg.evaluation import courses
from patchseg.evaluation import report as module
from patchseg.evaluation.clips import clips_of, picture_of
from patchseg.evaluation.further import further
from patchseg.evaluation.report import MOST, report
from patchseg.evaluation.sections import MOST_CLASSES, headline
from patchseg.imaging import Reading
from patchseg.labels.classes import Classes

EVIL = "a\"<img src=x onerror=alert(1)>&'"
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def text(whole_report):
    return whole_report.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def parsed(tree, text):
    return tree(text)


def test_nothing_runs_and_nothing_is_fetched(text, parsed):
    allowed = {"html", "head", "meta", "title", "style", "body", "main", "svg", "img", "input"}
    assert not {"script", "link", "iframe", "object", "form", "base"} & {tag for tag, _ in parsed.seen}
    assert allowed <= {tag for tag, _ in parsed.seen}
    assert not re.search(r"https?:|@import|url\(", text)
    assert not any(name.startswith("on") for _, attributes in parsed.seen for name in attributes)
    assert all((image["src"] or "").startswith("data:image/webp;base64,") for image in parsed.all("img"))
    assert "script-src" not in text
    assert "default-src 'none'" in text


def test_names_that_are_markup_stay_names(parsed):
    headings = [word for word in parsed.words if word.startswith(("Best", "Median", "Worst"))]
    assert [heading.split(": ", 1)[1].rstrip("01234567") for heading in headings] == [EVIL] * 3
    assert f"1. {EVIL}0" in parsed.words  # a suspect
    assert f"1. {EVIL}new0" in parsed.words  # a suggestion
    assert f"missing object: background given, {SCRIPT} predicted. look <here>" in parsed.words
    assert SCRIPT in parsed.words
    assert any(EVIL in (image["alt"] or "") for image in parsed.all("img"))


def test_the_page_begins_with_what_to_expect(parsed):
    paragraphs = [tag for tag, _ in parsed.seen if tag in {"h1", "p"}]
    assert paragraphs[:2] == ["h1", "p"]
    start = parsed.words.index("On images like these, expect a mean IoU of about 0.91; with 8 images the truth may lie anywhere between 0.86 and 0.96.")  # fmt: skip
    told = "".join(parsed.words[start : start + 4])
    assert f"The weakest class is “{SCRIPT}”" in told
    assert f"the worst image is “{EVIL}6”" in told
    assert "More labels would help: with 10 more images, expect about 0.94 instead of 0.90 (between 0.92 and 0.96)." in told  # fmt: skip
    assert "off by 8.0 points of 100" in told


def test_headings_leave_no_level_out(parsed):
    levels = [int(tag[1]) for tag, _ in parsed.seen if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(below <= above + 1 for above, below in itertools.pairwise(levels))


def test_all_parts_are_there(parsed):
    assert {
        "Scores and how sure they are", "Image by image", "Images to look at", "Classes", "How sure the network is",
        "Would more labels help?", "Given masks that may be wrong", "What to label next", "Every image", "Training",
        "Parameters",
    } <= set(parsed.words)  # fmt: skip


def test_both_averages_stand_side_by_side_with_their_intervals(parsed):
    start = parsed.words.index("all pixels together")
    row = parsed.words[parsed.words.index("mean IoU", start) :][:5]
    assert row == ["mean IoU", "0.8765", "0.8600 – 0.9570", "0.9123", "0.8600 – 0.9570"]
    assert "95 % intervals over 8 images; approximate." in parsed.words


def test_every_table_says_which_heading_is_whose(parsed):
    assert {cell.get("scope") for cell in parsed.all("th")} == {"col", "row"}


def test_every_image_is_a_dot_with_its_name(parsed, text):
    strips = text[text.index('class="strips"') : text.index("Images to look at")]
    assert strips.count("<title>") == 4 * 8 + 4  # mean IoU and three classes; a title for each strip
    assert strips.count('class="interval"') == 3  # one class has none
    assert any(re.fullmatch(re.escape(EVIL) + r"7: 0\.\d{4}", word) for word in parsed.words)
    assert f"{SCRIPT}: 8 images from" in "".join(parsed.words)


def test_pictures_are_told_to_those_who_do_not_see_them(parsed):
    alts = [image["alt"] or "" for image in parsed.all("img")]
    assert all(len(alt) > 5 for alt in alts)
    worst = [alt for alt in alts if alt.startswith(f"{EVIL}6: ")]
    assert [alt.removeprefix(f"{EVIL}6: ").split(",")[0] for alt in worst] == [
        "the image", "truth", "prediction", "errors", "confidence",
    ]  # fmt: skip
    assert re.search(r"truth, \d+\.\d % background, \d+\.\d % <script>", worst[1])
    assert "% missed" in worst[3]
    assert re.search(r"confidence, \d+(\.\d)? % of the pixels below 0.5", worst[4])
    assert all(drawing.get("role") == "img" or drawing.get("aria-hidden") for drawing in parsed.all("svg"))


def test_each_viewer_has_buttons_of_its_own(parsed):
    buttons = parsed.all("input")
    groups = {button["name"] for button in buttons}
    assert groups == {f"{kind}-{number}" for kind in ("view", "opacity") for number in range(3)}
    assert sum("checked" in button for button in buttons) == len(groups)
    ids = [button["id"] for button in buttons]
    assert len(set(ids)) == len(ids) == 3 * 7
    assert {label["for"] for label in parsed.all("label")} == set(ids)


def test_without_all_that_the_page_is_still_whole(tree, make, tmp_path):
    scores = make(tmp_path, count=1, shape=(40, 60))
    document = json.loads(scores.read_text())
    del document["statistics"], document["certainty"]
    scores.write_text(json.dumps(document))
    (tmp_path / "masks/confidence" / f"{EVIL}0.tif").write_bytes(b"no TIFF")
    words = tree(report(scores, output=tmp_path / "r.html").read_text(encoding="utf-8")).words
    assert any(word.startswith("On this one image the mean IoU is") for word in words)
    assert not {"Scores and how sure they are", "Would more labels help?", "confidence", "Training"} & set(
        words
    )


def test_what_lies_beside_the_scores_is_found_and_what_is_given_wins(tree, make, tmp_path):
    scores = make(tmp_path, count=1, shape=(40, 60))
    (tmp_path / "suspects.json").write_text('{"suspects": []}')
    other = tmp_path / "other"
    other.mkdir()
    (other / "suggestions.json").write_text('{"suggestions": []}')
    words = tree(report(scores, output=tmp_path / "r.html", suggestions=other).read_text()).words
    assert "No suspects." in words
    assert "No suggestions." in words
    with pytest.raises(UsageError, match=r"none.json: cannot be read \(no such file"):
        report(scores, output=tmp_path / "s.html", curve=tmp_path / "none.json")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[]", "has no suspects; expected the suspects.json that `patchseg audit` writes"),
        ('{"suspects": 3}', "one of the suspects has no rank, image, box, kind, score, picture"),
        ('{"suspects": [{"rank": 1, "image": "a", "box": [], "kind": "", "score": 1}]}', "one of the suspects has no picture"),
        ("{", "is no JSON"),
    ],
)  # fmt: skip
def test_what_holds_something_else_is_refused(make, tmp_path, content, told):
    scores = make(tmp_path, count=1, shape=(40, 60))
    (tmp_path / "suspects.json").write_text(content)
    with pytest.raises(DataError, match=re.escape(told)):
        report(scores, output=tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


def test_a_page_of_large_noisy_pictures_stays_small(tree, make, tmp_path):
    scores = make(tmp_path, count=3, shape=(40, 60))
    random = np.random.default_rng(0)
    for kind, values in (("images", 256), ("truth", 3), ("masks", 3)):
        for number in range(3):
            Image.fromarray(random.integers(0, values, (1000, 1000), np.uint8)).save(
                tmp_path / kind / f"{EVIL}{number}.png"
            )
    entry = {
        "image": "a", "box": [0, 0, 500, 500], "kind": "k", "score": 1.0, "picture": f"images/{EVIL}0.png",
        "truth": f"truth/{EVIL}0.png", "mask": f"masks/{EVIL}0.png",
    }  # fmt: skip
    suspects = [entry | {"rank": n} for n in range(200)]
    (tmp_path / "suspects.json").write_text(json.dumps({"suspects": suspects}))
    text = report(scores, output=tmp_path / "r.html").read_text(encoding="utf-8")
    assert len(text.encode()) < MOST
    words = tree(text).words
    assert any(word.startswith("200 suspects. The first ") for word in words)
    assert any("shown at" in word for word in words)  # the examples were reduced


def test_a_page_of_many_images_and_classes_stays_small():
    classes = [{"name": f"class {'x' * 40} {k}", "iou": 0.5, "dice": 0.5, "precision": 0.5, "recall": 0.5} for k in range(254)]  # fmt: skip
    entry = {"mean_iou": 0.5, "mean_iou_foreground": 0.5, "pixel_accuracy": 0.5, "classes": classes}
    interval = {"value": 0.5, "low": 0.4, "high": 0.6, "units": 1000, "approximate": False}
    average = dict.fromkeys(("mean_iou", "mean_iou_foreground", "pixel_accuracy"), interval) | {
        key: [interval] * 254 for key in ("iou", "dice")
    }
    document = {
        **entry,
        "images": [entry | {"name": f"image {'y' * 60} {n}"} for n in range(1000)],
        "confusion": np.full((254, 254), 12345).tolist(),
        "palette": ["#123456"] * 254,
        "statistics": {"unit": "image", "units": 1000, "note": "n", "pooled": average, "images": average},
    }
    text = module.report_html(document, title="many")
    assert len(text.encode()) < MOST
    assert f"The {MOST_CLASSES} classes that are mistaken most; 230 more are in scores.json." in text
    assert "more images in scores.csv." in text


def test_a_suspect_is_shown_as_image_given_and_predicted(make, tmp_path):
    make(tmp_path, count=1, shape=(160, 240))
    classes = Classes(("a", "b", "c"), (0, 1, 2), ("#000000", "#ff0000", "#00ff00"))
    entry = {"box": [20, 30, 40, 50], **{key: f"{kind}/{EVIL}0.png" for key, kind in (("picture", "images"), ("truth", "truth"), ("mask", "masks"))}}  # fmt: skip
    clips = clips_of(entry, tmp_path, (classes, classes), 240, Reading())
    assert list(clips) == ["image", "given", "predicted"]
    # 64 rows and columns at least, the frame of the box in the middle: 32 more than 14 pixels on either side
    assert {clip.shape for clip in clips.values()} == {(54, 64, 3)}
    assert clips["image"][6, 30].tolist() == [0, 0, 0]
    assert clips["image"][5, 30].tolist() == [255, 255, 255]
    small = clips_of(entry, tmp_path, (classes, classes), 32, Reading())
    assert {clip.shape for clip in small.values()} == {(27, 32, 3)}


@pytest.mark.parametrize("change", [{"picture": "none.png"}, {"box": [900, 0, 4, 4]}, {"box": [0, 0]}, {"picture": None}])  # fmt: skip
def test_a_suspect_whose_picture_cannot_be_had_is_told_without(make, tmp_path, change):
    make(tmp_path, count=1, shape=(40, 60))
    classes = Classes(("a",), (0,), ("#000000",))
    entry = {"box": [0, 0, 9, 9], "picture": f"images/{EVIL}0.png"} | change
    assert clips_of(entry, tmp_path, (classes, classes), 100, Reading()) == {}
    assert picture_of(tmp_path / "none.png", 100) is None


def test_boundaries_and_objects_are_shown_by_class(tree):
    line = {
        "name": SCRIPT,
        "boundary_f1": 0.75,
        "mean_distance": 1.234,
        "mean_distance_in_units": 0.5,
        "hausdorff_95": None,
    }
    surface = {
        "tolerance": {"value": 2.0, "unit": "pixels"}, "unit": "µm",
        "classes": [line | {"images_with_both": 7}, {"name": "none", "boundary_f1": None}],
    }  # fmt: skip
    objects = {
        "classes": [{"name": SCRIPT, "tp": 3, "fp": 1, "fn": 0, "f1": 6 / 7, "panoptic_quality": None}]
    }
    part = further({"surface": surface, "objects": objects})
    assert part is not None
    words = tree(str(part)).words
    start = words.index("class")
    assert words[start : start + 10] == [
        "class", "boundary F1", "mean distance, pixels", "mean distance, µm", "images", SCRIPT, "0.7500", "1.23", "0.50", "7",
    ]  # fmt: skip
    assert words[start + 10 : start + 15] == ["none", "–", "–", "–", "–"]
    assert words[-10:] == ["class", "found", "missed", "made up", "F1", SCRIPT, "3", "0", "1", "0.8571"]
    assert "lies within 2 pixels of the other one" in "".join(words)
    assert further({}) is None
    assert further({"surface": {"classes": []}}) is None


def test_scores_inside_of_a_region_say_so(tree):
    entry = {"mean_iou": 0.5, "mean_iou_foreground": 0.5, "pixel_accuracy": 0.5, "classes": []}
    document = {**entry, "images": [entry | {"name": str(n), "region": {"share": n / 4}} for n in (1, 2)]}
    assert (
        "Only what lies inside of a region counts: 37.5 % of an image on average."
        in tree(str(headline(document, "t"))).words
    )


def test_a_calibration_is_shown_before_and_after(tree):
    bins = {"edges": [0.0, 0.5, 1.0], "count": [0, 4], "confidence": [None, 0.75], "accuracy": [None, 0.5]}
    calibration = {
        "temperature": 1.5, "thresholds": None, "ece_before": 0.25, "ece_after": 0.0,
        "reliability_before": bins, "reliability_after": bins | {"accuracy": [None, 0.75]},
    }  # fmt: skip
    words = tree(str(courses.certainty({}, calibration))).words
    told = "Calibrated with a temperature of 1.5, which takes its error from 25.0 to 0.0 points of 100."
    assert told in words
    assert "On the images it was calibrated with" in words
    assert sum(word.startswith("of 4 pixels that said 0.75, ") for word in words) == 2
    assert courses.certainty({}, None) is None
