"""Which masks belong to which image where each holds one class or one object: by a pattern of their names.

`data.mask_pattern` is a regular expression for the path of a mask in its folder, without suffix. Its group `image` is
the name of the image, `class` that of the class, and `object` tells objects apart. Files flow in, pairs with layers
come out.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from patchseg.errors import UsageError
from patchseg.imaging import Box
from patchseg.imaging.files import refuse_existing
from patchseg.imaging.write import PNG_PIXELS, open_writer
from patchseg.labels.classes import Classes, MaskReading
from patchseg.labels.layers import OBJECT, Layer, Layers, layered_classes
from patchseg.patches.pairs import Pair, Unpaired, doubles, image_files, name_of, natural, walk

_GROUPS = {"image", "class", "object"}
_EXAMPLE = r"(?P<image>.+)_(?P<class>[a-z]+)_(?P<object>\d+)"


def find_layers(images: Path, masks: Path, pattern: str) -> list[Pair]:
    """Match images with the masks of their classes or objects; the folders may be one.

    Args:
        images: Folder of images.
        masks: Folder of masks.
        pattern: What the whole of a mask's path looks like, relative to its folder and without suffix.

    Raises:
        UsageError: A folder is missing or empty, or the pattern has no group `image`.
        Unpaired: Images without a mask, masks without an image; all are listed.
    """
    expression = _compiled(pattern)
    if not masks.is_dir():
        image_files(masks)
    found = sorted(walk(masks), key=lambda file: natural(name_of(file, masks)))
    matches = {file: match for file in found if (match := expression.fullmatch(name_of(file, masks)))}
    same = images.resolve() == masks.resolve()
    files = [file for file in found if file not in matches] if same else image_files(images)
    by_name, by_stem = {name_of(file, images): file for file in files}, _by_stem(files, images)
    layers: dict[str, list[Layer]] = {name: [] for name in by_name}
    findings = doubles(files, images) + doubles(list(matches), masks)
    if not same:
        findings += [
            f"{file}: does not look like data.mask_pattern {pattern}; mend the pattern or remove the file"
            for file in found
            if file not in matches
        ]
    for file, match in matches.items():
        named = match["image"] or ""
        owners = [named] if named in by_name else by_stem.get(named, [])
        if len(owners) == 1:
            layers[owners[0]].append(Layer(file, match.groupdict().get("class") or OBJECT))
        else:
            wrong = f"fits {len(owners)} images" if owners else "belongs to no image"
            findings.append(f"{file}: {wrong} named {named} in {images}; remove it or mend the pattern")
    unmasked = list(_bare(by_name, layers, masks))
    findings += unmasked
    pairs = [
        Pair(name, by_name[name], mine[0].path, Layers(tuple(mine))) for name, mine in layers.items() if mine
    ]
    if findings:
        raise Unpaired(findings, pairs, unmasked)
    return pairs


def name_layers(
    pairs: list[Pair], classes: Classes | None, reading: MaskReading
) -> tuple[list[Pair], Classes | None]:
    """Give layers the classes that their names mean; the classes are taken from the names where none are given.

    Of two classes that are given, objects without a class are the second.

    Raises:
        UsageError: Objects have no class, and there are several.
        DataError: The names are too many classes.
    """
    files = [layer for pair in pairs if pair.layers for layer in pair.layers.files]
    if not files:
        return pairs, classes
    if classes is None:
        classes = layered_classes(files, reading)
    renamed = {}
    if OBJECT not in classes.names and any(layer.name == OBJECT for layer in files):
        if len(classes) != 2:
            raise UsageError(
                f"data.mask_pattern: has no group class, but data.classes {len(classes)} classes; add the group, such as "
                f"{_EXAMPLE}"
            )
        renamed[OBJECT] = classes.names[1]
    return [_named(pair, classes, renamed) for pair in pairs], classes


def write_layers(pairs: list[Pair], classes: Classes, output: Path, *, overwrite: bool) -> list[Pair]:
    """Write layers as masks of values, and return the pairs with those.

    Args:
        pairs: All of them layered.
        classes: What the names of the layers mean.
        output: The folder.
        overwrite: Whether files that exist may be replaced.

    Raises:
        UsageError: A file exists, or the folder cannot be written to.
        DataError: A name is no class, or layers do not fit together.
    """
    named, _ = name_layers(pairs, classes, classes.reading)
    written = []
    for pair in named:
        assert pair.layers is not None
        with pair.layers.open() as mask:
            height, width, _ = mask.shape
            small = height * width <= PNG_PIXELS and mask.dtype.itemsize == 1
            path = output / f"{pair.name}.{'png' if small else 'tif'}"
            refuse_existing([path], overwrite=overwrite)
            with open_writer(path, (height, width), mask.dtype) as writer:
                writer.write(mask.read(Box(0, 0, height, width))[:, :, 0])
        written.append(pair._replace(mask=path, layers=None))
    return written


def _named(pair: Pair, classes: Classes, renamed: dict[str, str]) -> Pair:
    if pair.layers is None:
        return pair
    files = tuple(layer._replace(name=renamed.get(layer.name, layer.name)) for layer in pair.layers.files)
    return pair._replace(layers=Layers(files, classes))


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise UsageError(
            f"data.mask_pattern: {pattern!r} is no regular expression ({error}); mend it"
        ) from None
    known = set(expression.groupindex)
    if "image" not in known or known - _GROUPS:
        told = ", ".join(sorted(known)) or "none"
        raise UsageError(
            f"data.mask_pattern: {pattern!r} has the named groups {told}; expected image, and maybe class and object, "
            f"such as {_EXAMPLE}"
        )
    return expression


def _by_stem(files: list[Path], folder: Path) -> dict[str, list[str]]:
    """Return the names of images by their last part."""
    found: dict[str, list[str]] = {}
    for name in dict.fromkeys(name_of(file, folder) for file in files):
        found.setdefault(name.rpartition("/")[2], []).append(name)
    return found


def _bare(by_name: dict[str, Path], layers: dict[str, list[Layer]], masks: Path) -> Iterator[str]:
    """Yield what is wrong with images of which no mask tells."""
    for name, mine in layers.items():
        if not mine:
            yield (
                f"{by_name[name]}: has no mask in {masks}; add an empty (black) one if nothing is to be seen in it, "
                "or remove the image"
            )
