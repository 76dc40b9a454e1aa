"""The document and its plain parts: elements, tables, pictures."""

import base64
import html
import io
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray
from PIL import Image

VOID = {"br", "col", "img", "input", "meta"}  # elements that have no end tag
PIXELATED = 256  # longest side of a mask that is shown enlarged, with its pixels as squares
# No script runs and nothing is fetched, even if a name should ever slip through the escaping.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


@dataclass(frozen=True)
class Html:
    """Text that is markup already; all other text is escaped where it enters a page."""

    text: str

    def __str__(self) -> str:
        return self.text


Content = Html | str | float | None


def escape(content: object) -> Html:
    """Turn anything into text that a browser shows as it is, in an element or in a quoted attribute.

    >>> str(escape('<b title="1">'))
    '&lt;b title=&quot;1&quot;&gt;'
    """
    if isinstance(content, Html):
        return content
    # File names may hold bytes that are no text; they arrive as lone surrogates, which UTF-8 cannot write.
    return Html(html.escape(str(content).encode("utf-8", "backslashreplace").decode("utf-8")))


def element(tag: str, *children: Content, **attributes: Content) -> Html:
    """Return one element; a trailing underscore of an attribute is dropped, others become hyphens.

    >>> str(element("p", "1 < 2", class_="note"))
    '<p class="note">1 &lt; 2</p>'
    """
    pairs = [
        (name.rstrip("_").replace("_", "-"), value) for name, value in attributes.items() if value is not None
    ]
    start = " ".join([tag, *(f'{name}="{escape(value)}"' for name, value in pairs)])
    inside = "".join(str(escape(child)) for child in children if child is not None)
    return Html(f"<{start}>" if tag in VOID else f"<{start}>{inside}</{tag}>")


def page(title: str, body_parts: Sequence[Content]) -> str:
    """Return a whole document, with its styles inside: readable on a phone, in the dark, and printed."""
    style = files("patchseg.page").joinpath("style.css").read_text(encoding="utf-8")
    head = element(
        "head",
        element("meta", charset="utf-8"),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        Html(f"<style>\n{style}</style>"),
    )
    body = element("body", element("main", *body_parts))
    return f'<!doctype html>\n<html lang="en">\n{head}\n{body}\n</html>\n'


def table(
    head: Sequence[Content],
    rows: Sequence[Sequence[Content]],
    *,
    label: str = "table",
    bars: Collection[int] = (),
    numbers: Collection[int] = (),
) -> Html:
    """Return a table whose first column names the rows; where it is wide it scrolls in a box of its own.

    Args:
        head: Titles of the columns.
        rows: Cells. Columns of numbers stand to the right: integers with thousands marked, floats as scores,
            None as a dash.
        label: What the table holds, for those who hear the page.
        bars: Columns whose scores get a bar beneath.
        numbers: Columns of text that stand to the right too.
    """
    right = [
        column in numbers or any(isinstance(row[column], int | float) for row in rows)
        for column in range(len(head))
    ]
    titles = [
        element("th", title, scope="col", class_="number" if numeric else None)
        for title, numeric in zip(head, right, strict=True)
    ]
    lines = [
        element(
            "tr",
            element("th", first, scope="row"),
            *(
                element("td", _cell(cell, bar=index in bars), class_="number" if right[index] else None)
                for index, cell in enumerate(rest, start=1)
            ),
        )
        for first, *rest in rows
    ]
    return scroll(
        element("table", element("thead", element("tr", *titles)), element("tbody", *lines)), label=label
    )


def chip(color: str) -> Html:
    """Return a small square of a colour "#rrggbb"."""
    return element("span", class_="chip", style=f"background: {escape(color)}", aria_hidden="true")


def legend(entries: Iterable[tuple[str, str]]) -> Html:
    """Return what colours "#rrggbb" stand for."""
    return element("ul", *(element("li", chip(color), name) for color, name in entries), class_="legend")


def scroll(content: Content, *, label: str, kind: str = "") -> Html:
    """Return a box that scrolls by itself, by keyboard too, so that the page never moves sideways."""
    return element(
        "div", content, class_=f"scroll {kind}".strip(), role="region", aria_label=label, tabindex=0
    )


def score(value: float | None) -> str:
    """Write a score between 0 and 1; only what is 1 is written as 1.

    >>> score(0.97432), score(0.99999), score(1.0), score(None)
    ('0.9743', '0.9999', '1.0000', '–')
    """
    return "–" if value is None else f"{value if value == 1 else min(value, 0.9999):.4f}"


def image(pixels: NDArray[np.uint8], alt: str, *, exact: bool = False) -> Html:
    """Return a picture that travels inside the page, as WebP.

    Args:
        pixels: (H, W) gray, (H, W, 3) RGB or (H, W, 4) RGBA, uint8.
        alt: What it shows, for those who hear the page.
        exact: Whether every pixel matters, as in a mask; pictures of few colours are small even so.
    """
    picture, buffer = Image.fromarray(np.ascontiguousarray(pixels)), io.BytesIO()
    picture.save(buffer, "WEBP", lossless=exact, quality=100 if exact else 80, method=4)
    return element(
        "img",
        src="data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii"),
        alt=alt,
        width=picture.width,
        height=picture.height,
        class_="exact" if exact and max(picture.size) <= PIXELATED else None,
    )


def _cell(value: Content, *, bar: bool) -> Content:
    if value is None:
        return element("span", "–", class_="none")
    if isinstance(value, float):
        style = f"--share: {100 * value:.2f}%"
        return element("span", score(value), class_="meter", style=style) if bar else score(value)
    return f"{value:,}" if isinstance(value, int) else value
