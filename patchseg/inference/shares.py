"""Who does what where several processes segment the same images: ranks of torchrun, jobs of an array, or both.

Nobody talks to anybody: the same images dealt to the same number of shares give the same hands.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from patchseg import device as devices
from patchseg.imaging import Box


@dataclass(frozen=True)
class Share:
    """One share of several.

    Attributes:
        index: Which, from 0 on.
        count: Of how many.
    """

    index: int = 0
    count: int = 1

    @classmethod
    def of(cls, shard: str | None) -> "Share":
        """Return the share of this process: of its shard, such as "2/4", the part of its rank."""
        number, count = map(int, (shard or "1/1").split("/"))
        ranks = devices.ranks()
        return cls((number - 1) * ranks + devices.rank(), count * ranks)

    def hand(self, sizes: Sequence[int]) -> list[int]:
        """Return the numbers of the things that fall to this share: the largest first, each to who has least.

        >>> [Share(index, 2).hand([10, 40, 20, 15]) for index in range(2)]
        [[1], [0, 2, 3]]
        """
        loads, hand = [0] * self.count, []
        for number in sorted(range(len(sizes)), key=lambda number: (-sizes[number], number)):
            least = loads.index(min(loads))
            loads[least] += sizes[number] + 1
            if least == self.index:
                hand.append(number)
        return sorted(hand)

    def rows(self, area: Box) -> Box:
        """Return the rows of an area that fall to this share, which may be none.

        >>> [Share(index, 3).rows(Box(10, 0, 100, 5))[::2] for index in range(3)]
        [(10, 33), (43, 33), (76, 34)]
        """
        start, stop = (area.height * edge // self.count for edge in (self.index, self.index + 1))
        return area._replace(top=area.top + start, height=stop - start)
