"""How long a run is: from epochs, from steps, or fitted into a wall-clock budget by its own measured speed."""

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from patchseg.parameters import TrainParameters

_EPOCHS = 20  # of a run measured in steps or time, so that curves have points
_MEASURED = 12  # steps at least before the total is fixed, the first two aside
_SHARE = 0.02  # of the budget spent on measuring, at least
_RESERVE = 0.06  # of the rest left for steps that turn out slower
_VALIDATION = 0.1  # of the budget spent on validation, at most


@dataclass
class Budget:
    """The length of a run; `total` is None until a time budget has been measured.

    Attributes:
        total: Steps of the whole run, on which the schedule of the rate rests.
        epoch_steps: Steps an epoch.
        seconds: The wall-clock budget, if any.
        spent: Seconds used before this process.
    """

    total: int | None
    epoch_steps: int
    seconds: float | None = None
    spent: float = 0.0
    _start: float = field(default_factory=time.monotonic)
    _laps: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, parameters: TrainParameters, patches: int) -> "Budget":
        """Plan a run over so many patches."""
        one_pass = math.ceil(patches / parameters.batch)
        if parameters.time is not None:
            return cls(None, parameters.epoch_steps or one_pass, parameters.time)
        if parameters.steps is not None:
            return cls(parameters.steps, parameters.epoch_steps or math.ceil(parameters.steps / _EPOCHS))
        epoch_steps = parameters.epoch_steps or one_pass
        return cls(parameters.epochs * epoch_steps, epoch_steps)

    @property
    def elapsed(self) -> float:
        """Seconds since the run began, over all its processes."""
        return self.spent + time.monotonic() - self._start

    @property
    def epochs(self) -> int:
        """Epochs of the whole run; the last may be shorter."""
        return math.ceil((self.total or 0) / self.epoch_steps)

    @property
    def exhausted(self) -> bool:
        """Whether the wall-clock budget is used up."""
        return self.seconds is not None and self.elapsed >= self.seconds

    def progress(self, step: int) -> float:
        """Return how far the schedule is, 0 to 1; 0 while the total is being measured."""
        return 0.0 if self.total is None else min(1.0, step / max(1, self.total - 1))

    def ends_epoch(self, step: int) -> bool:
        """Tell whether an epoch ends once `step` steps are done."""
        return self.total is not None and (step % self.epoch_steps == 0 or step == self.total)

    def lap(self) -> None:
        """Note that a step is done while the total is unknown."""
        self._laps.append(time.monotonic())

    def measured(self) -> bool:
        """Tell whether enough steps were timed to fix the total."""
        assert self.seconds is not None
        return len(self._laps) > _MEASURED and self._laps[-1] - self._laps[0] >= _SHARE * self.seconds

    def fix(self, done: int, parameters: TrainParameters, validation: Callable[[], object]) -> None:
        """Fix total and epochs once, after `done` steps, from the speed of the timed ones and of one validation."""
        assert self.seconds is not None
        step = statistics.median(b - a for a, b in zip(self._laps[2:], self._laps[3:], strict=False))
        before = time.monotonic()
        validation()
        look = time.monotonic() - before
        epochs = min(_EPOCHS, max(1, int(_VALIDATION * self.seconds / max(look, 1e-9))))
        left = (self.seconds - self.elapsed - epochs * look) * (1 - _RESERVE)
        fitting = done + max(1, int(left / max(step, 1e-9)))
        self.total = min(fitting, max(parameters.steps or fitting, done + 1))
        self.epoch_steps = parameters.epoch_steps or math.ceil(self.total / epochs)
