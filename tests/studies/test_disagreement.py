import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from patchseg.imaging import ArraySource
from patchseg.studies import disagreement as module
from patchseg.studies.disagreement import Trio, Typical, adjoined, bands, near, outlined, sureness

SHAPE = st.shared(st.tuples(st.integers(1, 9), st.integers(1, 9)))
PLACES = arrays(np.bool_, SHAPE)
MASKS = arrays(np.uint8, SHAPE, elements=st.sampled_from([0, 1, 2, 255]))


def trio(given, predicted, opinion=None, classes=3):
    opinion = np.ones(given.shape, np.float16) if opinion is None else opinion
    return Trio(
        given.shape, lambda box: given[box.slices], lambda box: predicted[box.slices], ArraySource(opinion), classes
    )  # fmt: skip


@given(PLACES, st.integers(0, 4))
def test_near_is_the_square_around_each_pixel(places, reach):
    expected = ndimage.maximum_filter(places, size=2 * reach + 1, mode="constant")
    np.testing.assert_array_equal(near(places, reach), expected)


@given(MASKS, MASKS, st.integers(0, 3))
def test_an_outline_is_where_each_mask_has_the_class_of_the_other_near(given, predicted, reach):
    outlines = outlined(given, predicted, reach)
    for row, column in np.ndindex(given.shape):
        around = np.s_[max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1]
        one, two = given[row, column], predicted[row, column]
        expected = one != two and 255 not in (one, two) and two in given[around] and one in predicted[around]
        assert outlines[row, column] == expected


def test_an_outline_that_wobbles_is_tolerated_and_a_thin_object_of_one_mask_is_not():
    given, predicted = np.zeros((2, 20, 30), np.uint8)
    given[5:15, 5:15], predicted[6:16, 4:14] = 1, 1
    given[5:15, 22] = 2
    outlines = outlined(given, predicted, 1)
    differs = given != predicted
    assert differs[:, :20].sum() == 2 * 19
    assert (outlines == differs)[:, :20].all()
    assert not outlines[:, 20:].any()


def test_an_object_goes_on_where_the_other_mask_has_it_near():
    given, predicted = np.zeros((2, 1, 12), np.uint8)
    given[0, :3], predicted[0, :6] = 1, 1  # missing from 3 to 5
    given[0, 9:], predicted[0, 11:] = 2, 2  # too much at 9 and 10
    assert adjoined(given, predicted, 1).nonzero()[1].tolist() == [3, 10]
    given[0, 9:] = 0
    assert adjoined(given, predicted, 1).nonzero()[1].tolist() == [3]


def test_of_two_classes_both_must_go_on():
    given, predicted = np.array([[1, 1, 2, 2]], np.uint8), np.array([[1, 2, 2, 2]], np.uint8)
    assert adjoined(given, predicted, 1).nonzero()[1].tolist() == [1]
    assert not adjoined(given, np.full_like(given, 2), 1).any()


def test_probabilities_say_how_much_likelier_the_predicted_class_is_than_the_given_one():
    opinion = np.array([[[0.6, 0.3, 0.1]] * 4], np.float32)
    given, predicted = np.array([[1, 2, 0, 255]], np.uint8), np.zeros((1, 4), np.uint8)
    found = sureness(opinion, given, predicted)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0, :3], [0.3, 0.5, 0.3], atol=1e-6)


def test_bytes_count_255ths_and_leads_are_taken_as_they_are():
    given, predicted = np.array([[1]], np.uint8), np.array([[0]], np.uint8)
    assert sureness(np.array([[[204, 51]]], np.uint8), given, predicted)[0, 0] == pytest.approx(0.6)
    assert sureness(np.array([[[0.25]]], np.float16), given, predicted)[0, 0] == 0.25


def test_a_class_that_is_predicted_though_another_is_likelier_is_not_sure():
    given, predicted = np.array([[1]], np.uint8), np.array([[0]], np.uint8)
    assert sureness(np.array([[[0.25, 0.75]]], np.float32), given, predicted)[0, 0] == 0


def test_typical_certainty_is_the_mean_where_both_agree():
    given = np.array([[0, 0, 1, 1, 255, 2]], np.uint8)
    predicted = np.array([[0, 0, 1, 0, 0, 1]], np.uint8)
    leads = np.array([[0.5, 1, 0.25, 1, 1, 1]], np.float16)
    typical = Typical(3)
    typical.add(trio(given, predicted, leads))
    assert typical.certainty.tolist() == [0.75, 0.25, 1]


@pytest.mark.parametrize("shift", [(0, 0), (2, -1)])
def test_bands_hold_what_the_whole_does(shift, monkeypatch):
    generator = np.random.default_rng(0)
    given, predicted = generator.choice([0, 1, 2, 255], (2, 40, 7), p=[0.7, 0.15, 0.1, 0.05]).astype(np.uint8)
    opinion = generator.random((40, 7, 3)).astype(np.float16)
    layers = trio(given, predicted, opinion).shifted(*shift)
    (whole,) = bands(layers, 2)
    monkeypatch.setattr(module, "_BAND", 3 * 7 * 3)
    pieces = list(bands(layers, 2))
    assert len(pieces) == 14
    for name in ("given", "predicted", "certainty", "tolerated", "beside", "differs"):
        np.testing.assert_array_equal(
            np.concatenate([getattr(piece, name) for piece in pieces]), getattr(whole, name)
        )


def test_a_shift_is_undone_and_what_comes_in_is_ignored():
    mask = np.zeros((6, 5), np.uint8)
    mask[2, 1] = 1
    given = np.roll(mask, (2, 3), (0, 1))
    (band,) = bands(trio(given, mask).shifted(2, 3), 0)
    assert not band.differs.any()
    assert (band.given[:4, :2] == mask[:4, :2]).all()
    assert (band.given[4:] == 255).all()
    assert (band.given[:, 2:] == 255).all()
