import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchseg.imaging import Box
from patchseg.studies.spreading import spread

BOX = Box(0, 0, 8, 8)


def chosen(scores, looks, *, images=None, boxes=None, count=4, per_image=99):
    n = len(scores)
    return spread(
        np.array(scores, float), np.array(looks, float).reshape(n, -1 if n else 0),
        np.arange(n) if images is None else np.array(images), boxes or [BOX] * n, count=count, per_image=per_image,
    )  # fmt: skip


def test_of_two_clusters_with_nearly_equal_scores_the_choices_alternate():
    draw = np.random.default_rng(0)
    looks = np.concatenate([draw.normal(0, 0.1, (20, 3)), draw.normal(3, 0.1, (20, 3))])
    scores = np.concatenate([draw.uniform(0.99, 1, 20), draw.uniform(0.97, 0.98, 20)])
    sides = [place // 20 for place in chosen(scores, looks, count=10)]
    assert sides == [0, 1] * 5


def test_by_score_alone_one_cluster_would_have_had_them_all():
    assert chosen([1, 0.99, 0.98, 0.5], [0, 0, 0, 0], count=3) == [0, 1, 2]


def test_a_crop_like_one_that_is_taken_counts_for_half():
    looks = [[0], [0], [100]]
    assert chosen([4, 2.1, 2], looks, count=2) == [0, 2]
    assert chosen([9, 4.1, 2], looks, count=2) == [0, 1]


def test_the_gain_is_the_score_over_one_more_than_the_likeness_to_what_is_taken():
    # Mean 1, mean square distance (1 + 0 + 1) / 3; after the first: exp(-1 / (2/3)) and exp(-4 / (2/3)).
    looks, scores = [[0], [1], [2]], [1.0, 0.5, 0.4]
    gains = [0.5 / (1 + np.exp(-1.5)), 0.4 / (1 + np.exp(-6.0))]
    assert gains[1] < gains[0] < 0.41
    assert chosen(scores, looks, count=2) == [0, 1]
    assert chosen([1.0, 0.48, 0.4], looks, count=2) == [0, 2]  # 0.3925 against 0.3990


def test_crops_of_an_image_that_overlap_are_not_both_taken_but_neighbours_are():
    boxes = [Box(0, 0, 8, 8), Box(0, 4, 8, 8), Box(0, 8, 8, 8), Box(0, 0, 8, 8)]
    assert chosen([4, 3, 2, 1], [[0]] * 4, images=[0, 0, 0, 1], boxes=boxes) == [0, 2, 3]


def test_no_image_has_more_than_its_share():
    boxes = [Box(0, 8 * place, 8, 8) for place in range(4)] * 2
    found = chosen(range(8, 0, -1), [[0]] * 8, images=[0] * 4 + [1] * 4, boxes=boxes, count=8, per_image=2)
    assert found == [0, 1, 4, 5]


@pytest.mark.parametrize("scores", [[], [0.0, 0.0]])
def test_where_nothing_is_left_fewer_are_chosen(scores):
    assert chosen(scores, np.zeros((len(scores), 2)), count=5) == list(range(len(scores)))


@given(st.integers(1, 30), st.integers(0, 2**32))
def test_no_crop_is_chosen_twice_and_the_first_has_the_highest_score(n, seed):
    draw = np.random.default_rng(seed)
    scores = draw.random(n)
    found = chosen(scores, draw.random((n, 3)), count=12)
    assert len(found) == len(set(found)) == min(n, 12)
    assert found[0] == scores.argmax()
