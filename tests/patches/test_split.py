import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from patchseg.errors import DataError, UsageError
from patchseg.imaging import Box
from patchseg.patches.split import Strata, groups, random, split
from patchseg.patches.split import given as listed

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


# Classes


def strata(*presence):
    """Return strata of images, a string of the classes that each holds; none may be cut into blocks."""
    classes = sorted(set("".join(presence)))
    return Strata(np.array([[c in image for c in classes] for image in presence]), None)


def sides(regions):
    return "".join("v" if region.side == "val" else "t" for region in regions)


def test_a_choice_that_has_every_class_on_both_sides_is_that_without_classes():
    for seed in range(10):
        plain = split([(9, 9)] * 6, list("abcdef"), validation=0.34, patch=8, seed=seed)
        assert plain == split(
            [(9, 9)] * 6, list("abcdef"), validation=0.34, patch=8, seed=seed, strata=strata(*["01"] * 6)
        )


@given(st.integers(0, 99), st.integers(2, 3))
def test_a_class_of_several_groups_is_on_both_sides(seed, count):
    presence = ["01"] * count + ["0"] * (9 - count)
    regions = split(
        [(9, 9)] * 9, list("abcdefghi"), validation=0.2, patch=8, seed=seed, strata=strata(*presence)
    )
    assert set(sides(regions)[:count]) == {"t", "v"}
    assert sides(regions).count("v") == 2


def test_classes_are_dealt_by_group():
    presence = ["01", "0", "0", "01", "0", "0"]
    for seed in range(20):
        regions = split(
            [(9, 9)] * 6, list("aabbcc"), validation=0.3, patch=8, seed=seed, strata=strata(*presence)
        )
        assert sides(regions) in ("vvtttt", "ttvvtt")


# Folds


@given(st.integers(2, 9), st.integers(0, 9), st.data())
def test_the_folds_validate_every_group_once(groups, seed, data):
    group = [f"g{i % groups}" for i in range(data.draw(st.integers(groups, 14)))]
    folds = data.draw(st.integers(2, groups))
    how = {"validation": 0.2, "patch": 8, "seed": seed, "strata": strata(*["01"] * len(group))}
    seen = [0] * len(group)
    for fold in range(1, folds + 1):
        regions = split([(9, 9)] * len(group), group, fold=f"{fold}/{folds}", **how)
        assert [region.image for region in regions] == list(range(len(group)))
        for region in regions:
            seen[region.image] += region.side == "val"
            assert {r.side for r in regions if group[r.image] == group[region.image]} == {region.side}
    assert seen == [1] * len(group)


def test_a_rare_class_is_in_as_many_folds_as_it_has_images():
    presence = ["01", "01", "01", *["0"] * 6]
    held = [
        sides(split([(9, 9)] * 9, list("abcdefghi"), validation=0, patch=8, seed=1, fold=f"{i}/3", strata=strata(*presence)))
        for i in (1, 2, 3)
    ]  # fmt: skip
    assert sorted(one[:3].count("v") for one in held) == [1, 1, 1]


def test_one_image_is_left_out_in_the_order_of_the_list():
    for number, name in enumerate("cab"):
        regions = split(
            [(9, 9)] * 3, list("cab"), validation=0.2, patch=8, seed=number, fold=f"{number + 1}/all"
        )
        assert [r.image for r in regions if r.side == "val"] == ["cab".index(name)]
    large = split([(500, 500)] * 2, list("ab"), validation=0.2, patch=8, seed=0, fold="2/2")
    assert sorted(sides(large)) == ["t", "v"], "as many images as folds need no blocks"


@pytest.mark.parametrize("fold", ["3/2", "1/1", "4/all"])
def test_a_fold_that_is_none_is_refused(fold):
    with pytest.raises(UsageError, match=rf"prepare\.fold: {fold} is none of \d folds; expected 1/\d"):
        split([(9, 9)] * 3, list("abc"), validation=0.2, patch=8, seed=0, fold=fold)


def test_a_large_image_is_sliced_into_folds_and_a_small_one_refused():
    val = [split([(30, 100)], ["a"], validation=0, patch=10, seed=0, fold=f"{i}/4")[-1] for i in (1, 2, 3, 4)]
    assert [region.box for region in val] == [Box(0, left, 30, 25) for left in (0, 25, 50, 75)]
    middle = split([(30, 100)], ["a"], validation=0, patch=10, seed=0, fold="2/4")
    assert [r.box for r in middle if r.side == "train"] == [Box(0, 0, 30, 15), Box(0, 60, 30, 40)]
    for shapes, group in (([(30, 100)], "a"), ([(30, 30)] * 3, "abc"), ([(900, 900)] * 3, "aab")):
        with pytest.raises(
            UsageError,
            match=r"prepare\.fold: 1/11 needs 11 images \(or groups\), or one to three images of 11",
        ):
            split(shapes, list(group), validation=0, patch=10, seed=0, fold="1/11")


# Given sides


def test_given_sides_are_taken_whole():
    regions = listed([(5, 6), (7, 8)], ["val", "train"])
    assert regions == [(0, "val", Box(0, 0, 5, 6)), (1, "train", Box(0, 0, 7, 8))]
    with pytest.raises(DataError, match="all 2 images are given for validation; expected some to train on"):
        listed([(5, 6)] * 2, ["val", "val"])


few = st.lists(st.tuples(st.integers(1, 70), st.integers(1, 70)), min_size=1, max_size=3)


@given(few, st.integers(4, 20), shares, st.integers(0, 9), st.data())
def test_few_images_of_any_size_are_split_without_a_shared_pixel(shapes, patch, validation, seed, data):
    presence = np.array(
        data.draw(st.lists(st.lists(st.booleans(), min_size=2, max_size=2), min_size=3, max_size=3))
    )
    profiles = [
        np.array(
            data.draw(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=max(s), max_size=max(s)))
        )
        for s in shapes
    ]
    regions = split(
        shapes, list("abc"[: len(shapes)]), validation=validation, patch=patch, seed=seed,
        strata=Strata(presence[: len(shapes)], lambda image: profiles[image]),
    )  # fmt: skip
    seen = sides(regions)
    assert "t" in seen
    assert ("v" in seen) == (len(shapes) > 1 or max(shapes[0]) >= 3 * patch)
    for number, shape in enumerate(shapes):
        painted = np.zeros(shape, int)
        for region in (r for r in regions if r.image == number):
            assert region.box.clip(*shape) == region.box
            painted[region.box.slices] += 1
        assert painted.max() == 1
