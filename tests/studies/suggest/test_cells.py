import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from patchseg.inference.tiling import Grid
from patchseg.studies.cells import Cells


@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)), st.integers(1, 20), st.integers(0, 2**32), st.data()
)
def test_however_the_rows_come_the_means_are_those_of_the_crops(shape, crop, seed, data):
    numbers = np.random.default_rng(seed).random((2, *shape)).astype(np.float32)
    cells = Cells(shape, crop, planes=2)
    middle = data.draw(st.integers(1, shape[1]))
    for left, right in ((0, middle), (middle, shape[1])):
        top = 0
        while top < shape[0] and left < right:
            bottom = min(shape[0], top + data.draw(st.integers(1, 15)))
            for plane in (0, 1):
                cells.add(plane, left, numbers[plane, top:bottom, left:right], top=top)
            top = bottom
    found = cells.candidates()
    assert found.boxes == list(Grid(shape, crop))
    expected = [[plane[box.slices].mean(dtype=np.float64) for plane in numbers] for box in found.boxes]
    np.testing.assert_allclose(found.means, expected, rtol=1e-9)


def test_an_image_smaller_than_the_crop_is_one_crop_of_its_own_size():
    cells = Cells((3, 5), 8, planes=1)
    cells.add(0, 0, np.ones((3, 5)), top=0)
    found = cells.candidates()
    assert [tuple(box) for box in found.boxes] == [(0, 0, 3, 5)]
    assert found.means.tolist() == [[1.0]]
