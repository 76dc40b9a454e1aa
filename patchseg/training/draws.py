"""The random numbers of a training sample: a function of (seed, number of the sample), and of nothing else.

Samples are numbered through the whole run (step * batch + place), so that a resumed run, another device, smaller
micro-batches or more processes draw the same numbers. Each kind of number has its own column: a variation that
is switched off changes none of the others.
"""

import functools
from typing import Self

import numpy as np
from numpy.typing import NDArray

_STREAM = 4  # beside those of the split, of the boxes and of the order
KNOTS = 5  # along each side of the net that elastic deformation is drawn for
RECTANGLES = 3  # blanked by cut-out, at most

Floats = NDArray[np.float64]

_SIZES = {
    # of class-centred drawing
    "centred": 1, "class": 1, "patch": 1, "pixel": 1,
    # in space; a name alone decides whether, the longer ones how much
    "left_right": 1, "up_down": 1, "turn": 1, "rotation": 1, "angle": 1, "scale": 1, "scale_by": 1, "shear": 1,
    "shear_by": 2, "shift": 1, "shift_by": 2, "elastic": 1, "elastic_by": 1, "knots": 2 * KNOTS**2,
    # of pixels
    "brightness": 1, "brightness_by": 1, "contrast": 1, "contrast_by": 1, "gamma": 1, "gamma_by": 1, "noise": 1,
    "noise_by": 1, "noise_seed": 1, "blur": 1, "blur_by": 1, "low_resolution": 1, "low_resolution_by": 1, "color": 1,
    "hue": 1, "saturation": 1, "drop_channel": 1, "channel": 1, "cutout": 1, "rectangles": 1, "corners": 4 * RECTANGLES,
    # between patches
    "cutmix": 1, "cutmix_area": 1, "cutmix_shape": 1, "cutmix_place": 2,
    # between images
    "match": 1, "match_image": 1,
}  # fmt: skip
_STARTS = dict(zip(_SIZES, np.cumsum([0, *_SIZES.values()])[:-1].tolist(), strict=True))
_WIDTH = -(-sum(_SIZES.values()) // 4) * 4  # Philox makes four numbers at a time


class Draws:
    """Uniform numbers of some samples, by name."""

    def __init__(self, table: Floats) -> None:
        self._table = table

    @classmethod
    def of(cls, seed: int, first: int, count: int, stream: int = 0) -> Self:
        """Draw for `count` samples from number `first` on, in one of several streams."""
        philox = np.random.Philox(key=_key(seed, stream), counter=first * _WIDTH // 4)
        return cls(np.random.Generator(philox).random((count, _WIDTH)))

    def at(self, rows: NDArray[np.int64]) -> "Draws":
        """Return those of some of the samples."""
        return Draws(self._table[rows])

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, name: str) -> Floats:
        """Return numbers from 0 to 1, (N,), or (N, n) where a sample needs several."""
        start, size = _STARTS[name], _SIZES[name]
        return self._table[:, start] if size == 1 else self._table[:, start : start + size]

    def hit(self, name: str, share: float) -> NDArray[np.bool_]:
        """Tell for which samples something happens that happens to a share of them, (N,)."""
        return np.asarray(self[name] < share)

    def between(self, name: str, low: float, high: float) -> Floats:
        """Return numbers from `low` to `high`."""
        return np.asarray(low + (high - low) * self[name])

    def factor(self, name: str, low: float, high: float) -> Floats:
        """Return factors, half of them from `low` to 1 and half from 1 to `high`."""
        twice = 2 * self[name]
        return np.where(twice < 1, low + (1 - low) * twice, 1 + (high - 1) * (twice - 1))

    def choice(self, name: str, number: int) -> NDArray[np.int64]:
        """Return whole numbers from 0 to `number` - 1."""
        return (self[name] * number).astype(np.int64)


@functools.lru_cache(maxsize=32)
def _key(seed: int, stream: int) -> NDArray[np.uint64]:
    entropy = [seed, _STREAM, stream] if stream else [seed, _STREAM]
    return np.random.SeedSequence(entropy).generate_state(2, np.uint64).astype(np.uint64)
