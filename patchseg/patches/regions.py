"""An image -> regions of like pixels, which stand in for the objects that nobody has drawn yet.

The graph-based segmentation of Felzenszwalb and Huttenlocher (2004, doi:10.1023/B:VISI.0000022288.19776.77): neighbours join where what
parts them is small beside what parts the pixels within. Contrastive pre-training takes its regions as pseudo masks (Hénaff et al. 2021,
arXiv:2103.10957). They cross objects and follow noise, and need be no better: they only say which pixels belong together in two views.
"""

import warnings

import numpy as np
import skimage.segmentation
from numpy.typing import NDArray

from patchseg.labels.classes import IGNORE

# Chosen by looking at patches of micrographs, photographs and drawings: 32 to 256 pixels wide they give mostly 10 to 60 regions.
_SCALE = 75.0
_SPREAD = 0.25  # of the pixels, where the method expects values from 0 to 1
_SMALLEST = 1 / 200  # of the image


def regions_of(image: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Return the regions of an image, numbered from the largest, 0, to the smallest; equal ones by their first pixel.

    Each channel is scaled by its own mean and standard deviation, and distances are means over channels, so that
    regions depend on neither unit nor bit depth, and gray stored as RGB has those of gray. No region is smaller than a 200th of the
    image, so 255 of them are hardly ever reached. The same image always has the same regions.

    Args:
        image: (H, W, C) of any real dtype, finite.

    Returns:
        (H, W) uint8, 0 to 254; 255 is no region, of those beyond 255.

    >>> image = np.zeros((8, 8, 1), np.uint16)
    >>> image[:, 5:] = 40_000
    >>> regions_of(image)[0, [0, 7]]
    array([0, 1], dtype=uint8)
    """
    pixels = image.astype(np.float64)
    spread = pixels.std(axis=(0, 1))
    pixels = (pixels - pixels.mean(axis=(0, 1))) / np.where(spread > 0, spread, 1)
    with warnings.catch_warnings():  # it doubts that more than three channels are meant
        warnings.filterwarnings("ignore", "Got image with third dimension", RuntimeWarning)
        found = skimage.segmentation.felzenszwalb(
            pixels * (_SPREAD / image.shape[2] ** 0.5),
            scale=_SCALE,
            min_size=max(1, round(_SMALLEST * image.shape[0] * image.shape[1])),
            channel_axis=-1,
        )
    return ranked(found)


def ranked(regions: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Return regions numbered anew by their size, the largest first; equal ones keep their order.

    Args:
        regions: (H, W) numbers from 0 on.

    Returns:
        (H, W) uint8; all beyond 255 regions, the smallest, are 255.

    >>> ranked(np.array([[7, 2, 7], [2, 5, 7]]))
    array([[0, 1, 0],
           [1, 2, 0]], dtype=uint8)
    """
    sizes = np.bincount(regions.ravel())
    ranks = np.empty(len(sizes), np.int64)
    ranks[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    numbered: NDArray[np.uint8] = np.minimum(ranks, IGNORE).astype(np.uint8)[regions]
    return numbered
