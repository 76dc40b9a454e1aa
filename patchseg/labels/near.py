"""Which of some known values, or colours, a pixel is, or is nearest to: values in, what they count as out."""

import numpy as np
from numpy.typing import NDArray

from patchseg.imaging.source import Array

UNKNOWN = 254  # what counts as nothing


def nearest(
    pixels: Array, targets: dict[int, int], tolerance: float, *, color: bool = False
) -> NDArray[np.uint8]:
    """Return what each pixel counts as: its own value's target, else the nearest within the tolerance, else 254.

    Distance is the difference of values; of colours, the largest difference of a channel. The earlier target wins a
    tie. Where two targets lie nearer to each other than the tolerance, values are class numbers and no shades, so that
    none is pulled.

    Args:
        pixels: (h, w) values, or colours packed to numbers.
        targets: What each known value or packed colour counts as.
        tolerance: The largest distance.
        color: Whether they are colours.

    >>> nearest(np.array([[0, 3, 250, 128]]), {0: 0, 255: 1}, 40).tolist()
    [[0, 0, 1, 254]]
    """
    if pixels.dtype == np.uint8 and pixels.size > 256:
        table = nearest(np.arange(256)[None], targets, tolerance)[0]
        return np.asarray(table[pixels])
    indices = np.full(pixels.shape, UNKNOWN, np.uint8)
    for value, meaning in targets.items():
        indices[pixels == value] = meaning
    if not tolerance:
        return indices
    unknown = indices == UNKNOWN
    values, inverse = np.unique(pixels[unknown], return_inverse=True)
    order = list(targets)
    apart = distances(np.array(order), np.array(order), color=color)
    if not len(values) or (apart[~np.eye(len(order), dtype=bool)] < tolerance).any():
        return indices
    off = distances(values, np.array(order), color=color)  # (values, targets)
    pulled = np.array([targets[order[place]] for place in off.argmin(axis=1)], np.uint8)
    pulled[~(off.min(axis=1) <= tolerance)] = UNKNOWN
    indices[unknown] = pulled[inverse]
    return indices


def distances(one: Array, other: Array, *, color: bool) -> NDArray[np.float64]:
    """Return the distances between values, or packed colours, (n, m); of colours, the largest of a channel.

    >>> distances(np.array([0xFF0000]), np.array([0xF00A00, 0x0000FF]), color=True).tolist()
    [[15.0, 255.0]]
    """
    if not color:
        return np.abs(one.astype(np.float64)[:, None] - other.astype(np.float64))
    parts = [
        np.stack([n >> 16 & 255, n >> 8 & 255, n & 255], axis=-1).astype(np.float64) for n in (one, other)
    ]
    return np.asarray(np.abs(parts[0][:, None] - parts[1]).max(axis=2))
