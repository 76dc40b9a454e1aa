"""The loop: a batch, a step of the optimizer, and at the end of an epoch a validation, a line of metrics and checkpoints."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from patchseg import device as devices
from patchseg.errors import Interrupted, PatchsegError
from patchseg.parameters import Role
from patchseg.progress import Progress, counted, duration
from patchseg.training.average import decay_for
from patchseg.training.batches import Batches
from patchseg.training.budget import Budget
from patchseg.training.interrupt import Interrupt
from patchseg.training.keeper import Keeper
from patchseg.training.learner import Learner
from patchseg.training.means import TOTAL
from patchseg.training.record import Record
from patchseg.training.validate import Validation, validate

_AGREE = (
    20  # steps after which the stop file is looked for, and several processes ask each other whether to stop
)
_SETTLED = (
    200  # steps after which a class that is never predicted, or a score that falls, is a reason to worry
)
_FALL = 0.05  # of the mean IoU, at which a teacher is doubted
STOP = "stop"  # the file in runs/NAME that ends a run


@dataclass
class Run:
    """A training run under way.

    Attributes:
        learner: The network and what makes it learn.
        batches: What it learns from.
        budget: How long.
        keeper: Writes checkpoints.
        log: Writes metrics; None in all processes but the first.
        stop: The file whose presence asks for an early end.
        progress: Told what happens.
    """

    learner: Learner
    batches: Batches
    budget: Budget
    keeper: Keeper
    log: Record | None
    stop: Path
    progress: Progress
    _doubted: set[int] = field(default_factory=set)
    _fallen: bool = False

    def go(self) -> None:
        """Step until the run is as long as planned, or somebody stops it."""
        learner, budget = self.learner, self.budget
        with Interrupt() as interrupt:
            self._bar()
            while budget.total is None or learner.step < budget.total:
                learner.learn(self.batches.read(learner.step), progress=budget.progress(learner.step))
                self.progress.step()
                self._tell_notes()
                asked, ending, late = self._agreed(interrupt)
                if budget.total is None or not late:
                    self._measure()
                else:
                    budget.total = learner.step
                if budget.ends_epoch(learner.step):
                    self._end_epoch()
                    self._bar()
                if ending or (asked and learner.settings.on_stop == "anneal"):
                    self._fulfil()
                elif asked and learner.step != budget.total:
                    self._leave()
        self.progress.stop()

    def _agreed(self, interrupt: Interrupt) -> list[bool]:
        """Tell whether an interrupt asks for an end, whether the stop file does, and whether the time is up."""
        if devices.ranks() > 1 and self.learner.step % _AGREE:
            return [False, False, False]
        # To look for a file may take longer than a step where disks are far away.
        stop = self.learner.step % _AGREE == 0 and self.stop.exists()
        flags = interrupt.asked, stop, self.budget.exhausted
        return devices.agreed(self.learner.device, *flags)

    def _leave(self) -> None:
        self.learner.share_losses()
        saved = self.keeper.save_last(self.learner, self.budget, {}) if devices.rank() == 0 else None
        saved = devices.told(saved)  # whoever ended before it is saved would take the others along
        self.progress.stop()
        raise Interrupted(f"Stopped after step {self.learner.step}; saved {saved}, go on with --resume")

    def _end_early(self) -> bool:
        """Let the rate decay to its end, and the run end there; tell whether it was not about to end already."""
        learner, budget = self.learner, self.budget
        if learner.course.tail is not None or learner.step == budget.total:
            return False
        done = budget.progress(learner.step)
        end = learner.course.end_early(learner.step, done, budget.tail_steps, budget.total)
        budget.shorten(end)
        self._fit_average(end)
        self.progress.say(
            f"from here on the rate decays to its end; the run ends after {counted(end - learner.step, 'step')}"
        )
        self._bar()
        return True

    def _fulfil(self) -> None:
        """End early as asked; save that, and only then take the stop file away: whatever comes, one of them tells."""
        first = devices.rank() == 0
        if self._end_early():
            self.learner.share_losses()
            if first:
                self.keeper.save_last(self.learner, self.budget, {})
        if first:
            self.stop.unlink(missing_ok=True)

    def _measure(self) -> None:
        """Time the first steps: they say how long a run takes, or how many steps fit into its time."""
        learner, budget = self.learner, self.budget
        budget.lap()
        left = budget.forecast(learner.step)
        if left is not None:
            self.progress.say(f"about {duration(left)} for the steps that are left, without validation")
        if budget.total is None and devices.told(budget.measured()):
            budget.fix(
                learner.step, learner.settings, lambda: validate(self.keeper.file, learner.predictor())
            )
            budget.total, budget.epoch_steps = devices.told((budget.total, budget.epoch_steps))
            assert budget.total is not None
            self._fit_average(budget.total)
            self.progress.say(f"{budget.total} steps fit into {budget.seconds:.0f} s")
            self._bar()

    def _fit_average(self, steps: int) -> None:
        """Let the average remember what suits a run of so many steps, unless its decay was given."""
        average = self.learner.average
        if average is not None and self.learner.settings.source("ema") == "plan":
            average.decay = decay_for(steps)
            self.keeper.record["train.ema"] = {"value": average.decay, "source": "plan"}

    def _bar(self) -> None:
        """Begin the bar of the epoch that comes."""
        learner, budget = self.learner, self.budget
        if budget.total is None:
            self.progress.start("measuring", 0)
        elif learner.step < budget.total:
            epoch = learner.step // budget.epoch_steps
            left = min(budget.total, (epoch + 1) * budget.epoch_steps) - learner.step
            self.progress.start(f"epoch {epoch + 1}/{budget.epochs}", left)

    def _end_epoch(self) -> None:
        """Validate, write a line, save."""
        learner, budget = self.learner, self.budget
        losses = learner.mean_losses()
        loss = losses[TOTAL]
        if not math.isfinite(loss):
            raise PatchsegError(
                f"the training loss has become {loss} by step {learner.step}; choose a smaller --rate, or check the images"
            )
        found = validate(self.keeper.file, learner.predictor())
        line = self._line(losses, found) | self._other()
        score = line.get("mean_iou")
        # Without validation regions the last network is the best one known.
        better = found is None or learner.best is None or (score is not None and score > learner.best)
        if better:
            learner.best = score
        if found is not None and learner.course.judge(better):
            self._plateau()
        if self.log is not None:
            pictures = learner.objective.pictures(self.keeper.file.head.classes.palette)
            self.log.write(line, found.panels if found else [], pictures)
            self.progress.stop()
            self.progress.say(_told(line, budget.epochs))
            if better:
                self.keeper.save_best(learner, line)
            self.keeper.save_last(learner, budget, line)
            self._tell_fall(line)
        self._doubt()

    def _tell_fall(self, line: dict[str, Any]) -> None:
        """Say once that the score has fallen far since a teacher's opinion counts: errors that it confirms to itself grow."""
        score, best = line.get("mean_iou"), self.learner.best
        if not self.learner.objective.teaches or score is None or best is None or score >= best - _FALL:
            return
        if not self._fallen and self.learner.step >= _SETTLED:
            self._fallen = True
            self.progress.say(
                f"the score has fallen from {best:.4f} to {score:.4f}; best.pt holds the better network. If it does not rise "
                "again, the teacher confirms its own errors: try a smaller --pseudo-weight or a higher --confidence"
            )

    def _line(self, losses: dict[str, float], found: Validation | None) -> dict[str, Any]:
        learner, names = self.learner, self.keeper.file.head.classes.names
        return {
            "epoch": math.ceil(learner.step / self.budget.epoch_steps), "step": learner.step,
            **losses, "rate": learner.rate,
            **(found.scores(names) if found else {}), "seconds": round(self.budget.elapsed, 2),
        }  # fmt: skip

    def _other(self) -> dict[str, Any]:
        """Return the score of the one of teacher and student that is not saved."""
        if not self.learner.objective.teaches:
            return {}
        role: Role = "student" if self.learner.settings.exported == "teacher" else "teacher"
        found = validate(self.keeper.file, self.learner.predictor(role))
        return {f"mean_iou/{role}": found.confusion.mean_iou} if found else {}

    def _plateau(self) -> None:
        """Lower the rate, or let it decay to its end, because the score gets no better."""
        epochs = counted(self.learner.settings.patience or 0, "epoch")
        self.progress.say(f"no better score for {epochs}")
        if self.learner.course.lowered():
            self.progress.say("  the rate is a tenth from here on")
        else:
            self._end_early()

    def _doubt(self) -> None:
        """Say which classes the network never predicts, once each."""
        missing, classes = self.learner.unpredicted(), self.keeper.file.head.classes
        if self.learner.step < _SETTLED:
            return
        for index in missing:
            if index not in self._doubted:
                self._doubted.add(index)
                self.progress.say(
                    f"{classes.names[index]} has not been predicted in any patch looked at since the last epoch, though it is "
                    "there; if that stays so, try --centred 0.5, --class-weights balanced or --loss ce+dice"
                )

    def _tell_notes(self) -> None:
        """Say what has happened to the gradients, and record micro-batches, since they are another recipe."""
        gradients = self.learner.gradients
        while gradients.notes:
            self.progress.say(gradients.notes.pop(0))
            self.keeper.record["train.micro_batch"] = {"value": gradients.micro, "source": "memory ran out"}


def _told(line: dict[str, Any], epochs: int) -> str:
    """Return the line of an epoch for the terminal."""
    text = f"epoch {line['epoch']:>{len(str(epochs))}}/{epochs}  loss {line['loss/train']:.4f}"
    if line.get("mean_iou") is not None:
        text += f"  val {line['loss/val']:.4f}  mean IoU {line['mean_iou']:.4f}"
    return f"{text}  rate {line['rate']:.1e}  {line['seconds']:.0f} s"
