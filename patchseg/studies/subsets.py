"""Which images a learning curve learns from: groups flow in, nested subsets of them, drawn anew each time, come out."""

from collections.abc import Mapping
from typing import NamedTuple

from patchseg.patches.split import random

# Percent of the groups; all of them first, since they decide how long a training is.
SHARES = (100, 75, 50, 25)


class Subset(NamedTuple):
    """The images of one training.

    Attributes:
        share: Percent of the groups.
        repeat: From 1 on.
        images: Their names.
    """

    share: int
    repeat: int
    images: tuple[str, ...]

    @property
    def folder(self) -> str:
        """Name of the folder of its training."""
        return f"share-{self.share}-repeat-{self.repeat}"


def subsets(group: Mapping[str, str], *, repeats: int, seed: int) -> list[Subset]:
    """Draw subsets of whole groups; those of a repeat are nested, and no two of them are equal.

    Args:
        group: The group of each image.
        repeats: How often to draw.
        seed: Of the draws.

    >>> [len(subset.images) for subset in subsets({name: name for name in "abcdefgh"}, repeats=1, seed=0)]
    [8, 6, 4, 2]
    >>> [(subset.share, len(subset.images)) for subset in subsets({"a": "a", "b": "b"}, repeats=1, seed=0)]
    [(100, 2), (50, 1)]
    """
    names = sorted(set(group.values()))
    counts: dict[int, int] = {}
    for share in SHARES:
        counts.setdefault(max(1, (share * len(names) + 50) // 100), share)
    found = []
    for repeat in range(1, repeats + 1):
        order = [names[place] for place in random(seed, 4, repeat).permutation(len(names))]
        for count, share in counts.items():
            kept = set(order[:count])
            images = tuple(name for name, its in group.items() if its in kept)
            found.append(Subset(share, repeat, images))
    return found
