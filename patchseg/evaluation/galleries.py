"""Pictures to look at, as sections of a report: telling images, likely errors of the given masks, and what to label next."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchseg.evaluation.documents import Scores
from patchseg.evaluation.panels import Example
from patchseg.evaluation.sections import names_of, palette_of
from patchseg.evaluation.views import class_legend, draw, error_legend, sureness_legend
from patchseg.imaging.picture import rgb
from patchseg.page import Html, element, image, score
from patchseg.progress import counted

Pictures = dict[str, NDArray[np.uint8]]  # by what they show


@dataclass(frozen=True)
class Gallery:
    """What a gallery is made of.

    Attributes:
        entries: Of suspects.json or suggestions.json, the first the likeliest.
        pictures: Makes the pictures of an entry, whose longer side is given.
    """

    entries: Sequence[dict[str, Any]]
    pictures: Callable[[dict[str, Any], int], Pictures]


@dataclass(frozen=True)
class Limits:
    """How much of pictures a page holds.

    Attributes:
        longest: Pixels of the longer side of an example.
        entries: Of each gallery.
        side: Pixels of the longer side of a gallery's picture.
    """

    longest: int
    entries: int
    side: int


def examples(scores: Scores, examples: Sequence[Example], longest: int) -> Html | None:
    """Return images with their masks, errors and confidence behind each other.

    Args:
        scores: What scores.json holds.
        examples: Images to show.
        longest: Most pixels of a picture's side.
    """
    if not examples:
        return None
    colors, names = np.array([rgb(color) for color in palette_of(scores)], np.uint8), names_of(scores)
    reduced = [example.panels.within(longest) for example in examples]
    shown = [
        element(
            "article",
            element(
                "h3", f"{example.rank}: {example.name}", element("span", _subtitle(example, panels.scale))
            ),
            draw(panels, colors, name=example.name, names=names, number=number),
            class_="example",
        )
        for number, (example, panels) in enumerate(zip(examples, reduced, strict=True))
    ]
    return element(
        "section",
        element("h2", "Images to look at"),
        element(
            "div",
            class_legend(names, colors, reduced),
            error_legend(),
            sureness_legend() if any(panels.confidence is not None for panels in reduced) else None,
            class_="key",
        ),
        element("div", *shown, class_="examples"),
    )


def _subtitle(example: Example, scale: float) -> str:
    return f"mean IoU {score(example.mean_iou)}" + (f", shown at {100 * scale:.2g} %" if scale < 1 else "")


def suspects(gallery: Gallery, limits: Limits) -> Html:
    """Return places where given masks are likely wrong."""
    return _section(
        gallery,
        limits,
        title="Given masks that may be wrong",
        noun="suspect",
        note="Here the prediction is sure of something else than the given mask. Where the mask is wrong, correct it; where the "
        "prediction is wrong, leave it.",
        told=_suspicion,
    )


def suggestions(gallery: Gallery, limits: Limits) -> Html:
    """Return what would be worth labelling next."""
    return _section(
        gallery,
        limits,
        title="What to label next",
        noun="suggestion",
        note="Crops of unlabelled images of which the network is least sure, spread out so that ten of them are not ten "
        "neighbours; the first is worth most.",
        told=lambda entry: str(entry.get("why") or ""),
    )


def _suspicion(entry: dict[str, Any]) -> str:
    given, predicted = entry.get("given"), entry.get("predicted")
    what = (
        f"{entry['kind']}: {given} given, {predicted} predicted"
        if given and predicted
        else str(entry["kind"])
    )
    return f"{what}. {entry.get('note') or ''}".strip()


def _section(
    gallery: Gallery,
    limits: Limits,
    *,
    title: str,
    noun: str,
    note: str,
    told: Callable[[dict[str, Any]], str],
) -> Html:
    shown, count = gallery.entries[: limits.entries], len(gallery.entries)
    articles = [_article(entry, gallery.pictures(entry, limits.side), told(entry)) for entry in shown]
    listed = "" if len(shown) == count else f" The first {len(shown)} are shown."
    return element(
        "section",
        element("h2", title),
        element("p", f"{counted(count, noun)}.{listed} {note}" if count else f"No {noun}s.", class_="note"),
        element("div", *articles, class_="gallery") if articles else None,
    )


def _article(entry: dict[str, Any], pictures: Pictures, told: str) -> Html:
    name, place = str(entry["image"]), _place(entry["box"])
    figures = [
        element("figure", image(pixels, f"{name}, {place}: {what}"), element("figcaption", what))
        for what, pixels in pictures.items()
    ]
    return element(
        "article",
        element(
            "h3", f"{entry['rank']}. {name}", element("span", f"{place}; score {_number(entry['score'])}")
        ),
        element("div", *figures, class_="pictures", style=f"--count: {len(figures)}")
        if figures
        else element("p", "The picture was not found.", class_="note"),
        element("p", told, class_="note") if told else None,
        class_="sample",
    )


def _place(box: Any) -> str:
    """Tell where a box lies.

    >>> _place([3, 0, 10, 20])
    'rows 3 to 12, columns 0 to 19'
    """
    try:
        top, left, height, width = (int(part) for part in box)
    except (TypeError, ValueError):
        return "place unknown"
    return f"rows {top} to {top + height - 1}, columns {left} to {left + width - 1}"


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, int | float) else str(value)
