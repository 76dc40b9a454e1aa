"""The pixels of one to three large images counted block by block, for intervals where there are no more images.

A mask and its truth flow in, square by square; a confusion matrix a square flows out. Squares of one image resemble each
other more than images do, so what comes of them tells how a score varies within these images, and nothing of others.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from patchseg.errors import UsageError
from patchseg.evaluation.metrics import Confusion
from patchseg.imaging import Box, Reading, open_raw
from patchseg.labels.classes import Classes
from patchseg.patches.pairs import Pair

FEW = 3  # images whose blocks are counted; more are units themselves


def require_few(pairs: Sequence[Pair], side: int | None, *, inside: str | None = None) -> None:
    """Refuse blocks where images can be the units, or where only a region of them counts.

    Raises:
        UsageError: There are more than three images, or a region is given.
    """
    if side is not None and inside is not None:
        raise UsageError(
            "evaluate.blocks: counts whole images, evaluate.region parts of them; leave out one of the two"
        )
    if side is not None and len(pairs) > FEW:
        raise UsageError(
            f"evaluate.blocks: is for one to {FEW} images, here are {len(pairs)}, which are the units themselves; leave it out"
        )


def block_counts(
    pair: Pair, side: int, *, truth: Classes, masks: Classes, reading: Reading
) -> NDArray[np.int64]:
    """Count the pixels of each block of a mask against its truth.

    Args:
        pair: The mask, and its truth of the same size.
        side: Of the blocks, in pixels; those at the right and lower border are smaller.
        truth: How the truth is read.
        masks: How the mask is read.
        reading: How both files are read.

    Returns:
        (blocks, K, K), from top to bottom, left to right.
    """
    assert pair.mask is not None
    found = []
    with open_raw(pair.image, reading) as mask, open_raw(pair.mask, reading) as true:
        height, width, _ = mask.shape
        for top in range(0, height, side):
            for left in range(0, width, side):
                box = Box(top, left, min(side, height - top), min(side, width - left))
                expected = truth.encode(true.read(box), pair.mask, true.palette)
                predicted = masks.encode(mask.read(box), pair.image, mask.palette)
                found.append(Confusion.of(expected, predicted, len(truth)).counts)
    return np.stack(found)
