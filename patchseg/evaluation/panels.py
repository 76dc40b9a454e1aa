"""One image of a report: what was given, what is true, what was predicted, and what is wrong in which way.

Files flow in, by way of arrays no larger than a screen; pictures for a page flow out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from patchseg.imaging import Reading, open_image, open_raw
from patchseg.imaging.box import Box
from patchseg.imaging.picture import IGNORE, IGNORE_COLOR, colorize, hexadecimal, rgb, to_rgb8
from patchseg.imaging.scale import ScaledSource
from patchseg.imaging.source import Array, ImageSource
from patchseg.labels.classes import Classes
from patchseg.page import Html, element, escape, image

LONGEST = 1000  # pixels of a picture's longer side; more would only make the page heavy

# Told apart by hue and by lightness, also by the colour-blind, and no colours of the palette of classes.
ERRORS = {
    "missed": ("#3f8cff", "background where the truth has a class"),
    "false alarm": ("#ff5a2a", "a class where the truth has background"),
    "confused": ("#ffe14d", "another class than the true one"),
}
_GRAYS = 12  # of the image behind the errors: few enough to be stored exactly in little space
_RIGHT = 0


@dataclass(frozen=True)
class Panels:
    """An image that can be shown, with its masks.

    Attributes:
        image: (h, w, 3) uint8, or None where there is only a mask.
        truth: (h, w) uint8 class indices, 255 is ignored.
        prediction: Likewise.
        scale: Of what is shown to the files.
    """

    image: NDArray[np.uint8] | None
    truth: NDArray[np.uint8]
    prediction: NDArray[np.uint8]
    scale: float = 1.0


@dataclass(frozen=True)
class Example:
    """An image to look at: why, which, and its pictures."""

    rank: str
    name: str
    mean_iou: float | None
    panels: Panels


def read_panels(
    picture: Path | None,
    truth: Path,
    mask: Path,
    classes: Classes,
    *,
    masks: Classes | None = None,
    reading: Reading = Reading(),
) -> Panels:
    """Read an image with its true and its predicted mask, reduced to what a page can show.

    Args:
        picture: The image, or None.
        truth: Its true mask, as the data set has it.
        mask: Its predicted mask.
        classes: What the pixels of the true mask mean.
        masks: What those of the predicted one mean; by default they are class indices.
        reading: How the image is read, and the page of the true mask.

    Raises:
        DataError: A file is missing or damaged, or holds what is no class.
    """
    # Predicted masks hold the place of a class, whatever its value is in the data set.
    places = masks or classes.by_place()
    with open_raw(truth, reading.of_masks) as source:
        true, scale = classes.encode(_shown(source, labels=True), truth, source.palette), _scale(source)
    with open_raw(mask) as source:
        predicted = places.encode(_shown(source, labels=True), mask, source.palette)
    if picture is None:
        return Panels(None, true, predicted, scale)
    with open_image(picture, reading) as source:
        return Panels(to_rgb8(_shown(source, labels=False)), true, predicted, scale)


def error_kinds(truth: NDArray[np.uint8], prediction: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return 0 where the prediction is right, the number of the kind in ERRORS from 1 on, 255 where ignored.

    >>> error_kinds(np.array([0, 1, 0, 1, 255], np.uint8), np.array([0, 0, 2, 2, 1], np.uint8)).tolist()
    [0, 1, 2, 3, 255]
    """
    ignored = (truth == IGNORE) | (prediction == IGNORE)
    cases = [ignored, truth == prediction, prediction == 0, truth == 0]
    return np.select(cases, [np.uint8(n) for n in (IGNORE, _RIGHT, 1, 2)], np.uint8(3))


def draw(panels: Panels, palette: NDArray[np.uint8], *, name: str) -> Html:
    """Return the pictures of an image side by side, each with what it is beneath."""
    kinds = error_kinds(panels.truth, panels.prediction)
    figures = [
        _figure(image(colorize(panels.truth, palette), f"{name}: truth", exact=True), "truth"),
        _figure(image(colorize(panels.prediction, palette), f"{name}: prediction", exact=True), "prediction"),
        _figure(image(_paint(kinds, panels.image), f"{name}: errors", exact=True), _shares(kinds)),
    ]
    if panels.image is not None:
        figures.insert(0, _figure(image(panels.image, f"{name}: image"), "image"))
    return element("div", *figures, class_="pictures", style=f"--count: {len(figures)}")


def _figure(picture: Html, caption: Html | str) -> Html:
    return element("figure", picture, element("figcaption", caption))


def class_legend(names: Sequence[str], palette: NDArray[np.uint8], shown: Sequence[Panels]) -> Html:
    """Return the colours of the classes, and that of ignored pixels where there are any."""
    entries = [(hexadecimal(color), name) for color, name in zip(palette, names, strict=True)]
    if any((mask == IGNORE).any() for panels in shown for mask in (panels.truth, panels.prediction)):
        entries.append((hexadecimal(IGNORE_COLOR), "ignored"))
    return element("ul", *(element("li", chip(color), name) for color, name in entries), class_="legend")


def error_legend() -> Html:
    """Return the colours of the kinds of errors."""
    entries = [
        element("li", chip(color), element("span", element("strong", kind), f": {meaning}"))
        for kind, (color, meaning) in ERRORS.items()
    ]
    return element("ul", *entries, class_="legend")


def chip(color: str) -> Html:
    """Return a small square of a colour "#rrggbb"."""
    return element("span", class_="chip", style=f"background: {escape(color)}", aria_hidden="true")


def _scale(source: ImageSource) -> float:
    return min(1.0, LONGEST / max(source.shape[:2]))


def _shown(source: ImageSource, *, labels: bool) -> Array:
    scale = _scale(source)
    shown = ScaledSource(source, scale, labels=labels) if scale < 1 else source
    return shown.read(Box(0, 0, *shown.shape[:2]))


def _paint(kinds: NDArray[np.uint8], picture: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    """Lay the kinds of errors over the image, which steps back into dark gray."""
    light = np.full(kinds.shape, 0.5) if picture is None else picture.mean(axis=2) / 256
    gray = (20 + (light * _GRAYS).astype(np.uint8) * (100 // _GRAYS)).astype(np.uint8)
    painted = np.repeat(gray[:, :, None], 3, axis=2)
    for number, (color, _) in enumerate(ERRORS.values(), start=1):
        painted[kinds == number] = rgb(color)
    painted[kinds == IGNORE] = IGNORE_COLOR
    return painted


def _shares(kinds: NDArray[np.uint8]) -> Html:
    """Tell the share of each kind among the pixels that count."""
    counted = max(1, int((kinds != IGNORE).sum()))
    shares = {kind: (kinds == number).sum() / counted for number, kind in enumerate(ERRORS, start=1)}
    told = [
        element("span", chip(ERRORS[kind][0]), f"{100 * share:.2f} % {kind}")
        for kind, share in shares.items()
        if share
    ]
    return element("span", *(told or [escape("no errors")]), class_="shares")
