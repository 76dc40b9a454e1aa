"""Both averages against `Confusion`, image by image and pooled, and what is said about them."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from patchseg.evaluation.averages import margins, named, note, over_images, pooled, scores, statistics_of
from patchseg.evaluation.metrics import Confusion

COUNTS = arrays.arrays(
    np.int64, st.tuples(st.integers(1, 5), st.just(3), st.just(3)), elements=st.integers(0, 3)
)
NAMES = ["ground", "line", "blob"]
# Ground and line are in all images, blob is in the last only.
IMAGES = np.array(
    [
        [[50, 5, 0], [3, 20, 0], [0, 0, 0]],
        [[40, 2, 0], [9, 30, 0], [0, 0, 0]],
        [[60, 9, 0], [1, 10, 0], [2, 0, 8]],
    ]
)


def row_of(confusion: Confusion) -> list:
    return [
        confusion.mean_iou,
        confusion.mean_iou_foreground,
        confusion.pixel_accuracy,
        *confusion.iou,
        *confusion.dice,
    ]


def none_is_nan(row) -> list:
    return [np.nan if value is None else value for value in row]


@given(COUNTS)
def test_the_scores_of_an_array_are_those_of_confusion(counts):
    found = scores(margins(counts))
    for row, image in zip(found, counts, strict=True):
        np.testing.assert_allclose(row, none_is_nan(row_of(Confusion(image))))


def test_a_mean_among_given_classes_is_undefined_where_one_of_them_is():
    rows = margins(IMAGES)
    row = scores(rows, np.array([True, True, True]))[0]
    assert np.isnan(row[:2]).all()
    assert not np.isnan(row[2:5]).any()
    assert scores(rows, np.array([True, True, False]))[0, 0] == pytest.approx(Confusion(IMAGES[0]).mean_iou)


def test_pooled_scores_are_those_of_the_sum():
    found = [interval.value for interval in pooled(margins(IMAGES), ["a", "b", "c"])]
    assert found == pytest.approx(row_of(Confusion(IMAGES.sum(axis=0))))


def test_means_over_images_leave_out_what_is_undefined():
    found = over_images(scores(margins(IMAGES)), ["a", "b", "c"])
    each = [row_of(Confusion(image)) for image in IMAGES]
    assert found[0].value == pytest.approx(np.mean([row[0] for row in each]))
    assert found[5].value == pytest.approx(8 / 10)
    assert [interval.units for interval in found[3:6]] == [3, 3, 1]


def test_a_class_in_one_image_has_no_interval_and_neither_has_the_mean_over_classes():
    found = pooled(margins(IMAGES), ["a", "b", "c"])
    without = [place for place, interval in enumerate(found) if interval.low is None]
    assert without == [0, 1, 5, 8]  # mean IoU, that of the foreground, IoU and Dice of blob
    assert found[5][0] == pytest.approx(8 / 10)
    assert (found[5].units, found[3].units) == (1, 3)


def test_an_image_without_a_pixel_that_counts_is_no_unit():
    more = np.concatenate([IMAGES, np.zeros((1, 3, 3), int)])
    assert pooled(margins(more), list("abcd")) == pooled(margins(IMAGES), list("abc"))


def test_images_of_a_group_are_one_unit():
    counts = np.concatenate([IMAGES, IMAGES[::-1]])
    groups = ["a", "b", "c", "c", "b", "a"]
    doubled = pooled(margins(counts), groups)
    alone = pooled(margins(IMAGES), ["a", "b", "c"])
    for one, other in zip(doubled, alone, strict=True):
        assert one[1:] == pytest.approx(other[1:])
    means = over_images(scores(margins(counts)), groups)
    for one, other in zip(means, over_images(scores(margins(IMAGES)), ["a", "b", "c"]), strict=True):
        assert one[1:] == pytest.approx(other[1:])


def test_groups_of_unequal_size_keep_the_mean_over_images():
    values = np.array([[0.9], [0.7], [0.5]])
    (interval,) = over_images(values, ["a", "b", "b"])
    assert interval.value == pytest.approx(0.7)
    # Without a: 0.6; without b: 0.9. √(1/2 (0.15² + 0.15²)) = 0.15, and t is 12.706.
    assert interval[1:] == (0, 1, 2)
    (wide,) = over_images(values, ["a", "b", "b"], bounds=(-9.0, 9.0))
    assert wide[1:3] == pytest.approx((0.7 - 12.706 * 0.15, 0.7 + 12.706 * 0.15), abs=1e-3)


def test_the_document_has_both_ways_under_the_same_names_as_plain_json():
    found = json.loads(json.dumps(statistics_of(IMAGES, None, NAMES), allow_nan=False))
    assert list(found) == ["unit", "units", "note", "pooled", "images"]
    assert (found["unit"], found["units"]) == ("image", 3)
    for way in ("pooled", "images"):
        assert list(found[way]) == ["mean_iou", "mean_iou_foreground", "pixel_accuracy", "iou", "dice"]
        assert len(found[way]["iou"]) == len(found[way]["dice"]) == 3
    assert found["pooled"]["iou"][2] == {
        "value": 0.8, "low": None, "high": None, "units": 1, "approximate": True,
    }  # fmt: skip
    accuracy = found["pooled"]["pixel_accuracy"]
    assert accuracy["value"] == 218 / 249
    assert accuracy["low"] < accuracy["value"] < accuracy["high"]
    assert found["note"].endswith("blob is in one image only, which leaves it, and mean IoU, without one")


def test_one_image_has_scores_only():
    found = statistics_of(IMAGES[:1], None, NAMES)
    assert found["pooled"]["pixel_accuracy"] == {
        "value": 70 / 78, "low": None, "high": None, "units": 1, "approximate": True,
    }  # fmt: skip
    assert (
        found["note"] == "no intervals: one image is all there is, and nothing tells how others would differ"
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("image", 30, 30), "95 % intervals over 30 images"),
        (("image", 2, 2), "95 % intervals over 2 images; approximate: fewer than 30"),
        (("group", 5, 12), "95 % intervals over 5 groups of 12 images; approximate: fewer than 30"),
        (
            ("group", 1, 12),
            "no intervals: all 12 images are of one group, which is all there is, and nothing tells how others would differ",
        ),
        (
            ("image", 40, 40, ["a", "b"]),
            "95 % intervals over 40 images; a, b are in one image only, which leaves them, and mean IoU, without one",
        ),
    ],
)
def test_the_note_says_what_intervals_rest_on(words, sentence):
    assert note(*words) == sentence


def test_the_names_of_a_row_are_those_of_its_items():
    row = list(range(9))
    assert named(row, 3) == {
        "mean_iou": 0, "mean_iou_foreground": 1, "pixel_accuracy": 2, "iou": [3, 4, 5], "dice": [6, 7, 8],
    }  # fmt: skip
