"""What is wrong with a data set: findings, a sentence each, and their order."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

Severity = Literal["error", "warning"]

# Every kind of fault, the worst first, with what it is called.
KINDS = {
    "pairing": "Images and masks that are no pairs",
    "unreadable": "Files that cannot be read",
    "size": "Image and mask of different sizes",
    "swapped": "Images and masks the wrong way round",
    "mixed": "Images of different kinds",
    "finite": "NaN and infinity",
    "jpeg": "Masks spoilt by JPEG",
    "interpolated": "Masks spoilt by resizing",
    "instances": "Objects numbered instead of classes",
    "two-valued": "0 and 255 beside 0 and 1",
    "color": "Colours that are no class",
    "palette": "Palettes that differ",
    "gap": "A gap in the numbers of the classes",
    "value": "Values that are no class",
    "alpha": "Transparent masks",
    "split": "A split that cannot be made",
    "misplaced": "Masks in the wrong place",
    "twins": "The same image twice",
    "copied": "The same mask twice",
    "missing": "Classes without pixels",
    "rare": "Rare classes",
    "empty": "Empty masks",
    "full": "Full masks",
    "constant": "Images without content",
    "saturated": "Saturated images",
    "range": "Value ranges that differ",
    "pixel-size": "Pixel sizes that differ",
    "exif": "EXIF orientation of an image but not of its mask",
    "small": "Images smaller than a patch",
    "unread": "Files of formats that are not read",
}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        kind: A key of `KINDS`.
        severity: "error" where training would fail or learn something wrong.
        files: The files it is wrong with.
        found: What was found in the first of them.
        cure: What to do.
        cause: What is likely behind it, where that can be told.
    """

    kind: str
    severity: Severity
    files: tuple[Path, ...]
    found: str
    cure: str
    cause: str = ""

    @classmethod
    def told(cls, kind: str, sentence: str, file: Path | None = None, *, cause: str = "") -> "Finding":
        """Take an error's own sentence, `file: found; cure`, apart.

        >>> finding = Finding.told("unreadable", "a.png: is empty; replace it")
        >>> finding.files[0].name, finding.found, finding.cure
        ('a.png', 'is empty', 'replace it')
        """
        name, colon, rest = sentence.partition(": ")
        if file is not None and sentence.startswith(f"{file}: "):
            name, rest = str(file), sentence[len(f"{file}: ") :]
        elif not colon:
            name, rest = "", sentence
        found, _, cure = rest.partition("; ")
        return cls(kind, "error", (Path(name),) if name else (), found, cure, cause)

    def __str__(self) -> str:
        """Tell it in one sentence: file, what was found, why, what to do."""
        more = f" (and {len(self.files) - 1} more)" if len(self.files) > 1 else ""
        where = f"{self.files[0]}{more}: " if self.files else ""
        cause = f" (likely {self.cause})" if self.cause else ""
        return f"{where}{self.found}{cause}" + (f"; {self.cure}" if self.cure else "")

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "severity": self.severity,
            "kind": self.kind,
            "files": [file.as_posix() for file in self.files],
            "found": self.found,
            "cause": self.cause or None,
            "cure": self.cure,
            "sentence": str(self),
        }


def gathered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Join findings of one kind, cause and cure over their files, and put the worst first.

    >>> one, two = (Finding("empty", "warning", (Path(name),), "is empty", "paint it") for name in "ab")
    >>> [str(finding) for finding in gathered([one, two])]
    ['a (and 1 more): is empty; paint it']
    """
    joined: dict[tuple[str, str, str, str], Finding] = {}
    for finding in findings:
        key = finding.kind, finding.severity, finding.cause, finding.cure
        first = joined.setdefault(key, finding)
        if first is not finding:
            joined[key] = replace(first, files=(*first.files, *finding.files))
    rank = {kind: place for place, kind in enumerate(KINDS)}
    return tuple(
        sorted(joined.values(), key=lambda finding: (finding.severity != "error", rank[finding.kind]))
    )
