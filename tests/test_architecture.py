"""The layering and the habits of docs/architecture.md, held by walking the sources."""

import ast
import functools
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

import patchseg
from patchseg import parameters

PACKAGE = Path(patchseg.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

BASE = {"errors", "progress", "section", "parameters", "loading", "values", "device", "page"}
LAYERS = [
    BASE,
    {"imaging"},
    {"labels"},
    {"patches"},
    {"models"},
    {"inference"},
    {"evaluation"},
    {"export"},
    {"training"},
    {"studies"},
    {"synth", "demo", "view"},
    {"cli", "__main__"},
]
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
WITHOUT_TORCH = {
    "imaging",
    "labels",
    "patches",
    "page",
    "parameters",
    "loading",
    "section",
    "values",
    "errors",
    "progress",
    "view",
}


def component(file: Path) -> str:
    """Return the layer's name of a file: its first folder, or its own stem."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


@functools.cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def imported(file: Path) -> Iterator[str]:
    """Yield the dotted names that a file imports anywhere, functions included; relative imports are refused."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def components_imported(file: Path) -> set[str]:
    """Return the layers that a file imports from; `from patchseg import __version__` is of none."""
    parts = [name.split(".") for name in imported(file)]
    return {part[1] for part in parts if part[0] == "patchseg" and len(part) > 1 and part[1] in RANK}


def test_every_file_has_a_place_in_the_layers():
    assert {component(file) for file in FILES} - {"__init__"} <= set(RANK)


def test_imports_point_to_the_left():
    upward = [
        f"{component(file)} imports {other}"
        for file in FILES
        for other in components_imported(file) - {component(file)}
        # The front door names every room; the ground floor's rooms and the demo look at their neighbours.
        if component(file) != "__init__"
        and RANK[other] >= RANK[component(file)]
        and not (RANK[other] == RANK[component(file)] and component(file) in BASE | {"demo", "__main__"})
    ]
    assert not upward


def test_torch_is_imported_from_the_models_on_only():
    early = [file for file in FILES if component(file) in WITHOUT_TORCH]
    assert len(early) > 20
    for file in early:
        assert "torch" not in {name.split(".")[0] for name in imported(file)}, file
        assert "device" not in components_imported(file), f"{file}: device imports torch"


def test_reading_images_labels_and_patches_loads_no_torch(run_python):
    names = [
        ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        for file in FILES
        if component(file) in WITHOUT_TORCH
    ]
    code = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]; print('torch' in sys.modules)"
    done = run_python(code, *names)
    assert done.stdout.split() == ["False"], done.stderr


def test_only_device_names_cuda_and_distributed():
    naming = set()
    for file in FILES:
        dotted = set(imported(file)) | {
            f"torch.{node.attr}"
            for node in ast.walk(tree(file))
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "torch"
        }
        if any(name.startswith(("torch.cuda", "torch.distributed")) for name in dotted):
            naming.add(component(file))
    assert naming == {"device"}


def test_only_the_command_line_prints():
    printing = [
        f"{file}:{node.lineno}"
        for file in FILES
        if component(file) != "cli"
        for node in ast.walk(tree(file))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not printing


def test_no_module_has_a_name_that_says_nothing():
    empty_words = {"utils", "util", "common", "helpers", "base", "misc"}
    assert (
        not {part for file in FILES for part in file.relative_to(PACKAGE).with_suffix("").parts} & empty_words
    )


def test_files_stay_under_300_lines():
    assert not [file for file in FILES if len(file.read_text(encoding="utf-8").splitlines()) >= 300]


def test_functions_stay_under_60_lines_and_8_parameters():
    swollen = []
    for file in FILES:
        for node in ast.walk(tree(file)):
            if not isinstance(node, ast.FunctionDef):
                continue
            body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
            names = [a.arg for a in node.args.posonlyargs + node.args.args + node.args.kwonlyargs]
            own = [name for name in names if name not in ("self", "cls")]
            # What a network is made of is its description in checkpoints, name by name.
            described = component(file) == "models" and node.name == "__init__" and not node.args.args[1:]
            if node.end_lineno - body[0].lineno >= 60 or (len(own) > 8 and not described):
                swollen.append(f"{file}: {node.name}")
    assert not swollen


def test_every_module_opens_with_what_it_is_for():
    assert not [file for file in FILES if not ast.get_docstring(tree(file))]


@pytest.mark.parametrize(
    ("module", "registry", "choices"),
    [
        ("patchseg.models", "MODELS", parameters.Model),
        ("patchseg.models.unet", "NORMS", parameters.Norm),
        ("patchseg.models.unet", "UPSAMPLINGS", parameters.Upsampling),
        ("patchseg.inference.windows", "WINDOWS", parameters.Window),
        ("patchseg.export.write", "FORMATS", parameters.ExportFormat),
        ("patchseg.inference.predictor", "SYMMETRIES", parameters.Symmetries),
        ("patchseg.training.losses", "LOSSES", parameters.Loss),
        ("patchseg.training.objectives.build", "SWITCHES", parameters.Objective),
        ("patchseg.training.optimizers", "OPTIMIZERS", parameters.Optimizer),
        ("patchseg.training.schedule", "SCHEDULES", parameters.Schedule),
    ],
)
def test_the_choices_of_a_parameter_are_the_keys_of_its_registry(module, registry, choices):
    assert set(get_args(choices)) == set(getattr(importlib.import_module(module), registry))
