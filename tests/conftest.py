import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

import patchseg

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
