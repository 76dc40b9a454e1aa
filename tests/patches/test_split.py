import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from patchseg.errors import DataError, UsageError
from patchseg.imaging import Box
from patchseg.patches.split import groups, random, split

sides = st.integers(1, 120)
shapes = st.lists(st.tuples(sides, sides), min_size=1, max_size=8)


shares = st.floats(0.01, 0.99)


@given(shapes, shares, st.integers(0, 99), st.data())
def test_a_split_by_image_takes_whole_groups(shapes, validation, seed, data):
    group = data.draw(st.lists(st.sampled_from("abcd"), min_size=len(shapes), max_size=len(shapes)))
    assume(len(set(group)) > 1)
    regions = split(shapes, group, validation=validation, patch=21, seed=seed)  # 120 px are not large
    assert {region.side for region in regions} == {"train", "val"}
    assert [region.image for region in regions] == list(range(len(shapes)))
    assert [region.box for region in regions] == [Box(0, 0, *shape) for shape in shapes]
    of_group = {name: {r.side for r in regions if group[r.image] == name} for name in group}
    assert all(len(found) == 1 for found in of_group.values())


large = st.integers(1, 12).flatmap(
    lambda patch: st.tuples(
        st.just(patch),
        st.lists(
            st.tuples(st.integers(6 * patch, 9 * patch), st.integers(1, 9 * patch)), min_size=1, max_size=3
        ),
    )
)


@given(large, shares, st.integers(0, 99), st.booleans())
def test_blocks_lie_a_patch_apart_and_hold_patches(large, validation, seed, wide):
    patch, shapes = large
    shapes = [shape[::-1] for shape in shapes] if wide else shapes
    regions = split(shapes, list("abc"[: len(shapes)]), validation=validation, patch=patch, seed=seed)
    for number, shape in enumerate(shapes):
        # Painted along the longer axis: training 1, validation 2, guard 0.
        line = np.zeros(max(shape), int)
        axis = 0 if shape[0] >= shape[1] else 1
        for region in regions:
            if region.image == number:
                assert region.box.clip(*shape) == region.box
                assert (region.box.height, region.box.width)[1 - axis] == shape[1 - axis]
                line[region.box.slices[axis]] += 1 if region.side == "train" else 2
        train, val = np.flatnonzero(line == 1), np.flatnonzero(line == 2)
        assert line.max() == 2, "no row belongs to both"
        assert np.abs(train[:, None] - val).min() == patch + 1
        assert (len(train) + len(val), (line == 0).sum()) == (max(shape) - patch, patch)
        assert len(train) >= 2 * patch
        assert len(val) >= patch
        assert patch in (len(val), len(train) // 2) or len(val) == round(validation * max(shape))


@given(shapes, st.floats(0.01, 0.99), st.integers(0, 9))
def test_a_split_depends_on_the_seed_alone(shapes, validation, seed):
    assume(len(shapes) > 3)
    group = [str(i) for i in range(len(shapes))]
    one, other = (split(shapes, group, validation=validation, patch=8, seed=seed) for _ in range(2))
    assert one == other


def test_other_seeds_choose_other_images():
    group = [str(i) for i in range(10)]
    chosen = {
        tuple(
            r.image for r in split([(9, 9)] * 10, group, validation=0.2, patch=8, seed=s) if r.side == "val"
        )
        for s in range(20)
    }
    assert len(chosen) > 10


@pytest.mark.parametrize(("share", "count"), [(0.2, 2), (0.01, 1), (0.34, 3), (0.99, 9), (0, 0)])
def test_of_ten_images_the_share_is_kept_but_one_at_least_and_nine_at_most(share, count):
    regions = split([(9, 9)] * 10, [str(i) for i in range(10)], validation=share, patch=8, seed=0)
    assert sum(region.side == "val" for region in regions) == count


def test_the_share_counts_groups_not_images():
    regions = split([(9, 9)] * 12, ["a"] * 9 + ["b", "c", "d"], validation=0.25, patch=8, seed=1)
    assert len({"aaaaaaaaabcd"[region.image] for region in regions if region.side == "val"}) == 1


def test_a_wide_image_gives_a_fifth_at_one_end_by_the_seed():
    ends = {}
    for seed in range(8):
        train, val = split([(30, 100)], ["a"], validation=0.2, patch=10, seed=seed)
        ends[val.box] = train.box
    assert ends == {
        Box(0, 80, 30, 20): Box(0, 0, 30, 70),
        Box(0, 0, 30, 20): Box(0, 30, 30, 70),
    }


def test_three_large_images_each_give_a_block_and_four_do_not():
    assert len(split([(100, 20)] * 3, list("abc"), validation=0.2, patch=10, seed=0)) == 6
    assert len(split([(100, 20)] * 4, list("abcd"), validation=0.2, patch=10, seed=0)) == 4
    assert len(split([(100, 20), (59, 59)], list("ab"), validation=0.2, patch=10, seed=0)) == 2


def test_a_single_image_is_cut_into_blocks_if_they_fit_and_else_all_trained_on():
    train, val = split([(30, 40)], ["a"], validation=0.2, patch=10, seed=0)
    assert {train.box, val.box} == {Box(0, 0, 30, 20), Box(0, 30, 30, 10)}
    train, val = split([(30, 12)], ["a"], validation=0.2, patch=10, seed=0)
    assert {train.box, val.box} == {Box(0, 0, 10, 12), Box(20, 0, 10, 12)}
    (only,) = split([(29, 12)], ["a"], validation=0.2, patch=10, seed=0)
    assert only == (0, "train", Box(0, 0, 29, 12))
    assert split([(59, 40)], ["a"], validation=0, patch=10, seed=0)[0].box == Box(0, 0, 59, 40)


def test_one_group_of_several_images_is_refused_as_that():
    with pytest.raises(DataError, match=r"s1: is the group of all 2 images.*another --group or --val-images"):
        split([(500, 500)] * 2, ["s1", "s1"], validation=0.2, patch=10, seed=0)


def test_groups_are_the_first_group_of_the_pattern_its_match_or_the_name():
    assert groups(["s1_a", "s2_b"], None) == ["s1_a", "s2_b"]
    assert groups(["s1_a", "s2_b"], r"s\d") == ["s1", "s2"]
    assert groups(["s1_a", "s2_b"], r"s\d_(.)") == ["a", "b"]
    with pytest.raises(UsageError, match=r"prepare\.group: 's\(' is no regular expression"):
        groups(["a"], "s(")
    with pytest.raises(UsageError, match=r"'s' does not match 'b'; every image must be in a group"):
        groups(["s", "b"], "s")


def test_streams_of_one_seed_differ_and_repeat():
    draws = {
        key: tuple(random(*key).integers(2**62, size=2)) for key in [(0,), (0, 1), (1,), (0, 1, 1), (0, 2)]
    }
    assert len(set(draws.values())) == len(draws)
    assert draws[0, 1] == tuple(random(0, 1).integers(2**62, size=2))
