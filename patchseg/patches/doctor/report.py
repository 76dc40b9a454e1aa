"""What the doctor tells: findings, the worst first, and what the data set is; as plain values and as lines."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from patchseg.labels.classes import Classes
from patchseg.patches.doctor.finding import Finding
from patchseg.patches.pairs import Pair
from patchseg.progress import counted


class ClassShare(NamedTuple):
    """How much of one class there is: share of the labelled pixels, images, chance of a random patch to hold some."""

    name: str
    color: str
    share: float
    images: int
    chance: float


class Sample(NamedTuple):
    """One pair of files, and the share of each class in its labelled pixels, where it could be read."""

    pair: Pair
    size: tuple[int, int] | None
    side: str
    shares: tuple[float, ...] | None


@dataclass(frozen=True)
class Report:
    """What is wrong with a data set, and what it is.

    Attributes:
        findings: The worst first.
        classes: None where the masks leave them open.
        shares: One a class.
        samples: One a pair.
        kind: Channels and dtype of the first image that can be read.
        patch: Side of the patches that chances are told for.
    """

    findings: tuple[Finding, ...]
    classes: Classes | None
    shares: tuple[ClassShare, ...]
    samples: tuple[Sample, ...]
    kind: tuple[int, str] | None
    patch: int

    @property
    def errors(self) -> int:
        """How many findings would make training fail or go wrong."""
        return sum(finding.severity == "error" for finding in self.findings)

    @property
    def warnings(self) -> int:
        """How many findings are doubts only."""
        return len(self.findings) - self.errors

    @property
    def sizes(self) -> dict[tuple[int, int], int]:
        """Images of each size (H, W), the most frequent first."""
        sizes: dict[tuple[int, int], int] = {}
        for sample in self.samples:
            if sample.size:
                sizes[sample.size] = sizes.get(sample.size, 0) + 1
        return dict(sorted(sizes.items(), key=lambda item: (-item[1], item[0])))

    @property
    def sides(self) -> dict[str, int]:
        """Images on each side of the split that `prepare` would make."""
        return {
            side: sum(side in sample.side.split("+") for sample in self.samples) for side in ("train", "val")
        }

    def __str__(self) -> str:
        """Tell all of it in lines."""
        lines = [f"{finding.severity:<7}  {finding}" for finding in self.findings]
        if self.shares:
            width = min(30, max(5, *(len(share.name) for share in self.shares)))
            lines += [
                "",
                f"{'class':<{width}}  {'pixels':>9}  {'images':>6}  a random patch of {self.patch} holds it",
            ]
            lines += [
                f"{share.name[:width]:<{width}}  {percent(share.share):>9}  {share.images:>6}  {percent(share.chance)}"
                for share in self.shares
            ]
            lines.append("")
        return "\n".join([*lines, self.summary()])

    def summary(self) -> str:
        """Return the one line that matters."""
        found = f"{counted(self.errors, 'error')}, {counted(self.warnings, 'warning')}"
        return f"{counted(len(self.samples), 'pair')} checked: {found if self.findings else 'nothing wrong was found'}"

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        return {
            "ok": not self.errors,
            "errors": self.errors,
            "warnings": self.warnings,
            "findings": [finding.to_json() for finding in self.findings],
            "images": len(self.samples),
            "channels": self.kind[0] if self.kind else None,
            "dtype": self.kind[1] if self.kind else None,
            "sizes": [{"height": h, "width": w, "images": count} for (h, w), count in self.sizes.items()],
            "split": self.sides,
            "patch": self.patch,
            "classes": [
                definition | {"share": share.share, "images": share.images, "patch_chance": share.chance}
                for definition, share in zip(
                    self.classes.to_json() if self.classes else [], self.shares, strict=False
                )
            ],
        }


def percent(share: float) -> str:
    """Write a share so that little is not nothing.

    >>> percent(0.1234), percent(0.00001), percent(0), percent(1)
    ('12.34 %', '< 0.01 %', '0 %', '100 %')
    """
    if share in (0, 1):
        return f"{100 * share:.0f} %"
    return "< 0.01 %" if share < 0.0001 else f"{100 * share:.2f} %"
