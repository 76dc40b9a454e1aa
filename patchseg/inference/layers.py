"""What is kept of probabilities: rows of them in, rows of each layer out, as files hold them.

`LAYERS` is the registry; a layer is a dtype, whether it has a channel a class, and what it makes of the rows.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from patchseg.imaging.source import Array
from patchseg.inference.calibration import Calibration
from patchseg.inference.predictor import entropy, most_probable

Rows = dict[str, Array]  # of each layer, (h, W) or (h, W, K)


class Layer(NamedTuple):
    """What is kept of probabilities (K, h, W), or with the mean entropy below them (K + 1, h, W).

    Attributes:
        dtype: As numpy names it.
        of: From those rows and K to (h, W), or (h, W, K).
        each: Whether it has a channel a class.
    """

    dtype: str
    of: Callable[[Tensor, int], Tensor]
    each: bool = False

    def shape(self, height: int, width: int, classes: int) -> tuple[int, ...]:
        """Return the shape of rows of it."""
        return (height, width, classes) if self.each else (height, width)

    def bytes(self, classes: int) -> int:
        """Return how many a pixel takes."""
        return np.dtype(self.dtype).itemsize * (classes if self.each else 1)


def _mask(rows: Tensor, classes: int) -> Tensor:
    return most_probable(rows[:classes])


def _halves(rows: Tensor, classes: int) -> Tensor:
    return rows[:classes].permute(1, 2, 0).half()


def _bytes(rows: Tensor, classes: int) -> Tensor:
    return (rows[:classes].permute(1, 2, 0) * 255).round_().to(torch.uint8)


def lead(rows: Tensor, classes: int) -> Tensor:
    """Return by how much the highest of K probabilities exceeds the second, (h, W) float16.

    >>> lead(torch.tensor([[[0.25, 0.5]], [[0.75, 0.5]]]), 2)
    tensor([[0.5000, 0.0000]], dtype=torch.float16)
    """
    first, second = rows[0].clone(), torch.zeros_like(rows[0])
    for other in rows[1:classes]:
        second = torch.maximum(second, torch.minimum(first, other))
        first = torch.maximum(first, other)
    return (first - second).half()


def disagreement(rows: Tensor, classes: int) -> Tensor:
    """Return the entropy of the mean minus the mean entropy, in nats, (h, W) float16: what opinions do not share.

    Source: the mutual information of Houlsby et al. (2011, arXiv:1112.5745), of tiles in place of samples of weights.

    >>> disagreement(torch.tensor([[[0.5]], [[0.5]], [[0.0]]]), 2)  # one tile says the one, one the other
    tensor([[0.6934]], dtype=torch.float16)
    """
    return (entropy(rows[None, :classes])[0] - rows[classes]).clamp_min_(0).half()


LAYERS: dict[str, Layer] = {
    "mask": Layer("uint8", _mask),
    "float16": Layer("float16", _halves, each=True),
    "uint8": Layer("uint8", _bytes, each=True),
    "confidence": Layer("float16", lead),
    "disagreement": Layer("float16", disagreement),
}
_CALIBRATED = ("float16", "uint8", "confidence")


def layers(rows: Tensor, classes: int, wanted: Iterable[str], calibration: Calibration | None = None) -> Rows:
    """Return the layers of some rows, in the host's memory.

    Args:
        rows: Averaged probabilities (K, h, W), or with the mean entropy below them (K + 1, h, W).
        classes: Number of classes K.
        wanted: Keys of `LAYERS`.
        calibration: Of the probabilities, if they are to be calibrated. Disagreement is that of the opinions, whose mean
            is held against them as they are.
    """
    of: dict[str, Tensor] = {}
    if calibration is not None:
        averaged = rows[:classes]
        calibrated = calibration.probabilities(averaged)
        of = dict.fromkeys(_CALIBRATED, calibrated) | {"mask": calibration.votes(averaged, calibrated)}
    return {name: LAYERS[name].of(of.get(name, rows), classes).cpu().numpy() for name in wanted}


def widened(rows: Rows, left: int, width: int) -> Rows:
    """Return rows of a part of the columns as rows of all of them, 0 elsewhere.

    >>> widened({"mask": np.ones((1, 2), np.uint8)}, 1, 4)["mask"]
    array([[0, 1, 1, 0]], dtype=uint8)
    """
    wide = {}
    for name, part in rows.items():
        wide[name] = np.zeros((len(part), width, *part.shape[2:]), part.dtype)
        wide[name][:, left : left + part.shape[1]] = part
    return wide
