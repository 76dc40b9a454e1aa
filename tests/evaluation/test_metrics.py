"""Scores against figures worked by hand, and what must hold for any pair of masks."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchseg.errors import DataError
from patchseg.evaluation import metrics
from patchseg.evaluation.metrics import METRICS, Confusion

K = 4
CLASS_OR_IGNORED = st.sampled_from([*range(K), 255])
MASKS = st.lists(st.tuples(CLASS_OR_IGNORED, CLASS_OR_IGNORED), max_size=60).map(
    lambda pairs: np.array(pairs, np.uint8).reshape(-1, 2)
)


def mask(*values: int) -> np.ndarray:
    return np.array(values, np.uint8).reshape(1, -1)


def slow_counts(truth, prediction):
    counts = np.zeros((K, K), np.int64)
    for true, predicted in zip(truth.tolist(), prediction.tolist(), strict=True):
        if true != 255 and predicted != 255:
            counts[true, predicted] += 1
    return counts


def test_four_pixels_worked_by_hand():
    # truth 0 0 1 1, prediction 0 1 1 1: class 0 shares 1 of 2 pixels, class 1 shares 2 of 3
    confusion = Confusion.of(mask(0, 0, 1, 1), mask(0, 1, 1, 1), 2)
    assert confusion.counts.tolist() == [[1, 1], [0, 2]]
    assert confusion.iou == [1 / 2, 2 / 3]
    assert confusion.dice == [2 / 3, 4 / 5]
    assert confusion.precision == [1, 2 / 3]
    assert confusion.recall == [1 / 2, 1]
    assert confusion.pixel_accuracy == 3 / 4
    assert confusion.mean_iou == pytest.approx(7 / 12)
    assert confusion.mean_iou_foreground == pytest.approx(2 / 3)


def test_rows_are_the_truth():
    assert Confusion.of(mask(1), mask(2), 3).counts.tolist() == [[0, 0, 0], [0, 0, 1], [0, 0, 0]]


def test_255_in_either_is_left_out():
    assert Confusion.of(mask(255, 0, 255, 1), mask(1, 255, 255, 1), 2).counts.tolist() == [[0, 0], [0, 1]]


def test_a_class_that_is_nowhere_has_no_score():
    confusion = Confusion.of(mask(0, 0, 0, 0), mask(0, 0, 0, 0), 2)
    assert [confusion.score(metric)[1] for metric in METRICS] == [None] * 4
    assert (confusion.mean_iou, confusion.mean_iou_foreground) == (1.0, None)


def test_a_class_never_predicted_has_no_precision_and_scores_zero():
    confusion = Confusion.of(mask(0, 0, 1, 1), mask(0, 0, 0, 0), 2)
    assert (confusion.iou[1], confusion.dice[1], confusion.precision[1], confusion.recall[1]) == (
        0,
        0,
        None,
        0,
    )


def test_a_class_never_true_has_no_recall_and_scores_zero():
    confusion = Confusion.of(mask(0, 0, 0, 0), mask(0, 0, 1, 1), 2)
    assert (confusion.iou[1], confusion.dice[1], confusion.precision[1], confusion.recall[1]) == (
        0,
        0,
        0,
        None,
    )


def test_no_pixels_have_no_scores():
    confusion = Confusion.of(mask(255, 255), mask(0, 1), 2)
    assert (confusion.mean_iou, confusion.mean_iou_foreground, confusion.pixel_accuracy) == (None, None, None)


@given(MASKS)
def test_counts_equal_those_of_a_loop(pairs):
    truth, prediction = pairs.T
    np.testing.assert_array_equal(Confusion.of(truth, prediction, K).counts, slow_counts(truth, prediction))


@given(MASKS, st.integers(0, 60))
def test_the_parts_of_an_image_add_up_to_the_whole(pairs, cut):
    whole = Confusion.of(pairs[:, 0], pairs[:, 1], K)
    parts = [Confusion.of(part[:, 0], part[:, 1], K) for part in (pairs[:cut], pairs[cut:])]
    np.testing.assert_array_equal(sum(parts, Confusion.empty(K)).counts, whole.counts)


@given(MASKS, st.permutations(range(K)))
def test_renaming_the_classes_permutes_the_scores(pairs, order):
    rename = np.arange(256, dtype=np.uint8)
    rename[:K] = order
    before, after = (Confusion.of(p[:, 0], p[:, 1], K) for p in (pairs, rename[pairs]))
    for metric in METRICS:
        assert [after.score(metric)[new] for new in order] == before.score(metric)
    assert after.pixel_accuracy == before.pixel_accuracy


@given(MASKS)
def test_swapping_truth_and_prediction_swaps_precision_and_recall(pairs):
    forth, back = Confusion.of(*pairs.T, K), Confusion.of(*pairs.T[::-1], K)
    assert (forth.precision, forth.iou, forth.dice) == (back.recall, back.iou, back.dice)


@given(MASKS)
def test_dice_follows_from_iou(pairs):
    confusion = Confusion.of(*pairs.T, K)
    for iou, dice in zip(confusion.iou, confusion.dice, strict=True):
        assert (iou is None) == (dice is None)
        assert iou is None or dice == pytest.approx(2 * iou / (1 + iou))


def test_large_masks_are_counted_block_by_block(monkeypatch):
    truth, prediction = np.random.default_rng(0).integers(0, K, (2, 30, 7), np.uint8)
    monkeypatch.setattr(metrics, "BLOCK", 16)
    expected = slow_counts(truth.ravel(), prediction.ravel())
    np.testing.assert_array_equal(Confusion.of(truth, prediction, K).counts, expected)


def test_every_value_but_255_can_be_a_class():
    values = np.arange(256, dtype=np.uint8)[np.newaxis]
    assert Confusion.of(values, values, 255).counts.trace() == 255


@pytest.mark.parametrize(
    ("truth", "prediction", "sentence"),
    [
        (mask(0, 2, 2), mask(0, 0, 1), "truth: value 2 in 2 pixels is no class"),
        (mask(0, 255, 1), mask(0, 7, 1), "prediction: value 7 in 1 pixels is no class"),
        (mask(0, 1, 1), mask(0, 1), "truth of 1 x 3 and prediction of 1 x 2 pixels"),
        (mask(0, 1), mask(0, 1).astype(np.int64), "masks hold uint8 and int64"),
    ],
)
def test_what_cannot_be_compared_is_refused(truth, prediction, sentence):
    with pytest.raises(DataError, match=sentence):
        Confusion.of(truth, prediction, 2)


def test_the_dictionary_holds_every_score_as_plain_json():
    confusion = Confusion.of(mask(0, 0, 1, 1), mask(0, 1, 1, 1), 3)
    assert json.loads(json.dumps(confusion.as_dict(["ground", "tree", "roof"]), allow_nan=False)) == {
        "mean_iou": pytest.approx(7 / 12),
        "mean_iou_foreground": pytest.approx(2 / 3),
        "pixel_accuracy": 0.75,
        "classes": [
            {"name": "ground", "iou": 0.5, "dice": 2 / 3, "precision": 1.0, "recall": 0.5},
            {"name": "tree", "iou": 2 / 3, "dice": 0.8, "precision": 2 / 3, "recall": 1.0},
            {"name": "roof", "iou": None, "dice": None, "precision": None, "recall": None},
        ],
    }
