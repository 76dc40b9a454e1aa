import json

import numpy as np
import pytest
from PIL import Image
from scipy import stats

import patchseg
from patchseg.errors import DataError, UsageError
from patchseg.evaluation.compare import compare
from patchseg.evaluation.evaluate import evaluate
from patchseg.evaluation.verdict import verdict
from patchseg.parameters import DataParameters, EvaluateParameters

DATA = DataParameters.model_validate({"classes": ["ground", "line"]})
IMAGES = 6
WRONG = {
    "a": [9, 8, 7, 9, 6, 8],
    "b": [4, 5, 6, 2, 5, 3],
}  # ground pixels taken for line in each of the images


def truth_of() -> np.ndarray:
    mask = np.zeros((10, 10), np.uint8)
    mask[:5] = 1
    return mask


def mask_of(wrong: int) -> np.ndarray:
    mask = truth_of()
    mask[5].flat[: min(wrong, 10)] = 1
    return mask


def save(folder, masks):
    folder.mkdir()
    for number, mask in enumerate(masks, 1):
        Image.fromarray(mask).save(folder / f"im_{number}.png")
    return folder


@pytest.fixture
def folders(tmp_path):
    """Write masks a and b, of which b is better on every image, and the truth."""
    save(tmp_path / "truth", [truth_of()] * IMAGES)
    for name, wrong in WRONG.items():
        save(tmp_path / name, [mask_of(count) for count in wrong])
    return tmp_path


def compared(folders, a="a", b="b", **more):
    return compare(folders / a, folders / b, truth=folders / "truth", data=DATA, **more)


def line_iou(wrong) -> np.ndarray:
    return 50 / (50 + np.array(wrong))


def ground_iou(wrong) -> np.ndarray:
    return (50 - np.array(wrong)) / 50


def test_differences_of_means_are_those_of_students_paired_test(folders):
    found = compared(folders)["images"]
    for key, place, values in (("iou", 1, line_iou), ("iou", 0, ground_iou)):
        steps = values(WRONG["b"]) - values(WRONG["a"])
        expected = stats.t.interval(0.95, IMAGES - 1, steps.mean(), stats.sem(steps))
        one = found[key][place]
        assert one["value"] == pytest.approx(steps.mean())
        assert (one["low"], one["high"]) == pytest.approx(expected)
        assert one["p"] == 2 / 2**IMAGES
        assert (one["a"], one["b"]) == pytest.approx((values(WRONG["a"]).mean(), values(WRONG["b"]).mean()))


def test_pooled_differences_are_those_of_sums_without_each_image(folders):
    one = compared(folders)["pooled"]["iou"][1]

    def difference(images):
        a, b = (sum(WRONG[name][i] for i in images) for name in "ab")
        hits = 50 * len(images)
        return hits / (hits + b) - hits / (hits + a)

    left = np.array([difference([j for j in range(IMAGES) if j != i]) for i in range(IMAGES)])
    error = (5 / 6 * ((left - left.mean()) ** 2).sum()) ** 0.5
    half = stats.t.ppf(0.975, IMAGES - 1) * error
    assert one["value"] == pytest.approx(difference(range(IMAGES)))
    assert (one["low"], one["high"]) == pytest.approx((one["value"] - half, one["value"] + half))
    assert one["p"] == 2 / 2**IMAGES


def test_exchanging_the_two_turns_every_difference_around(folders):
    forth, back = compared(folders), compared(folders, "b", "a")
    for way in ("pooled", "images"):
        for key in ("mean_iou", "pixel_accuracy"):
            there, again = forth[way][key], back[way][key]
            assert again["value"] == pytest.approx(-there["value"])
            assert (again["low"], again["high"]) == pytest.approx((-there["high"], -there["low"]))
            assert again["p"] == there["p"]
    assert (forth["better"], forth["worse"]) == (back["worse"], back["better"]) == (6, 0)


def test_images_are_listed_by_how_much_they_changed(folders):
    document = compared(folders)
    a, b = ((line_iou(WRONG[name]) + ground_iou(WRONG[name])) / 2 for name in "ab")
    names = [f"im_{number + 1}" for number in np.argsort(-np.abs(b - a))]
    assert [change["name"] for change in document["changes"]] == names
    assert document["changes"][0]["difference"] == pytest.approx(
        document["changes"][0]["b"] - document["changes"][0]["a"]
    )
    for change in document["changes"]:
        number = int(change["name"].removeprefix("im_")) - 1
        for item, of in zip(change["classes"], (ground_iou, line_iou), strict=True):
            first, second = of(WRONG["a"])[number], of(WRONG["b"])[number]
            told = item["a"], item["b"], item["difference"]
            assert told == pytest.approx((first, second, second - first))
    assert [item["name"] for item in document["changes"][0]["classes"]] == ["ground", "line"]


def test_the_same_twice_differs_by_nothing(folders):
    document = compared(folders, "a", "a")
    assert document["verdict"] == "A and B have the same mean IoU on all 6 images."
    assert document["equal"] == 6
    assert document["pooled"]["mean_iou"]["p"] == document["images"]["mean_iou"]["p"] == 1


def test_scores_that_are_there_give_what_the_masks_give_and_nothing_is_written(folders):
    fresh = compared(folders)
    assert not list(folders.rglob("scores.*"))
    for name in "ab":
        evaluate(folders / name, folders / "truth", data=DATA)
    before = sorted(folders.rglob("*"))
    assert compare(folders / "a", folders / "b/scores.json") == fresh | {"b": str(folders / "b/scores.json")}
    assert sorted(folders.rglob("*")) == before


def test_the_document_is_written_where_it_is_asked_for(folders):
    file = folders / "out/compared.json"
    document = compared(folders, output=file)
    assert json.loads(file.read_text(encoding="utf-8")) == document
    with pytest.raises(UsageError, match=r"compared\.json: exists already"):
        compared(folders, output=file)
    compared(folders, "b", "a", output=file, overwrite=True)
    assert json.loads(file.read_text(encoding="utf-8"))["worse"] == 6


def test_images_of_one_group_have_no_interval(folders):
    document = compared(folders, parameters=EvaluateParameters(group="im_"))
    assert (document["unit"], document["units"]) == ("group", 1)
    assert document["note"].startswith("no intervals: all 6 images are of one group")
    assert {
        document[way]["mean_iou"][key] for way in ("pooled", "images") for key in ("low", "high", "p")
    } == {None}
    assert document["verdict"].endswith("cannot be told from chance: all images that count are of one group.")


def test_a_group_for_each_image_is_none(folders):
    assert compared(folders, parameters=EvaluateParameters(group=".*"))["unit"] == "image"


def test_groups_of_scores_are_kept(folders):
    for name, masks in (("x", "a"), ("y", "b")):
        settings = EvaluateParameters(output=str(folders / name), group=r"im_.*")
        evaluate(folders / masks, folders / "truth", data=DATA, parameters=settings)
        file = folders / name / "scores.json"
        document = json.loads(file.read_text(encoding="utf-8"))
        for number, entry in enumerate(document["images"]):
            entry["group"] = f"slide {number // 2}"
        file.write_text(json.dumps(document), encoding="utf-8")
    document = compare(folders / "x", folders / "y")
    assert (document["unit"], document["units"]) == ("group", 3)
    assert document["images"]["mean_iou"]["p"] == 2 / 2**3
    assert document["verdict"].endswith(
        "cannot be told from chance (p = 0.25); with 3 groups no difference could be."
    )
    assert document["changes"][0]["group"].startswith("slide ")


def test_another_truth_is_noticed(folders):
    for name in "ab":
        evaluate(folders / name, folders / "truth", data=DATA)
    file = folders / "b/scores.json"
    document = json.loads(file.read_text(encoding="utf-8"))
    document["images"][2]["confusion"] = [[30, 0], [0, 70]]
    file.write_text(json.dumps(document), encoding="utf-8")
    assert compare(folders / "a", folders / "b")["note"].endswith(
        "; im_3: A and B were held against other true pixels, so look whether the truth is the same"
    )


def test_a_class_in_one_image_has_no_interval_and_the_note_says_so(folders):
    for name in "ab":
        Image.fromarray(truth_of() * 0).save(folders / name / "im_1.png")
        for number in range(2, IMAGES + 1):
            Image.fromarray(truth_of() * 0 + (number == 3)).save(folders / name / f"im_{number}.png")
    for number in range(1, IMAGES + 1):
        Image.fromarray(truth_of() * 0 + (number == 3)).save(folders / "truth" / f"im_{number}.png")
    document = compared(folders)
    assert document["pooled"]["iou"][1]["low"] is None
    assert document["note"].endswith(
        "; line is in one image only, which leaves it, and mean IoU, without one"
    )


# What cannot be compared


def test_other_images_are_refused_and_named(folders):
    for name in "ab":
        evaluate(folders / name, folders / "truth", data=DATA)
    for name, gone in (("a", 1), ("b", 4)):
        file = folders / name / "scores.json"
        document = json.loads(file.read_text(encoding="utf-8"))
        del document["images"][gone]
        file.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        compare(folders / "a", folders / "b")
    a, b = folders / "a", folders / "b"
    assert str(caught.value).splitlines() == [
        f"im_5: is in {a}, not in {b}; compare results on the same images",
        f"im_2: is in {b}, not in {a}; compare results on the same images",
    ]


def test_other_classes_are_refused(folders):
    evaluate(folders / "a", folders / "truth", data=DATA)
    other = DataParameters.model_validate({"classes": ["sky", "line"]})
    evaluate(folders / "b", folders / "truth", data=other)
    with pytest.raises(DataError, match=r"a: has the classes ground, line, .*b has sky, line; only"):
        compare(folders / "a", folders / "b")


def test_masks_without_truth_and_without_scores_are_a_usage_error(folders):
    with pytest.raises(
        UsageError, match=r"a: holds no scores\.json; expected the masks of `infer` with --truth"
    ):
        compare(folders / "a", folders / "b")
    with pytest.raises(UsageError, match="nowhere: is no file or folder; expected"):
        compare(folders / "nowhere", folders / "b", truth=folders / "truth")


def test_scores_of_an_older_patchseg_are_refused(folders):
    file = evaluate(folders / "a", folders / "truth", data=DATA)
    document = json.loads(file.read_text(encoding="utf-8"))
    del document["images"][0]["confusion"]
    file.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(
        DataError, match=r"scores\.json: has no confusion of each image, as of an older patchseg; ev"
    ):
        compare(folders / "a", folders / "a")


# The verdict


def outcome(**more) -> dict:
    """Return as much of a comparison as the verdict looks at."""
    decisive = {"value": 0.021, "low": 0.012, "high": 0.03, "p": 0.004, "units": 10} | {
        key: more.pop(key) for key in ("value", "low", "high", "p", "units") if key in more
    }
    tally = {"better": 9, "worse": 0, "equal": 1, "unit": "image"} | more
    images = tally["better"] + tally["worse"] + tally["equal"]
    return {"images": {"mean_iou": decisive}, "changes": [{}] * images, **tally}


@pytest.mark.parametrize(
    ("comparison", "sentence"),
    [
        (
            outcome(),
            "B is better on 9 of 10 images; the difference of 0.021 (0.012 to 0.030) in mean IoU is unlikely to be chance (p = 0.004).",
        ),
        (
            outcome(better=1, worse=9, equal=0, value=-0.021, low=-0.03, high=-0.012, p=0.0002),
            "B is worse on 9 of 10 images and better on 1; the difference of -0.021 (-0.030 to -0.012) in mean IoU is unlikely "
            "to be chance (p < 0.001).",
        ),
        (
            outcome(better=6, worse=4, equal=0, value=0.004, low=-0.01, high=0.018, p=0.514),
            "B is better on 6 of 10 images and worse on 4; the difference of 0.004 (-0.010 to 0.018) in mean IoU cannot be told "
            "from chance (p = 0.51).",
        ),
        (
            outcome(low=-0.001, p=0.04),
            "B is better on 9 of 10 images; the difference of 0.021 (-0.001 to 0.030) in mean IoU cannot be told from chance "
            "(p = 0.04).",
        ),
        (
            outcome(p=0.06),
            "B is better on 9 of 10 images; the difference of 0.021 (0.012 to 0.030) in mean IoU cannot be told from chance "
            "(p = 0.06).",
        ),
        (
            outcome(better=5, worse=0, equal=0, units=5, p=0.0625),
            "B is better on all 5 images; the difference of 0.021 (0.012 to 0.030) in mean IoU cannot be told from chance "
            "(p = 0.062); with 5 images no difference could be.",
        ),
        (
            outcome(better=1, equal=0, units=1, low=None, high=None, p=None),
            "B is 0.021 higher in mean IoU on the only image; one image cannot tell a difference from chance.",
        ),
        (
            outcome(unit="group", units=1, low=None, high=None, p=None),
            "B is better on 9 of 10 images; the difference of 0.021 in mean IoU cannot be told from chance: all images that "
            "count are of one group.",
        ),
        (outcome(value=None), "No image has a score in both A and B, so nothing can be compared."),
        (outcome(better=0, value=0.0), "A and B have the same mean IoU on the only image."),
    ],
)
def test_the_verdict_is_a_sentence_that_says_no_more_than_the_figures(comparison, sentence):
    assert verdict(comparison) == sentence


def test_the_verb_is_a_function_of_the_package():
    assert patchseg.compare is compare
