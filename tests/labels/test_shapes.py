import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchseg.labels.shapes import Outline, bitmap, ellipse, outline, rectangle


def test_an_outline_may_have_no_corner():
    assert Outline(()).bounds == outline([]).bounds == (0.0, 0.0, 0.0, 0.0)


def test_a_rectangle_turns_clockwise_about_its_middle():
    turned = rectangle(0, 0, 4, 2, turned=90).rings[0]
    np.testing.assert_allclose(turned, [(3, -1), (3, 3), (1, 3), (1, -1)], atol=1e-12)


def test_an_ellipse_turns_clockwise():
    # The end of the long axis, right of the middle, sinks: y points down.
    corner = ellipse(10, 20, 4, 1, turned=30).rings[0][0]
    np.testing.assert_allclose(corner, (10 + 4 * math.cos(math.radians(30)), 20 + 4 * 0.5))


@given(st.floats(0, 5000))
def test_an_outline_of_a_circle_misses_it_by_less_than_a_hundredth_of_a_pixel(radius):
    ring = ellipse(0, 0, radius, radius).rings[0]
    middles = (ring + np.roll(ring, -1, axis=0)) / 2
    assert (np.hypot(*ring.T) <= radius * (1 + 1e-12)).all()
    assert (radius - np.hypot(*middles.T) <= 0.01).all()


def test_a_circle_as_large_as_a_continent_has_few_corners():
    assert len(ellipse(0, 0, 1e9, 1e9).rings[0]) == 2**14


@pytest.mark.parametrize(
    ("pixels", "ends"),
    [
        ([[0, 0], [0, 0]], []),
        ([[1, 1], [1, 1]], [0, 4]),
        ([[0, 1], [1, 1]], [1, 4]),
        ([[1, 0], [0, 1]], [0, 1, 3, 4]),
    ],
)
def test_a_bitmap_is_stored_as_the_ends_of_its_runs(pixels, ends):
    runs = bitmap(np.array(pixels, np.bool_), top=5, left=7)
    assert runs.ends.tolist() == ends
    assert runs.bounds == (5, 7, 7, 9)
