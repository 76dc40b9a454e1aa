"""How a run ends: at its planned end, or, once nothing gets better or somebody asks, by letting the rate decay early.

A run that is just cut off has the noise of its high rate in its weights. So a plateau does not stop it: the rate comes down
to its end within a tenth of the steps that were done, and the run ends there.
"""

from dataclasses import asdict, dataclass
from typing import Any

from patchseg.training.schedule import LAST, cosine_between, factor

_TAIL = 10  # the decay takes this part of the steps done
_DROP = 0.1  # of the rate at each plateau, in the schedule of that name


@dataclass
class Course:
    """The factor of the highest rate, step by step; all but the first three fields is state that a checkpoint keeps.

    Attributes:
        schedule: A key of `SCHEDULES`.
        warm_up: Share of the run in which the rate rises, or None for the schedule's own.
        patience: Epochs without a better score that make a plateau; None: never.
        stale: Epochs since the last better score.
        drop: What plateaus have made of the rate, in the schedule of that name.
        tail: (first step, its factor, end) of the decay, once it has begun.
    """

    schedule: str
    warm_up: float | None = None
    patience: int | None = None
    stale: int = 0
    drop: float = 1.0
    tail: tuple[int, float, int] | None = None

    def factor(self, step: int, progress: float) -> float:
        """Return the factor of the highest rate at a step, in a run that has come so far (0 to 1)."""
        if self.tail is None:
            return self.drop * factor(self.schedule, progress, self.warm_up)
        first, begun, end = self.tail
        return cosine_between(begun, min(begun, LAST), (step - first) / max(1, end - 1 - first))

    def judge(self, better: bool) -> bool:
        """Note whether an epoch had a better score; tell whether a plateau is reached."""
        self.stale = 0 if better else self.stale + 1
        if self.patience is None or self.stale < self.patience or self.tail is not None:
            return False
        self.stale = 0
        return True

    def lowered(self) -> bool:
        """Lower the rate at a plateau; tell whether it could be: the end is reached with the schedule's last factor."""
        if self.schedule != "plateau" or self.drop * _DROP < LAST * 0.999:
            return False
        self.drop *= _DROP
        return True

    def end_early(self, step: int, progress: float, epoch_steps: int, most: int | None) -> int:
        """Begin the decay at a step; return the step at which the run ends."""
        length = max(epoch_steps, step // _TAIL, 1)
        end = min(step + length, most or step + length)
        self.tail = (step, self.factor(step, progress), end)
        return end

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return asdict(self)

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what a checkpoint kept."""
        self.stale, self.drop = state["stale"], state["drop"]
        self.tail = tuple(state["tail"]) if state["tail"] else None
