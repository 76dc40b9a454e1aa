"""How a verb inside a study tells what it does: as always, with the part of the study in front."""

from patchseg.progress import Progress


class Within(Progress):
    """Passes on lines and bars, marked with the part of the study; the epochs of trainings stay in their records.

    Args:
        progress: Of the study.
        part: Such as "fold 2/5".
    """

    def __init__(self, progress: Progress, part: str) -> None:
        self._progress, self._part = progress, part

    def say(self, line: str) -> None:
        """Tell a line, unless it is that of an epoch: five trainings of a hundred would bury all else."""
        if not line.startswith("epoch "):
            self._progress.say(f"{self._part}: {line}")

    def start(self, label: str, total: int) -> None:
        """Begin a bar."""
        self._progress.start(f"{self._part}, {label}", total)

    def step(self, count: int = 1, note: str = "") -> None:
        """Move the bar."""
        self._progress.step(count, note)

    def stop(self) -> None:
        """End the bar."""
        self._progress.stop()
