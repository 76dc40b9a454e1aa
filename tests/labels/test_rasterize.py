import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchseg.imaging import Box
from patchseg.labels import rasterize as module
from patchseg.labels.rasterize import cover
from patchseg.labels.shapes import Outline, Runs, bitmap, ellipse, outline, rectangle

H, W = 9, 8
ALL = Box(0, 0, H, W)

halves = st.integers(-8, 24).map(lambda n: n / 2)  # so that corners and edges often lie on centres
anywhere = st.floats(-4, 12)
rings = (
    st.lists(st.tuples(halves, halves), min_size=3, max_size=7)
    | st.lists(st.tuples(anywhere, anywhere), min_size=3, max_size=7)
    | st.lists(st.tuples(anywhere, halves), max_size=4)
)
windows = st.builds(
    lambda top, left, height, width: Box(top, left, height, width).clip(H, W),
    st.integers(0, H - 1), st.integers(0, W - 1), st.integers(1, H), st.integers(1, W),
)  # fmt: skip


def painted(area, window=ALL, shape=(H, W)):
    """Return the pixels of an image that an area covers in a window."""
    box, pixels = cover(area, window)
    image = np.zeros(shape, np.bool_)
    image[box.slices] = pixels
    return image


def inside(rings, x, y):
    """Tell, edge by edge, whether a point has an odd number of edges to its left."""
    left = 0
    for ring in rings:
        for (x0, y0), (x1, y1) in zip(ring, ring[1:] + ring[:1], strict=True):
            (xa, ya), (xb, yb) = ((x0, y0), (x1, y1)) if y0 < y1 else ((x1, y1), (x0, y0))
            if ya <= y < yb and (y - ya) * (xb - xa) / (yb - ya) + xa < x:
                left += 1
    return left % 2 == 1


# Outlines


@settings(max_examples=150)
@given(st.lists(rings, max_size=3))
def test_a_pixel_is_covered_where_its_centre_lies_inside(rings):
    expected = [[inside(rings, c + 0.5, r + 0.5) for c in range(W)] for r in range(H)]
    np.testing.assert_array_equal(painted(outline(*rings)), expected)


@given(st.lists(rings, max_size=3), windows)
def test_a_window_shows_its_part_of_the_whole(rings, window):
    expected = np.zeros((H, W), np.bool_)
    expected[window.slices] = painted(outline(*rings))[window.slices]
    np.testing.assert_array_equal(painted(outline(*rings), window), expected)


@given(st.lists(rings, max_size=3))
def test_few_crossings_at_a_time_give_what_all_at_once_give(rings):
    expected = painted(outline(*rings))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CROSSINGS", 3)
        np.testing.assert_array_equal(painted(outline(*rings)), expected)


def test_a_square_with_a_hole_has_their_difference_in_pixels():
    square, hole = rectangle(10, 10, 60, 60), rectangle(20, 20, 40, 40)
    area = Outline(square.rings + hole.rings)
    assert painted(area, Box(0, 0, 80, 80), (80, 80)).sum() == 50 * 50 - 20 * 20
    # An island in the hole belongs to the area again, whichever way its ring runs.
    island = Outline((*area.rings, rectangle(25, 25, 30, 30).rings[0][::-1]))
    assert painted(island, Box(0, 0, 80, 80), (80, 80)).sum() == 2100 + 25


def test_a_triangle_by_hand():
    # The slanted edge from (0, 0) to (4, 4) runs through the centres, which are right of what lies left of them.
    assert painted(outline([(0, 0), (4, 4), (0, 4)]))[:5, :5].astype(int).tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [0, 0, 0, 0, 0],
    ]


@pytest.mark.parametrize("ring", [[], [(2, 2)], [(1, 1), (6, 6)], [(1, 2.5), (6, 2.5), (3, 2.5)]])
def test_what_has_no_area_has_no_pixel(ring):
    assert not painted(outline(ring)).any()


@given(st.lists(st.tuples(st.floats(0, W), st.floats(0, H)), min_size=1, max_size=6, unique=True))
def test_areas_that_share_edges_cover_every_pixel_once(points):
    """Cut the image into triangles by the points, each inserted into the triangle that holds it."""
    corners = [(0.0, 0.0), (float(W), 0.0), (float(W), float(H)), (0.0, float(H))]
    triangles = [(corners[0], corners[1], corners[2]), (corners[0], corners[2], corners[3])]
    for p in points:
        for number, (a, b, c) in enumerate(triangles):
            parts = [(a, b, p), (b, c, p), (c, a, p)]
            turns = [(v[0] - u[0]) * (w[1] - u[1]) - (v[1] - u[1]) * (w[0] - u[0]) for u, v, w in parts]
            if min(turns) > 1e-6:
                triangles[number : number + 1] = parts
                break
    total = sum(painted(outline(list(triangle))).astype(int) for triangle in triangles)
    assert (total == 1).all()


def test_of_edges_through_centres_the_upper_and_the_right_one_have_them():
    assert painted(rectangle(0.5, 0.5, 3.5, 2.5))[:4, :5].astype(int).tolist() == [
        [0, 1, 1, 1, 0],
        [0, 1, 1, 1, 0],
        [0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0],
    ]


def test_an_edge_just_below_a_half_is_right_of_the_centre():
    assert painted(outline([(np.nextafter(0.5, 0), 0), (3, 0), (3, 2), (np.nextafter(0.5, 0), 2)]))[0, 0]
    assert not painted(rectangle(0.5, 0, 3, 2))[0, 0]


def test_a_circle_has_the_pixels_whose_centres_are_near_enough():
    rows, columns = np.mgrid[:100, :100] + 0.5
    distance = np.hypot(columns - 48.2, rows - 51.7)
    found = painted(ellipse(48.2, 51.7, 31.3, 31.3), Box(0, 0, 100, 100), (100, 100))
    clear = abs(distance - 31.3) > 0.01
    np.testing.assert_array_equal(found[clear], (distance < 31.3)[clear])
    assert clear.mean() > 0.99


def test_what_lies_far_outside_costs_nothing():
    tracemalloc.start()
    begun = time.perf_counter()
    window = Box(0, 0, 100, 100)
    assert painted(rectangle(-1e9, -1e9, 1e9, 1e9), window, (100, 100)).all()
    assert not painted(rectangle(1e8, 1e8, 1e9, 1e9), window, (100, 100)).any()
    assert not painted(rectangle(-1e9, -1e9, -1e8, 1e9), window, (100, 100)).any()
    assert tracemalloc.get_traced_memory()[1] < 2**21
    tracemalloc.stop()
    assert time.perf_counter() - begun < 5


def test_a_zigzag_through_all_rows_holds_bounded_memory():
    corners = np.stack([np.arange(8_000) % 300, np.tile([0, 1000], 4_000)], axis=1)
    tracemalloc.start()
    box, pixels = cover(Outline((corners.astype(float),)), Box(0, 0, 1000, 300))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert pixels.shape == (box.height, box.width) == (1000, 299)
    assert peak < 300 * 2**20  # 8 million crossings at once would be more


# Runs


@given(st.data(), st.booleans(), windows)
def test_runs_cover_what_they_hold(data, down, window):
    height, width = data.draw(st.integers(1, H - 2)), data.draw(st.integers(1, W - 3))
    pixels = np.array(data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width)))
    pixels = pixels.reshape(height, width)
    runs = bitmap(pixels.T if down else pixels, top=0, left=0)._replace(
        box=Box(2, 3, height, width), down=down
    )
    expected = np.zeros((H, W), np.bool_)
    expected[2 : 2 + height, 3 : 3 + width] = pixels
    np.testing.assert_array_equal(painted(runs), expected)
    outside = np.ones((H, W), np.bool_)
    outside[window.slices] = False
    expected[outside] = False
    np.testing.assert_array_equal(painted(runs, window), expected)


def test_runs_may_be_empty_and_need_not_reach_the_end():
    assert not painted(Runs(Box(0, 0, 3, 3), np.array([], np.int64))).any()
    assert painted(Runs(Box(0, 0, 3, 3), np.array([4, 4, 5, 7], np.int64)))[:3, :3].astype(int).tolist() == [
        [0, 0, 0],
        [0, 0, 1],
        [1, 0, 0],
    ]
