import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchseg.patches.blocks import Block, at_an_end, boxes, fits, place, slice_of


def lines(length, block, patch):
    """Paint the longer side: 1 training, 2 validation, 0 guard."""
    line = np.zeros(length, int)
    for start, stop in block.training(length, patch):
        line[start:stop] += 1
    line[block.start : block.stop] += 2
    return line


def apart(length, block, patch):
    line = lines(length, block, patch)
    train, val = np.flatnonzero(line == 1), np.flatnonzero(line == 2)
    assert line.max() == 2
    assert len(train) >= patch
    assert len(val) >= patch
    assert np.abs(train[:, None] - val).min() > patch


@given(st.integers(1, 20), st.integers(0, 200), st.floats(0.01, 0.99), st.booleans())
def test_a_block_at_an_end_leaves_a_guard_and_both_sides(patch, more, validation, first):
    length = 3 * patch + more
    block = at_an_end(length, validation, patch, first=first)
    apart(length, block, patch)
    assert (block.start == 0) == first or block == (0, length)
    if more >= patch:
        assert sum(b - a for a, b in block.training(length, patch)) >= 2 * patch


@pytest.mark.parametrize(("length", "fitting"), [(29, False), (30, True)])
def test_three_patches_are_the_least_that_can_be_cut(length, fitting):
    assert fits((length, 5), 10) == fits((5, length), 10) == fitting


@given(st.integers(1, 20), st.integers(1, 300), st.integers(2, 8))
def test_the_slices_of_all_folds_are_the_whole_length(patch, length, folds):
    blocks = [slice_of(length, patch, fold, folds) for fold in range(1, folds + 1)]
    if None in blocks:
        return
    for block in blocks:
        apart(length, block, patch)
    assert [block.start for block in blocks[1:]] == [block.stop for block in blocks[:-1]]
    assert (blocks[0].start, blocks[-1].stop) == (0, length)


def test_a_slice_that_is_narrower_than_a_patch_is_none():
    assert slice_of(100, 10, 3, 10) == (20, 30)
    assert slice_of(100, 11, 3, 10) is None
    assert slice_of(25, 10, 1, 2) is None, "nothing is left to train on"


def test_a_middle_block_leaves_two_parts_to_train_on():
    training, validation = boxes((40, 100), Block(40, 60), 10)
    assert [box[:] for box in training] == [(0, 0, 40, 30), (0, 70, 40, 30)]
    assert validation == (0, 40, 40, 20)
    assert [box[:] for box in boxes((40, 100), Block(15, 35), 10)[0]] == [(0, 45, 40, 55)], (
        "less than a patch is left out"
    )


def profile(length, **where):
    """Return where each class is, (length, K)."""
    found = np.zeros((length, len(where)), bool)
    for column, part in enumerate(where.values()):
        found[slice(*part), column] = True
    return found


@pytest.mark.parametrize(
    ("where", "start"),
    [
        ({"a": (0, 100)}, 80),  # as drawn
        ({"a": (0, 100), "b": (0, 40)}, 0),  # at the other end
        ({"a": (0, 100), "b": (30, 60)}, 55),  # between, nearest to what was drawn
    ],
)
def test_the_block_moves_only_where_a_class_would_be_missing(where, start):
    found = profile(100, **where)
    (block,) = place([(100, 30)], [Block(80, 100)], 10, lambda _: found)
    assert block.start == start
    apart(100, block, 10)
    train = np.any([found[a:b].any(axis=0) for a, b in block.training(100, 10)], axis=0)
    assert train.all()
    assert found[block.start : block.stop].any(axis=0).all()


def test_a_class_in_one_spot_stays_where_it_is_trained_on():
    (block,) = place([(100, 30)], [Block(80, 100)], 10, lambda _: profile(100, a=(0, 100), b=(90, 91)))
    assert 90 not in range(block.start, block.stop)
    assert any(start <= 90 < stop for start, stop in block.training(100, 10))


def test_several_images_share_the_classes():
    found = [profile(100, a=(0, 100), b=(0, 0)), profile(100, a=(0, 100), b=(0, 50))]
    drawn = [Block(80, 100), Block(80, 100)]
    blocks = place([(100, 30)] * 2, drawn, 10, lambda image: found[image])
    assert blocks[0] == drawn[0]
    assert blocks[1] == (0, 20)


@given(st.integers(2, 9), st.integers(30, 90), st.floats(0.05, 0.9), st.data())
def test_wherever_a_block_is_moved_it_keeps_its_size_and_the_guard(patch, length, validation, data):
    found = np.array(data.draw(st.lists(st.booleans(), min_size=length, max_size=length)))[:, None]
    drawn = at_an_end(length, validation, patch, first=data.draw(st.booleans()))
    (block,) = place([(length, 5)], [drawn], patch, lambda _: found)
    apart(length, block, patch)
    assert block.stop - block.start == drawn.stop - drawn.start
