"""Names of images in annotation files -> which of the images there are they mean.

Names are compared, never opened: a path that climbs out of a folder leads nowhere.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from patchseg.imaging import SUFFIXES
from patchseg.labels.content import base_name


class Matched(NamedTuple):
    """Which image is which entry, by their places.

    Attributes:
        entries: The entry of each image that has one.
        doubtful: Images and entries of one name, where more than one of either has it.
    """

    entries: dict[int, int]
    doubtful: list[tuple[list[int], list[int]]]


def match(images: Sequence[Path], entries: Sequence[str]) -> Matched:
    r"""Match images with entries by relative path, with or without suffix, then by name, then by stem.

    Args:
        images: Each relative to the folder it was found in.
        entries: The images as files of annotations call them, with the slashes of any system.

    >>> match([Path("18/7.png"), Path("19/7.png"), Path("8.png")], ["18\\7.tif", "8.jpg", "9.png"]).entries
    {0: 0, 2: 1}
    """
    found: dict[int, int] = {}
    doubtful: list[tuple[list[int], list[int]]] = []
    taken: set[int] = set()
    by: list[tuple[Callable[[Path], str], Callable[[str], str]]] = [
        (Path.as_posix, lambda name: name.replace("\\", "/")),
        (lambda path: path.with_suffix("").as_posix(), _without_suffix),
        (lambda path: path.name, base_name),
        (lambda path: _stem(path.name), _stem),
    ]
    for of_image, of_entry in by:
        left = _grouped((of_image(path), i) for i, path in enumerate(images) if i not in found)
        right = _grouped((of_entry(name), i) for i, name in enumerate(entries) if i not in taken)
        for here, there in ((left[key], right[key]) for key in left if key in right):
            taken.update(there)
            found |= dict.fromkeys(here, there[0])
            if len(here) > 1 or len(there) > 1:
                doubtful.append((here, there))
    return Matched(found, doubtful)


def _grouped(pairs: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
    """Gather the places of each name.

    >>> _grouped([("a", 0), ("b", 1), ("a", 2)])
    {'a': [0, 2], 'b': [1]}
    """
    groups: dict[str, list[int]] = {}
    for key, place in pairs:
        groups.setdefault(key, []).append(place)
    return groups


def _without_suffix(name: str) -> str:
    r"""Return a path with slashes, without the suffix of an image.

    >>> _without_suffix("18\\7.jpg"), _without_suffix("18/7.3")
    ('18/7', '18/7.3')
    """
    path = Path(name.replace("\\", "/"))
    return (path.with_suffix("") if path.suffix.lower() in SUFFIXES else path).as_posix()


def _stem(name: str) -> str:
    """Return the last part of a path without the suffix of an image, if it has one, and the "ome" before it.

    >>> _stem("a/b.jpg"), _stem("slide.ome.tif"), _stem("slide"), _stem("7.3")
    ('b', 'slide', 'slide', '7.3')
    """
    last = Path(base_name(name))
    return (last.stem if last.suffix.lower() in SUFFIXES else last.name).removesuffix(".ome")
