"""ROC-AUC and average precision, against figures worked by hand and all pairs of pixels, one by one."""

import numpy as np
import pytest

from patchseg.errors import DataError
from patchseg.evaluation.ranking import Ranking


def slow_auc(scores, inside):
    """Count of all pairs of a pixel of the class and one of the rest how often the first scores higher; ties are halves."""
    pairs = [(one, other) for one in scores[inside] for other in scores[~inside]]
    return sum(1.0 if one > other else 0.5 if one == other else 0.0 for one, other in pairs) / len(pairs)


def slow_precision(scores, inside):
    """Add up precision times gained recall over all thresholds, each by looking at all pixels."""
    total, before = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        taken = scores >= threshold
        recall = inside[taken].sum() / inside.sum()
        total += (recall - before) * inside[taken].mean()
        before = recall
    return total


def drawn(seed, dtype, classes=3, pixels=150):
    random = np.random.default_rng(seed)
    shares = random.dirichlet(np.ones(classes), pixels).T
    truth = random.integers(0, classes, pixels).astype(np.uint8)
    truth[random.random(pixels) < 0.2] = 255
    # Coarse, so that there are ties.
    return (np.round(shares * 12) * 20).astype(np.uint8) if dtype == "uint8" else np.round(shares, 1).astype(
        np.float16
    ), truth


def binary(scores, truth):
    scores = np.array(scores, np.float16)
    return Ranking.of(np.stack([1 - scores, scores]), np.array(truth, np.uint8))


def test_four_pixels_worked_by_hand():
    # The example of scikit-learn's documentation: AUC 0.75, average precision 0.8333.
    ranking = binary([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    assert ranking.roc_auc[1] == 0.75
    assert ranking.average_precision[1] == pytest.approx(1 / 2 * 1 + 1 / 2 * 2 / 3)


def test_equal_probabilities_say_nothing():
    ranking = binary([0.5, 0.5, 0.5, 0.5], [0, 0, 0, 1])
    assert ranking.roc_auc[1] == 0.5
    assert ranking.average_precision[1] == 0.25  # the share of the class


def test_right_order_is_1_and_wrong_order_0():
    assert binary([0.25, 0.5], [0, 1]).roc_auc == [1, 1]
    assert binary([0.25, 0.5], [1, 0]).roc_auc == [0, 0]


def test_a_class_that_no_pixel_has_or_all_have_is_undefined():
    ranking = binary([0.5, 0.75], [1, 1])
    assert ranking.roc_auc == [None, None]
    assert ranking.average_precision == [None, 1]


@pytest.mark.parametrize("dtype", ["uint8", "float16"])
@pytest.mark.parametrize("seed", range(3))
def test_all_pairs_of_pixels_give_the_same(seed, dtype):
    probabilities, truth = drawn(seed, dtype)
    ranking, known = Ranking.of(probabilities, truth), truth != 255
    for index, scores in enumerate(probabilities[:, known].astype(np.float64)):
        inside = truth[known] == index
        assert ranking.roc_auc[index] == pytest.approx(slow_auc(scores, inside), abs=1e-12)
        assert ranking.average_precision[index] == pytest.approx(slow_precision(scores, inside), abs=1e-12)


def test_neighbouring_halves_are_told_apart_and_all_of_them_counted():
    halves = np.arange(0x3C01, dtype=np.uint16).view(np.float16)  # every one from 0 to 1
    truth = np.arange(len(halves)) >= 7000
    ranking = Ranking.of(np.stack([halves, halves]), truth.astype(np.uint8))
    assert ranking.roc_auc == [0, 1]
    assert (ranking.inside[0] + ranking.outside[0]).tolist() == [1] * len(halves)


def test_the_zero_that_has_a_sign_is_zero():
    ranking = binary([-0.0, 0.0], [0, 1])
    assert ranking.roc_auc[1] == 0.5


@pytest.mark.parametrize("dtype", ["uint8", "float16"])
def test_blocks_add_up_to_the_whole_and_ignored_pixels_count_for_nothing(dtype):
    probabilities, truth = drawn(5, dtype)
    if dtype == "float16":
        probabilities[:, truth == 255] = np.nan
    total = Ranking.empty(3, dtype)
    for start in range(0, 150, 40):
        total += Ranking.of(probabilities[:, start : start + 40], truth[start : start + 40])
    known = Ranking.of(probabilities[:, truth != 255], truth[truth != 255])
    assert (total.inside == known.inside).all()
    assert (total.outside == known.outside).all()


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -0.25, 1.5])
def test_what_is_no_probability_is_refused(wrong):
    with pytest.raises(DataError, match="hold numbers below 0, above 1, or NaN; expected shares from 0 to 1"):
        binary([0.5, wrong], [0, 1])
