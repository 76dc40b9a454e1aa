import doctest
import importlib
from pathlib import Path

import pytest

import patchseg

ROOT = Path(patchseg.__file__).parents[1]
MODULES = sorted(
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for file in (ROOT / "patchseg").rglob("*.py")
    if file.stem != "__main__"  # importing it runs the command line
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_the_docstrings_are_true(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0, f"{name}: see the captured output"


def test_the_modules_are_found_with_their_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    examples = [
        test for test in finder.find(importlib.import_module("patchseg.imaging.box")) if test.examples
    ]
    assert "patchseg.imaging.box" in MODULES
    assert len(examples) == 3
