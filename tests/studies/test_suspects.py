import numpy as np
import pytest

from patchseg.imaging import ArraySource, Box
from patchseg.studies.disagreement import Trio
from patchseg.studies.regions import Region
from patchseg.studies.shift import find_fit
from patchseg.studies.suspects import KINDS, Usual, joined, look, score_of, suspects_of
from patchseg.synth import draw

CLASSES = 3
SURE = Usual(np.ones(CLASSES, np.float32), 1.0)


def trio(given, predicted, lead=0.75):
    leads = np.broadcast_to(np.float16(lead), given.shape).copy()
    return Trio(
        given.shape, lambda box: given[box.slices], lambda box: predicted[box.slices], ArraySource(leads), CLASSES
    )  # fmt: skip


def audited(given, predicted, lead=0.75, *, usual=SURE, tolerance=2):
    layers = trio(given, predicted, lead)
    fit = find_fit(layers.given, layers.predicted, layers.shape)
    return suspects_of("a", layers, fit, usual=usual, tolerance=tolerance)


@pytest.fixture
def empty():
    return np.zeros((2, 60, 60), np.uint8)


def test_an_object_that_is_missing_is_told_with_place_and_classes(empty):
    given, predicted = empty
    predicted[10:20, 30:35] = 2
    (found,) = audited(given, predicted)
    assert (found.kind, found.box, found.pixels) == ("missing object", Box(10, 30, 10, 5), 50)
    assert (found.image, found.given, found.predicted) == ("a", 0, 2)
    assert found.confidence == 0.75
    assert found.score == 0.75 * 50 / 75


def test_an_object_too_many_is_told_though_it_is_thin(empty):
    given, predicted = empty
    given[5:45, 30] = 1
    (found,) = audited(given, predicted)
    assert (found.kind, found.box, found.pixels) == ("extra object", Box(5, 30, 40, 1), 40)
    assert (found.given, found.predicted) == (1, 0)


def test_an_object_of_another_class_is_swapped(empty):
    given, predicted = empty
    given[10:20, 30:35], predicted[9:20, 30:36] = 1, 2
    (found,) = audited(given, predicted)
    assert (found.kind, found.given, found.predicted) == ("swapped class", 1, 2)
    # What is predicted around it goes with it.
    assert found.pixels == 11 * 6


def test_half_of_an_object_is_ragged_and_what_merely_touches_one_is_missing(empty):
    given, predicted = empty
    given[10:30, 10:20], predicted[10:30, 10:40] = 1, 1
    (found,) = audited(given, predicted)
    assert found.kind == "ragged outline"
    given[:], predicted[:] = 0, 0
    given[30:33, :], predicted[30:33, :], predicted[:28, 20:23] = 1, 1, 1
    (found,) = audited(given, predicted)
    assert found.kind == "missing object"


def test_outlines_that_wobble_within_the_tolerance_are_not_suspect(empty):
    given, predicted = empty
    given[10:30, 10:30], predicted[12:28, 12:28] = 1, 1
    assert audited(given, predicted) == []
    (found,) = audited(given, predicted, tolerance=1)
    assert found.kind == "ragged outline"
    predicted[:], predicted[13:33, 10:30] = 0, 1
    assert [found.kind for found in audited(given, predicted)] == ["shifted mask"]
    assert audited(given, predicted, tolerance=3) == []


def test_what_is_doubted_is_not_suspect_by_the_standards_of_its_class(empty):
    given, predicted = empty
    predicted[10:20, 30:35] = 2
    assert audited(given, predicted, 0.3) == []
    lower = Usual(np.array([1, 1, 0.4], np.float32), 1.0)
    (found,) = audited(given, predicted, 0.3, usual=lower)
    assert found.confidence == pytest.approx(0.3, abs=1e-3)
    assert found.score == pytest.approx(0.75 * 50 / 75, abs=1e-3)


def test_ignored_pixels_are_not_suspect(empty):
    given, predicted = empty
    predicted[10:20, 30:35] = 2
    given[10:20, 30:35] = 255
    assert audited(given, predicted) == []
    given[:] = 0
    given[40:50, 5:15], predicted[40:50, 5:15], predicted[10:20] = 1, 255, 0
    assert audited(given, predicted) == []


def test_an_object_that_another_crosses_is_one_suspect(empty):
    given, predicted = empty
    predicted[30:33, 5:55] = 1  # missing
    given[:, 28:34] = predicted[:, 28:34] = 2  # over it
    (found,) = audited(given, predicted)
    assert (found.kind, found.box) == ("missing object", Box(30, 5, 3, 50))


def test_objects_far_from_each_other_are_suspects_of_their_own(empty):
    given, predicted = empty
    predicted[2:8, 5:15], predicted[50:56, 5:15] = 1, 1
    assert len(audited(given, predicted)) == 2


def test_an_object_that_is_predicted_in_two_classes_is_one_suspect(empty):
    given, predicted = empty
    given[10:20, 10:30], predicted[10:20, 10:24] = 1, 2
    (found,) = audited(given, predicted)
    assert (found.kind, found.predicted, found.pixels) == ("swapped class", 2, 200)


def test_the_kind_is_that_of_the_strongest_region_whatever_it_takes_in(empty):
    given, predicted = empty
    # A line is missing, and with it what it covered of an ellipse, where that is predicted.
    given[10:54, 30:58] = predicted[10:54, 30:58] = 2
    given[28:36, 2:58], predicted[28:36, 2:30] = 0, 1
    (found,) = audited(given, predicted)
    assert (found.kind, found.given, found.predicted) == ("missing object", 0, 1)
    assert found.pixels > 8 * 28


def test_a_region_that_was_taken_in_takes_in_no_other():
    def region(code, weight, near):
        return Region(code, Box(0, 0, 1, 1), int(weight), (weight, weight, 0.0), frozenset(near))

    # 0 as 1, then 2 as 1, then 2 as 0: each has a class in common with the next, the first and the last have none.
    chain = [region(2, 9.0, {1}), region(8, 5.0, {0, 2}), region(7, 3.0, {1})]
    assert [(found.code, found.pixels) for found, _ in joined(chain, 3)] == [(2, 14), (7, 3)]


def test_a_shifted_mask_is_one_suspect_and_what_it_hides_another():
    _, mask = draw(0, 3, 200, 150)
    given = np.zeros_like(mask)
    given[6:, :-4] = mask[:-6, 4:]
    whole, *rest = audited(given, mask)
    assert (whole.kind, whole.box, whole.note) == (
        "shifted mask", Box(0, 0, 200, 150), "the mask seems shifted by (6, -4) pixels (rows, columns)",
    )  # fmt: skip
    assert rest == []
    assert whole.shift == (6, -4)
    assert (whole.given, whole.predicted) == (None, None)
    predicted = mask.copy()
    free = [
        (top, left)
        for top in range(20, 160)
        for left in range(20, 110)
        if not mask[top - 6 : top + 16, left - 6 : left + 16].any()
    ]
    top, left = free[0]
    predicted[top : top + 10, left : left + 10] = 2
    whole, hidden = audited(given, predicted)
    assert (hidden.kind, hidden.box) == ("missing object", Box(top, left, 10, 10))


def test_the_mask_of_another_image_is_one_suspect():
    masks = [draw(0, index, 200, 150)[1] for index in (3, 4)]
    (found,) = audited(*masks)
    assert (found.kind, found.pixels) == ("wrong mask", int((masks[0] != masks[1]).sum()))
    # Where nothing fits any better, each is told by itself.
    assert {s.kind for s in audited(*masks, usual=Usual(SURE.certainty, 0.0))} <= set(KINDS) - {"wrong mask"}


def test_a_small_certain_region_comes_before_a_large_doubted_one():
    assert score_of(0.95, 60) > score_of(0.6, 10_000)
    assert score_of(0.9, 60) > score_of(0.9, 59)


def test_all_that_differs_is_counted_also_along_outlines(empty):
    given, predicted = empty
    given[10:30, 10:30], predicted[10:31, 10:30] = 1, 1
    seen = look(trio(given, predicted, 0.5), np.full(3, 0.5, np.float32), 2)
    assert (seen.regions, seen.pixels, seen.certainty, seen.relative) == ([], 20, 10.0, 20.0)
