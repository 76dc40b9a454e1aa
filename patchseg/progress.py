"""How a verb tells what it does while it works: lines to keep and a bar to watch.

Verbs take a `Progress` and call it; only `cli/` knows how it looks. The one here says nothing, which is
what a notebook or a script gets unless it passes its own.
"""


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
