"""What lies one above the other in the viewer: bytes of a scene in, PNG tiles out.

The image is opaque; all else lets it through: a mask where it has its first class, a probability by how improbable a class is, the
confidence where the network was sure, and disagreement where its opinions agree.
"""

import io
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from patchseg.imaging.source import Array
from patchseg.view.scene import Scene

Bytes = NDArray[np.uint8]
RISING = np.arange(256, dtype=np.uint8)  # the alpha of what is the more opaque the more there is of it
DOUBT, CONFLICT = (213, 94, 0), (204, 121, 167)  # colours of low confidence and of disagreement


@dataclass(frozen=True)
class Layer:
    """One thing to look at.

    Args:
        id: Its name in addresses.
        title: Its name on the page.
        kind: image, mask, probability, confidence or disagreement.
        scene: Its pixels.
        channel: Which of the scene's it shows; None for all.
        colors: (256, 3) uint8 of its bytes; None for gray or RGB as they are.
        alpha: (256,) uint8 of its bytes, 255 is opaque.
        on: Whether it is shown at first.
        opacity: With which it is shown at first.
    """

    id: str
    title: str
    kind: str
    scene: Scene
    channel: int | None = None
    colors: Bytes | None = field(default=None, repr=False)
    alpha: Bytes | None = field(default=None, repr=False)
    on: bool = False
    opacity: float = 0.6

    def tile(self, level: int, column: int, row: int) -> tuple[bytes, bool] | None:
        """Return a tile as PNG, and whether it stays as it is; None where there is none."""
        found = self.scene.tile(level, column, row)
        if found is None:
            return None
        pixels, final = found
        return self._png(
            pixels if self.channel is None else pixels[:, :, self.channel : self.channel + 1]
        ), final

    def describe(self) -> dict[str, Any]:
        """Return what a page must know of it."""
        shades = None if self.colors is None or self.kind == "mask" else self.colors[255].tolist()
        return {
            "id": self.id, "title": self.title, "kind": self.kind, "on": self.on, "opacity": self.opacity, "color": shades,
            "version": self.scene.version, "finished": self.scene.finished,
        }  # fmt: skip

    def _png(self, pixels: Bytes) -> bytes:
        picture = Image.fromarray(np.ascontiguousarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels))
        options: dict[str, Any] = {}
        if self.colors is not None and self.alpha is not None:
            picture.putpalette(self.colors.tobytes())
            options["transparency"] = self.alpha.tobytes()
        buffer = io.BytesIO()
        picture.save(buffer, "PNG", compress_level=1, **options)
        return buffer.getvalue()


def one_color(color: Iterable[int]) -> Bytes:
    """Return the colours of a layer that is one colour, more or less of it, (256, 3) uint8."""
    return np.tile(np.array(list(color), np.uint8), (256, 1))


def of_share(pixels: Array) -> Bytes:
    """Return numbers from 0 to 1 as bytes from 0 to 255; bytes as they are.

    >>> of_share(np.array([0.0, 0.5, 1.0], np.float16)).tolist()
    [0, 128, 255]
    """
    if pixels.dtype == np.uint8:
        return pixels
    return np.rint(np.clip(np.nan_to_num(pixels.astype(np.float32)), 0, 1) * 255).astype(np.uint8)


def of_nats(pixels: Array, classes: int) -> Bytes:
    """Return entropies in nats as bytes, 255 for the most that there is with so many classes."""
    return of_share(pixels.astype(np.float32) / math.log(max(2, classes)))


def of_contrast(pixels: Array, low: float, high: float) -> Bytes:
    """Return pixels as a screen shows them: the first of one or two channels, or the first three; low is black, high white.

    >>> of_contrast(np.array([[[100], [150], [300]]], np.uint16), 100, 200)[0, :, 0].tolist()
    [0, 128, 255]
    """
    shown = pixels[:, :, :3] if pixels.shape[2] >= 3 else pixels[:, :, :1]
    if shown.dtype == np.uint8 and (low, high) == (0, 255):
        return shown
    return of_share((shown.astype(np.float32) - low) / max(high - low, 1e-12))


def contrast(sample: Array) -> tuple[float, float]:
    """Return which values are black and white of an image of other than bytes: the first and the 99th percentile."""
    shown = sample[:, :, :3].astype(np.float32)
    finite = shown[np.isfinite(shown)]
    if not finite.size:
        return 0.0, 1.0
    low, high = np.percentile(finite, (1, 99))
    return float(low), float(high)
