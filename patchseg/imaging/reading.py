"""How images are read where a file leaves a choice: which pages, which channels.

Training and inference read alike: what was chosen is recorded under `data.*` in patches.h5 and in the checkpoint.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


def silent(line: str) -> None:
    """Tell nobody."""


class Reading(NamedTuple):
    """What is chosen of a file, and who is told what a reader has to say before it reads.

    Attributes:
        pages: Of files with several pages, the number of the one to read, from 1 on, or "channels" to read all of them as
            channels; None, and "stack" (whose pages are images of their own, with an address each), refuse such files.
        channels: The channels to read, by index or name; None for all.
        tell: Called with a sentence about a file that can be read, but at a cost.
        memory: Bytes that a file which is read whole may take; None for what is usual.
        downwards: Whether boxes come in one column of them, each below the one before, so that no others need be kept.
    """

    pages: int | str | None = None
    channels: tuple[int | str, ...] | None = None
    tell: Callable[[str], None] = silent
    memory: int | None = None
    downwards: bool = False

    @classmethod
    def of(cls, record: Mapping[str, Any], tell: Callable[[str], None] = silent) -> "Reading":
        """Return what a record of parameters says, {key: {value, source}}.

        >>> Reading.of({"data.pages": {"value": 3, "source": "flag"}}).pages
        3
        """
        names = ("pages", "channels", "max_memory")
        pages, channels, memory = (record.get(f"data.{name}", {}).get("value") for name in names)
        return cls(pages, None if channels is None else tuple(channels), tell, memory)

    @property
    def of_masks(self) -> "Reading":
        """The same without the channels, which are those of images."""
        return self._replace(channels=None)
