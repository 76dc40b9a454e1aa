"""How bright and how spread the images of a data set are, and patches that take over the looks of another image.

Colour transfer by mean and standard deviation (Reinhard et al. 2001, doi:10.1109/38.946629), a channel at a time: what a few labelled
images show is seen as it would look in the others, labelled or not.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from patchseg.patches.layout import Part
from patchseg.patches.store import PatchFile
from patchseg.training.draws import Draws
from patchseg.training.order import Numbers

_LEAST = 0.1  # of the largest spread of any image: flatter ones lend and need no spread


class Appearances:
    """Mean and standard deviation of each image to learn from, by its patches.

    Args:
        file: The open patches file.
    """

    def __init__(self, file: PatchFile) -> None:
        self._source = file.read_sources("train")
        parts: list[Part] = ["train", "unlabelled"] if file.counts["unlabelled"] else ["train"]
        sums = [_sums(file, part) for part in parts]
        count, first, second = (np.concatenate(values) for values in zip(*sums, strict=True))
        self._number = np.full(self._source.max() + 1, -1)
        self._number[np.unique(self._source)] = np.arange(len(np.unique(self._source)))
        mean = first / count[:, None]
        spread = np.sqrt(np.maximum(second / count[:, None] - mean**2, 0))
        least = _LEAST * spread.max(axis=0)
        self.mean, self.spread = mean, np.maximum(spread, np.where(least > 0, least, 1.0))

    @property
    def foreign(self) -> float:
        """The share of the images without masks that are darker or brighter, in any channel, than all labelled ones.

        By a tenth of the spread of an image at least; 0 where there are none.
        """
        count = int(self._number.max()) + 1
        mine, others, least = self.mean[:count], self.mean[count:], 0.1 * self.spread.max(axis=0)
        beyond = (others < mine.min(axis=0) - least) | (others > mine.max(axis=0) + least)
        return float(beyond.any(axis=1).mean()) if len(others) else 0.0

    def lent(self, images: Tensor, numbers: Numbers, draws: Draws, share: float) -> Tensor:
        """Give a share of the patches, in place, part of the way to the mean and spread of another image, and return them.

        Args:
            images: (N, C, S, S) float32.
            numbers: (N,) of the training patches.
            draws: Of the N samples.
            share: Of the patches.
        """
        rows = np.flatnonzero(draws.hit("match", share))
        if not len(rows):
            return images
        mine = draws.at(rows)
        own, other = self._number[self._source[numbers[rows]]], mine.choice("match_image", len(self.mean))
        way = (mine["match"] / share)[:, None]

        def towards(values: NDArray[np.float64]) -> NDArray[np.float64]:
            return values[own] + way * (values[other] - values[own])

        factor = towards(self.spread) / self.spread[own]
        offset = towards(self.mean) - factor * self.mean[own]
        index = torch.from_numpy(rows).to(images.device)
        factor_, offset_ = (
            torch.from_numpy(values.astype(np.float32)).to(images.device)[:, :, None, None]
            for values in (factor, offset)
        )
        return images.index_copy_(0, index, images.index_select(0, index) * factor_ + offset_)


def _sums(file: PatchFile, part: Part) -> tuple[NDArray[np.float64], ...]:
    """Return the pixels of each image of a part, (n,), and per channel the sums of their values and squares, (n, C)."""
    sources, number = np.unique(file.read_sources(part), return_inverse=True)
    channels = file.head.channels
    count, first, second = np.zeros(len(sources)), *np.zeros((2, len(sources), len(channels)))
    for start in range(0, file.counts[part], 256):
        index = slice(start, start + 256)
        pixels = file.read(part, index)[0].astype(np.float64)
        places = number[index]
        np.add.at(count, places, pixels.shape[1] * pixels.shape[2])
        np.add.at(first, places, pixels.sum(axis=(1, 2)))
        np.add.at(second, places, (pixels**2).sum(axis=(1, 2)))
    return count, first, second
