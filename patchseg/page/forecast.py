"""A learning curve as inline SVG: scores against the number of labelled images, and what more of them may bring.

Measured scores flow in, their means with intervals, and a forecast; what is measured is drawn as lines and dots, what is
only expected is dashed, in a band as wide as its interval.
"""

from collections.abc import Sequence
from typing import NamedTuple

from patchseg.page.axes import HEIGHT, WIDTH, Axis, axes, finite, frame
from patchseg.page.charts import curve, entry, look
from patchseg.page.shell import Html, element, score


class Mean(NamedTuple):
    """A mean or expected score.

    Attributes:
        images: Labelled ones.
        value: The score, None where it is not defined.
        low: Lower end of its interval, None where there is none.
        high: Upper end.
    """

    images: int
    value: float | None
    low: float | None = None
    high: float | None = None

    @property
    def has_interval(self) -> bool:
        """Whether there is one."""
        return finite(self.low) and finite(self.high)


def forecast_chart(
    points: Sequence[tuple[int, float]], means: Sequence[Mean], forecast: Sequence[Mean], *, title: str
) -> Html:
    """Return a learning curve and its forecast.

    Args:
        points: (labelled images, score) of each training.
        means: Of the trainings with equally many images, in the order of images.
        forecast: Expected with more images.
        title: What the score is.
    """
    measured, ahead = ([mean for mean in group if finite(mean.value)] for group in (means, forecast))
    heading = element("figcaption", title)
    if not measured:
        return element("figure", heading, element("p", "No values.", class_="note"), class_="chart")
    ends = [end for mean in (*measured, *ahead) for end in (mean.value, mean.low, mean.high) if finite(end)]
    values = [*ends, *(value for _, value in points if finite(value))]
    counts = [mean.images for mean in (*measured, *ahead)] + [count for count, _ in points]
    columns, rows = axes(min(counts), max(counts), (min(values), max(values)))
    line, dashed = look(1)._replace(dash=None), look(2)
    chain = [measured[-1], *ahead]
    drawing = element(
        "svg",
        element("title", title),
        element(
            "desc", "; ".join([*map(_in_words, measured), *(f"expected {_in_words(mean)}" for mean in ahead)])
        ),
        *frame(columns, rows, "labelled images"),
        *([_band(chain, columns, rows)] if len(chain) > 1 else []),
        *(_whisker(mean, columns, rows) for mean in measured if mean.has_interval),
        *(
            element("path", d=f"M{columns.place(count)} {rows.place(value)}h0", class_="dot faint")
            for count, value in points
            if finite(value)
        ),
        curve([(mean.images, mean.value) for mean in measured], line, columns, rows),
        curve([(mean.images, mean.value) for mean in chain], dashed, columns, rows) if ahead else None,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
    )
    entries = [entry("measured, mean", score(measured[-1].value), line)]
    if ahead:
        entries.append(entry("expected", score(ahead[-1].value), dashed))
    return element("figure", heading, element("ul", *entries, class_="legend"), drawing, class_="chart")


def _band(chain: Sequence[Mean], columns: Axis, rows: Axis) -> Html:
    """Draw the area between the ends of intervals; where there is none, the value is both."""
    upper = [(mean.images, mean.high if finite(mean.high) else mean.value) for mean in chain]
    lower = [(mean.images, mean.low if finite(mean.low) else mean.value) for mean in reversed(chain)]
    corners = [f"{columns.place(x)} {rows.place(y)}" for x, y in (*upper, *lower) if y is not None]
    return element("path", d="M" + "L".join(corners) + "Z", class_="band")


def _whisker(mean: Mean, columns: Axis, rows: Axis) -> Html:
    x = columns.place(mean.images)
    low, high = (rows.place(end or 0) for end in (mean.low, mean.high))
    return element("path", d=f"M{x} {low}V{high}M{x - 3} {low}h6M{x - 3} {high}h6", class_="whisker")


def _in_words(mean: Mean) -> str:
    interval = f", interval from {score(mean.low)} to {score(mean.high)}" if mean.has_interval else ""
    return f"{score(mean.value)} with {mean.images} images{interval}"
