"""The reliability diagram as inline SVG: of the pixels that said 80 %, were 80 % right?

Bars of accuracy over confidence and the diagonal on which both are equal; below them a strip that tells how many pixels
each bar stands for. Bars below the diagonal were too sure, bars above it not sure enough.
"""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from patchseg.page.axes import HEIGHT, LETTER, WIDTH, Axis
from patchseg.page.shell import Html, element

_TICKS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
_STRIP = 34  # height of the counts
_BOTTOM = HEIGHT - 12  # of the bars of accuracy
_TALLER = 66  # than other charts, for the numbers below the bars and for the strip

Reliability = Mapping[str, Any]  # {edges, count, confidence, accuracy}, see evaluation/reliability.py


def reliability_chart(before: Reliability, after: Reliability | None = None) -> Html:
    """Return accuracy over confidence, in bins: as predicted, and beside it as calibrated where that is given.

    Args:
        before: B + 1 `edges` of the bins, and of each bin its `count` of pixels, their mean `confidence` and their
            `accuracy`, None where it is empty.
        after: The same with calibrated probabilities.
    """
    drawn = {"as predicted": before} | ({} if after is None else {"calibrated": after})
    return element(
        "div", *(_figure(name, one, alone=after is None) for name, one in drawn.items()), class_="charts"
    )


def _figure(name: str, one: Reliability, *, alone: bool) -> Html:
    title = "Reliability" if alone else f"Reliability, {name}"
    heading = element("figcaption", title)
    if not sum(one["count"]):
        return element("figure", heading, element("p", "No pixels.", class_="note"), class_="chart")
    left = LETTER * 3 + 24
    columns = Axis(0, 1, left, WIDTH - 12, _TICKS)
    rows = Axis(0, 1, _BOTTOM, 8, _TICKS)
    height = HEIGHT + _TALLER
    drawing = element(
        "svg",
        element("title", title),
        element("desc", _in_words(one)),
        *_frame(columns, rows),
        *_bars(one, columns, rows),
        element(
            "line", x1=columns.start, y1=rows.start, x2=columns.end, y2=rows.end, class_="axis", stroke_dasharray="4 3"
        ),
        *_counts(one, columns, height),
        viewBox=f"0 0 {WIDTH} {height}",
        role="img",
    )  # fmt: skip
    return element("figure", heading, _legend(one), drawing, class_="chart reliability")


def expected_error(one: Reliability) -> float:
    """Return the expected calibration error: |accuracy - confidence| of the bins, averaged over the pixels.

    >>> expected_error({"count": [1, 3, 0], "confidence": [0.5, 0.9, None], "accuracy": [0.5, 0.7, None]})
    0.15
    """
    return round(sum(count * abs(said - right) for count, said, right in _filled(one)) / sum(one["count"]), 6)


def _filled(one: Reliability) -> list[tuple[int, float, float]]:
    """Return count, confidence and accuracy of the bins that hold pixels."""
    bins = zip(one["count"], one["confidence"], one["accuracy"], strict=True)
    return [(count, said, right) for count, said, right in bins if count]


def _bars(one: Reliability, columns: Axis, rows: Axis) -> list[Html]:
    bars = []
    values = zip(pairwise(one["edges"]), one["count"], one["confidence"], one["accuracy"], strict=True)
    for (low, high), count, said, right in values:
        if not count:
            continue
        start, end, top = columns.place(low), columns.place(high), rows.place(right)
        place = columns.place(said)
        told = f"of {count:,} pixels that said {said:.2f} on average, {right:.2f} were right"
        bar = element(
            "rect", element("title", told), x=start + 1, y=top, width=round(end - start - 2, 1),
            height=round(rows.start - top, 1), class_="bar",
        )  # fmt: skip
        # From what was said to what was right: the shorter, the better.
        gap = element("path", d=f"M{place} {rows.place(said)}L{place} {top}", class_="gap")
        bars += [bar, gap]
    return bars


def _counts(one: Reliability, columns: Axis, height: int) -> list[Html]:
    """Draw how many pixels each bin holds, by the square root, so that few are seen beside many."""
    base, most = height - 2, max(one["count"])
    bars = []
    for (low, high), count in zip(pairwise(one["edges"]), one["count"], strict=True):
        if not count:
            continue
        start, end = columns.place(low), columns.place(high)
        tall = max(1.0, round(_STRIP * math.sqrt(count / most), 1))
        bars.append(
            element(
                "rect",
                element("title", f"{count:,} pixels"),
                x=start + 1,
                y=round(base - tall, 1),
                width=round(end - start - 2, 1),
                height=tall,
                class_="count",
            )
        )
    line = element("line", x1=columns.start, x2=columns.end, y1=base, y2=base, class_="axis")
    label = element("text", "pixels", x=columns.start - 6, y=base - 2, text_anchor="end")
    return [*bars, line, label]


def _frame(columns: Axis, rows: Axis) -> list[Html]:
    lines = [
        element("line", x1=columns.start, x2=columns.end, y1=rows.place(tick), y2=rows.place(tick), class_="grid")
        for tick in _TICKS
    ]  # fmt: skip
    heights = [
        element("text", f"{tick:g}", x=columns.start - 6, y=rows.place(tick) + 4, text_anchor="end")
        for tick in _TICKS
    ]
    numbers = [
        element("text", f"{tick:g}", x=columns.place(tick), y=rows.start + 16, text_anchor="middle")
        for tick in _TICKS
    ]
    across = element("text", "confidence", x=columns.end, y=rows.start + 32, text_anchor="end")
    middle = round((rows.start + rows.end) / 2)
    up = element("text", "right", x=10, y=middle, text_anchor="middle", transform=f"rotate(-90 10 {middle})")
    return [*lines, *heights, *numbers, across, up]


def _legend(one: Reliability) -> Html:
    swatch = element("path", d="M0 6h28", class_="axis", stroke_dasharray="4 3")
    gap = element("path", d="M0 6h28", class_="gap")
    return element(
        "ul",
        element("li", element("svg", swatch, viewBox="0 0 28 12", aria_hidden="true"), "as right as sure"),
        element("li", element("svg", gap, viewBox="0 0 28 12", aria_hidden="true"), "what is amiss"),
        element("li", "ECE", element("b", f"{expected_error(one):.4f}")),
        class_="legend",
    )


def _in_words(one: Reliability) -> str:
    parts = [
        f"of {count:,} pixels that said {said:.2f}, {right:.2f} were right"
        for count, said, right in _filled(one)
    ]
    return "; ".join(parts)
