"""Strips: a dot an image on a line of scores, one strip below the other, with the mean and its interval behind the dots.

Labels are text beside the drawings, so that long names wrap; the name of a dot's image is its title, which a browser shows
to whoever points at it. The same numbers stand in a table elsewhere on the page.
"""

from collections.abc import Sequence
from typing import NamedTuple

from patchseg.page.axes import Axis, number, ticks
from patchseg.page.shell import Html, element, score

WIDTH, HEIGHT = 408, 28  # of a strip, in units that scale with the page; its dots are 5.5 wide
MOST = 150  # dots of a strip; more would only hide each other
_MARGIN, _STEP = 12, 5
_TIERS = (0, -1, 1, -2, 2)  # where dots would touch, they step aside, up and down in turn


class Strip(NamedTuple):
    """The scores of one kind.

    Attributes:
        label: What they are scores of.
        dots: (name of the image, score).
        mean: Over the images, None where there is none.
        interval: The ends of the mean's interval, None where there is none.
        style: The hue of the dots, as custom properties of style.css.
    """

    label: str
    dots: Sequence[tuple[str, float]]
    mean: float | None = None
    interval: tuple[float, float] | None = None
    style: str = "--series: var(--series-1)"


def strips(rows: Sequence[Strip], *, title: str) -> Html:
    """Return strips that share one axis, which ends at 1.

    Args:
        rows: From top to bottom.
        title: What the scores are.
    """
    values = [value for row in rows for _, value in row.dots]
    values += [end for row in rows for end in row.interval or ()]
    heading = element("figcaption", title)
    if not values:
        return element("figure", heading, element("p", "No values.", class_="note"), class_="chart")
    marks = ticks(min([*values, 0.9]), 1, beyond=True)
    axis = Axis(marks[0], marks[-1], _MARGIN, WIDTH - _MARGIN, marks)
    drawn = [part for row in rows for part in (element("span", row.label), _strip(row, axis))]
    return element(
        "figure",
        heading,
        element("div", *drawn, element("span"), _scale(axis), class_="strips"),
        class_="chart",
    )


def told(strip: Strip) -> str:
    """Put a strip into words.

    >>> told(Strip("line", [("a", 0.5), ("b", 0.75)], 0.625, (0.2, 1.0)))
    'line: 2 images from 0.5000 to 0.7500; mean 0.6250, interval from 0.2000 to 1.0000'
    """
    values = [value for _, value in strip.dots]
    if not values:
        return f"{strip.label}: no image"
    images = f"{len(values)} images" if len(values) > 1 else "1 image"
    words = f"{strip.label}: {images} from {score(min(values))} to {score(max(values))}"
    if strip.mean is not None:
        words += f"; mean {score(strip.mean)}"
    if strip.interval:
        words += f", interval from {score(strip.interval[0])} to {score(strip.interval[1])}"
    return words


def _strip(row: Strip, axis: Axis) -> Html:
    middle = HEIGHT / 2
    lines = [
        element("line", x1=axis.place(mark), x2=axis.place(mark), y1=0, y2=HEIGHT, class_="grid")
        for mark in axis.ticks
    ]
    behind = []
    if row.interval:
        low, high = (axis.place(end) for end in row.interval)
        # An interval without width is still to be seen.
        behind.append(
            element(
                "rect", x=low, y=3, width=max(1.0, round(high - low, 1)), height=HEIGHT - 6, class_="interval"
            )
        )
    if row.mean is not None:
        place = axis.place(row.mean)
        behind.append(element("line", x1=place, x2=place, y1=3, y2=HEIGHT - 3, class_="mean"))
    dots = [
        element("path", element("title", f"{name}: {score(value)}"), d=f"M{x} {middle + y}h0", class_="dot")
        for (name, value), (x, y) in zip(*_placed(row, axis), strict=True)
    ]
    return element(
        "svg",
        element("title", told(row)),
        *lines,
        element(
            "g", *behind, *dots, class_="series own" if "--own" in row.style else "series", style=row.style
        ),
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
    )


def _placed(row: Strip, axis: Axis) -> tuple[list[tuple[str, float]], list[tuple[float, int]]]:
    """Return the dots that are drawn, in the order of their scores, and their places; they step aside for each other."""
    ranked = sorted(row.dots, key=lambda dot: dot[1])
    if len(ranked) > MOST:  # the lowest, the highest, and evenly between them
        ranked = [ranked[round(place * (len(ranked) - 1) / (MOST - 1))] for place in range(MOST)]
    places: list[tuple[float, int]] = []
    ends = dict.fromkeys(_TIERS, float("-inf"))  # of the last dot of each tier
    for _, value in ranked:
        x = axis.place(value)
        tier = next((tier for tier in _TIERS if x - ends[tier] >= 6), min(_TIERS, key=ends.__getitem__))
        ends[tier] = x
        places.append((x, _STEP * tier))
    return ranked, places


def _scale(axis: Axis) -> Html:
    numbers = (
        element("text", number(mark), x=axis.place(mark), y=14, text_anchor="middle") for mark in axis.ticks
    )
    return element("svg", *numbers, viewBox=f"0 0 {WIDTH} 18", aria_hidden="true")
