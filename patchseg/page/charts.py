"""Curves over epochs as inline SVG.

Heading and legend are text beside the drawing, so that they wrap on a phone. Each curve has a colour and a dash of its
own: either is enough to tell it, on a gray printer or by the colour-blind.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from patchseg.page.axes import HEIGHT, WIDTH, Axis, axes, finite, frame, number
from patchseg.page.shell import Html, element

COLORS = 7  # --series-0 to --series-6 in style.css
DASHES = (None, "7 3", "2 2.5", "9 3 2 3")
DOTS_UP_TO = 60  # points; beyond, dots run into each other

Points = Sequence[tuple[float, float | None]]


class Look(NamedTuple):
    """How a curve is told from the others: classes and custom properties of style.css, and its dashes."""

    kind: str
    style: str
    dash: str | None


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
    ys = [y for points in series.values() for _, y in points if finite(y)]
    heading = element("figcaption", title)
    if not ys:
        return element("figure", heading, element("p", "No values.", class_="note"), class_="chart")
    xs = [x for points in series.values() for x, _ in points]
    columns, rows = axes(min(xs), max(xs), y_range or (min(0, *ys), max(0, *ys)))
    looks = [look(index, (colors or {}).get(name)) for index, name in enumerate(series)]
    drawing = element(
        "svg",
        element("title", title),
        element("desc", "; ".join(_in_words(name, points, x_label) for name, points in series.items())),
        *frame(columns, rows, x_label),
        *(curve(*item, columns, rows) for item in zip(series.values(), looks, strict=True)),
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
    )
    entries = [
        entry(name, _last(points), shown) for (name, points), shown in zip(series.items(), looks, strict=True)
    ]
    legend = element("ul", *entries, class_="legend") if len(entries) > 1 else None
    return element("figure", heading, legend, drawing, class_="chart")


def curve(points: Points, look: Look, columns: Axis, rows: Axis) -> Html:
    """Return one drawn series: a line that starts anew after a gap, and dots where there is room for them."""
    path, gap, dots = [], True, []
    for x, y in points:
        if finite(y):
            place = f"{columns.place(x)} {rows.place(y)}"
            path.append(("M" if gap else "L") + place)
            dots.append(
                element("path", element("title", f"{number(x)}: {number(y)}"), d=f"M{place}h0", class_="dot")
            )
        gap = not finite(y)
    line = element("path", d="".join(path), class_="line", stroke_dasharray=look.dash)
    # A value between two gaps has no line, so it must have its dot.
    return element(
        "g", line, *(dots if len(points) <= DOTS_UP_TO else []), class_=look.kind, style=look.style
    )


def entry(name: str, value: str, look: Look) -> Html:
    """Return the line of a legend: what a curve stands for, and the value that tells most of it."""
    line = element("path", d="M0 6h28", class_="line", stroke_dasharray=look.dash)
    swatch = element("svg", line, viewBox="0 0 28 12", aria_hidden="true", class_=look.kind, style=look.style)
    return element("li", swatch, name, element("b", value) if value else None)


def _last(points: Points) -> str:
    return next((number(y) for _, y in reversed(points) if finite(y)), "–")


def _in_words(name: str, points: Points, x_label: str) -> str:
    ends = [(x, y) for x, y in points if finite(y)]
    if not ends:
        return f"{name}: no values"
    (x0, y0), (x1, y1) = ends[0], ends[-1]
    return f"{name}: from {number(y0)} at {x_label} {number(x0)} to {number(y1)} at {x_label} {number(x1)}"


def look(index: int, color: str | None = None) -> Look:
    """Return how the curve of a place is drawn, in a colour "#rrggbb" where it has one.

    >>> look(1)
    Look(kind='series', style='--series: var(--series-1)', dash='7 3')
    """
    series = f"--series: var(--series-{index % COLORS})"
    dash = DASHES[index % len(DASHES)]
    return Look("series own", f"{series}; --own: {color}", dash) if color else Look("series", series, dash)
