import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def planting():
    """Return the module that plants errors, which the benchmark uses too."""
    spec = importlib.util.spec_from_file_location("planting", Path(__file__).with_name("planting.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
