"""How a verb tells what it does while it works: lines to keep and a bar to watch.

Verbs take a `Progress` and call it; only `cli/` knows how it looks. The one here says nothing, which is
what a notebook or a script gets unless it passes its own.
"""


def counted(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "image"), counted(1200, "image"), counted(2, "patch"), counted(3, "epoch")
    ('1 image', '1200 images', '2 patches', '3 epochs')
    """
    return f"{number} {noun}{'es' if noun.endswith(('s', 'tch')) else 's'}" if number != 1 else f"1 {noun}"


def megabytes(size: float) -> str:
    """Return a size in bytes in words.

    >>> megabytes(2.4e6), megabytes(31), megabytes(5.25e9)
    ('2 MB', 'less than 1 MB', '5.2 GB')
    """
    if size >= 1e9:
        return f"{size / 1e9:.1f} GB"
    return f"{size / 1e6:.0f} MB" if size >= 1e6 else "less than 1 MB"


def duration(seconds: float) -> str:
    """Return a time in words, as long as it is.

    >>> [duration(seconds) for seconds in (8, 300, 5400, 40000)]
    ['8 s', '5 min', '1 h 30 min', '11 h']
    """
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes < 600 else f"{round(minutes / 60)} h"


class Progress:
    """Says nothing; the parent of those that do."""

    def say(self, line: str) -> None:
        """Tell one line that stays."""

    def start(self, label: str, total: int) -> None:
        """Begin a bar of `total` steps; a bar that is still open ends."""

    def step(self, count: int = 1, note: str = "") -> None:
        """Move the bar by `count` steps and show `note` beside it."""

    def stop(self) -> None:
        """End the bar."""
