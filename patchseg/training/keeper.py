"""Writes the checkpoints of a run: best.pt to infer with, last.pt to go on from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patchseg.models.checkpoint import Checkpoint
from patchseg.patches.store import PatchFile
from patchseg.training.budget import Budget
from patchseg.training.learner import Learner


@dataclass(frozen=True)
class Keeper:
    """Knows what the checkpoints of a run have in common.

    Attributes:
        folder: checkpoints/NAME.
        file: The patches.
        record: {key: {value, source}}.
        threads: Of this process.
    """

    folder: Path
    file: PatchFile
    record: dict[str, Any]
    threads: int

    def save_best(self, learner: Learner, scores: dict[str, Any]) -> Path:
        """Write best.pt."""
        return self._save("best.pt", learner, scores, None)

    def save_last(self, learner: Learner, budget: Budget, scores: dict[str, Any]) -> Path:
        """Write last.pt, with all that resuming needs."""
        plan = {"total": budget.total, "epoch_steps": budget.epoch_steps, "spent": budget.elapsed}
        same = {"threads": self.threads, "patches": self.file.head.sha256}
        return self._save("last.pt", learner, scores, learner.state() | plan | same)

    def _save(
        self, name: str, learner: Learner, scores: dict[str, Any], state: dict[str, Any] | None
    ) -> Path:
        head = self.file.head
        checkpoint = Checkpoint(
            model=learner.spec,
            classes=head.classes,
            channels=head.channels,
            dtype=self.file.dtype.name,
            patch=head.patch,
            scale=head.scale,
            weights=learner.weights(),
            parameters=self.record,
            scores=scores,
            training=state,
            mapping=head.mapping,
        )
        checkpoint.save(self.folder / name)
        return self.folder / name
