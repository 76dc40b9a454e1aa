"""The page: everything escaped, nothing from elsewhere, charts that say what the numbers say."""

import base64
import io
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from patchseg.page import Html, element, escape, image, line_chart, matrix, page, score, table
from patchseg.page.axes import ticks

EVIL = '<script>alert("1")</script>'


def test_a_page_is_well_formed_and_fetches_nothing(tree):
    text = page("Report", [element("h1", "Report"), table(["name", "iou"], [["a", 0.5]])])
    seen = tree(text)
    assert text.startswith("<!doctype html>")
    assert {tag for tag, _ in seen.seen} >= {"html", "head", "title", "style", "body", "main", "h1", "table"}
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in seen.seen}
    assert not re.search(r"https?:|@import|url\(", text)
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in seen.all("meta")
    assert "default-src 'none'" in text
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


@given(st.text(st.characters(exclude_characters="\r\0")))
def test_text_comes_out_of_a_page_as_it_went_in(tree, text):
    parsed = tree(element("p", text, title=text))
    written = text.encode("utf-8", "backslashreplace").decode()
    assert "".join(parsed.words) == written
    assert parsed.seen == [("p", {"title": written})]


@pytest.mark.parametrize(
    "part",
    [
        lambda: page(EVIL, [EVIL]),
        lambda: table([EVIL, EVIL], [[EVIL, EVIL]], label=EVIL),
        lambda: line_chart({EVIL: [(1, 2.0)], "b": [(1, 1.0)]}, title=EVIL, x_label=EVIL),
        lambda: line_chart({"a": [(1, 2.0)]}, title="a", x_label="b", colors={"a": f'"{EVIL}'}),
        lambda: matrix([[1]], [EVIL]),
        lambda: image(np.zeros((2, 2), np.uint8), f'"{EVIL}'),
    ],
)
def test_a_name_that_is_markup_stays_a_word(tree, part):
    assert "script" not in {tag for tag, _ in tree(part()).seen}


def test_markup_is_not_escaped_twice():
    assert escape(escape("<")) == Html("&lt;")


def test_file_names_that_are_no_text_can_be_written():
    assert page("\udcff", []).encode("utf-8").count(rb"\udcff") == 1


def test_a_table_writes_numbers_to_the_right_and_none_as_a_dash(tree):
    parsed = tree(
        table(["name", "pixels", "iou", "note"], [["a", 12345, 0.5, "x"], ["b", 7, None, "y"]], bars={2})
    )
    assert parsed.words == ["name", "pixels", "iou", "note", "a", "12,345", "0.5000", "x", "b", "7", "–", "y"]
    assert [a.get("class") for a in parsed.all("td")] == ["number", "number", None] * 2
    assert parsed.all("span", "meter") == [{"class": "meter", "style": "--share: 50.00%"}]
    assert parsed.all("div", "scroll")


def test_text_that_is_a_number_stands_to_the_right_when_asked(tree):
    parsed = tree(table(["name", "distance"], [["a", "1.25"]], numbers={1}))
    assert parsed.all("td") == [{"class": "number"}]
    assert tree(table(["name", "distance"], [["a", "1.25"]])).all("td") == [{}]


@given(st.floats(0, 1))
def test_only_a_perfect_score_reads_as_one(value):
    assert (score(value) == "1.0000") == (value == 1)
    assert float(score(value)) == pytest.approx(value, abs=1e-4)


def decoded(tree, part) -> np.ndarray:
    source = tree(part).all("img")[0]["src"]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.split(",")[1]))).convert("RGB"))


def test_an_exact_picture_comes_back_pixel_by_pixel(tree):
    pixels = np.random.default_rng(0).integers(0, 256, (7, 5, 3), np.uint8)
    np.testing.assert_array_equal(decoded(tree, image(pixels, "mask", exact=True)), pixels)


def test_a_photograph_is_small_and_looks_the_same(tree):
    rows = np.linspace(0, 200, 300)[:, None] + np.random.default_rng(0).normal(20, 4, (300, 200))
    pixels = rows.clip(0, 255).astype(np.uint8)
    part = image(pixels, "photograph")
    assert len(str(part)) < pixels.size / 3
    assert np.abs(decoded(tree, part)[:, :, 0].astype(int) - pixels).mean() < 5
    assert (tree(part).all("img")[0]["width"], tree(part).all("img")[0]["height"]) == (
        "200",
        "300",
    )


def points(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"([\d.]+) ([\d.]+)", path)]


def test_a_curve_passes_through_its_points(tree):
    # Epochs 0 to 10 and scores 0 to 1 span the axes, whose corners the frame draws.
    parsed = tree(
        line_chart({"a": [(0, 0.0), (5, 0.25), (10, 1.0)]}, title="t", x_label="epoch", y_range=(0, 1))
    )
    left, right, bottom = (float(parsed.all("line", "axis")[0][key]) for key in ("x1", "x2", "y1"))
    top = min(float(line["y1"]) for line in parsed.all("line", "grid"))
    expected = [(left, bottom), ((left + right) / 2, bottom - (bottom - top) / 4), (right, top)]
    np.testing.assert_allclose(points(parsed.all("path", "line")[0]["d"]), expected, atol=0.06)


def test_a_curve_has_a_gap_where_a_value_is_missing_or_not_finite(tree):
    values = [1.0, 2.0, None, 3.0, float("nan"), 1.0, 2.0]
    parsed = tree(line_chart({"a": list(enumerate(values))}, title="t", x_label="epoch"))
    path = parsed.all("path", "line")[0]["d"]
    assert (path.count("M"), path.count("L")) == (3, 2)
    assert len(parsed.all("path", "dot")) == 5


def test_the_legend_tells_the_last_value_of_each_curve(tree):
    series = {"train": [(1, 2.0), (2, 0.123456)], "val": [(1, 3.0), (2, None)], "none": [(1, None)]}
    parsed = tree(line_chart(series, title="Loss", x_label="epoch"))
    legend = parsed.words[1 : 1 + 6]
    assert legend == ["train", "0.1235", "val", "3", "none", "–"]
    told = "train: from 2 at epoch 1 to 0.1235 at epoch 2; val: from 3 at epoch 1 to 3 at epoch 1; none: no values"
    assert told in parsed.words


def test_neighbouring_curves_differ_in_colour_and_in_dashes(tree):
    parsed = tree(
        line_chart({str(i): [(1, i)] for i in range(4)}, title="t", x_label="epoch", colors={"2": "#56b4e9"})
    )
    groups, lines = parsed.all("g"), parsed.all("path", "line")[4:]
    assert len({group["style"] for group in groups}) == 4
    assert len({line.get("stroke-dasharray") for line in lines}) == 4
    assert [group["class"] for group in groups] == ["series", "series", "series own", "series"]


def test_a_chart_is_named_for_those_who_hear_it(tree):
    parsed = tree(line_chart({"a": [(1, 1.0)]}, title="Loss", x_label="epoch"))
    assert parsed.all("svg")[0]["role"] == "img"
    assert [tag for tag, _ in parsed.seen if tag in {"title", "desc"}][:2] == ["title", "desc"]


@pytest.mark.parametrize("series", [{}, {"a": []}, {"a": [(1, None), (2, float("inf"))]}])
def test_a_chart_without_values_says_so(tree, series):
    assert tree(line_chart(series, title="Loss", x_label="epoch")).words == ["Loss", "No values."]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=100), st.integers(0, 5))
def test_any_curve_stays_inside_its_drawing(tree, values, first):
    parsed = tree(line_chart({"a": list(enumerate(values, first))}, title="t", x_label="epoch"))
    width, height = (float(part) for part in parsed.all("svg")[0]["viewbox"].split()[2:])
    for x, y in points(parsed.all("path", "line")[0]["d"]):
        assert 0 <= x <= width
        assert 0 <= y <= height


@given(st.floats(-1e4, 1e4), st.floats(1e-3, 1e6), st.booleans())
def test_ticks_are_few_even_and_around_or_within_the_values(low, span, beyond):
    high = low + span
    marks = ticks(low, high, beyond=beyond)
    steps = np.diff(marks)
    assert 2 <= len(marks) <= 7
    assert np.allclose(steps, steps[0], rtol=1e-3)
    slack = 1e-6 * max(span, abs(low))
    if beyond:
        assert marks[0] <= low + slack
        assert marks[-1] >= high - slack
    else:
        assert marks[0] >= low - slack
        assert marks[-1] <= high + slack


def test_a_matrix_tells_shares_of_rows_and_counts(tree):
    parsed = tree(matrix([[999_999, 1], [30, 10]], ["ground", "tree"]))
    assert parsed.words[2:] == [
        *("ground", "tree"),
        *("ground", "> 99.99 %", "999,999", "< 0.01 %", "1"),
        *("tree", "75.00 %", "30", "25.00 %", "10"),
    ]
    cells = parsed.all("td")
    assert [cell.get("class") for cell in cells] == ["right", None, None, "right"]
    shades = [float(cell["style"].split()[1]) for cell in cells]
    assert shades[0] > shades[2] > shades[3] > shades[1] > 0


def test_a_class_that_is_never_true_has_an_empty_row(tree):
    assert tree(matrix([[4, 0], [0, 0]], ["a", "b"])).words[-4:] == ["–", "0", "–", "0"]
