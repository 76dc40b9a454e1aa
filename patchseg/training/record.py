"""What a run leaves behind to look at: metrics.jsonl, TensorBoard events and the effective parameters."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchseg.imaging.files import refusal, whole
from patchseg.imaging.write import open_writer

Panel = NDArray[np.uint8]  # (h, w, 3)

METRICS = "metrics.jsonl"
PARAMETERS = "parameters.effective.json"
TAUGHT = "unlabelled.png"


class Record:
    """The growing record of a run; a context manager.

    Args:
        folder: runs/NAME.
        parameters: {key: {value, source}}.
        step: The step from which the run goes on; what was recorded after it is cut away.

    Raises:
        UsageError: The folder cannot be written to.
        PatchsegError: The disk is full; also when a line is written.
    """

    def __init__(self, folder: Path, parameters: dict[str, Any], *, step: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._metrics = folder / METRICS
        text = json.dumps(parameters, indent=1)
        kept = [line for line in read_metrics(folder) if line["step"] <= step]
        for path, content in (
            (folder / PARAMETERS, text), (self._metrics, "".join(json.dumps(line) + "\n" for line in kept)),
        ):  # fmt: skip
            with whole(path) as part:
                part.write_text(content, encoding="utf-8")
        with _told(folder):
            self._events = SummaryWriter(str(folder), purge_step=step + 1 if step else None)
            self._events.add_text("parameters", f"```json\n{text}\n```", step)

    def write(self, line: dict[str, Any], panels: Sequence[Panel], learned: Sequence[Panel] = ()) -> None:
        """Append the numbers of an epoch, the pictures of its validation, and those of what it has learned from besides."""
        with _told(self._metrics):
            with self._metrics.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            self._draw(line, panels, learned)
            if learned:
                self._keep(learned)

    def _keep(self, panels: Sequence[Panel]) -> None:
        """Write the pictures of what was learned from besides, one below the other, for the report."""
        gap = np.full((2, *panels[0].shape[1:]), 255, np.uint8)
        sheet = np.concatenate([part for panel in panels for part in (panel, gap)][:-1])
        with open_writer(self._metrics.parent / TAUGHT, sheet.shape) as writer:
            writer.write(sheet)

    def _draw(self, line: dict[str, Any], panels: Sequence[Panel], learned: Sequence[Panel]) -> None:
        """Show them in TensorBoard."""
        step = line["step"]
        for name, value in line.items():
            if name not in ("epoch", "step") and value is not None:
                self._events.add_scalar(name, value, step)
        for number, panel in enumerate(panels):
            self._events.add_image(
                f"validation/{number} image, truth, prediction", panel, step, dataformats="HWC"
            )
        for number, panel in enumerate(learned):
            self._events.add_image(
                f"unlabelled/{number} patch, teacher's labels, view, its target",
                panel,
                step,
                dataformats="HWC",
            )
        self._events.flush()

    def __enter__(self) -> "Record":
        return self

    def __exit__(self, *_: object) -> None:
        with _told(self._metrics):
            self._events.close()


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn what a disk refuses into a sentence."""
    try:
        yield
    except OSError as error:
        raise refusal(path, error) from error


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Return the epochs of a run, oldest first; a line that a crash cut short is left out."""
    file = folder / METRICS
    lines = []
    for text in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines
