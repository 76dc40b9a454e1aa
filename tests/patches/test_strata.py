import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from patchseg.patches import strata
from patchseg.patches.strata import choose, deal, missing

presences = st.integers(2, 9).flatmap(
    lambda groups: st.integers(0, 4).flatmap(
        lambda classes: st.lists(
            st.lists(st.booleans(), min_size=classes, max_size=classes), min_size=groups, max_size=groups
        ).map(lambda rows: np.array(rows, bool).reshape(groups, classes))
    )
)


@given(presences, st.data())
def test_no_choice_leaves_fewer_classes_missing(presence, data):
    groups = len(presence)
    order = data.draw(st.permutations(range(groups)))
    count = data.draw(st.integers(1, groups - 1))
    chosen = choose(presence, order, count)
    assert len(chosen) == count
    best = min(missing(presence, set(other)) for other in itertools.combinations(range(groups), count))
    assert missing(presence, chosen) == best
    if missing(presence, set(order[:count])) == best:
        assert chosen == set(order[:count]), "what was drawn is kept where nothing is gained"


@given(presences, st.data())
def test_exchanges_never_make_it_worse_and_end(presence, data):
    order = data.draw(st.permutations(range(len(presence))))
    count = data.draw(st.integers(1, len(presence) - 1))
    chosen = strata._improved(presence, order, count)
    assert len(chosen) == count
    assert missing(presence, chosen) <= missing(presence, set(order[:count]))


def test_of_many_groups_exchanges_find_the_two_that_hold_a_rare_class():
    presence = np.zeros((200, 2), bool)
    presence[:, 0] = True
    presence[[150, 170], 1] = True
    chosen = choose(presence, list(range(200)), 40)
    assert missing(presence, chosen) == (0, 0)
    assert len(chosen - set(range(40))) == 1


def test_a_class_of_one_group_is_trained_on():
    presence = np.array([[1, 1], [1, 0], [1, 0]], bool)
    assert choose(presence, [0, 1, 2], 1) == {1}
    assert missing(presence, {0}) == (1, 0)
    assert missing(presence, {1}) == (0, 1)


def test_a_class_is_rather_learned_than_validated():
    # Whatever is kept, one class is on one side only: of (1,) training has nothing of the second.
    presence = np.array([[1, 0], [0, 1]], bool)
    assert choose(presence, [0, 1], 1) == {0}


@given(presences, st.data())
def test_folds_hold_every_group_once_and_are_of_equal_size_but_for_one(presence, data):
    order = data.draw(st.permutations(range(len(presence))))
    folds = data.draw(st.integers(2, len(presence)))
    dealt = deal(presence, order, folds)
    sizes = np.bincount(dealt, minlength=folds)
    assert sizes.sum() == len(presence)
    assert sizes.max() - sizes.min() <= 1
    assert dealt == deal(presence, order, folds)


@given(st.integers(2, 6), st.integers(1, 4), st.data())
def test_a_class_of_as_many_groups_as_folds_is_in_each(folds, more, data):
    groups = folds * (1 + more)
    holders = data.draw(st.permutations(range(groups)))[:folds]
    presence = np.zeros((groups, 2), bool)
    presence[:, 0] = True
    presence[holders, 1] = True
    dealt = deal(presence, data.draw(st.permutations(range(groups))), folds)
    assert {dealt[group] for group in holders} == set(range(folds))


def test_a_group_of_two_classes_counts_for_both():
    # The first class goes to folds 0 and 1; of the second, fold 0 has one already.
    presence = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 1], [1, 0, 1], [1, 0, 0], [1, 0, 0]], bool)
    dealt = deal(presence, list(range(6)), 3)
    assert {dealt[group] for group in (0, 2, 3)} == {0, 1, 2}
    assert sorted(dealt) == [0, 0, 1, 1, 2, 2]
