"""Which images belong together, and are one independent unit of the intervals: names flow in, a group each flows out."""

from collections.abc import Sequence
from typing import Any

from patchseg.errors import UsageError
from patchseg.imaging.address import Address
from patchseg.patches.pairs import Pair
from patchseg.patches.split import groups
from patchseg.progress import Progress


def groups_of(
    pairs: list[Pair], pattern: str | None, recorded: str | None, progress: Progress
) -> list[str] | None:
    """Return the group of each pair; None where every image stands for itself.

    Args:
        pairs: Masks and their truth.
        pattern: A regular expression (`evaluate.group`).
        recorded: That of `prepare`, which counts where none is given; else the pages of a stack are a group.
        progress: Told where that of `prepare` does not fit.

    Raises:
        UsageError: The pattern is no regular expression, or does not fit a name.
    """
    found = groups_by_pattern([pair.name for pair in pairs], pattern, recorded, progress)
    if found is None:
        found = [
            pair.name.rpartition("_")[0] if pair.mask and Address.of(pair.mask).inside else pair.name
            for pair in pairs
        ]
    return found if len(set(found)) < len(found) else None


def groups_by_pattern(
    names: list[str], pattern: str | None, recorded: str | None, progress: Progress
) -> list[str] | None:
    """Return what a pattern finds in each name, or the recorded one; None where neither is there, or fits.

    Raises:
        UsageError: The given pattern is no regular expression, or does not fit a name.
    """
    if pattern is not None:
        return groups(names, pattern, key="evaluate.group")
    if recorded is None:
        return None
    try:
        return groups(names, recorded)
    except UsageError:
        progress.say(
            f"learned from images in groups by {recorded!r}, which does not fit the names here: each image counts as "
            "independent; give --group if some belong together"
        )
        return None


def groups_in(entries: Sequence[dict[str, Any]]) -> list[str] | None:
    """Return the group of each image in scores.json; None where none has one.

    >>> groups_in([{"name": "a", "group": "x"}, {"name": "b"}]), groups_in([{"name": "a"}])
    (['x', 'b'], None)
    """
    if not any("group" in entry for entry in entries):
        return None
    return [str(entry.get("group", entry["name"])) for entry in entries]
