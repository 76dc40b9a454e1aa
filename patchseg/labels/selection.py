"""Which regions of a mask are written as polygons: regions flow in as they are found, those that are wanted flow out."""

import heapq
from collections.abc import Iterable

from patchseg.labels.outlines import Region, enclosed


class Selection:
    """Leaves out small regions, fills holes, and keeps the largest regions of each class.

    Args:
        smallest: Regions of fewer pixels are left out; holes that are filled count.
        holes: Whether holes are kept, not filled. What else lies in a filled hole remains a region of its own.
        largest: How many regions of each class are kept, of equal ones those that came first; None keeps all. They are
            known at the end only.

    >>> import numpy as np
    >>> square = np.array([[0, 0], [0, 3], [3, 3], [3, 0]])
    >>> ring = Region(1, square, (np.array([[1, 1], [2, 1], [2, 2], [1, 2]]),), 8)
    >>> [(region.area, len(region.holes)) for region in Selection(smallest=9, holes=False).push([ring])]
    [(9, 0)]
    """

    def __init__(self, *, smallest: int = 1, holes: bool = True, largest: int | None = None) -> None:
        self._smallest, self._holes, self._largest = smallest, holes, largest
        self._count = 0
        # Of each class a heap of area, minus the number of the region, and the region: the first is to go first.
        self._kept: dict[int, list[tuple[int, int, Region]]] = {}

    def push(self, regions: Iterable[Region]) -> list[Region]:
        """Take regions, and return those that are chosen for certain, in their order."""
        filled = (region if self._holes else _filled(region) for region in regions)
        chosen = [region for region in filled if region.area >= self._smallest]
        if self._largest is None:
            return chosen
        for region in chosen:
            self._count += 1
            kept = self._kept.setdefault(region.class_index, [])
            heapq.heappush(kept, (region.area, -self._count, region))
            if len(kept) > self._largest:
                heapq.heappop(kept)
        return []

    def finish(self) -> list[Region]:
        """Return the chosen regions that are left, large ones first, so that small ones are painted over them."""
        kept = [entry for entries in self._kept.values() for entry in entries]
        return [region for _, _, region in sorted(kept, key=lambda entry: entry[:2], reverse=True)]


def _filled(region: Region) -> Region:
    return region._replace(holes=(), area=enclosed(region.outer)) if region.holes else region
