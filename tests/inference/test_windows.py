import math
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchseg import parameters
from patchseg.inference.windows import WINDOWS

every_window = pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)


def test_the_choices_of_infer_blend_are_the_windows():
    assert get_args(parameters.Window) == tuple(WINDOWS)


def test_flat_weighs_every_pixel_alike():
    assert WINDOWS["flat"](4).tolist() == [1, 1, 1, 1]


def test_hann_is_the_squared_sine_between_two_zeros_that_are_left_out():
    # sin^2 of 30, 60, 90, 120 and 150 degrees.
    np.testing.assert_allclose(WINDOWS["hann"](5), [0.25, 0.75, 1, 0.75, 0.25], atol=1e-7)


def test_gaussian_has_a_standard_deviation_of_an_eighth_of_the_tile():
    weights = WINDOWS["gaussian"](17)  # the middle is 8, the deviation 17 / 8
    assert weights[8] == 1
    np.testing.assert_allclose(weights[8 + 4], math.exp(-0.5 * (4 / 2.125) ** 2), rtol=1e-6)
    np.testing.assert_allclose(weights[0], math.exp(-0.5 * (8 / 2.125) ** 2), rtol=1e-6)


@every_window
@given(st.integers(1, 5000))
@settings(deadline=None)
def test_weights_are_positive_symmetric_highest_in_the_middle_and_never_fall_towards_it(window, size):
    weights = window(size)
    assert weights.shape == (size,)
    assert weights.dtype == np.float32
    # The least weight of a tile is the product at its corner, and float32 must still divide by it.
    assert np.float32(weights.min()) ** 2 > np.finfo(np.float32).tiny
    assert weights.max() <= 1
    np.testing.assert_allclose(weights, weights[::-1], rtol=1e-5)
    assert (np.diff(weights[: (size + 1) // 2]) >= 0).all()


@every_window
def test_a_tile_of_one_pixel_weighs_1(window):
    assert window(1).tolist() == [1]
