import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from patchseg.imaging import Box

inside = st.builds(Box, st.integers(0, 12), st.integers(0, 12), st.integers(0, 12), st.integers(0, 12))
anywhere = st.builds(Box, st.integers(-12, 12), st.integers(-12, 12), st.integers(0, 12), st.integers(0, 12))


def test_bottom_and_right_are_the_first_row_and_column_outside():
    box = Box(top=2, left=3, height=4, width=5)
    assert (box.bottom, box.right) == (6, 8)


@given(inside)
def test_slices_cut_the_pixels_of_the_box(box):
    rows, columns = np.indices((24, 24))
    chosen = (rows >= box.top) & (rows < box.bottom) & (columns >= box.left) & (columns < box.right)
    assert rows[box.slices].shape == (box.height, box.width)
    np.testing.assert_array_equal(rows[box.slices].ravel(), rows[chosen])
    np.testing.assert_array_equal(columns[box.slices].ravel(), columns[chosen])


@given(anywhere, st.integers(0, 9))
def test_a_grown_box_holds_all_pixels_that_are_near_enough(box, margin):
    grown = box.grown(margin)
    assert (box.top - grown.top, box.left - grown.left) == (margin, margin)
    assert (grown.bottom - box.bottom, grown.right - box.right) == (margin, margin)


@given(anywhere, st.integers(1, 9), st.integers(1, 9))
def test_clipping_keeps_exactly_the_pixels_inside_the_image(box, height, width):
    kept = box.clip(height, width)
    pixels = {(r, c) for r in range(box.top, box.bottom) for c in range(box.left, box.right)}
    wanted = {(r, c) for r, c in pixels if 0 <= r < height and 0 <= c < width}
    assert {(r, c) for r in range(kept.top, kept.bottom) for c in range(kept.left, kept.right)} == wanted
    assert kept.height >= 0
    assert kept.width >= 0
