"""How long a run is: from epochs, from steps, or fitted into a wall-clock budget by its own measured speed."""

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

from patchseg.parameters import TrainParameters

_EPOCHS = 20  # of a run measured in steps or time, so that curves have points
_MEASURED = 12  # steps at least before the total is fixed
_SHARE, _ENOUGH = 0.02, 10.0  # of the budget spent on measuring, at least, up to so many seconds
_LATE = 0.25  # of the budget after which the total is fixed, however few steps were timed
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
        most: The most steps that a wall-clock budget may be filled with, if any.
        clock: Tells the time, in seconds.
    """

    total: int | None
    epoch_steps: int
    seconds: float | None = None
    spent: float = 0.0
    most: int | None = None
    clock: Callable[[], float] = time.monotonic
    _start: float = field(init=False)
    _laps: list[float] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self._start = self.clock()

    @classmethod
    def of(cls, parameters: TrainParameters, patches: int) -> "Budget":
        """Plan a run over so many patches."""
        assert parameters.batch is not None
        one_pass, steps = math.ceil(patches / parameters.batch), parameters.steps
        # A run that would be over before it is measured needs no plan: time only stops it.
        if parameters.time is not None and (steps is None or steps > _MEASURED + 1):
            return cls(None, parameters.epoch_steps or one_pass, parameters.time, most=steps)
        if steps is not None:
            return cls(steps, parameters.epoch_steps or math.ceil(steps / _EPOCHS), parameters.time)
        epoch_steps = parameters.epoch_steps or one_pass
        return cls(parameters.epochs * epoch_steps, epoch_steps)

    @property
    def elapsed(self) -> float:
        """Seconds since the run began, over all its processes."""
        return self.spent + self.clock() - self._start

    @property
    def epochs(self) -> int:
        """Epochs of the whole run; the last may be shorter."""
        return math.ceil((self.total or 0) / self.epoch_steps)

    @property
    def exhausted(self) -> bool:
        """Whether the wall-clock budget is used up."""
        return self.seconds is not None and self.elapsed >= self.seconds

    @property
    def tail_steps(self) -> int:
        """The steps that an early end takes at least: an epoch, where its length is known."""
        return self.epoch_steps if self.total is not None else 1

    def shorten(self, end: int) -> None:
        """Let the run end early."""
        if self.total is None:
            self.epoch_steps = end
        self.total = end

    def progress(self, step: int) -> float:
        """Return how far the schedule is, 0 to 1; 0 while the total is being measured."""
        return 0.0 if self.total is None else min(1.0, step / max(1, self.total - 1))

    def ends_epoch(self, step: int) -> bool:
        """Tell whether an epoch ends once `step` steps are done."""
        return self.total is not None and (step % self.epoch_steps == 0 or step == self.total)

    def lap(self) -> None:
        """Note that a step is done: all while the total is unknown, else the first few."""
        if self.total is None or len(self._laps) <= _MEASURED + 1:
            self._laps.append(self.clock())

    def forecast(self, done: int) -> float | None:
        """Return, once, how many seconds the steps that are left take in a run measured in steps; else None."""
        if self.total is None or self.seconds is not None or len(self._laps) != _MEASURED + 1:
            return None
        return (self.total - done) * self._step()

    def measured(self) -> bool:
        """Tell whether enough steps were timed to fix the total."""
        assert self.seconds is not None
        timed = len(self._laps)
        if timed < 2:
            return False
        long = self._laps[-1] - self._laps[0] >= min(_ENOUGH, _SHARE * self.seconds)
        # Of few steps, not all may go into measuring.
        many = self.most is not None and timed >= _SHARE * self.most
        return (timed > _MEASURED and (long or many)) or self.elapsed >= _LATE * self.seconds

    def fix(self, done: int, parameters: TrainParameters, validation: Callable[[], object]) -> None:
        """Fix total and epochs once, after `done` steps, from the speed of the timed ones and of one validation."""
        assert self.seconds is not None
        step, before = self._step(), self.clock()
        validation()
        look = self.clock() - before
        epochs = min(_EPOCHS, max(1, int(_VALIDATION * self.seconds / max(look, 1e-9))))
        left = (self.seconds - self.elapsed - epochs * look) * (1 - _RESERVE)
        fitting = done + max(1, int(left / max(step, 1e-9)))
        self.total = min(fitting, max(self.most or fitting, done + 1))
        self.epoch_steps = parameters.epoch_steps or math.ceil(self.total / epochs)

    def _step(self) -> float:
        """Return the seconds of a step; the median, since the first ones warm up."""
        return statistics.median(after - before for before, after in pairwise(self._laps))
