"""Annotation files and a folder of images -> pairs whose masks are drawings, matched by the names of the images.

The names in a file are compared with those of the images there are, and never opened: a path that climbs out of the
folder leads nowhere.
"""

from pathlib import Path

from patchseg.errors import DataError
from patchseg.imaging import SUFFIXES, open_image, raster
from patchseg.labels.annotations import SUFFIXES as ANNOTATION_SUFFIXES
from patchseg.labels.annotations import annotation_files, read_annotations
from patchseg.labels.content import base_name
from patchseg.labels.drawn import Drawn, require_fit
from patchseg.labels.matching import Entry, Matched, entries_of, match
from patchseg.labels.shapes import Drawing
from patchseg.parameters import DataParameters
from patchseg.patches.pairs import Pair, Unpaired, doubles, image_files, name_of, walk
from patchseg.progress import Progress

_SHOWN = 5  # names in a sentence


def is_annotated(images: Path, masks: Path) -> bool:
    """Tell whether what is given for masks are annotations.

    They are by their suffix, in a folder without images, also in those inside it, or beside the images, named like them.
    """
    if masks.is_file():
        return masks.suffix.lower() in ANNOTATION_SUFFIXES
    if not masks.is_dir():
        return False
    stems = {file.stem for file in walk(masks)}
    drawings = {file.stem for file in annotation_files(masks)}
    if stems and images.resolve() != masks.resolve():
        return False
    return bool(drawings & stems if stems else drawings)


def find_drawn(
    images: Path, annotations: Path, data: DataParameters, progress: Progress, *, suffixes: bool = True
) -> list[Pair]:
    """Match the images of a folder with what annotation files draw on them.

    Args:
        images: The folder.
        annotations: A file, or a folder of them.
        data: Which attribute names the class, and what becomes of images that no file lists.
        progress: Told what was left out.
        suffixes: Whether to tell where an image has another suffix than in the file; predicted masks always have.

    Raises:
        UsageError: A folder or file is missing or empty, or an attribute does not work.
        DataError: An annotation file is damaged.
        Unpaired: Images and files do not fit; all that is wrong is listed.
    """
    paths = image_files(images)
    files = read_annotations(annotations, attribute=data.attribute)
    entries = entries_of(files)
    matched = match([(path, path.relative_to(images)) for path in paths], entries)
    found = {path: entries[number] for path, number in matched.entries.items()}
    findings = doubles(paths, images) + matched.findings
    if not found:
        findings.append(
            f"{annotations}: lists none of the images in {images}; check that both belong together"
        )
    else:
        findings += _strays(annotations, paths, found, data)
        _tell_spare(annotations, images, entries, matched, progress)
        if suffixes:
            _tell_suffixes(annotations, found, progress)
    unlisted = [path for path in paths if path not in found]
    if unlisted and not findings:
        what = "left out" if data.unlisted == "skip" else f"taken as empty ({data.unlabeled})"
        progress.say(f"{annotations}: does not list {_some([path.name for path in unlisted])}; {what}")
        if data.unlisted == "empty":
            found |= {path: Entry(files[0], Drawing(path.name, ())) for path in unlisted}
    _tell_turned([path for path, entry in found.items() if not entry.drawing.size], progress)
    pairs = []
    for path in paths:
        try:
            pairs += [_pair(path, images, found[path])] if path in found else []
        except DataError as error:
            findings.append(str(error))
    if findings:
        raise Unpaired(findings, pairs)
    return pairs


def _strays(
    annotations: Path, paths: list[Path], found: dict[Path, Entry], data: DataParameters
) -> list[str]:
    """Name the images that no file lists, where that is refused."""
    if data.unlisted != "refuse":
        return []
    return [
        f"{path}: is not listed in {annotations}, so whether it is empty is open; list it there, or choose --unlisted skip or empty"
        for path in paths
        if path not in found
    ]


def _tell_spare(
    annotations: Path, images: Path, entries: list[Entry], matched: Matched, progress: Progress
) -> None:
    """Say which entries have no image."""
    taken = set(matched.entries.values())
    spare = [entry.drawing.image for number, entry in enumerate(entries) if number not in taken]
    if spare:
        progress.say(f"{annotations}: lists {_some(spare)}, not in {images}; left out")


def _tell_suffixes(annotations: Path, found: dict[Path, Entry], progress: Progress) -> None:
    """Say which images go by a name of another suffix."""
    other = {path.name: base_name(entry.drawing.image) for path, entry in found.items()}
    renamed = [
        f"{name} as {listed}"
        for name, listed in other.items()
        if listed != name and Path(listed).suffix.lower() in SUFFIXES
    ]
    if renamed:
        progress.say(f"{annotations}: lists {_some(renamed)}; taken for the same")


def _tell_turned(paths: list[Path], progress: Progress) -> None:
    """Say which images, whose size no file states, EXIF turns: some programs draw on them before, some after that."""
    turned = [
        path.name for path in paths if path.suffix.lower() in raster.SUFFIXES and raster.orientation(path) > 1
    ]
    if turned:
        progress.say(
            f"{_some(turned)}: turned upright by EXIF, and so is taken what is drawn; look at the masks"
        )


def _pair(path: Path, root: Path, entry: Entry) -> Pair:
    """Return an image with its drawing, which must be of its size."""
    with open_image(path) as image:
        shape = image.shape[:2]
    require_fit(entry.drawing, entry.file.path, path, shape)
    return Pair(name_of(path, root), path, entry.file.path, drawn=Drawn(entry.file, entry.drawing, shape))


def _some(names: list[str]) -> str:
    """Return some names in words.

    >>> _some(["a", "b", "c", "d", "e", "f", "g"])
    'a, b, c, d, e and 2 more'
    """
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
