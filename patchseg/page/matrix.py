"""A confusion matrix as a table."""

import math
from collections.abc import Sequence

from patchseg.page.shell import Html, element, scroll


def matrix(
    counts: Sequence[Sequence[int]], names: Sequence[str], *, shown: Sequence[int] | None = None
) -> Html:
    """Return a confusion matrix as a table; each cell tells its share of the row and its pixels.

    Shades grow with the square root of the share, so that the few pixels that are wrong can be seen beside the many
    that are right.

    Args:
        counts: Pixels, rows are the truth, (K, K).
        names: Of the classes, K.
        shown: The classes that are shown, where not all are; shares are those of the whole row all the same.
    """
    places = range(len(names)) if shown is None else shown
    head = [
        element("th", "truth ↓", element("br"), "taken for →", scope="col"),
        *(element("th", names[place], scope="col") for place in places),
    ]
    rows = [
        element("tr", element("th", names[row], scope="row"), *_row(counts[row], row, places))
        for row in places
    ]
    content = element("table", element("thead", element("tr", *head)), element("tbody", *rows))
    return scroll(content, label="confusion matrix", kind="matrix")


def _row(line: Sequence[int], row: int, columns: Sequence[int]) -> list[Html]:
    total = sum(line)
    return [
        element(
            "td",
            element("b", _percent(line[column], total)),
            element("small", f"{line[column]:,}"),
            class_="right" if column == row else None,
            # Never a full shade: the letters must stay readable, in the dark too.
            style=f"--shade: {0.6 * math.sqrt(line[column] / total) if total else 0:.3f}",
        )
        for column in columns
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
