"""One pair after the other -> what is known of it: the one place where the doctor reads pixels."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from patchseg.errors import DataError
from patchseg.imaging import ImageSource
from patchseg.imaging.scale import reduced
from patchseg.parameters import PrepareParameters
from patchseg.patches.doctor import placement, sizes, twins
from patchseg.patches.doctor.doors import Doors
from patchseg.patches.doctor.facts import (
    LONGEST,
    ImageFacts,
    MaskFacts,
    labels_of,
    of_image,
    of_mask,
)
from patchseg.patches.doctor.finding import Finding
from patchseg.patches.doctor.placement import Agreement
from patchseg.patches.pairs import Pair
from patchseg.progress import Progress


class Examined(NamedTuple):
    """What was learned of one pair."""

    pair: Pair
    image: ImageFacts | None
    mask: MaskFacts | None
    signature: placement.Grid | None
    agreement: Agreement | None


def examine_all(
    pairs: list[Pair],
    doors: Doors,
    parameters: PrepareParameters,
    findings: list[Finding],
    progress: Progress,
) -> Iterator[Examined]:
    """Look at one pair after the other; what cannot be read joins the findings."""
    progress.start("checking", len(pairs))
    every = -(-len(pairs) // placement.MOST)
    for number, pair in enumerate(pairs):
        yield _examine(pair, number, doors, parameters, findings, compared=number % max(1, every) == 0)
        progress.step()
    progress.stop()


def _examine(
    pair: Pair,
    number: int,
    doors: Doors,
    parameters: PrepareParameters,
    findings: list[Finding],
    *,
    compared: bool,
) -> Examined:
    """Read an image and its mask once each, side by side."""
    assert pair.mask is not None
    assert parameters.patch is not None
    image = mask = signature = agreement = gray = labels = None
    try:
        with doors.image(pair) as source:
            image, gray = of_image(source, pair.image), thumbnail(source)
            signature = twins.signature(gray)
    except DataError as error:
        findings.append(unreadable(error, pair.image))
    try:
        with doors.mask(pair) as source:
            patch = max(1, round(parameters.patch / parameters.scale))
            mask = of_mask(source, pair.mask, patch=patch, seed=parameters.seed, number=number)
            labels = labels_of(reduced(source, LONGEST, labels=True), pair.mask)
    except DataError as error:
        findings.append(unreadable(error, pair.mask))
    if image and mask and gray is not None and labels is not None:
        wrong = sizes.mismatch(image.path, image.shape[:2], mask.path, mask.size)
        findings += [wrong] if wrong else []
        if compared and not wrong:
            agreement = placement.measure(gray, labels, step=max(image.shape[:2]) / max(gray.shape))
    return Examined(pair, image, mask, signature, agreement)


def thumbnail(source: ImageSource) -> placement.Grid:
    """Return a thumbnail of an image in gray, (h, w) float32."""
    return np.asarray(reduced(source, LONGEST).astype(np.float32).mean(axis=2))


def unreadable(error: DataError, path: Path) -> Finding:
    """Return the finding of a file that cannot be read."""
    kind = "finite" if "NaN" in str(error) else "unreadable"
    return Finding.told(kind, str(error), path)
