import os
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import settings

import patchseg
from patchseg.page.shell import VOID

# The first example of a property often pays for an import, and machines differ: time is no property.
settings.register_profile("patchseg", deadline=None, max_examples=40)
settings.load_profile("patchseg")

RunPython = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def run_python() -> RunPython:
    """Run code in a fresh interpreter that finds this patchseg: `run_python(code, *arguments)`."""
    root = str(Path(patchseg.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}

    def run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    return run


class Tree(HTMLParser):
    """Checks that elements close in the order in which they open; gathers tags and text."""

    def __init__(self, part: object) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(str(part))
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def all(self, tag, kind=None):
        """Return the attributes of all elements of a tag, and of a class."""
        return [
            a for t, a in self.seen if t == tag and (kind is None or kind in (a.get("class") or "").split())
        ]


@pytest.fixture(scope="session")
def tree() -> type[Tree]:
    """Parse a part of a page: `tree(part).words`."""
    return Tree
