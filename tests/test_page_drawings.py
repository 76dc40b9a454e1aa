"""Strips, learning curves and viewers say what the numbers say, whatever the numbers are."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchseg.page import (
    Html,
    Mean,
    Strip,
    View,
    element,
    forecast_chart,
    matrix,
    strips,
    viewer,
)
from patchseg.page.strips import MOST

EVIL = '"<script>alert("1")</script>&'


def places(dots) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for dot in dots for x, y in re.findall(r"M([-\d.]+) ([-\d.]+)", dot["d"])]


@pytest.mark.parametrize(
    "part",
    [
        lambda: strips([Strip(EVIL, [(EVIL, 0.5)], 0.5, (0.4, 0.6), EVIL)], title=EVIL),
        lambda: forecast_chart([(1, 0.5)], [Mean(1, 0.5)], [], title=EVIL),
        lambda: viewer([View("errors", Html("<img>"), EVIL)], number=0, name=EVIL, chosen="errors", shape=(1, 1), ground=EVIL),
        lambda: matrix([[1, 0], [0, 1]], [EVIL, EVIL], shown=[1]),
    ],
)  # fmt: skip
def test_a_name_that_is_markup_stays_a_word(tree, part):
    assert "script" not in {tag for tag, _ in tree(part()).seen}


def test_dots_lie_where_their_scores_are_on_one_axis_for_all_strips(tree):
    # 0.5 to 1 is what the axis spans, from 12 to 396: 768 for a score of one.
    parsed = tree(
        strips([Strip("a", [("x", 0.5), ("y", 1.0)], 0.75, (0.6, 0.9)), Strip("b", [("x", 0.75)])], title="t")
    )
    assert places(parsed.all("path", "dot")) == [(12, 14), (396, 14), (204, 14)]
    [bar] = parsed.all("rect", "interval")
    assert (float(bar["x"]), float(bar["width"])) == pytest.approx((88.8, 230.4))
    assert [float(line["x1"]) for line in parsed.all("line", "mean")] == [204]
    assert "a: 2 images from 0.5000 to 1.0000; mean 0.7500, interval from 0.6000 to 0.9000" in parsed.words
    assert {"x: 0.5000", "y: 1.0000", "x: 0.7500"} <= set(parsed.words)


def test_equal_scores_step_aside_for_each_other(tree):
    parsed = tree(strips([Strip("a", [(str(n), 0.8) for n in range(4)])], title="t"))
    dots = places(parsed.all("path", "dot"))
    assert len(set(dots)) == 4
    assert len({x for x, _ in dots}) == 1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=2 * MOST))
def test_any_scores_stay_inside_and_the_lowest_and_the_highest_are_there(tree, values):
    parsed = tree(strips([Strip("a", [(f"{value!r}", value) for value in values])], title="t"))
    dots = places(parsed.all("path", "dot"))
    assert len(dots) == min(len(values), MOST)
    assert all(12 <= x <= 396 and 3 <= y <= 25 for x, y in dots)
    titles = [word.split(":")[0] for word in parsed.words if re.fullmatch(r"[\de.+-]+: [\d.]+", word)]
    assert {f"{min(values)!r}", f"{max(values)!r}"} <= set(titles)


def test_strips_without_scores_say_so(tree):
    assert tree(strips([Strip("a", [])], title="t")).words == ["t", "No values."]


def test_a_forecast_is_dashed_in_its_band_and_begins_where_measuring_ends(tree):
    means = [Mean(2, 0.5, 0.4, 0.6), Mean(4, 0.75)]
    parsed = tree(
        forecast_chart([(2, 0.45), (2, 0.55), (4, 0.75)], means, [Mean(14, 1.0, 0.75, 1.0)], title="IoU")
    )
    measured, ahead = (line["d"] for line in parsed.all("path", "line")[-2:])
    assert ahead.startswith(f"M{measured.rsplit('L', 1)[1]}")
    assert len(parsed.all("path", "faint")) == 3
    assert len(parsed.all("path", "whisker")) == 1
    [band] = parsed.all("path", "band")
    assert band["d"].count("L") == 3  # the last mean has no interval: the band is a point there
    assert any(
        "expected 1.0000 with 14 images, interval from 0.7500 to 1.0000" in word for word in parsed.words
    )


def test_a_learning_curve_without_a_forecast_or_without_values_is_whole(tree):
    parsed = tree(forecast_chart([(3, 0.5)], [Mean(3, 0.5)], [], title="IoU"))
    assert not parsed.all("path", "band")
    assert "expected" not in parsed.words
    assert tree(forecast_chart([], [Mean(3, None)], [], title="IoU")).words == ["IoU", "No values."]


def views(*kinds):
    return [View(kind, element("img", alt=kind), kind) for kind in kinds]


def test_the_buttons_of_a_viewer_stand_before_its_pictures(tree):
    parsed = tree(
        viewer(
            views("image", "truth", "errors"),
            number=3,
            name="a",
            chosen="errors",
            shape=(50, 100),
            ground="#000000",
        )
    )
    tags = [tag for tag, _ in parsed.seen]
    assert tags[:2] == ["fieldset", "legend"]
    assert len(tags) - tags[::-1].index("input") < tags.index("figure")
    assert [button["id"] for button in parsed.all("input") if "checked" in button] == ["view-3-errors", "opacity-3-solid"]  # fmt: skip
    assert [figure["class"] for figure in parsed.all("figure")] == [
        "base image",
        "layer truth",
        "layer errors",
    ]
    assert "--aspect: 2.0000" in parsed.all("div", "stage")[0]["style"]


def test_without_an_image_there_is_nothing_to_see_through_to(tree):
    parsed = tree(
        viewer(views("truth", "errors"), number=0, name="a", chosen="errors", shape=(1, 1), ground="#000000")
    )
    assert {button["name"] for button in parsed.all("input")} == {"view-0"}
    assert [figure["class"] for figure in parsed.all("figure")] == ["layer truth", "layer errors"]


def test_a_matrix_of_some_classes_has_the_shares_of_all(tree):
    words = tree(matrix([[5, 5, 10], [0, 1, 0], [0, 0, 1]], ["a", "b", "c"], shown=[0, 2])).words
    assert words[-10:] == ["a", "25.00 %", "5", "50.00 %", "10", "c", "0 %", "0", "100 %", "1"]
