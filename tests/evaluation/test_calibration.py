"""What is fitted: by pixels whose temperature is known, by hand, and by slow references."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from patchseg.errors import DataError
from patchseg.evaluation.calibration import (
    HOTTEST,
    Pixels,
    Sample,
    confusion,
    fit_temperature,
    fit_thresholds,
    meaning,
    negative_log_likelihood,
    slope,
)


def pixels(probabilities, truth):
    return Pixels(np.asarray(probabilities, np.float32), np.asarray(truth, np.uint8))


def binary(ones, truth):
    """Return pixels of two classes by the probabilities of the second."""
    ones = np.asarray(ones, np.float32)
    return pixels(np.stack([1 - ones, ones]), truth)


def too_sure(by, *, classes=3, count=200_000, seed=0):
    """Return pixels whose truth is drawn from softmax(z), and whose probabilities are softmax(by * z)."""
    draw = np.random.default_rng(seed)
    logits = draw.normal(0, 1.5, (classes, count))
    truth = (softmax(logits, axis=0).cumsum(axis=0) < draw.random(count)).sum(axis=0)
    return pixels(softmax(by * logits, axis=0), truth)


def calibrated(known, temperature):
    return pixels(softmax(np.log(known.probabilities.astype(float)) / temperature, axis=0), known.truth)


@pytest.mark.parametrize("by", [0.5, 1.0, 2.0, 3.0])
def test_logits_that_are_scaled_give_their_scale_back(by):
    assert fit_temperature(too_sure(by)) == pytest.approx(by, rel=0.02)


def test_pixels_that_are_as_sure_as_right_keep_their_likelihood():
    known = too_sure(1.0)
    assert slope(known, 1.0) == pytest.approx(0, abs=5e-3)


@given(st.integers(0, 999), st.integers(2, 5), st.integers(20, 300))
def test_it_is_the_minimum_that_a_search_without_a_slope_finds(seed, classes, count):
    known = too_sure(1.7, classes=classes, count=count, seed=seed)

    def loss(log_temperature):
        return negative_log_likelihood(calibrated(known, np.exp(log_temperature)))

    found = fit_temperature(known)
    reference = minimize_scalar(loss, bounds=(-np.log(HOTTEST), np.log(HOTTEST)), method="bounded")
    assert loss(np.log(found)) <= reference.fun + 1e-6
    assert loss(np.log(found)) <= negative_log_likelihood(known) + 1e-6


def test_the_slope_is_that_of_the_likelihood():
    known, step = too_sure(2.0, count=500), 1e-3
    above, below = (negative_log_likelihood(calibrated(known, 1 / (0.8 + d))) for d in (step, -step))
    assert slope(known, 0.8) == pytest.approx((above - below) / (2 * step), rel=1e-3)


def test_where_no_temperature_is_best_it_is_the_end_of_the_range():
    assert fit_temperature(binary([0.9, 0.2], [1, 0])) == 1 / HOTTEST  # all right: the surer, the better
    assert fit_temperature(binary([0.9, 0.2], [0, 1])) == HOTTEST  # all wrong


def test_a_hand_worked_temperature():
    # Three of four pixels that say 0.9 are right. At T it should be 3/4: (0.9 / 0.1)^(1/T) = 3, so T = 2.
    assert fit_temperature(binary([0.9] * 4, [1, 1, 1, 0])) == pytest.approx(2, rel=1e-6)


def test_without_pixels_there_is_nothing_to_fit():
    with pytest.raises(DataError, match="no pixel has both a class and a prediction"):
        fit_temperature(Sample(3).pixels())


# Thresholds


def test_thresholds_part_what_can_be_parted_worked_by_hand():
    known = binary([0.1, 0.2, 0.25, 0.05, 0.3, 0.4, 0.9], [0, 0, 0, 0, 1, 1, 1])
    assert confusion(known).counts.tolist() == [[4, 0], [2, 1]]
    thresholds = fit_thresholds(known)
    assert 0.25 < thresholds[1] <= 0.3001
    assert sum(thresholds) == pytest.approx(1)
    assert confusion(known, thresholds).mean_iou == 1


def test_three_classes_are_parted_one_after_the_other():
    draw = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], [800, 150, 50])
    logits = draw.normal(0, 0.5, (3, 1000)) + 4 * (np.arange(3)[:, None] == truth)
    shifted = softmax(logits - np.array([0, 5, 4])[:, None], axis=0)  # two classes are seen too seldom
    known = pixels(shifted, truth)
    assert confusion(known).mean_iou < 0.8
    assert confusion(known, fit_thresholds(known)).mean_iou > 0.99


@given(st.integers(0, 999), st.integers(2, 4), st.integers(5, 80), st.sampled_from([1, 10, 255]))
def test_thresholds_are_never_worse_than_none_nor_better_than_the_best(seed, classes, count, levels):
    draw = np.random.default_rng(seed)
    # Of few levels, so that many pixels are equal, as they are in files of bytes.
    shares = np.round(draw.dirichlet(np.ones(classes), count).T * levels) + 1e-3
    known = pixels(shares / shares.sum(axis=0), draw.integers(0, classes, count))
    found = confusion(known, fit_thresholds(known)).mean_iou
    assert found >= confusion(known).mean_iou - 1e-12
    if classes == 2:
        ones = np.unique(known.probabilities[1])
        cuts = [0.0, *((ones[:-1] + ones[1:]) / 2), 1.0]
        best = max(confusion(known, [1 - cut + 1e-9, cut + 1e-9]).mean_iou for cut in cuts)
        assert found <= best + 1e-12


def test_a_class_that_is_nowhere_keeps_its_threshold():
    known = pixels([[0.6, 0.3], [0.3, 0.6], [0.1, 0.1]], [0, 1])
    assert fit_thresholds(known) == pytest.approx([1 / 3] * 3)


# The sample


def test_pixels_without_a_class_or_a_prediction_are_left_out_and_zeros_are_lifted():
    sample = Sample(2)
    shares = np.array([[[1.0, 0.25, 0.0, 0.5]], [[0.0, 0.75, 0.0, 0.5]]])
    assert sample.add(shares, np.array([[1, 0, 0, 255]], np.uint8), zero=0.25) == 2
    kept = sample.pixels()
    np.testing.assert_allclose(kept.probabilities, [[0.8, 0.25], [0.2, 0.75]], rtol=1e-6)
    assert kept.truth.tolist() == [1, 0]


def test_of_too_many_pixels_a_seeded_share_is_kept_whatever_the_bands():
    draw = np.random.default_rng(0)
    shares = draw.dirichlet([1, 1], (100, 50)).transpose(2, 0, 1).astype(np.float32)
    truth = draw.integers(0, 2, (100, 50), dtype=np.uint8)
    found = []
    for band, seed in ((100, 0), (1, 0), (33, 0), (33, 1)):
        sample = Sample(2, seed=seed, most=700)
        for top in range(0, 100, band):
            sample.add(shares[:, top : top + band], truth[top : top + band])
        found.append(sample.pixels())
    first, *others, other_seed = found
    assert 350 <= len(first.truth) <= 700
    for other in others:
        np.testing.assert_array_equal(other.probabilities, first.probabilities)
        np.testing.assert_array_equal(other.truth, first.truth)
    assert (
        other_seed.probabilities.shape != first.probabilities.shape
        or (other_seed.probabilities != first.probabilities).any()
    )


def test_every_pixel_has_the_same_chance_to_be_kept():
    shares = np.full((2, 1), 0.5)
    counts = np.zeros(4)
    for seed in range(300):
        sample = Sample(2, seed=seed, most=20)
        for number in range(40):  # the quarter in which it comes is its class or so
            sample.add(shares * (1 + number // 10 / 10), np.zeros(1, np.uint8))
        sizes = sample.pixels().truth.size
        assert 0 < sizes <= 20
        counts += np.histogram(_order(sample), [0, 10, 20, 30, 40])[0]
    assert counts.min() > 0.85 * counts.max()


def _order(sample):
    """Return the places in the stream at which the kept pixels came."""
    return [number for number, (_, truth, _) in enumerate(sample._parts) for _ in truth]


def test_with_many_classes_fewer_pixels_are_kept():
    assert Sample(254)._most < Sample(8)._most == 2**22


def test_a_truth_that_is_no_class_is_refused():
    with pytest.raises(DataError, match=r"value 2 of the truth is no class \(0 to 1, or 255 to ignore\)"):
        Sample(2).add(np.full((2, 3), 0.5), np.array([0, 2, 255], np.uint8))


# In words


def told(temperature, confidence=(0.55, 0.95), accuracy=(0.55, 0.88), count=(10, 90)):
    reliability = {"count": count, "confidence": confidence, "accuracy": accuracy}
    return meaning({"temperature": temperature, "reliability_before": reliability})


def test_the_sentence_names_the_bin_that_says_most():
    assert told(1.5) == "The probabilities were too sure: what said 0.95 was right 0.88 of the time."
    found = told(0.7, accuracy=(0.9, 0.96), count=(50, 50))
    assert found == "The probabilities were not sure enough: what said 0.55 was right 0.90 of the time."


def test_the_sentence_has_no_example_that_contradicts_it():
    assert told(1.5, accuracy=(0.6, 0.99)) == "The probabilities were too sure."
    assert told(1.01) == "The probabilities were about as sure as they were right."


def test_empty_bins_say_nothing():
    found = told(1.5, confidence=(None, 0.95), accuracy=(None, 0.9), count=(0, 4))
    assert found.endswith("what said 0.95 was right 0.90 of the time.")
