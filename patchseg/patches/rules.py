"""What the names of images and of their masks have in common: a constant prefix, suffix, or both, to be found out.

A name is a file's path relative to its folder, without its suffix: "a", or "18/70761/104120" in nested folders. Names
flow in, and out comes the `Rule` that turns the names of most images into those of their masks. Folders are equal on
both sides; a rule is about the last part.
"""

import difflib
import itertools
import re
from collections import Counter
from collections.abc import Collection, Iterator
from typing import NamedTuple

_NUMBER = re.compile(r"\d+")
_ASKED = 10  # names that propose rules; more than one, because the first may be a stray
_TRIED = 50  # rules held against all names, the most proposed ones
# What people call masks; short words only where they stand alone.
_MASK_WORD = re.compile(r"mask|msk|label|lbl|segm|annot|truth|(?<![a-z])(gt|seg|manual|ann)(?![a-z])", re.I)


class Rule(NamedTuple):
    """What stands around the common part of the stems of an image and of its mask."""

    image_prefix: str
    image_suffix: str
    mask_prefix: str
    mask_suffix: str

    def mask_of(self, name: str) -> str | None:
        """Return the name of an image's mask, or None where the image does not follow the rule.

        >>> rule = Rule("Img_", "", "Mask_", "")
        >>> rule.mask_of("Img_7"), rule.mask_of("day2/Img_7"), rule.mask_of("notes")
        ('Mask_7', 'day2/Mask_7', None)
        """
        folder, slash, stem = name.rpartition("/")
        core = _core(stem, self.image_prefix, self.image_suffix)
        return f"{folder}{slash}{self.mask_prefix}{core}{self.mask_suffix}" if core else None

    def names_mask(self, name: str) -> bool:
        """Tell whether a name looks like that of a mask."""
        return bool(_core(name.rpartition("/")[2], self.mask_prefix, self.mask_suffix))


def best_rule(images: list[str], masks: list[str]) -> Rule:
    """Return the rule that matches most images with masks; equal names win a tie."""
    known, best = set(masks), Rule("", "", "", "")
    score = len(set(images) & known)
    if score == len(images):
        return best
    by_folder = _by_folder(masks)
    # The true rule is proposed by every image, a chance likeness by few.
    proposed = Counter(
        rule
        for name in images[:_ASKED]
        for rule in _candidates(name.rpartition("/")[2], by_folder.get(name.rpartition("/")[0], []))
    )
    for rule, _ in proposed.most_common(_TRIED):
        matched = sum(rule.mask_of(name) in known for name in images)
        if matched > score:
            best, score = rule, matched
    return best


def rule_within(names: Collection[str]) -> Rule | None:
    """Return the rule by which some names in one folder are the masks of others, or None.

    The masks' side is the longer name (a, a_mask), or the one that says so (Img_7, Mask_7). A rule without a word for
    masks counts only if it leaves no name over, since chance likenesses are many.
    """
    known = set(names)
    best: tuple[int, bool] = (0, False)
    chosen = None
    for rule in sorted(_additions(known) | _swaps(known)):
        masks = {name: rule.mask_of(name) for name in known}
        paired = {name for name, mask in masks.items() if mask in known}
        if paired & {masks[name] for name in paired}:
            continue  # a mask of a mask: a chance likeness
        added = f"{rule.mask_prefix} {rule.mask_suffix}"
        says_so = _says_mask(added)
        if not says_so and (len(paired) * 2 < len(known) or not re.search(r"[^\W\d_]", added)):
            continue
        if (len(paired), says_so) > best:
            best, chosen = (len(paired), says_so), rule
    return chosen


def _core(stem: str, prefix: str, suffix: str) -> str:
    """Return what stands between a prefix and a suffix; nothing where either is missing."""
    if not (stem.startswith(prefix) and stem.endswith(suffix)):
        return ""
    return stem[len(prefix) : len(stem) - len(suffix)]


def _by_folder(names: Collection[str]) -> dict[str, list[str]]:
    """Return the stems in each folder."""
    found: dict[str, list[str]] = {}
    for name in names:
        folder, _, stem = name.rpartition("/")
        found.setdefault(folder, []).append(stem)
    return found


def _additions(names: set[str]) -> set[Rule]:
    """Return the rules by which a stem becomes another one by what is put before or behind it."""
    rules = set()
    for stems in _by_folder(names).values():
        asked = sorted(stems, key=lambda stem: (not _says_mask(stem), stem))[: 5 * _ASKED]
        for longer, stem in itertools.product(asked, stems):
            if longer == stem or not stem:
                continue
            if longer.startswith(stem):
                rules.add(Rule("", "", "", longer.removeprefix(stem)))
            if longer.endswith(stem):
                rules.add(Rule("", "", longer.removesuffix(stem), ""))
    return rules


def _swaps(names: set[str]) -> set[Rule]:
    """Return the rules by which a stem becomes one whose other part says that it is a mask."""
    proposed: Counter[Rule] = Counter()
    for stems in _by_folder(names).values():
        spoken = [stem for stem in stems if _says_mask(stem)]
        others = [stem for stem in stems if not _says_mask(stem)]
        for image in sorted(others)[:_ASKED]:
            proposed.update(
                rule
                for rule in _candidates(image, spoken)
                if _says_mask(rule.mask_prefix + " " + rule.mask_suffix)
            )
    return {rule for rule, _ in proposed.most_common(_TRIED)}


def _says_mask(text: str) -> bool:
    return bool(_MASK_WORD.search(text))


def _candidates(image: str, masks: list[str]) -> list[Rule]:
    """Return the rules that pair one stem with any of the masks', by what both share."""
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
