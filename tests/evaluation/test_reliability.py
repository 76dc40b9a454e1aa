"""Reliability against figures worked by hand, a slow reference, and what must hold however an image is cut."""

import json
from fractions import Fraction

import numpy as np
import pytest

from patchseg.errors import DataError
from patchseg.evaluation import reliability as module
from patchseg.evaluation.reliability import Reliability


def drawn(seed=0, classes=3, pixels=400):
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.ones(classes), pixels).T.astype(np.float16)
    truth = random.integers(0, classes, pixels).astype(np.uint8)
    truth[random.random(pixels) < 0.2] = 255
    return probabilities, truth


def slow(probabilities, truth, bins):
    """Sort pixel by pixel, in fractions, into the bins of Guo et al.: ((m - 1) / M, m / M]."""
    members = [[] for _ in range(bins)]
    for column, true in zip(probabilities.T.tolist(), truth.tolist(), strict=True):
        if true != 255:
            confidence = Fraction(max(column))
            place = next(m for m in range(bins) if confidence <= Fraction(m + 1, bins))
            members[place].append((confidence, column.index(max(column)) == true))
    total = sum(map(len, members))
    return float(
        sum(abs(sum(right for _, right in bin) - sum(confidence for confidence, _ in bin)) for bin in members)
        / total
    )


def same(one, other):
    return all((getattr(one, part) == getattr(other, part)).all() for part in ("count", "hits", "sums"))


def test_four_pixels_worked_by_hand():
    # Confidences 0.75 (right), 0.75 (wrong) and 0.625 (right) in the upper half, 0.5 (wrong) in the lower.
    probabilities = np.array([[0.75, 0.25, 0.625, 0.5], [0.25, 0.75, 0.375, 0.5]], np.float32)
    reliability = Reliability.of(probabilities, np.array([0, 0, 0, 1], np.uint8), bins=2)
    assert reliability.as_dict() == {
        "edges": [0, 0.5, 1],
        "count": [1, 3],
        "confidence": [0.5, 2.125 / 3],
        "accuracy": [0, 2 / 3],
    }
    assert reliability.ece == pytest.approx((abs(0 - 0.5) + abs(2 - 2.125)) / 4)


@pytest.mark.parametrize("bins", [1, 2, 10, 15])
@pytest.mark.parametrize("seed", range(3))
def test_a_slow_count_pixel_by_pixel_gives_the_same_error(bins, seed):
    probabilities, truth = drawn(seed)
    assert Reliability.of(probabilities, truth, bins).ece == pytest.approx(
        slow(probabilities, truth, bins), abs=1e-12
    )


def test_confidence_on_an_edge_belongs_to_the_lower_bin_and_0_to_the_first():
    probabilities = np.array([[0.25, 0.5, 0.75, 1.0, 0.0]])
    reliability = Reliability.of(probabilities, np.zeros(5, np.uint8), bins=4)
    assert reliability.count.tolist() == [2, 1, 1, 1]


def test_every_byte_that_lies_on_an_edge_belongs_to_the_lower_bin():
    probabilities = np.arange(17, 256, 17)[None] / 255  # 1/15, 2/15, ...
    assert Reliability.of(probabilities, np.zeros(15, np.uint8)).count.tolist() == [1] * 15


def test_ignored_pixels_do_not_count_even_where_they_hold_no_probability():
    probabilities, truth = drawn()
    probabilities[:, truth == 255] = np.nan
    known = truth != 255
    assert same(Reliability.of(probabilities, truth), Reliability.of(probabilities[:, known], truth[known]))


@pytest.mark.parametrize("rows", [1, 3, 7])
def test_blocks_of_any_height_add_up_to_the_whole(rows):
    probabilities, truth = drawn()
    probabilities, truth = probabilities.reshape(3, 20, 20), truth.reshape(20, 20)
    total = Reliability.empty()
    for top in range(0, 20, rows):
        total += Reliability.of(probabilities[:, top : top + rows], truth[top : top + rows])
    assert same(total, Reliability.of(probabilities, truth))


def test_blocks_that_are_counted_at_once_do_not_matter(monkeypatch):
    whole = Reliability.of(*drawn())
    monkeypatch.setattr(module, "_BLOCK", 7)
    assert same(whole, Reliability.of(*drawn()))


def test_nothing_seen_is_no_error_and_fits_into_json():
    reliability = Reliability.of(np.zeros((2, 3)), np.full(3, 255, np.uint8), bins=2)
    assert reliability.ece == 0
    assert json.loads(json.dumps(reliability.as_dict()))["accuracy"] == [None, None]


def test_rounding_beyond_1_is_taken_for_1():
    reliability = Reliability.of(np.array([[1.0001], [0.0]]), np.array([0], np.uint8))
    assert reliability.confidence[-1] == 1


@pytest.mark.parametrize(
    ("probabilities", "truth", "said"),
    [
        (np.zeros((2, 3)), [0, 0], r"probabilities of 3 and truth of 2 pixels cannot be compared"),
        (np.zeros((2, 2)), [0, 2], r"truth: value 2 is no class \(0 to 1, or 255 to ignore\)"),
        (np.array([[0.5, np.nan]]), [0, 0], r"hold numbers below 0, above 1, or NaN"),
        (np.array([[0.5, 1.5]]), [0, 0], r"hold numbers below 0, above 1, or NaN"),
        (np.array([[0.5], [-0.1]]), [0], r"hold numbers below 0, above 1, or NaN"),
    ],
)
def test_what_are_no_probabilities_of_the_truth_is_told(probabilities, truth, said):
    with pytest.raises(DataError, match=said):
        Reliability.of(probabilities, np.array(truth, np.uint8))
