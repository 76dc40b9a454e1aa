"""Scores and looks of crops -> the few to annotate: high in score, and none like another.

The crop with the highest gain is taken, one after the other. Its gain is its score divided by one more than the crops like
it that are taken already, each counted by how alike they are: exp(-d²/m²) at a distance d between looks, where m is the
root mean square distance of all crops from their mean. So a crop that looks just like two of the others must have three
times the score of one that looks like none. It is a greedy trade of score for distance, as in maximal marginal relevance
(Carbonell and Goldstein 1998); distance between looks, for batches that do not repeat themselves, is that of core-sets
(Sener and Savarese 2018, arXiv:1708.00489), with plain looks in place of a network's features.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from patchseg.imaging import Box

Floats = NDArray[np.float64]


def spread(
    scores: Floats,
    looks: Floats,
    images: NDArray[np.int64],
    boxes: Sequence[Box],
    *,
    count: int,
    per_image: int,
) -> list[int]:
    """Return the places of the chosen crops, the first choice first; fewer than asked for where no more are left.

    Args:
        scores: (n,) what each crop is worth, 0 or more.
        looks: (n, F) what each looks like, in numbers of about one scale.
        images: (n,) the image that each is cut out of.
        boxes: Where each lies; crops of one image that overlap are never both chosen.
        count: How many to choose.
        per_image: Most of one image.

    >>> boxes = [Box(0, 0, 8, 8)] * 4
    >>> looks = np.array([[0.0], [0.1], [5.0], [5.1]])
    >>> spread(np.array([4.0, 3.9, 3.8, 3.7]), looks, np.arange(4), boxes, count=3, per_image=1)
    [0, 2, 1]
    """
    edges = np.array(boxes, np.int64).reshape(-1, 4)
    free = np.ones(len(scores), np.bool_)
    crowd = np.ones(len(scores))  # one more than the crops alike that are taken
    scale = np.square(looks - looks.mean(axis=0)).sum(axis=1).mean() if len(looks) else 0.0
    taken: Counter[int] = Counter()
    chosen: list[int] = []
    while len(chosen) < count and free.any():
        best = int(np.argmax(np.where(free, scores / crowd, -1.0)))
        chosen.append(best)
        image = int(images[best])
        taken[image] += 1
        here = images == image
        free &= ~(here & (overlap(edges, edges[best]) if taken[image] < per_image else True))
        apart = np.square(looks - looks[best]).sum(axis=1)
        crowd += np.exp(-apart / scale) if scale > 0 else 1.0
    return chosen


def evenly(count: int, images: int) -> int:
    """Return how many crops of one image at most, where nobody has said: twice what would be even.

    >>> evenly(10, 100), evenly(10, 8), evenly(10, 1)
    (1, 3, 20)
    """
    return -(-2 * count // images)


def overlap(edges: NDArray[np.int64], box: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which boxes (n, 4) share a pixel with one.

    >>> overlap(np.array([[0, 0, 2, 2], [2, 0, 2, 2]]), np.array([1, 1, 1, 2])).tolist()
    [True, False]
    """
    starts, ends = edges[:, :2], edges[:, :2] + edges[:, 2:]
    return np.asarray(np.all((starts < box[:2] + box[2:]) & (ends > box[:2]), axis=1))
