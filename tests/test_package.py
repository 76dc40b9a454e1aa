import ast
import importlib
import types
from pathlib import Path

import pytest

import patchseg

HEAVY = {"torch", "numpy", "h5py", "pydantic", "skimage", "scipy", "tifffile", "PIL"}


def test_importing_patchseg_imports_nothing_heavy(run_python):
    done = run_python("import sys, patchseg; print(*sys.modules)")
    loaded = set(done.stdout.split())
    assert "patchseg" in loaded
    assert not HEAVY & loaded


@pytest.mark.parametrize("name", [name for name in patchseg.__all__ if name != "__version__"])
def test_every_public_name_is_there_documented_and_no_module(name):
    thing = getattr(patchseg, name)
    assert not isinstance(thing, types.ModuleType)
    assert callable(thing)
    assert thing.__doc__


def test_a_verb_stays_the_function_once_the_module_of_its_name_is_imported(run_python):
    code = (
        "import importlib, patchseg\n"
        "module = importlib.import_module('patchseg.synth')\n"
        "assert patchseg.synth is module.synth\n"
        "import patchseg.synth\n"
        "from patchseg import synth\n"
        "assert synth is module.synth\n"
        "assert patchseg.synth is module.synth\n"
    )
    done = run_python(code)
    assert done.returncode == 0, done.stderr


def test_an_unknown_name_is_an_attribute_error_that_names_it():
    with pytest.raises(AttributeError, match="module 'patchseg' has no attribute 'zebra'"):
        _ = patchseg.zebra


def test_dir_lists_the_public_names():
    assert dir(patchseg) == sorted(patchseg.__all__)


def test_type_checkers_see_the_homes_that_names_are_loaded_from():
    tree = ast.parse(Path(patchseg.__file__).read_text(encoding="utf-8"))
    declared = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("patchseg.")
        for alias in node.names
    }
    assert declared == patchseg._HOME
    assert set(declared) == set(patchseg.__all__) - {"__version__"}


def test_the_package_tells_type_checkers_that_it_is_typed():
    assert (Path(patchseg.__file__).parent / "py.typed").is_file()


def test_the_version_is_three_numbers():
    assert [part.isdigit() for part in importlib.import_module("patchseg").__version__.split(".")] == [
        True
    ] * 3
