"""Charts as inline SVG and tables: curves over epochs, and a confusion matrix.

Heading and legend are text beside the drawing, so that they wrap on a phone. Each curve has a colour and a dash of its
own: either is enough to tell it, on a gray printer or by the colour-blind.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeGuard

from patchseg.page.shell import Html, element, scroll

WIDTH, HEIGHT = 380, 230  # of a chart, in the units of its 12-unit letters; it scales with the page
LETTER = 6.8  # width of a digit
COLORS = 7  # --series-0 to --series-6 in style.css
DASHES = (None, "7 3", "2 2.5", "9 3 2 3")
DOTS_UP_TO = 60  # points; beyond, dots run into each other

Points = Sequence[tuple[float, float | None]]


class Look(NamedTuple):
    """How a curve is told from the others: classes and custom properties of style.css, and its dashes."""

    kind: str
    style: str
    dash: str | None


@dataclass(frozen=True)
class Axis:
    """Values from `low` to `high`, drawn between two positions, and the values that get a mark."""

    low: float
    high: float
    start: float
    end: float
    ticks: Sequence[float]

    def place(self, value: float) -> float:
        """Return the position of a value.

        >>> Axis(0, 10, 100, 200, ()).place(2.5)
        125.0
        """
        return round(self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start), 1)


def line_chart(
    series: Mapping[str, Points],
    *,
    title: str,
    x_label: str,
    y_range: tuple[float, float] | None = None,
    colors: Mapping[str, str] | None = None,
) -> Html:
    """Return curves with axes and a legend that tells the last value of each.

    Args:
        series: Points (x, y) by name, in the order of x; where y is None or not finite, the curve has a gap.
        title: What y is.
        x_label: What x is; whole numbers.
        y_range: Of the axis; from 0 as far as the values reach when left out.
        colors: "#rrggbb" of those curves whose hue is known elsewhere on the page.
    """
    ys = [y for points in series.values() for _, y in points if _finite(y)]
    heading = element("figcaption", title)
    if not ys:
        return element("figure", heading, element("p", "No values.", class_="note"), class_="chart")
    xs = [x for points in series.values() for x, _ in points]
    columns, rows = _axes(min(xs), max(xs), y_range or (min(0, *ys), max(0, *ys)))
    looks = [_look(index, (colors or {}).get(name)) for index, name in enumerate(series)]
    drawing = element(
        "svg",
        element("title", title),
        element("desc", "; ".join(_in_words(name, points, x_label) for name, points in series.items())),
        *_frame(columns, rows, x_label),
        *(_curve(points, columns, rows, look) for points, look in zip(series.values(), looks, strict=True)),
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
    )
    entries = [_entry(*item, look) for item, look in zip(series.items(), looks, strict=True)]
    legend = element("ul", *entries, class_="legend") if len(entries) > 1 else None
    return element("figure", heading, legend, drawing, class_="chart")


def matrix(counts: Sequence[Sequence[int]], names: Sequence[str]) -> Html:
    """Return a confusion matrix as a table; each cell tells its share of the row and its pixels.

    Shades grow with the square root of the share, so that the few pixels that are wrong can be seen beside the many
    that are right.

    Args:
        counts: Pixels, rows are the truth, (K, K).
        names: Of the classes, K.
    """
    head = [
        element("th", "truth ↓", element("br"), "taken for →", scope="col"),
        *(element("th", name, scope="col") for name in names),
    ]
    rows = [
        element("tr", element("th", names[row], scope="row"), *_matrix_row(list(line), row))
        for row, line in enumerate(counts)
    ]
    content = element("table", element("thead", element("tr", *head)), element("tbody", *rows))
    return scroll(content, label="confusion matrix", kind="matrix")


def _matrix_row(line: list[int], row: int) -> list[Html]:
    total = sum(line)
    return [
        element(
            "td",
            element("b", _percent(count, total)),
            element("small", f"{count:,}"),
            class_="right" if column == row else None,
            # Never a full shade: the letters must stay readable, in the dark too.
            style=f"--shade: {0.6 * math.sqrt(count / total) if total else 0:.3f}",
        )
        for column, count in enumerate(line)
    ]


def _percent(part: int, whole: int) -> str:
    """Write a share so that little is not nothing and much is not all.

    >>> _percent(1, 3), _percent(1, 10**6), _percent(999_999, 10**6), _percent(0, 5), _percent(5, 5), _percent(0, 0)
    ('33.33 %', '< 0.01 %', '> 99.99 %', '0 %', '100 %', '–')
    """
    if whole == 0:
        return "–"
    if part in (0, whole):
        return "100 %" if part else "0 %"
    share = 100 * part / whole
    return "< 0.01 %" if share < 0.01 else "> 99.99 %" if share > 99.99 else f"{share:.2f} %"


def _finite(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def _axes(first: float, last: float, y_range: tuple[float, float]) -> tuple[Axis, Axis]:
    y_ticks = ticks(*y_range, beyond=True)
    left = LETTER * max(len(_number(tick)) for tick in y_ticks) + 10
    # A single epoch has no width; it stands in the middle.
    margin = 0.5 if first == last else 0.0
    x_ticks = [tick for tick in ticks(first - margin, last + margin, beyond=False) if tick == round(tick)]
    return (
        Axis(first - margin, last + margin, left, WIDTH - 12, x_ticks),
        Axis(y_ticks[0], y_ticks[-1], HEIGHT - 36, 8, y_ticks),
    )


def ticks(low: float, high: float, *, beyond: bool) -> list[float]:
    """Return two to seven round values between two, or just beyond them too.

    >>> ticks(0, 0.93, beyond=True)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    >>> ticks(1, 20, beyond=False)
    [5.0, 10.0, 15.0, 20.0]
    """
    if low == high:
        high = low + 1
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    # Quotients are a hair off whole numbers.
    first, last = (
        (low / step + 1e-9, high / step - 1e-9) if beyond else (low / step - 1e-9, high / step + 1e-9)
    )
    inside = range(math.ceil(first), math.floor(last) + 1)
    outside = range(math.floor(first), math.ceil(last) + 1)
    return [float(f"{index * step:.12g}") for index in (outside if beyond else inside)]


def _number(value: float) -> str:
    """Write a value shortly.

    >>> _number(0.004), _number(1e-05), _number(20.0), _number(0.123456)
    ('0.004', '1e-5', '20', '0.1235')
    """
    return re.sub(r"e([+-])0*", lambda match: "e" + match[1].replace("+", ""), f"{value:.4g}")


def _frame(columns: Axis, rows: Axis, x_label: str) -> list[Html]:
    """Draw the axes: a line and a number a tick, and below the last number what x is."""
    right, bottom = columns.end, rows.start
    lines = [
        element("line", x1=columns.start, x2=right, y1=rows.place(tick), y2=rows.place(tick), class_="grid")
        for tick in rows.ticks
    ]
    lines.append(element("line", x1=columns.start, x2=right, y1=bottom, y2=bottom, class_="axis"))
    heights = [
        element("text", _number(tick), x=columns.start - 6, y=rows.place(tick) + 4, text_anchor="end")
        for tick in rows.ticks
    ]
    numbers = [
        element("text", _number(tick), x=columns.place(tick), y=bottom + 16, text_anchor="middle")
        for tick in columns.ticks
    ]
    label = element("text", x_label, x=right, y=HEIGHT - 4, text_anchor="end")
    return [*lines, *heights, *numbers, label]


def _curve(points: Points, columns: Axis, rows: Axis, look: Look) -> Html:
    """Draw one series: a line that starts anew after a gap, and dots where there is room for them."""
    path, gap, dots = [], True, []
    for x, y in points:
        if _finite(y):
            place = f"{columns.place(x)} {rows.place(y)}"
            path.append(("M" if gap else "L") + place)
            dots.append(
                element(
                    "path", element("title", f"{_number(x)}: {_number(y)}"), d=f"M{place}h0", class_="dot"
                )
            )
        gap = not _finite(y)
    line = element("path", d="".join(path), class_="line", stroke_dasharray=look.dash)
    # A value between two gaps has no line, so it must have its dot.
    return element(
        "g", line, *(dots if len(points) <= DOTS_UP_TO else []), class_=look.kind, style=look.style
    )


def _entry(name: str, points: Points, look: Look) -> Html:
    """Tell what a line stands for, and where it ends."""
    line = element("path", d="M0 6h28", class_="line", stroke_dasharray=look.dash)
    last = next((_number(y) for _, y in reversed(points) if _finite(y)), "–")
    swatch = element("svg", line, viewBox="0 0 28 12", aria_hidden="true", class_=look.kind, style=look.style)
    return element("li", swatch, name, element("b", last))


def _in_words(name: str, points: Points, x_label: str) -> str:
    ends = [(x, y) for x, y in points if _finite(y)]
    if not ends:
        return f"{name}: no values"
    (x0, y0), (x1, y1) = ends[0], ends[-1]
    return (
        f"{name}: from {_number(y0)} at {x_label} {_number(x0)} to {_number(y1)} at {x_label} {_number(x1)}"
    )


def _look(index: int, color: str | None) -> Look:
    series = f"--series: var(--series-{index % COLORS})"
    dash = DASHES[index % len(DASHES)]
    return Look("series own", f"{series}; --own: {color}", dash) if color else Look("series", series, dash)
