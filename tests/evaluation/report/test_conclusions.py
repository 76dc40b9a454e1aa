"""What scores come to, in a sentence: right, no more than the numbers say, and never without its reason."""

import pytest

from patchseg.evaluation.conclusions import conclusions, expectation, figure, more_labels, trust, weakest


def scores(count: int, score: dict | None = None, unit: str = "image") -> dict:
    images = [{"name": str(n), "mean_iou": 0.5 + n / 100} for n in range(count)]
    document = {"images": images, "classes": [{"name": "all", "iou": 0.5}]}
    return (
        document
        if score is None
        else document | {"statistics": {"unit": unit, "images": {"mean_iou": score}}}
    )


def interval(value, low=None, high=None, units=8):
    return {"value": value, "low": low, "high": high, "units": units}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            scores(8, interval(0.912, 0.86, 0.957)),
            "On images like these, expect a mean IoU of about 0.91; with 8 images the truth may lie anywhere between 0.86 and 0.96.",
        ),
        (
            scores(8, interval(0.912, 0.86, 0.957, units=3), "group"),
            "On images like these, expect a mean IoU of about 0.91; with 3 groups of images the truth may lie anywhere between "
            "0.86 and 0.96.",
        ),
        (
            scores(1, interval(0.912, units=1)),
            "On this one image the mean IoU is 0.91; one image cannot tell how much images differ, so there is no interval: "
            "score more images.",
        ),
        (
            scores(4, interval(0.912, units=1), "group"),
            "On these 4 images the mean IoU is 0.91 on average; they come from one group of images, which cannot tell how much "
            "others differ, so there is no interval.",
        ),
        (scores(4, interval(None, units=0)), "No image has a mean IoU, so nothing is known of how good the masks are."),
        (
            scores(3),
            "On these 3 images the mean IoU is 0.51 on average; these scores hold no intervals, evaluate again to have them.",
        ),
        (
            scores(1),
            "On this one image the mean IoU is 0.50; these scores hold no intervals, evaluate again to have them.",
        ),
        (scores(0), "No image has a mean IoU, so nothing is known of how good the masks are."),
    ],
)  # fmt: skip
def test_the_expectation_has_its_interval_or_says_why_there_is_none(given, told):
    assert expectation(given) == told


def test_blocks_of_one_image_tell_how_it_varies_within_and_no_more():
    given = scores(1, interval(0.912, units=1), "block")
    given["statistics"]["pooled"] = {"mean_iou": interval(0.91, 0.86, 0.957, units=16)}
    assert expectation(given) == (
        "On this one image the mean IoU is 0.91; going by how it varies within, the truth may lie anywhere between 0.86 and "
        "0.96, and other images may differ more."
    )
    given["statistics"]["pooled"] = {"mean_iou": interval(0.91, units=1)}
    assert "so there is no interval" in expectation(given)


def test_of_three_images_in_blocks_the_images_count():
    assert "with 3 images the truth" in expectation(scores(3, interval(0.912, 0.8, 0.957, units=3), "block"))


def test_the_weakest_class_and_the_worst_image_are_named():
    classes = [{"name": "ground", "iou": 0.9}, {"name": "<line>", "iou": 0.5}, {"name": "none", "iou": None}]
    images = [{"name": name, "mean_iou": value} for name, value in (("a", 0.7), ("b", 0.6), ("c", None))]
    told = weakest({"classes": classes, "images": images})
    assert told == ["The weakest class is “<line>” (IoU 0.50), the worst image is “b” (mean IoU 0.60)."]


def test_where_there_is_no_choice_nothing_is_weakest():
    one = {"classes": [{"name": "a", "iou": 0.5}], "images": [{"name": "a", "mean_iou": 0.5}]}
    assert weakest(one) == []
    two = one | {"images": [{"name": name, "mean_iou": 0.5} for name in "ab"]}
    assert weakest(two) == ["The worst image is “a” (mean IoU 0.50)."]


def curve(low, value, high, *, images=18):
    forecast = [
        {"images": images, "value": value, "low": low, "high": high},
        {"images": 58, "value": 1, "low": 1, "high": 1},
    ]
    return {"means": [{"images": 4, "mean": 0.8}, {"images": 8, "mean": 0.9}], "fit": {"a": 1}, "forecast": forecast, "note": "few images"}  # fmt: skip


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (curve(0.905, 0.93, 0.95), "More labels would help: with 10 more images, expect about 0.93 instead of 0.90"),
        (curve(0.89, 0.902, 0.909), "More labels of the same kind would hardly help: with 10 more images"),
        (curve(0.85, 0.93, 0.97), "Whether more labels would help cannot be told yet: with 10 more images, the score may"),
        (curve(0.9, 0.93, 0.95), "Whether more labels would help cannot be told yet"),  # its lower end is what is there
        (curve(0.905, 0.93, 0.95) | {"fit": None}, "Whether more labels would help cannot be told yet"),
        (curve(0.905, 0.93, 0.95, images=9), "More labels would help: with 1 more image, expect"),
        (curve(None, 0.93, None) | {"forecast": []}, "Whether more labels would help is not known: few images"),
        (curve(0.9, 0.93, 0.95) | {"means": []}, "Whether more labels would help is not known: few images"),
    ],
)  # fmt: skip
def test_more_labels_are_advised_only_where_the_forecast_leaves_no_doubt(given, told):
    assert more_labels(given).startswith(told)


def test_a_forecast_without_an_interval_is_not_believed():
    bare = curve(None, 0.93, None)
    bare["forecast"].pop()
    assert more_labels(bare).startswith("Whether more labels would help is not known")


def test_confidence_that_is_far_off_is_not_to_be_trusted():
    assert "can be taken at its word" in trust(0.05)
    assert trust(0.0501).startswith("Do not take the network at its word")
    assert "off by 8.0 points" in trust(0.08)


def test_conclusions_begin_with_what_to_expect_and_tell_no_more_than_is_known():
    assert len(conclusions(scores(1))) == 1
    told = conclusions(scores(3) | {"certainty": {"ece": 0.0}}, curve(0.905, 0.93, 0.95))
    assert [sentence.split()[0] for sentence in told] == ["On", "The", "More", "How"]
    assert len(conclusions(scores(3) | {"certainty": {"ece": None}})) == 2


@pytest.mark.parametrize(
    ("value", "written"),
    [(0.0, "0.00"), (0.914, "0.91"), (0.9949, "0.99"), (0.995, "0.9950"), (0.99999, "0.9999"), (1.0, "1")],
)
def test_only_a_perfect_score_is_written_as_one(value, written):
    assert figure(value) == written
