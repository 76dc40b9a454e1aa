"""Objects that match, against figures worked by hand and a slow search through all pairs of whole masks."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from patchseg.evaluation import objects as module
from patchseg.evaluation.objects import ObjectCounts, Objects


def mask(*rows):
    """Return class indices of digits; a dot is ignored."""
    return np.array([[255 if c == "." else int(c) for c in row] for row in rows], np.uint8)


def count(truth, predicted, classes=2, rows=None):
    found = Objects(classes)
    for top in range(0, len(truth), rows or len(truth)):
        found.add(truth[top : top + (rows or len(truth))], predicted[top : top + (rows or len(truth))])
    return found.counts()


def numbers(counts, index=1):
    return tuple(int(part[index]) for part in (counts.found, counts.extra, counts.missed))


def slow(truth, predicted, classes):
    """Compare every true object with every predicted one of its class, as sets of pixels."""
    known = (truth != 255) & (predicted != 255)
    lines = []
    for index in range(1, classes):
        true, guessed = (
            [labels == n for n in range(1, count + 1)]
            for labels, count in (
                ndimage.label((mask == index) & known, np.ones((3, 3))) for mask in (truth, predicted)
            )
        )
        ious = [(a & b).sum() / (a | b).sum() for a in true for b in guessed]
        matches = [iou for iou in ious if iou > 0.5]
        found = len(matches)
        lines.append((found, len(guessed) - found, len(true) - found, pytest.approx(sum(matches))))
    return lines


def test_one_found_one_missed_and_one_made_up_worked_by_hand():
    truth = mask("1110000000", "1110000011")
    predicted = mask("0110010000", "0110000000")
    counts = count(truth, predicted)
    assert numbers(counts) == (1, 1, 1)
    [line] = counts.as_dict(["ground", "cell"])
    assert line == {
        "name": "cell", "tp": 1, "fp": 1, "fn": 1, "precision": 0.5, "recall": 0.5, "f1": 0.5,
        "segmentation_quality": 4 / 6, "panoptic_quality": 4 / 6 / 2,
    }  # fmt: skip


def test_half_of_the_union_is_no_match_and_more_is():
    # Both halves of an object share exactly half of the union: neither is the one.
    assert numbers(count(mask("1111"), mask("1100"))) == (0, 1, 1)
    assert numbers(count(mask("11110"), mask("01110"))) == (1, 0, 0)


def test_pixels_that_touch_at_a_corner_are_one_object():
    assert numbers(count(mask("100", "010", "001"), mask("100", "010", "001"))) == (1, 0, 0)


def test_objects_of_two_classes_that_touch_are_two_and_do_not_match_across_classes():
    counts = count(mask("1122"), mask("2211"), classes=3)
    assert numbers(counts, 1) == numbers(counts, 2) == (0, 1, 1)
    assert numbers(count(mask("1122"), mask("1122"), classes=3), 2) == (1, 0, 0)


def test_ignored_pixels_belong_to_no_object_of_either():
    # Beyond the ignored column lie two objects each.
    assert numbers(count(mask("11.11"), mask("11111"))) == (2, 0, 0)
    assert numbers(count(mask("11111"), mask("11.11"))) == (2, 0, 0)
    # What is predicted where the truth says nothing is not made up.
    assert numbers(count(mask("00..."), mask("00111"))) == (0, 0, 0)


def test_objects_that_join_only_in_a_later_band_are_one():
    truth = mask("10001", "10001", "11111")
    for rows in (1, 2, 3):
        assert numbers(count(truth, truth, rows=rows)) == (1, 0, 0)
    # And at a corner, across two bands.
    truth = mask("0100", "0010", "0100")
    assert numbers(count(truth, truth, rows=1)) == (1, 0, 0)


def test_nothing_to_find_has_no_score_and_nothing_found_scores_zero():
    none, missed = (count(truth, mask("000")).as_dict(["a", "b"])[0] for truth in (mask("000"), mask("010")))
    scores = ("precision", "recall", "f1", "segmentation_quality", "panoptic_quality")
    assert [none[key] for key in scores] == [None] * 5
    assert [missed[key] for key in scores] == [None, 0, 0, None, 0]


def test_counts_of_images_add_up():
    one, other = count(mask("1100"), mask("1100")), count(mask("0110"), mask("0000"))
    total = one + other
    assert numbers(total) == (1, 0, 1)
    assert total.overlap.tolist() == [0, 1]
    assert numbers(ObjectCounts.empty(2) + total) == (1, 0, 1)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 7), st.sampled_from([0.3, 0.6]))
def test_a_slow_search_finds_the_same_whatever_the_height_of_bands(seed, rows, density):
    random = np.random.default_rng(seed)
    truth = np.where(random.random((7, 9)) < density, random.integers(1, 3, (7, 9)), 0).astype(np.uint8)
    predicted = np.where(random.random((7, 9)) < 0.2, random.integers(0, 3, (7, 9)), truth).astype(np.uint8)
    truth[random.random((7, 9)) < 0.05] = 255
    predicted[random.random((7, 9)) < 0.05] = 255
    counts = count(truth, predicted, 3, rows)
    whole = count(truth, predicted, 3)
    assert counts.overlap.tolist() == whole.overlap.tolist()
    assert [(*numbers(counts, index), counts.overlap[index]) for index in (1, 2)] == slow(truth, predicted, 3)


def test_a_band_is_labelled_in_parts_that_do_not_matter(monkeypatch):
    random = np.random.default_rng(0)
    truth, predicted = (random.random((2, 40, 30)) < 0.5).astype(np.uint8)
    whole = count(truth, predicted)
    monkeypatch.setattr(module, "_BAND", 70)
    parts = count(truth, predicted)
    assert numbers(parts) == numbers(whole)
    assert parts.overlap.tolist() == whole.overlap.tolist()


def test_memory_grows_with_the_objects_not_with_the_height():
    band = np.zeros((8, 2048), np.uint8)
    band[2:6, 100:1900] = band[:, 2000] = 1  # an object a band, and one that runs through all

    def peak(bands):
        found = Objects(2)
        tracemalloc.start()
        for _ in range(bands):
            found.add(band, band)
        counts = found.counts()
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert numbers(counts) == (bands + 1, 0, 0)
        return top

    # 16 kB of pixels a band, in each of two masks, become less than 3 kB of numbers (and their arrays).
    assert peak(200) - peak(2) < 200 * 3000
