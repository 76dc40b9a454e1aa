"""Mean, standard deviation and range of the pixels to train on, gathered image by image: arrays in, numbers a channel out."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchseg.imaging.source import Array
from patchseg.labels.classes import IGNORE


class Statistics:
    """Mean, standard deviation and range of each channel over the labelled training pixels and all of images without masks."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.count, self._names = 0, names
        self._mean, self._squares = np.zeros(len(names)), np.zeros(len(names))
        self._min, self._max = np.full(len(names), np.inf), np.full(len(names), -np.inf)

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
            self._min, self._max = np.minimum(self._min, band.min(0)), np.maximum(self._max, band.max(0))
            self.count = total

    def channels(self) -> list[dict[str, Any]]:
        """Return [{name, mean, std, min, max}]."""
        std = np.sqrt(self._squares / max(self.count, 1))
        numbers = zip(self._mean, std, self._min, self._max, strict=True)
        return [
            {"name": name, "mean": float(mean), "std": float(std), "min": float(low), "max": float(high)}
            for name, (mean, std, low, high) in zip(self._names, numbers, strict=True)
        ]
