import numpy as np
import pytest

from patchseg.labels.outlines import Outliner
from patchseg.labels.selection import Selection

# Of class 1 regions of 1, 8 (and a hole), 2 and 3 pixels, of class 2 of 1 (in the hole) and 2; by their last row.
MASK = np.array(
    [
        [1, 0, 0, 0, 0, 0, 1, 1],
        [0, 0, 1, 1, 1, 0, 0, 0],
        [2, 0, 1, 2, 1, 0, 0, 0],
        [2, 0, 1, 1, 1, 0, 0, 0],
        [0, 0, 0, 0, 0, 1, 1, 1],
    ],
    np.uint8,
)


def chosen(**wishes):
    """Return (class, area, holes) of what is chosen, a row at a time."""
    outliner, selection = Outliner(MASK.shape[1]), Selection(**wishes)
    found = [region for row in MASK for region in selection.push(outliner.push(row[None]))]
    found += selection.push(outliner.finish()) + selection.finish()
    return [(region.class_index, region.area, len(region.holes)) for region in found]


def test_without_wishes_all_are_chosen_in_their_order():
    assert chosen() == [(1, 1, 0), (1, 2, 0), (2, 1, 0), (1, 8, 1), (2, 2, 0), (1, 3, 0)]


def test_regions_of_fewer_pixels_are_left_out():
    assert chosen(smallest=2) == [(1, 2, 0), (1, 8, 1), (2, 2, 0), (1, 3, 0)]
    assert chosen(smallest=9) == []


def test_holes_are_filled_and_count_and_what_lies_in_them_stays():
    assert chosen(holes=False) == [(1, 1, 0), (1, 2, 0), (2, 1, 0), (1, 9, 0), (2, 2, 0), (1, 3, 0)]
    assert chosen(holes=False, smallest=9) == [(1, 9, 0)]


@pytest.mark.parametrize(
    ("largest", "expected"),
    [
        (1, [(1, 8, 1), (2, 2, 0)]),
        (2, [(1, 8, 1), (1, 3, 0), (2, 2, 0), (2, 1, 0)]),
        (9, [(1, 8, 1), (1, 3, 0), (1, 2, 0), (2, 2, 0), (1, 1, 0), (2, 1, 0)]),
    ],
)
def test_the_largest_of_each_class_come_at_the_end_large_ones_first(largest, expected):
    assert chosen(largest=largest) == expected


def test_of_equal_regions_the_first_are_kept():
    outliner, selection = Outliner(5), Selection(largest=2)
    selection.push(outliner.push(np.array([[1, 0, 1, 0, 1]], np.uint8)) + outliner.finish())
    assert [region.outer[0].tolist() for region in selection.finish()] == [[0, 0], [0, 2]]


def test_the_largest_are_held_and_no_others():
    selection = Selection(largest=2)
    outliner = Outliner(3)
    for _ in range(5):
        assert selection.push(outliner.push(np.array([[1, 0, 2], [0, 0, 0]], np.uint8))) == []
    assert selection.push(outliner.finish()) == []
    assert [len(kept) for kept in selection._kept.values()] == [2, 2]
