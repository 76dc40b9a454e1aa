"""Which mask belongs to which image: by stem, by stem with a constant prefix or suffix, or by a list file.

Pairs are never matched by order. Everything that does not fit is listed at once and refused.
"""

import difflib
import glob
import itertools
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from patchseg.errors import DataError, UsageError, did_you_mean, listing
from patchseg.imaging import SUFFIXES, is_image
from patchseg.imaging.address import is_there, is_zarr, plain_name

_SPLIT = re.compile(r'"([^"]*)"|(\S+)')
_NUMBER = re.compile(r"\d+")
_ASKED = 10  # images that propose rules; more than one, because the first may be a stray
_TRIED = 50  # rules held against all images, the most proposed ones


class Pair(NamedTuple):
    """An image, its name, and its mask where it has one."""

    name: str
    image: Path
    mask: Path | None


class Unpaired(DataError):
    """Files that make no pair, all listed.

    Attributes:
        findings: A sentence each.
        pairs: The pairs that there are besides.
    """

    def __init__(self, findings: list[str], pairs: list[Pair]) -> None:
        super().__init__(listing(findings))
        self.findings, self.pairs = findings, pairs


class Rule(NamedTuple):
    """What stands around the common part of the stems of an image and of its mask."""

    image_prefix: str
    image_suffix: str
    mask_prefix: str
    mask_suffix: str


def image_files(folder: Path) -> list[Path]:
    """Return the image files of a folder in natural order (2 before 10), without hidden ones.

    Raises:
        UsageError: There is no such folder, or no image in it.
    """
    if not folder.is_dir():
        beside = [path.name for path in folder.parent.glob("*") if path.is_dir()]
        raise UsageError(
            f"{folder}: is no folder; expected one with images ({' '.join(SUFFIXES)}){did_you_mean(folder.name, beside)}"
        )
    files = [file for file in folder.iterdir() if is_image(file)]
    inside = sorted(path.name for path in folder.iterdir() if path.is_dir())[:8]
    if not files and inside:
        raise UsageError(f"{folder}: holds no image, only folders ({', '.join(inside)}); name one of them")
    if not files:
        raise UsageError(f"{folder}: holds no image; expected files ending in {' '.join(SUFFIXES)}")
    return sorted(files, key=lambda file: natural(file.name))


def find_images(wanted: list[Path | str]) -> list[tuple[Path, Path]]:
    """Return the images that files, folders and globs name, each with its path relative to where it was found.

    Raises:
        UsageError: A path is neither file nor folder nor a glob that matches.
    """
    found: list[tuple[Path, Path]] = []
    for item in wanted:
        path, text = Path(item), str(item)
        if path.is_dir() and not is_zarr(path):
            found += [(file, file.relative_to(path)) for file in image_files(path)]
        elif is_there(path):
            found.append((path, plain_name(path)))
        else:
            fixed = Path(*itertools.takewhile(lambda part: not glob.has_magic(part), path.parts))
            pattern = str(path.relative_to(fixed))
            matches = sorted(map(str, fixed.glob(pattern)), key=natural) if glob.has_magic(text) else []
            if not matches:
                raise UsageError(f"{item}: is no file, folder or glob that matches; check the path")
            found += [
                (Path(match), Path(match).relative_to(fixed)) for match in matches if is_there(Path(match))
            ]
    return list(dict.fromkeys(found))


def natural(name: str) -> list[tuple[int, int | str]]:
    """Return a sorting key in which numbers count as numbers.

    >>> sorted(["a10", "a9", "b1"], key=natural)
    ['a9', 'a10', 'b1']
    """
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", name) if part]


def find_pairs(images: Path, masks: Path) -> list[Pair]:
    """Match the images of one folder with the masks of another, or of the same one.

    Raises:
        UsageError: A folder is missing or empty.
        Unpaired: Images without a mask, masks without an image, or two files of one stem; all are listed.
    """
    if images.resolve() == masks.resolve():
        return _pairs_in_one(images)
    left, right = image_files(images), image_files(masks)
    findings = _doubles(left) + _doubles(right)
    if findings:
        raise Unpaired(findings, [])
    by_stem = {file.stem: file for file in right}
    rule = _best_rule([f.stem for f in left], list(by_stem))
    wanted = {file: _mask_stem(file.stem, rule) for file in left}
    strays = [f for f in left if wanted[f] not in by_stem]
    unused = sorted(set(by_stem) - set(wanted.values()), key=natural)
    findings = [f"{f}: has no mask in {masks}; expected {wanted[f] or f.stem}.*" for f in strays]
    findings += [
        f"{by_stem[stem]}: belongs to no image in {images}; remove it or add the image" for stem in unused
    ]
    pairs = [Pair(file.stem, file, by_stem[stem]) for file, stem in wanted.items() if stem in by_stem]
    if findings:
        raise Unpaired(findings, pairs)
    return pairs


def read_list(file: Path) -> list[Pair]:
    """Read a list file: `image mask` a line, quoted or tab-separated where paths hold blanks; # starts a comment.

    Relative paths are relative to the list.

    Raises:
        UsageError: It cannot be read as text.
        Unpaired: A line is no pair, a file is missing, or two images share a stem; all are listed.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()  # Windows' editors begin with a mark
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: cannot be read as a list of pairs ({error}); expected text") from None
    pairs, findings = [], []
    for number, line in enumerate(lines, 1):
        parts = split_line(line)
        if not parts:
            continue
        if len(parts) != 2:
            findings.append(
                f"{file}:{number}: holds {len(parts)} paths; expected an image and a mask (quote paths with blanks)"
            )
            continue
        image, mask = (file.parent / part for part in parts)
        missing = [path for path in (image, mask) if not is_there(path)]
        findings += [f"{file}:{number}: {path} is no file; mend the path" for path in missing]
        if not missing:
            pairs.append(Pair(plain_name(image).stem, image, mask))
    findings += _doubles([pair.image for pair in pairs])
    if not pairs and not findings:
        findings = [f"{file}: holds no pair; expected `image mask` a line"]
    if findings:
        raise Unpaired(findings, pairs)
    return pairs


def split_line(line: str) -> list[str]:
    r"""Return the paths of a line of a list file.

    >>> split_line('a.png "my masks/a.png"'), split_line("my images/a.png\ta.png"), split_line("# note")
    (['a.png', 'my masks/a.png'], ['my images/a.png', 'a.png'], [])
    """
    line = line.strip()
    if line.startswith("#"):
        return []
    if "\t" in line:
        return [part.strip().strip('"') for part in line.split("\t") if part.strip()]
    return [quoted or plain for quoted, plain in _SPLIT.findall(line)]


def _mask_stem(stem: str, rule: Rule) -> str | None:
    """Return the stem of the mask that the rule names, or None where the image does not follow it."""
    core = stem.removeprefix(rule.image_prefix) if stem.startswith(rule.image_prefix) else None
    if core is None or not core.endswith(rule.image_suffix):
        return None
    core = core[: len(core) - len(rule.image_suffix)]
    return rule.mask_prefix + core + rule.mask_suffix if core else None


def _best_rule(images: list[str], masks: list[str]) -> Rule:
    """Return the rule that matches most images; equal stems win a tie."""
    known, best = set(masks), Rule("", "", "", "")
    score = len(set(images) & known)
    if score == len(images):
        return best
    # The true rule is proposed by every image, a chance likeness by few.
    proposed = Counter(rule for image in images[:_ASKED] for rule in _candidates(image, masks))
    for rule, _ in proposed.most_common(_TRIED):
        matched = sum(_mask_stem(stem, rule) in known for stem in images)
        if matched > score:
            best, score = rule, matched
    return best


def _candidates(image: str, masks: list[str]) -> list[Rule]:
    """Return the rules that pair one image with any of the masks, by what both share."""
    return [
        Rule(image[:a], image[a + size :], mask[:b], mask[b + size :])
        for mask in masks
        for a, b, size in dict.fromkeys(_shared(image, mask))
    ]


def _shared(one: str, other: str) -> Iterator[tuple[int, int, int]]:
    """Yield parts that two words share: their end, their start, their numbers, the longest; as (start, start, size)."""
    if end := _alike(one[::-1], other[::-1]):
        yield len(one) - end, len(other) - end, end
    if start := _alike(one, other):
        yield 0, 0, start
    for a, b in itertools.product(_NUMBER.finditer(one), _NUMBER.finditer(other)):
        if a[0] == b[0]:
            yield a.start(), b.start(), len(a[0])
    match = difflib.SequenceMatcher(None, one, other, autojunk=False).find_longest_match()
    if match.size:
        yield match.a, match.b, match.size


def _alike(one: str, other: str) -> int:
    """Return how many characters two words share at their start."""
    return sum(1 for _ in itertools.takewhile(lambda both: both[0] == both[1], zip(one, other, strict=False)))


def _pairs_in_one(folder: Path) -> list[Pair]:
    """Match images and masks that lie in one folder, such as a.tif and a_mask.png."""
    files = image_files(folder)
    stems = {file.stem for file in files}
    doubles = _doubles(files)
    if doubles:
        raise Unpaired(doubles, [])
    affixes = {("", s.removeprefix(t)) if s.startswith(t) else (s.removesuffix(t), "")
               for s in stems for t in stems if s != t and (s.startswith(t) or s.endswith(t))}  # fmt: skip
    rule = max(
        sorted(affixes),
        key=lambda affix: sum(affix[0] + stem + affix[1] in stems for stem in stems),
        default=None,
    )
    if rule is None:
        raise DataError(
            f"{folder}: holds images only; expected masks beside them, such as a.tif and a_mask.png"
        )
    by_stem = {file.stem: file for file in files}
    of_image = {stem: rule[0] + stem + rule[1] for stem in stems if rule[0] + stem + rule[1] in stems}
    pairs = [Pair(f.stem, f, by_stem[of_image[f.stem]]) for f in files if f.stem in of_image]
    strays = sorted(stems - set(of_image) - set(of_image.values()), key=natural)
    if strays:
        raise Unpaired([_stray(by_stem[stem], *rule) for stem in strays], pairs)
    return pairs


def _stray(file: Path, prefix: str, suffix: str) -> str:
    if file.stem.startswith(prefix) and file.stem.endswith(suffix):
        return f"{file}: belongs to no image beside it; remove it or add the image"
    return f"{file}: has no mask beside it; expected {prefix}{file.stem}{suffix}.*"


def _doubles(files: list[Path]) -> list[str]:
    """Name the files that share a stem with an earlier one, or are the same."""
    first: dict[str, Path] = {}
    findings = []
    for file in files:
        stem = plain_name(file).stem
        if first.setdefault(stem, file) is file:
            continue
        if first[stem] == file:
            findings.append(f"{file}: stands twice; remove one of its lines")
        else:
            findings.append(f"{file}: has the same stem as {first[stem]}; rename or remove one of them")
    return findings
