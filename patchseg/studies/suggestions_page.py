"""Suggested crops as one self-contained HTML page: image, prediction and disagreement side by side, in the order of the ranks."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchseg.imaging.source import Array
from patchseg.labels.classes import Classes
from patchseg.page import Html, element, image, legend, page
from patchseg.progress import counted
from patchseg.studies.crops import Crop, panels
from patchseg.studies.proposals import Proposal

MOST = 40  # crops on the page
_LONGEST = 320  # pixels of a picture

_HOW = (
    "Ranked by how much overlapping and mirrored tiles (and networks, where there are several) contradict each other, and "
    "spread out: a crop that looks like others above it counts for less. Orange marks where they contradict each other. "
    "Disagreement finds what is new to the network or lies between two classes; what it gets wrong with one voice, it cannot find."
)


class Shown(NamedTuple):
    """A crop as the page shows it: its pictures are small, so that many may wait."""

    crop: Crop
    pictures: dict[str, NDArray[np.uint8]]
    told: str

    @classmethod
    def of(cls, crop: Crop, pixels: Array, proposal: Proposal, classes: Classes) -> "Shown":
        """Draw a crop."""
        step = -(-max(pixels.shape[:2]) // _LONGEST)
        small = {name: shown[::step, ::step] for name, shown in panels(pixels, proposal, classes).items()}
        return cls(crop, small, f"{100 * proposal.unsure:.0f} % left open: {proposal.why}")


def suggestions_html(shown: Sequence[Shown], classes: Classes, document: dict[str, Any]) -> str:
    """Return the page.

    Args:
        shown: The crops, the first choice first.
        classes: For the legend.
        document: As suggestions.json holds it.
    """
    count = len(document["suggestions"])
    more = count - len(shown)
    chosen = (
        f"{counted(count, 'crop')} of {document['candidates']:,} in {counted(document['images'], 'image')}."
    )
    return page(
        "What to annotate next",
        [
            element("header", element("h1", "What to annotate next"), element("p", chosen)),
            element("p", _HOW, class_="note"),
            legend(zip(classes.colors, classes.names, strict=True)),
            *map(_article, shown),
            element("p", f"{counted(more, 'more crop')} not shown.", class_="note") if more else None,
        ],
    )


def _article(shown: Shown) -> Html:
    crop = shown.crop
    top, left, height, width = crop.box
    place = f"rows {top} to {top + height}, columns {left} to {left + width}"
    figures = (
        element("figure", image(pixels, f"{crop.name}, {place}: {name}"), element("figcaption", name))
        for name, pixels in shown.pictures.items()
    )
    return element(
        "article",
        element("h3", f"{crop.rank}. {crop.name}", element("span", f"{place}; score {crop.score:.4f}")),
        element("div", *figures, class_="pictures", style=f"--count: {len(shown.pictures)}"),
        element("p", shown.told, class_="note"),
        class_="example",
    )
