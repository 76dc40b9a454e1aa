"""The reliability diagram says what the numbers say, to those who see it and to those who hear it."""

import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest

from patchseg.page import page, reliability_chart
from patchseg.page.axes import LETTER

HALVES = {"edges": [0.0, 0.5, 1.0], "count": [100, 300], "confidence": [0.4, 0.8], "accuracy": [0.5, 0.6]}
EMPTY = {"edges": [0.0, 0.5, 1.0], "count": [0, 0], "confidence": [None, None], "accuracy": [None, None]}
ONE = {"edges": [0.0, 0.5, 1.0], "count": [0, 7], "confidence": [None, 0.99], "accuracy": [None, 1.0]}


def tree(before, after=None):
    return ET.fromstring(str(reliability_chart(before, after)))


def of_class(found, name):
    return [one for one in found.iter() if (one.get("class") or "") == name]


def number(one, key):
    return float(one.get(key))


def test_bars_stand_over_their_bins_as_high_as_the_accuracy():
    found = tree(HALVES)
    axes = of_class(found, "grid")  # at 0, 0.2, ... from the bottom up
    bottom, top = number(axes[0], "y1"), number(axes[-1], "y1")
    left, right = number(axes[0], "x1"), number(axes[0], "x2")
    bars = of_class(found, "bar")
    for bar, accuracy, start in zip(bars, (0.5, 0.6), (0.0, 0.5), strict=True):
        assert number(bar, "height") == pytest.approx(accuracy * (bottom - top), abs=0.2)
        assert number(bar, "y") + number(bar, "height") == pytest.approx(bottom, abs=0.2)
        assert number(bar, "x") == pytest.approx(left + start * (right - left), abs=1.2)
    diagonal = [one for one in of_class(found, "axis") if one.tag == "line" and one.get("stroke-dasharray")]
    assert [number(diagonal[0], key) for key in ("x1", "y1", "x2", "y2")] == [left, bottom, right, top]


def test_counts_grow_with_the_square_root():
    few, many = of_class(tree(HALVES), "count")
    assert number(few, "height") / number(many, "height") == pytest.approx((1 / 3) ** 0.5, abs=0.01)


def test_the_gap_leads_from_what_was_said_to_what_was_right():
    found = tree(HALVES)
    axes = of_class(found, "grid")
    bottom, top = number(axes[0], "y1"), number(axes[-1], "y1")
    path = of_class(found, "gap")[-1].get("d")
    (_, said), (_, right) = (map(float, part.split()) for part in path[1:].split("L"))
    assert said == pytest.approx(bottom - 0.8 * (bottom - top), abs=0.06)
    assert right == pytest.approx(bottom - 0.6 * (bottom - top), abs=0.06)


def test_it_is_told_in_words_and_numbers():
    found = tree(HALVES)
    svg = next(one for one in found.iter("svg") if one.get("role") == "img")
    assert [svg[0].tag, svg[0].text, svg[1].tag] == ["title", "Reliability", "desc"]
    assert svg[1].text == (
        "of 100 pixels that said 0.40, 0.50 were right; of 300 pixels that said 0.80, 0.60 were right"
    )
    # A quarter is off by 0.1, the rest by 0.2.
    assert [one.text for one in found.iter("b")] == ["0.1750"]


def test_before_and_after_stand_side_by_side_by_name():
    found = tree(HALVES, ONE)
    assert found.get("class") == "charts"
    titles = [one.text for one in found.iter("figcaption")]
    assert titles == ["Reliability, as predicted", "Reliability, calibrated"]
    assert [one.text for one in found.iter("b")] == ["0.1750", "0.0100"]


def test_empty_bins_have_no_bar_and_no_pixels_are_said_to_be_none():
    assert len(of_class(tree(ONE), "bar")) == len(of_class(tree(ONE), "count")) == 1
    found = tree(EMPTY)
    assert [one.text for one in found.iter("p")] == ["No pixels."]
    assert not list(found.iter("svg"))


@pytest.mark.parametrize("one", [HALVES, ONE])
def test_all_is_drawn_inside(one):
    found = tree(one)
    svg = next(each for each in found.iter("svg") if each.get("role") == "img")
    width, height = map(float, svg.get("viewBox").split()[2:])
    for bar in [*of_class(found, "bar"), *of_class(found, "count")]:
        assert 0 <= number(bar, "x") < number(bar, "x") + number(bar, "width") <= width
        assert 0 <= number(bar, "y") < number(bar, "y") + number(bar, "height") <= height
    assert "rgba(var(--right)" in page("t", [reliability_chart(one)])


def test_words_and_numbers_do_not_run_into_each_other():
    lines = {}
    for text in tree(HALVES).iter("text"):
        width = len(text.text) * LETTER
        shift = {"end": 1.0, "middle": 0.5}[text.get("text-anchor")]
        start = number(text, "x") - shift * width
        if not text.get("transform"):
            lines.setdefault(text.get("y"), []).append((start, start + width))
    assert len(lines) == 6 + 3  # the heights, and below them the numbers, what they are, and the pixels
    for spans in lines.values():
        for (_, end), (start, _) in pairwise(sorted(spans)):
            assert end < start
