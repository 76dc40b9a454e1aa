"""The notebooks: stripped as they are committed, and run from the first cell to the last."""

import ast
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import patchseg

ROOT = Path(patchseg.__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
KNOWN = set(sys.stdlib_module_names) | {"patchseg", "numpy", "matplotlib", "h5py"}
# What the tests change of the first cell, to be quick: injected below it, as papermill would.
QUICK = {
    "3_evaluation.ipynb": "STEPS, THREADS = 4, 1",
    "4_comparison.ipynb": "STEPS, THREADS, IMAGES = 3, 1, 4",
}

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path: Path) -> nbformat.NotebookNode:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def codes(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def execute(notebook: nbformat.NotebookNode, folder: Path) -> None:
    client = NotebookClient(
        notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute()


def check_outputs(notebook: nbformat.NotebookNode) -> None:
    """Assert that a cell that shows something has a picture, and that nothing complains."""
    for cell in codes(notebook):
        kinds = [kind for output in cell.outputs for kind in output.get("data", {})]
        assert "stderr" not in [output.get("name") for output in cell.outputs], cell.outputs
        shows = any(line.startswith(("plt.show(", "show(")) for line in cell.source.splitlines())
        assert ("image/png" in kinds) == shows, cell.source


def test_there_is_a_notebook_for_images_patches_evaluation_and_comparison():
    assert [path.name for path in NOTEBOOKS] == [
        "1_images.ipynb", "2_patches.ipynb", "3_evaluation.ipynb", "4_comparison.ipynb",
    ]  # fmt: skip


@each_notebook
def test_a_notebook_is_committed_without_outputs(path):
    for cell in codes(read(path)):
        assert cell.outputs == []
        assert cell.execution_count is None


@each_notebook
def test_the_first_code_cell_holds_nothing_but_parameters(path):
    first, *others = codes(read(path))
    assert first.metadata["tags"] == ["parameters"]
    assert all(isinstance(node, ast.Assign) for node in ast.parse(first.source).body)
    assert not [cell for cell in others if "parameters" in cell.metadata.get("tags", [])]


@each_notebook
def test_a_notebook_calls_the_package_only(path):
    tree = ast.parse("\n".join(cell.source for cell in codes(read(path))))
    nodes = list(ast.walk(tree))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)]
    assert "patchseg" in names
    assert {name.split(".")[0] for name in names} <= KNOWN
    assert path.stat().st_size < 20_000


@each_notebook
def test_a_notebook_runs_shows_its_pictures_and_leaves_nothing_behind(path, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # its temporary folder too is to be gone
    notebook = read(path)
    if path.name in QUICK:
        place = notebook.cells.index(codes(notebook)[0]) + 1
        notebook.cells.insert(place, nbformat.v4.new_code_cell(QUICK[path.name]))
    execute(notebook, tmp_path)
    check_outputs(notebook)
    # torch keeps the folder of its compiler there.
    assert [left.name for left in tmp_path.iterdir() if not left.name.startswith("torchinductor")] == []


@pytest.mark.slow
def test_the_tiny_network_of_the_evaluation_learns(tmp_path):
    notebook = read(ROOT / "notebooks/3_evaluation.ipynb")
    execute(notebook, tmp_path)
    check_outputs(notebook)
    said = "".join(output.get("text", "") for cell in codes(notebook) for output in cell.outputs)
    mean_iou = float(said.split("mean IoU ")[-1].split()[0])
    assert mean_iou > 0.7
