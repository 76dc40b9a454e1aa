"""Suspects as one self-contained HTML page: of each the place in the image, the given and the predicted mask."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from patchseg.imaging import Box
from patchseg.imaging.picture import IGNORE_COLOR, framed, hexadecimal, overlay, to_rgb8
from patchseg.labels.classes import Classes
from patchseg.page import Html, element, image, legend, page
from patchseg.progress import Progress, counted
from patchseg.studies.cases import Case
from patchseg.studies.suspects import KINDS, Suspect
from patchseg.studies.windows import Layers, windows

MOST = 4_500_000  # characters of pictures, so that the page stays below 5 MB
_AROUND = 0.4  # of a suspect's longer side that is shown around it
_LEAST, _LONGEST = 96, 300  # pixels of an image that a picture shows, and of the picture
_FRAME = ((255, 255, 255), (0, 0, 0))  # the colours of its two lines, of which one is seen on any ground
_TWO_COLUMNS = "grid-template-columns: repeat(auto-fill, minmax(min(100%, 30rem), 1fr))"

Picture = NDArray[np.uint8]


def gallery(
    suspects: Sequence[Suspect],
    cases: Mapping[str, Case],
    classes: Classes,
    *,
    images: int,
    found: int,
    progress: Progress,
) -> str:
    """Return the page; the images that it shows are read again, one at a time.

    Args:
        suspects: The likeliest, in their order.
        cases: The files of each image, by name.
        classes: Names and colours.
        images: How many were audited.
        found: How many suspects there are in all.
        progress: Told of every suspect.

    Raises:
        DataError: A mask is missing or damaged.
    """
    shown, size = [], 0
    progress.start("drawing", len(suspects))
    for rank, suspect in enumerate(suspects, start=1):
        figure = _suspect(rank, suspect, cases[suspect.image], classes)
        size += len(figure.text)
        if size > MOST:
            break
        shown.append(figure)
        progress.step()
    progress.stop()
    told = [
        f"{counted(images, 'image')}, {counted(found, 'suspect')}"
        + (f", of which the first {len(shown)} are shown" if len(shown) < found else "")
        + ".",
        " A suspect is a place where the prediction is sure of something else than the given mask. Look whether the mask is "
        "wrong there; where it is, correct it, and where the prediction is wrong, leave it. The score says how sure the "
        "prediction is by the standards of its class, less for few pixels; it is no probability.",
    ]
    header = element("header", element("h1", "Audit of given masks"), element("p", *told))
    body = element("div", *shown, class_="gallery", style=_TWO_COLUMNS) if shown else None
    empty = None if shown else element("p", "The predictions contradict the given masks nowhere.")
    return page("Audit of given masks", [header, _legend(classes), _kinds(suspects), empty, body])


def _legend(classes: Classes) -> Html:
    entries = [*zip(classes.colors, classes.names, strict=True), (hexadecimal(IGNORE_COLOR), "ignored")]
    return legend(entries)


def _kinds(suspects: Sequence[Suspect]) -> Html | None:
    """Return what the kinds of errors mean that there are."""
    there = {suspect.kind for suspect in suspects}
    lines = [
        element("li", element("strong", kind), f": {meaning}")
        for kind, meaning in KINDS.items()
        if kind in there
    ]
    return element("ul", *lines, class_="note") if lines else None


def _suspect(rank: int, suspect: Suspect, case: Case, classes: Classes) -> Html:
    """Draw one suspect: what it is, where, and three pictures of the place."""
    longer = max(suspect.box[2:])
    around = max(_LEAST - longer, round(_AROUND * longer)) // 2
    window, layers = windows(case, suspect.box.grown(around), _LONGEST)
    pictures = [
        element("figure", image(pixels, f"{suspect.image}: {what}"), element("figcaption", what))
        for what, pixels in _pictures(layers, suspect, window, classes)
    ]
    return element(
        "article",
        element("h3", f"{rank}. {suspect.image}", element("span", _title(suspect, classes))),
        element("div", *pictures, class_="pictures", style=f"--count: {len(pictures)}"),
        element("p", _told(suspect), class_="note"),
        class_="sample",
    )


def _pictures(
    layers: Layers, suspect: Suspect, window: Box, classes: Classes
) -> Iterator[tuple[str, Picture]]:
    """Yield the image, the given and the predicted mask over it, the suspect framed."""
    under = None if layers.image is None else to_rgb8(np.nan_to_num(layers.image))
    ground = np.zeros((*layers.given.shape, 3), np.uint8) if under is None else under
    opacity = 1.0 if under is None else 0.5
    drawn = [] if under is None else [("image", under)]
    drawn += [
        ("given", overlay(ground, layers.given, classes.palette, opacity=opacity)),
        ("predicted", overlay(ground, layers.predicted, classes.palette, opacity=opacity)),
    ]
    times = max(1, _LONGEST // max(layers.given.shape))
    for what, pixels in drawn:
        large = np.repeat(np.repeat(pixels, times, axis=0), times, axis=1)
        yield what, framed(large, suspect.box, window, _FRAME, gap=2)


def _title(suspect: Suspect, classes: Classes) -> str:
    if suspect.given is None or suspect.predicted is None:
        return suspect.kind
    return (
        f"{suspect.kind}: {classes.names[suspect.given]} given, {classes.names[suspect.predicted]} predicted"
    )


def _told(suspect: Suspect) -> str:
    where = f"row {suspect.box.top}, column {suspect.box.left}, {suspect.box.height} x {suspect.box.width}"
    note = f"{suspect.note[0].upper()}{suspect.note[1:]}. " if suspect.note else ""
    return f"{note}Score {suspect.score:.2f}, certainty {suspect.confidence:.2f}, {suspect.pixels:,} pixels, at {where}."
