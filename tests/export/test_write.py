"""The verb: formats by suffix, what is refused, and what lies there afterwards."""

import json
import sys

import pytest

import patchseg
from patchseg.errors import DataError, UsageError
from patchseg.models.checkpoint import load
from patchseg.parameters import ExportParameters, PrepareParameters, SynthParameters
from patchseg.patches.store import PatchFile


@pytest.fixture
def best(tmp_path, make):
    """Return a checkpoint in its folder, as `train` leaves it."""
    path = tmp_path / "checkpoints/cells/best.pt"
    make(1, 2).save(path)
    return path


def test_the_suffix_tells_the_format(best, tmp_path, hear):
    for name in ("a.onnx", "a.safetensors", "a.zip"):
        assert patchseg.export(best, tmp_path / name, progress=hear) == tmp_path / name
    assert {path.name for path in tmp_path.iterdir()} == {
        "a.onnx", "a.onnx.md", "a.safetensors", "a.safetensors.md", "a.json", "a.zip", "a.zip.md", "checkpoints",
    }  # fmt: skip
    assert load(tmp_path / "a.onnx").result == "logits"
    assert json.loads((tmp_path / "a.json").read_text())["patchseg_format"] == 1
    assert (tmp_path / "a.zip.md").read_text().startswith("# patchseg cells\n")
    told = [line for line in hear.lines if "differs from torch by" in line]
    assert len(told) == 2
    assert float(told[0].partition("torch by ")[2].split()[0]) < 1e-5
    assert any("bioimage.io takes no package without --author and --license" in line for line in hear.lines)
    assert any("test image and cover are noise; give --patches" in line for line in hear.lines)


def test_without_an_output_it_lies_beside_the_checkpoint(best):
    assert patchseg.export(best) == best.with_suffix(".onnx")
    settings = ExportParameters(format="safetensors")
    assert patchseg.export(best, parameters=settings) == best.with_suffix(".safetensors")


@pytest.mark.parametrize(
    ("output", "form", "told"),
    [
        (
            "a.pb",
            None,
            r"a\.pb: ends with \.pb; expected \.onnx, \.safetensors, \.zip, which tells the format",
        ),
        ("a", None, r"a: ends with no suffix; expected \.onnx, \.safetensors, \.zip"),
        ("a.zip", "onnx", r"a\.zip: ends with \.zip; expected \.onnx, which tells the format"),
    ],
)
def test_a_name_that_tells_another_format_is_refused(best, output, form, told):
    with pytest.raises(UsageError, match=f"^{told}"):
        patchseg.export(best, output, parameters=ExportParameters(format=form))


@pytest.mark.parametrize("there", ["a.safetensors", "a.json", "a.safetensors.md"])
def test_nothing_is_replaced_unless_asked(best, tmp_path, there):
    (tmp_path / there).write_text("mine")
    with pytest.raises(
        UsageError, match=rf"{there}: exists already; choose another output or give --overwrite"
    ):
        patchseg.export(best, tmp_path / "a.safetensors")
    assert (tmp_path / there).read_text() == "mine"
    patchseg.export(best, tmp_path / "a.safetensors", overwrite=True)
    assert load(tmp_path / "a.safetensors").weights


def test_what_cannot_be_written_leaves_nothing(best, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UsageError, match=r"pip install 'patchseg\[onnx\]'"):
        patchseg.export(best, tmp_path / "a.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoints"]


def test_what_was_exported_is_no_checkpoint_to_export(best, tmp_path):
    patchseg.export(best, tmp_path / "a.onnx")
    with pytest.raises(UsageError, match=r"a\.onnx: is an exported model; give the checkpoint"):
        patchseg.export(tmp_path / "a.onnx", tmp_path / "b.onnx")
    patchseg.export(best, tmp_path / "a.safetensors")
    assert patchseg.export(tmp_path / "a.safetensors", tmp_path / "b.onnx").exists()


def test_patches_tell_the_images_and_show_one(tmp_path, make, hear):
    patchseg.synth(tmp_path / "data", parameters=SynthParameters(train=4, test=0, height=80, width=72))
    patches = patchseg.prepare(
        tmp_path / "data/train/images", tmp_path / "data/train/masks",
        parameters=PrepareParameters(output=str(tmp_path / "patches.h5"), patch=16, per_image=2),
    )  # fmt: skip
    model = make(1, 3)
    model.save(tmp_path / "other.pt")
    settings = ExportParameters(patches=str(patches), author="A", license="MIT")
    with pytest.raises(DataError, match=r"patches\.h5: is not what .+other\.pt has learned from"):
        patchseg.export(tmp_path / "other.pt", tmp_path / "a.zip", parameters=settings)
    with PatchFile(patches) as file:
        model.channels, model.classes = file.head.channels, file.head.classes
    model.save(tmp_path / "best.pt")
    patchseg.export(tmp_path / "best.pt", tmp_path / "a.zip", parameters=settings, progress=hear)
    assert "4 images (3 train, 1 val), 24 patches to learn from." in (tmp_path / "a.zip.md").read_text()
    assert len(hear.lines) == 1


def test_weights_give_no_result(best, tmp_path):
    with pytest.raises(
        UsageError, match=r"^--result logits: .*m\.safetensors holds weights, which give no result"
    ):
        patchseg.export(best, tmp_path / "m.safetensors", parameters=ExportParameters(result="logits"))
