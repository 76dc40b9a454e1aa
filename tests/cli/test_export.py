"""`patchseg export`, and `infer` with what it has written."""

import numpy as np
import pytest
from PIL import Image


@pytest.mark.parametrize("name", ["model.onnx", "model.safetensors"])
def test_masks_of_an_exported_model_are_those_of_its_checkpoint(run, folder, name):
    ended = run("export", "-m", "best.pt", "-o", name)
    assert (ended.code, ended.out) == (0, f"{name}\n")
    assert (folder / f"{name}.md").is_file()
    for model, output in (("best.pt", "expected"), (name, "found")):
        assert run("infer", "images", "-m", model, "-o", output, "--threads", 1).code == 0
    masks = sorted((folder / "expected").glob("*.png"))
    assert len(masks) == 4
    for mask in masks:
        assert np.array_equal(Image.open(mask), Image.open(folder / "found" / mask.name))


def test_another_json_beside_safetensors_is_another_model(run, folder):
    words = ["infer", "images", "-m", "model.safetensors", "-o", "out", "--threads", 1]
    assert run("export", "-m", "best.pt", "-o", "model.safetensors").code == 0
    assert run(*words).code == 0
    assert run("calibrate", "model.safetensors", "--threads", 1).code == 0
    ended = run(*words)
    assert ended.code == 2
    assert "made with another checkpoint" in ended.error


def test_mistakes_are_a_sentence(run, folder):
    ended = run("export")
    assert (ended.code, ended.error.startswith("--checkpoint (-m) missing")) == (2, True)
    ended = run("export", "-m", "best.pt", "-o", "model.pb")
    assert (ended.code, ended.error.startswith("model.pb: ends with .pb; expected")) == (2, True)
    (folder / "model.onnx").write_text("text")
    ended = run("infer", "images", "-m", "model.onnx", "-o", "out")
    assert (ended.code, ended.error.startswith("model.onnx: is damaged or no ONNX file (")) == (3, True)
    assert len(ended.error.splitlines()) == 1


def test_a_graph_is_not_calibrated(run, folder):
    assert run("export", "-m", "best.pt", "-o", "model.onnx").code == 0
    ended = run("calibrate", "model.onnx", "--threads", 1)
    assert (ended.code, ended.error) == (
        2, "model.onnx: an ONNX file is not changed; calibrate its checkpoint, and export that again",
    )  # fmt: skip
