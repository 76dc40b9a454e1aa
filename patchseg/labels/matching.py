"""Names of images in annotation files -> which of the images there are they mean.

Names are compared, never opened: a path that climbs out of a folder leads nowhere.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from patchseg.imaging import SUFFIXES
from patchseg.labels.content import base_name
from patchseg.labels.shapes import Annotations, Drawing

Value = TypeVar("Value")


class Entry(NamedTuple):
    """What a file draws on one image."""

    file: Annotations
    drawing: Drawing


class Matched(NamedTuple):
    """The place among the entries of each image that has one, and what is open, a sentence each."""

    entries: dict[Path, int]
    findings: list[str]


def entries_of(files: Iterable[Annotations]) -> list[Entry]:
    """Return what files draw, an entry an image and file."""
    return [Entry(file, drawing) for file in files for drawing in file.drawings]


def match(images: Sequence[tuple[Path, Path]], entries: Sequence[Entry]) -> Matched:
    """Match images with entries by relative path, with or without suffix, then by name, then by stem.

    Args:
        images: (image, its path relative to where it was found).
        entries: Each calls its image by a name, with the slashes of any system.
    """
    found: dict[Path, int] = {}
    findings: list[str] = []
    taken: set[int] = set()
    by: list[tuple[Callable[[Path], str], Callable[[str], str]]] = [
        (Path.as_posix, lambda name: name.replace("\\", "/")),
        (lambda path: path.with_suffix("").as_posix(), _without_suffix),
        (lambda path: path.name, base_name),
        (lambda path: _stem(path.name), _stem),
    ]
    for of_image, of_entry in by:
        left = _grouped((of_image(relative), path) for path, relative in images if path not in found)
        right = _grouped((of_entry(e.drawing.image), i) for i, e in enumerate(entries) if i not in taken)
        for here, there in ((left[key], right[key]) for key in left if key in right):
            taken.update(there)
            found |= dict.fromkeys(here, there[0])
            if len(here) > 1 or len(there) > 1:
                listed = " or ".join(
                    f"{entries[i].drawing.image} in {entries[i].file.path}" for i in there[:2]
                )
                findings.append(
                    f"{' and '.join(map(str, here[:2]))}: may be {listed}; expected one of each, so rename them"
                )
    return Matched(found, sorted(findings))


def _grouped(pairs: Iterable[tuple[str, Value]]) -> dict[str, list[Value]]:
    """Gather the values of each key.

    >>> _grouped([("a", 0), ("b", 1), ("a", 2)])
    {'a': [0, 2], 'b': [1]}
    """
    groups: dict[str, list[Value]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
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
