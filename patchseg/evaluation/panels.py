"""One image of a report, reduced to what a page can show: what was given, what is true, what was predicted, and how surely.

Files flow in; arrays no larger than a screen flow out, which `views` makes pictures of.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from patchseg.errors import PatchsegError
from patchseg.imaging import Reading, open_image, open_raw
from patchseg.imaging.picture import IGNORE, to_rgb8
from patchseg.imaging.scale import reduced
from patchseg.imaging.source import Array, ArraySource
from patchseg.labels.classes import Classes

LONGEST = 1000  # pixels of a picture's longer side; more would only make the page heavy

# Told apart by hue and by lightness, also by the colour-blind, and no colours of the palette of classes.
ERRORS = {
    "missed": ("#3f8cff", "background where the truth has a class"),
    "false alarm": ("#ff5a2a", "a class where the truth has background"),
    "confused": ("#ffe14d", "another class than the true one"),
}
_RIGHT = 0


@dataclass(frozen=True)
class Panels:
    """An image that can be shown, with its masks.

    Attributes:
        image: (h, w, 3) uint8, or None where there is only a mask.
        truth: (h, w) uint8 class indices, 255 is ignored.
        prediction: Likewise.
        scale: Of what is shown to the files.
        confidence: (h, w) float32 from 0 to 1, by how much the likeliest class exceeds the next; None where it was not kept.
    """

    image: NDArray[np.uint8] | None
    truth: NDArray[np.uint8]
    prediction: NDArray[np.uint8]
    scale: float = 1.0
    confidence: NDArray[np.float32] | None = None

    def within(self, longest: int) -> "Panels":
        """Return the same, no longer than `longest` pixels either way.

        >>> Panels(None, np.zeros((4, 8), np.uint8), np.zeros((4, 8), np.uint8)).within(4).truth.shape
        (2, 4)
        """
        scale = min(1.0, longest / max(self.truth.shape))
        if scale == 1:
            return self
        return replace(
            self,
            image=None if self.image is None else _smaller(self.image, longest, labels=False),
            truth=_smaller(self.truth, longest, labels=True)[:, :, 0],
            prediction=_smaller(self.prediction, longest, labels=True)[:, :, 0],
            scale=self.scale * scale,
            confidence=None
            if self.confidence is None
            else _smaller(self.confidence, longest, labels=True)[:, :, 0],
        )


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
    confidence: Path | None = None,
) -> Panels:
    """Read an image with its true and its predicted mask, reduced to what a page can show.

    Args:
        picture: The image, or None.
        truth: Its true mask, as the data set has it.
        mask: Its predicted mask.
        classes: What the pixels of the true mask mean.
        masks: What those of the predicted one mean; by default they are class indices.
        reading: How the image is read, and the page of the true mask.
        confidence: Where `infer --confidence` would have put it; it is left out where it is missing or does not fit.

    Raises:
        DataError: A file is missing or damaged, or holds what is no class.
    """
    # Predicted masks hold the place of a class, whatever its value is in the data set.
    places = masks or classes.by_place()
    with open_raw(truth, reading.of_masks) as source:
        true = classes.encode(reduced(source, LONGEST, labels=True), truth, source.palette)
        scale = min(1.0, LONGEST / max(source.shape[:2]))
    with open_raw(mask) as source:
        predicted = places.encode(reduced(source, LONGEST, labels=True), mask, source.palette)
    sure = _confidence(confidence, true.shape)
    if picture is None:
        return Panels(None, true, predicted, scale, sure)
    with open_image(picture, reading) as source:
        return Panels(to_rgb8(reduced(source, LONGEST)), true, predicted, scale, sure)


def error_kinds(truth: NDArray[np.uint8], prediction: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return 0 where the prediction is right, the number of the kind in ERRORS from 1 on, 255 where ignored.

    >>> error_kinds(np.array([0, 1, 0, 1, 255], np.uint8), np.array([0, 0, 2, 2, 1], np.uint8)).tolist()
    [0, 1, 2, 3, 255]
    """
    ignored = (truth == IGNORE) | (prediction == IGNORE)
    cases = [ignored, truth == prediction, prediction == 0, truth == 0]
    return np.select(cases, [np.uint8(n) for n in (IGNORE, _RIGHT, 1, 2)], np.uint8(3))


def _confidence(path: Path | None, shape: tuple[int, ...]) -> NDArray[np.float32] | None:
    """Read how sure a network was; what is missing or does not fit would be no reason to show nothing."""
    if path is None or not path.is_file():
        return None
    try:
        with open_raw(path) as source:
            pixels = reduced(source, LONGEST, labels=True)
    except PatchsegError:
        return None
    fits = pixels.shape[:2] == shape and pixels.dtype.kind == "f"
    return pixels[:, :, 0].astype(np.float32) if fits else None


def _smaller(pixels: Array, longest: int, *, labels: bool) -> Array:
    return reduced(ArraySource(pixels), longest, labels=labels)
