"""Progress as a terminal shows it: lines and a bar on stderr; no bar where stderr is no terminal."""

import sys
from typing import Any

from tqdm import tqdm

from patchseg.progress import Progress


class Terminal(Progress):
    """Writes to stderr."""

    def __init__(self) -> None:
        self._bar: Any = None

    def say(self, line: str) -> None:
        """Write a line above the bar."""
        tqdm.write(line, file=sys.stderr)
        sys.stderr.flush()

    def start(self, label: str, total: int) -> None:
        """Begin a bar; a total of 0 is unknown."""
        self.stop()
        self._bar = tqdm(
            desc=label, total=total or None, leave=False, disable=None, dynamic_ncols=True, file=sys.stderr
        )

    def step(self, count: int = 1, note: str = "") -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.update(count)
            if note:
                self._bar.set_postfix_str(note, refresh=False)

    def stop(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
