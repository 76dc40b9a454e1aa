"""Axes of charts: from values to places in a drawing, the round numbers that are marked, and the lines that mark them."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeGuard

from patchseg.page.shell import Html, element

WIDTH, HEIGHT = 380, 230  # of a chart, in the units of its 12-unit letters; it scales with the page
LETTER = 6.8  # width of a digit


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


def finite(value: float | None) -> TypeGuard[float]:
    """Tell whether there is a value that can be drawn.

    >>> finite(0.5), finite(None), finite(float("nan"))
    (True, False, False)
    """
    return value is not None and math.isfinite(value)


def axes(first: float, last: float, y_range: tuple[float, float]) -> tuple[Axis, Axis]:
    """Return the axes of a chart: of whole numbers from `first` to `last`, and of values that reach as far as `y_range`."""
    y_ticks = ticks(*y_range, beyond=True)
    left = LETTER * max(len(number(tick)) for tick in y_ticks) + 10
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


def number(value: float) -> str:
    """Write a value shortly.

    >>> number(0.004), number(1e-05), number(20.0), number(0.123456)
    ('0.004', '1e-5', '20', '0.1235')
    """
    return re.sub(r"e([+-])0*", lambda match: "e" + match[1].replace("+", ""), f"{value:.4g}")


def frame(columns: Axis, rows: Axis, x_label: str) -> list[Html]:
    """Return the drawn axes: a line and a number a tick, and below the last number what x is."""
    right, bottom = columns.end, rows.start
    lines = [
        element("line", x1=columns.start, x2=right, y1=rows.place(tick), y2=rows.place(tick), class_="grid")
        for tick in rows.ticks
    ]
    lines.append(element("line", x1=columns.start, x2=right, y1=bottom, y2=bottom, class_="axis"))
    heights = [
        element("text", number(tick), x=columns.start - 6, y=rows.place(tick) + 4, text_anchor="end")
        for tick in rows.ticks
    ]
    numbers = [
        element("text", number(tick), x=columns.place(tick), y=bottom + 16, text_anchor="middle")
        for tick in columns.ticks
    ]
    label = element("text", x_label, x=right, y=HEIGHT - 4, text_anchor="end")
    return [*lines, *heights, *numbers, label]
