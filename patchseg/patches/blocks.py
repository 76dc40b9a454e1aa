"""An image cut into blocks for training and for validation, a guard band at least a patch wide between: sizes in, boxes out.

    | training |guard|  val  |guard| training |     or, at an end,     | training ... |guard|  val  |

Blocks lie along the longer side. Where the validation block lies is drawn by the seed, at one of the ends, unless
classes would be missing on a side; then other places are tried.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchseg.imaging import Box

Profile = Callable[[int], NDArray[np.bool_]]  # image -> (longer side, K): where along it a class is
_LEAST = 3  # patches along the longer side: one for each block and one for the guard


class Block(NamedTuple):
    """Where the validation block of an image lies along its longer side: [start, stop)."""

    start: int
    stop: int

    def training(self, length: int, patch: int) -> list[tuple[int, int]]:
        """Return the parts to train on, [start, stop), those of less than a patch left out."""
        parts = [(0, self.start - patch), (self.stop + patch, length)]
        return [(start, stop) for start, stop in parts if stop - start >= patch]


def fits(shape: tuple[int, int], patch: int) -> bool:
    """Tell whether an image can be cut into blocks at all."""
    return max(shape) >= _LEAST * patch


def boxes(shape: tuple[int, int], block: Block, patch: int) -> tuple[list[Box], Box]:
    """Return the boxes to train on and the one to validate with.

    >>> boxes((100, 40), Block(80, 100), 10)
    ([Box(top=0, left=0, height=70, width=40)], Box(top=80, left=0, height=20, width=40))
    """

    def box(start: int, stop: int) -> Box:
        if shape[0] >= shape[1]:
            return Box(start, 0, stop - start, shape[1])
        return Box(0, start, shape[0], stop - start)

    return [box(*part) for part in block.training(max(shape), patch)], box(*block)


def at_an_end(length: int, validation: float, patch: int, *, first: bool) -> Block:
    """Return the validation block at one end: a share of the length, but a patch at least.

    What is left to train on is two patches at least where the image is long enough.
    """
    val = max(min(max(round(validation * length), patch), length - 3 * patch), patch)
    return Block(0, val) if first else Block(length - val, length)


def slice_of(length: int, patch: int, fold: int, folds: int) -> Block | None:
    """Return the validation block of a fold, one of `folds` equal parts, or None where they are too narrow."""
    block = Block(round((fold - 1) * length / folds), round(fold * length / folds))
    return block if block.stop - block.start >= patch and block.training(length, patch) else None


def place(shapes: list[tuple[int, int]], drawn: list[Block], patch: int, profile: Profile) -> list[Block]:
    """Return where the validation blocks of some images lie so that the fewest classes miss on a side.

    Args:
        shapes: (H, W) of each image.
        drawn: Where the seed has them; kept where no class is missing that need not be.
        patch: Width of the guard.
        profile: Where each class is.
    """
    profiles = [profile(number) for number in range(len(shapes))]
    there = np.any([p.any(axis=0) for p in profiles], axis=0)
    options = [_options(max(shape), block, patch) for shape, block in zip(shapes, drawn, strict=True)]
    seen = [
        [_classes(found, block, patch) for block in blocks]
        for found, blocks in zip(profiles, options, strict=True)
    ]
    chosen = [0] * len(shapes)

    def score(choice: list[int]) -> tuple[int, int]:
        sides = np.any([seen[image][at] for image, at in enumerate(choice)], axis=0)  # (2, K)
        return int((there & ~sides[0]).sum()), int((there & ~sides[1]).sum())

    for image in [*range(len(shapes))] * 2:
        trials = [[*chosen[:image], at, *chosen[image + 1 :]] for at in range(len(options[image]))]
        best = min(trials, key=score)  # the earliest of equal ones
        chosen = best if score(best) < score(chosen) else chosen
    return [blocks[at] for blocks, at in zip(options, chosen, strict=True)]


def _options(length: int, drawn: Block, patch: int) -> list[Block]:
    """Return places of the validation block: as drawn, at the other end, and in steps of half a patch between."""
    val = drawn.stop - drawn.start
    other = length - val if drawn.start == 0 else 0
    between = sorted(
        range(patch, length - val - patch, max(1, patch // 2)), key=lambda a: abs(a - drawn.start)
    )
    blocks = [Block(start, start + val) for start in [drawn.start, other, *between]]
    return [block for block in blocks if block.training(length, patch)]


def _classes(found: NDArray[np.bool_], block: Block, patch: int) -> NDArray[np.bool_]:
    """Return the classes of the training parts and of the validation block, (2, K) bool."""
    parts = [found[start:stop].any(axis=0) for start, stop in block.training(len(found), patch)]
    return np.stack([np.any(parts, axis=0), found[block.start : block.stop].any(axis=0)])
