"""How a verb inside a study tells what it does: as always, with the part of the study in front."""

from patchseg.progress import Progress


class Within(Progress):
    """Passes on lines and bars, marked with the part of the study, but no line that an earlier part has told already.

    The epochs of trainings stay in their records.

    Args:
        progress: Of the study.
        part: Such as "fold 2/5".
        told: The lines of earlier parts, to which its own are added.
    """

    def __init__(self, progress: Progress, part: str, told: set[str]) -> None:
        self._progress, self._part, self._told = progress, part, told

    def say(self, line: str) -> None:
        """Tell a line, unless it is known, or that of an epoch: five trainings of a hundred would bury all else."""
        if not line.startswith("epoch ") and line not in self._told:
            self._told.add(line)
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
