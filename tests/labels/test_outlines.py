import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from skimage.measure import label

from patchseg.imaging import Box
from patchseg.labels import outlines as module
from patchseg.labels.outlines import Outliner, enclosed
from patchseg.labels.rasterize import cover
from patchseg.labels.shapes import outline

masks = st.sampled_from([(0, 1), (0, 1, 1, 1), (1, 2, 255), (0, 1, 2, 3, 255)]).flatmap(
    lambda values: arrays(
        np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.sampled_from(values)
    )
)


def mask(*lines):
    """Return a mask by its rows: `mask("1.2", "1.2")`, a point for 0."""
    return np.array([[0 if c == "." else int(c) for c in line] for line in lines], np.uint8)


def regions_of(pixels, **wanted):
    outliner = Outliner(pixels.shape[1], **wanted)
    return outliner.push(pixels) + outliner.finish()


def plain(regions):
    """Return regions as something that can be compared."""
    return [(r.class_index, r.outer.tolist(), [hole.tolist() for hole in r.holes], r.area) for r in regions]


def flooded(pixels):
    """Return the regions pixel by pixel: of each the class and the set of its pixels."""
    left = {(r, c) for r, c in np.ndindex(pixels.shape) if 0 < pixels[r, c] < 255}
    found = []
    while left:
        edge = [left.pop()]
        region, value = set(edge), pixels[edge[0]]
        while edge:
            r, c = edge.pop()
            near = {(r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)} & left
            near = {place for place in near if pixels[place] == value}
            left -= near
            region |= near
            edge += near
        found.append((int(value), region))
    return found


def painted(rings, shape):
    """Return the pixels inside an odd number of rings."""
    box, inside = cover(outline(*(ring[:, ::-1].astype(float) for ring in rings)), Box(0, 0, *shape))
    return {(int(r) + box.top, int(c) + box.left) for r, c in np.argwhere(inside)}


# Hand-worked


def test_a_ring_runs_clockwise_from_the_top_left_and_its_hole_the_other_way():
    [region] = regions_of(mask("....", ".111", ".1.1", ".111"))
    assert region.outer.tolist() == [[1, 1], [1, 4], [4, 4], [4, 1]]
    assert [hole.tolist() for hole in region.holes] == [[[2, 2], [3, 2], [3, 3], [2, 3]]]
    assert (region.class_index, region.area) == (1, 8)
    assert (enclosed(region.outer), enclosed(region.holes[0])) == (9, -1)


def test_pixels_of_one_class_that_meet_at_a_corner_are_two_regions():
    assert plain(regions_of(mask("1.", ".1"))) == [
        (1, [[0, 0], [0, 1], [1, 1], [1, 0]], [], 1),
        (1, [[1, 1], [1, 2], [2, 2], [2, 1]], [], 1),
    ]


@pytest.mark.parametrize("lines", [(".11", "1.1", "111"), ("11.", "1.1", "111"), ("111", "1.1", "11.")])
def test_where_a_region_meets_itself_at_a_corner_two_rings_meet_and_none_meets_itself(lines):
    [region] = regions_of(mask(*lines))
    assert [len(region.outer), *map(len, region.holes)] == [6, 4]
    assert region.area == 7


def test_holes_that_meet_at_a_corner_are_two_rings():
    [region] = regions_of(mask("1111", "1.11", "11.1", "1111"))
    assert [hole[0].tolist() for hole in region.holes] == [[1, 1], [2, 2]]
    assert [len(region.outer), *map(len, region.holes)] == [4, 4, 4]


def test_a_region_in_a_hole_is_a_region_of_its_own():
    found = plain(regions_of(mask("11111", "12221", "12121", "12221", "11111")))
    assert [(index, len(holes), area) for index, _, holes, area in found] == [
        (1, 0, 1),
        (2, 1, 8),
        (1, 1, 16),
    ]


def test_only_the_wanted_classes_are_outlined_and_the_background_may_be_one():
    pixels = mask("0012")
    assert [r.class_index for r in regions_of(pixels)] == [1, 2]
    assert [r.class_index for r in regions_of(pixels, wanted=[0, 2])] == [0, 2]
    assert regions_of(np.full((2, 2), 255, np.uint8)) == []


def test_the_highest_class_is_outlined():
    assert plain(regions_of(np.full((1, 1), 254, np.uint8))) == [
        (254, [[0, 0], [0, 1], [1, 1], [1, 0]], [], 1)
    ]


# Properties


@settings(max_examples=120)
@given(masks)
def test_the_regions_are_those_of_a_flood_and_their_rings_paint_them(pixels):
    found = regions_of(pixels)
    told = [(r.class_index, sorted(painted((r.outer, *r.holes), pixels.shape))) for r in found]
    assert sorted(told) == sorted((value, sorted(region)) for value, region in flooded(pixels))
    assert [r.area for r in found] == [len(region) for _, region in told]


@settings(max_examples=120)
@given(masks)
def test_rings_are_simple_turn_at_each_corner_and_are_as_many_as_the_parts_around(pixels):
    for region in regions_of(pixels):
        inside = np.zeros((pixels.shape[0] + 2, pixels.shape[1] + 2), np.uint8)
        for r, c in painted((region.outer, *region.holes), pixels.shape):
            inside[r + 1, c + 1] = 1
        assert 1 + len(region.holes) == label(1 - inside, connectivity=1).max()
        assert enclosed(region.outer) > 0
        assert all(enclosed(hole) < 0 for hole in region.holes)
        for ring in (region.outer, *region.holes):
            corners = [tuple(corner) for corner in ring.tolist()]
            assert len(set(corners)) == len(corners)
            assert corners[0] == min(corners)
            steps = np.diff(np.concatenate([ring, ring[:1]]), axis=0)
            assert ((steps != 0).sum(axis=1) == 1).all()
            assert (np.diff((steps != 0)[:, 0].astype(int)) != 0).all()


@settings(max_examples=100)
@given(masks, st.lists(st.integers(0, 9), max_size=4), st.integers(1, 20), st.sampled_from([0, 12]))
def test_how_rows_are_cut_changes_nothing(pixels, cuts, band, few):
    expected = plain(regions_of(pixels))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BAND", band)
        patch.setattr(module, "_FEW", few)
        outliner = Outliner(pixels.shape[1])
        found = [region for rows in np.split(pixels, sorted(cuts)) for region in outliner.push(rows)]
        assert plain(found + outliner.finish()) == expected


@given(masks)
def test_regions_come_by_their_last_row_then_by_their_first_pixel(pixels):
    order = [(r.outer[:, 0].max(), *r.outer[0].tolist()) for r in regions_of(pixels)]
    assert order == sorted(order)


# Memory


def test_most_regions_are_given_back_before_the_end(monkeypatch):
    monkeypatch.setattr(module, "_FEW", 20)
    outliner = Outliner(3)
    early = [region for _ in range(50) for region in outliner.push(mask("1.2", "..2"))]
    assert [r.outer[0].tolist() for r in early] == [[2 * number, 0] for number in range(len(early))]
    assert len(early) > 45
    assert len(early) + len(outliner.finish()) == 51


@pytest.mark.parametrize("pattern", [("1.2." * 25,), ("1.21....", "1..1....", "1....2.2", "1.......")])
def test_memory_does_not_grow_with_the_rows(monkeypatch, pattern):
    monkeypatch.setattr(module, "_FEW", 100)
    rows = np.tile(mask(*pattern), (4, 1))
    outliner = Outliner(rows.shape[1])

    def pushed(times):
        tracemalloc.start()
        for _ in range(times):
            outliner.push(rows)
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return held

    pushed(20)
    assert pushed(250) < 80_000


def test_a_region_that_is_kept_does_not_keep_the_others(monkeypatch):
    assert all(ring.base is None for r in regions_of(mask("1.1", "111")) for ring in (r.outer, *r.holes))


def test_a_large_mask_of_speckles_and_blobs_has_the_regions_that_skimage_labels(monkeypatch):
    generator = np.random.default_rng(0)
    coarse = np.kron(generator.integers(0, 3, (40, 50)), np.ones((8, 8))).astype(np.uint8)
    speckles = generator.random(coarse.shape) < 0.05
    pixels = np.where(speckles, generator.integers(0, 3, coarse.shape), coarse).astype(np.uint8)
    found = []
    outliner = Outliner(pixels.shape[1])
    monkeypatch.setattr(module, "_FEW", 100)
    for rows in np.split(pixels, range(7, len(pixels), 13)):
        found += outliner.push(rows)
    assert len(found) > 100
    found += outliner.finish()
    labels = label(pixels, background=0, connectivity=1)
    assert sorted(r.area for r in found) == sorted(np.bincount(labels.ravel())[1:].tolist())
    assert sum(r.area for r in found if r.class_index == 2) == (pixels == 2).sum()
