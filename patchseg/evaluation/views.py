"""The pictures of a report: panels of an image -> a viewer that shows truth, prediction, errors and confidence over it.

Pictures of masks leave out the first class, so that the image is seen through them; the ground of the viewer stands for it.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from patchseg.evaluation.panels import ERRORS, Panels, error_kinds
from patchseg.imaging.picture import IGNORE, IGNORE_COLOR, colorize, hexadecimal, rgb
from patchseg.page import Html, View, chip, element, escape, image, legend, viewer

# From sure to unsure: ever lighter, so that what to look at stands out, in gray too.
SURENESS = ("#10122e", "#4a2a68", "#8f3f78", "#cf5f68", "#f29a58", "#fbe6a2")
_STEPS = 16  # of confidence that are told apart; few colours are stored in little space
_DOUBT = 0.5
_NAMED = 4  # classes that are told of a mask; the rest is "other classes"


def draw(
    panels: Panels, palette: NDArray[np.uint8], *, name: str, names: Sequence[str] = (), number: int = 0
) -> Html:
    """Return the pictures of an image behind each other, of which the reader chooses.

    Args:
        panels: What there is.
        palette: Colours of the classes, (K, 3) uint8.
        name: Of the image.
        names: Of the classes, for those who hear the page.
        number: Of the viewer on the page.
    """
    shape = panels.truth.shape[:2]
    return viewer(
        list(_views(panels, palette, name, names)), number=number, name=name, chosen="errors",
        shape=(shape[0], shape[1]), ground=hexadecimal(palette[0]),
    )  # fmt: skip


def _views(panels: Panels, palette: NDArray[np.uint8], name: str, names: Sequence[str]) -> Iterator[View]:
    if panels.image is not None:
        yield View("image", image(panels.image, f"{name}: the image"), "image")
    for kind, mask in {"truth": panels.truth, "prediction": panels.prediction}.items():
        told = f"{name}: {kind}{_classes(mask, names)}"
        yield View(kind, image(_see_through(colorize(mask, palette), mask == 0), told, exact=True), kind)
    kinds = error_kinds(panels.truth, panels.prediction)
    shares = error_shares(kinds)
    told = ", ".join(f"{100 * share:.2f} % {kind}" for kind, share in shares.items()) or "no errors"
    yield View("errors", image(_errors(kinds), f"{name}: errors, {told}", exact=True), _shares(shares))
    if panels.confidence is not None:
        yield _sureness(panels.confidence, panels.prediction == IGNORE, name)


def error_shares(kinds: NDArray[np.uint8]) -> dict[str, float]:
    """Return the share of each kind of error that there is, among the pixels that count.

    >>> error_shares(np.array([0, 0, 0, 1, 255], np.uint8))
    {'missed': 0.25}
    """
    counted = max(1, int((kinds != IGNORE).sum()))
    shares = {kind: int((kinds == number).sum()) / counted for number, kind in enumerate(ERRORS, start=1)}
    return {kind: share for kind, share in shares.items() if share}


def class_legend(names: Sequence[str], palette: NDArray[np.uint8], shown: Sequence[Panels]) -> Html:
    """Return the colours of the classes, and that of ignored pixels where there are any."""
    entries = [(hexadecimal(color), name) for color, name in zip(palette, names, strict=True)]
    if any((mask == IGNORE).any() for panels in shown for mask in (panels.truth, panels.prediction)):
        entries.append((hexadecimal(IGNORE_COLOR), "ignored"))
    return legend(entries)


def error_legend() -> Html:
    """Return the colours of the kinds of errors."""
    entries = [
        element("li", chip(color), element("span", element("strong", kind), f": {meaning}"))
        for kind, (color, meaning) in ERRORS.items()
    ]
    return element("ul", *entries, class_="legend")


def sureness_legend() -> Html:
    """Return the colours of confidence."""
    scale = f"--scale: linear-gradient(to right, {', '.join(reversed(SURENESS))})"
    told = element(
        "span", element("strong", "confidence"), ": 0, two classes are equally likely",
        element("span", class_="sureness", style=scale, aria_hidden="true"), "1, there is no doubt",
    )  # fmt: skip
    return element("ul", element("li", told), class_="legend")


def _see_through(pixels: NDArray[np.uint8], where: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Add an alpha channel, (h, w, 3) -> (h, w, 4), that is 0 where nothing is shown."""
    alpha = np.where(where, 0, 255).astype(np.uint8)
    return np.concatenate([pixels, alpha[:, :, None]], axis=2)


def _errors(kinds: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Paint the kinds of errors, (h, w, 4); nothing is where the prediction is right."""
    colors = np.array([(0, 0, 0), *(rgb(color) for color, _ in ERRORS.values())], np.uint8)
    return _see_through(colorize(kinds, colors), kinds == 0)


def _sureness(confidence: NDArray[np.float32], ignored: NDArray[np.bool_], name: str) -> View:
    """Paint confidence in few steps, the ignored in gray."""
    steps = (np.nan_to_num(confidence).clip(0, 1) * (_STEPS - 1)).round().astype(np.uint8)
    anchors = np.array([rgb(color) for color in reversed(SURENESS)], float)
    at = np.linspace(0, len(anchors) - 1, _STEPS)
    colors = np.stack([np.interp(at, np.arange(len(anchors)), channel) for channel in anchors.T], axis=1)
    known = confidence[~ignored]
    doubtful = 100 * float((known < _DOUBT).mean()) if known.size else 0.0
    told = f"{doubtful:.2g} % of the pixels below {_DOUBT}"
    painted = colorize(np.where(ignored, IGNORE, steps).astype(np.uint8), colors.round().astype(np.uint8))
    return View(
        "confidence", image(painted, f"{name}: confidence, {told}", exact=True), f"confidence: {told}"
    )


def _classes(mask: NDArray[np.uint8], names: Sequence[str]) -> str:
    """Tell the shares of the largest classes of a mask, for those who cannot see it."""
    counts = np.bincount(mask[mask != IGNORE], minlength=len(names))[: len(names)]
    order = [place for place in np.argsort(-counts, kind="stable") if counts[place]]
    total = max(1, int(counts.sum()))
    told = [f"{100 * counts[place] / total:.1f} % {names[place]}" for place in order[:_NAMED]]
    return "".join(f", {part}" for part in [*told, *(["other classes"] if len(order) > _NAMED else [])])


def _shares(shares: dict[str, float]) -> Html:
    """Tell the share of each kind of error."""
    told = [
        element("span", chip(ERRORS[kind][0]), f"{100 * share:.2f} % {kind}")
        for kind, share in shares.items()
    ]
    return element("span", *(told or [escape("no errors")]), class_="shares")
