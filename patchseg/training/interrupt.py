"""Ctrl-C once: finish the step, save, stop. Twice: stop."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Self


class Interrupt:
    """Inside the block, the first SIGINT or SIGTERM only sets `asked`; the second raises `KeyboardInterrupt`."""

    def __init__(self) -> None:
        self.asked = False
        # Signals belong to the main thread; in any other there is nothing to catch.
        main = threading.current_thread() is threading.main_thread()
        self._signals = (signal.SIGINT, signal.SIGTERM) if main else ()

    def __enter__(self) -> Self:
        self._before = [signal.signal(number, self._note) for number in self._signals]
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        for number, handler in zip(self._signals, self._before, strict=True):
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
