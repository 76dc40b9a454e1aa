"""Mean and standard deviation of the pixels to train on, gathered image by image: arrays in, two numbers a channel out."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchseg.imaging.source import Array
from patchseg.labels.classes import IGNORE

_CHANNELS = {1: ("gray",), 3: ("red", "green", "blue")}


class Statistics:
    """Mean and standard deviation of each channel over the labelled training pixels."""

    def __init__(self, channels: int) -> None:
        self.count = 0
        self._mean, self._squares = np.zeros(channels), np.zeros(channels)

    def add(self, pixels: Array, mask: NDArray[np.uint8]) -> None:
        """Merge the pixels of one image (Chan et al. 1979, parallel variance)."""
        for top in range(0, len(pixels), 512):
            band = pixels[top : top + 512][mask[top : top + 512] != IGNORE].astype(np.float64)  # (n, C)
            if not len(band):
                continue
            mean, total = band.mean(axis=0), self.count + len(band)
            shift = mean - self._mean
            self._squares += ((band - mean) ** 2).sum(axis=0) + shift**2 * self.count * len(band) / total
            self._mean += shift * len(band) / total
            self.count = total

    def channels(self) -> list[dict[str, Any]]:
        """Return [{name, mean, std}]."""
        names = _CHANNELS.get(len(self._mean), [f"channel_{i}" for i in range(len(self._mean))])
        std = np.sqrt(self._squares / max(self.count, 1))
        return [
            {"name": n, "mean": float(m), "std": float(s)}
            for n, m, s in zip(names, self._mean, std, strict=True)
        ]
