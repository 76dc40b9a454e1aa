"""The package for bioimage.io: what is in it, that its parts fit, and (slow) what the site's own tool says."""

import io
import json
import shutil
import subprocess
import zipfile

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from patchseg.export.facts import Told
from patchseg.export.graph import graph_of
from patchseg.export.package import smallest_side, write_package
from patchseg.parameters import ExportParameters


@pytest.fixture
def package(tmp_path, make, graph):
    """Write a package and return its files by name, rdf.yaml read."""

    def package(sample=None, *, sizes=(2, 3), norm="batch", **given):
        path, made = tmp_path / "model.zip", graph(*sizes, result="probabilities", norm=norm)
        told = Told("A model", sample=sample)
        write_package(
            path,
            make(*sizes, norm=norm),
            made,
            told,
            ExportParameters(**given),
            card="# A model\n",
            result="probabilities",
        )
        with zipfile.ZipFile(path) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
        return files | {"rdf.yaml": json.loads(files["rdf.yaml"])}

    return package


def test_the_test_output_is_what_the_weights_make_of_the_test_input(package, noise):
    files = package(noise(300, 90, 2))
    given, expected = (np.load(io.BytesIO(files[f"test_{name}.npy"])) for name in ("input", "output"))
    assert given.dtype == expected.dtype == np.float32
    found = onnxruntime.InferenceSession(files["weights.onnx"]).run(None, {"pixels": given})[0]
    np.testing.assert_array_equal(found, expected)
    # The middle, 90 columns wide: 64 and six steps of 4.
    assert given.shape == (1, 2, 88, 88)
    np.testing.assert_array_equal(given[0], noise(300, 90, 2)[106:194, 1:89].transpose(2, 0, 1))


def test_a_small_image_is_mirrored_and_without_one_there_is_noise(package, noise):
    given = np.load(io.BytesIO(package(noise(40, 90, 2))["test_input.npy"]))
    assert given.shape == (1, 2, 64, 64)
    np.testing.assert_array_equal(given[0, :, 40:], given[0, :, 39:15:-1])
    given = np.load(io.BytesIO(package()["test_input.npy"]))
    assert given.shape == (1, 2, 64, 64)
    assert 100 < given.mean() < 156


def test_the_cover_shows_image_and_mask(package, noise):
    files = package(noise(300, 300, 2))
    assert Image.open(io.BytesIO(files["cover.png"])).size == (512, 256)
    assert len(files["cover.png"]) < 500_000


def test_the_description_fits_the_files(package, noise):
    files = package(noise(100, 100, 2), author="Ada Example, Bo", license="MIT", cite="10.5281/zenodo.1")
    told = files["rdf.yaml"]
    assert (told["type"], told["name"], told["license"]) == ("model", "A model", "MIT")
    assert told["authors"] == [{"name": "Ada Example"}, {"name": "Bo"}]
    assert [entry["doi"] for entry in told["cite"]] == ["10.5281/zenodo.1", "10.1007/978-3-319-24574-4_28"]
    size = {"min": 64, "step": 4}
    assert [axis.get("size") for axis in told["inputs"][0]["axes"]] == [None, None, size, size]
    assert told["inputs"][0]["axes"][1]["channel_names"] == ["channel 0", "channel 1"]
    assert "preprocessing" not in told["inputs"][0]
    assert [axis.get("halo") for axis in told["outputs"][0]["axes"]] == [None, None, 24, 24]
    assert told["outputs"][0]["axes"][1]["channel_names"] == ["class 0", "class 1", "class 2"]
    assert set(files) == {
        "rdf.yaml", "weights.onnx", "test_input.npy", "test_output.npy", "cover.png", "README.md",
    }  # fmt: skip


def test_what_nobody_has_said_is_left_out(package):
    told = package(sizes=(1, 2), norm="group")["rdf.yaml"]
    assert "license" not in told
    assert told["authors"] == []
    assert [axis.get("halo") for axis in told["outputs"][0]["axes"]] == [None] * 4


@pytest.mark.parametrize(("levels", "side"), [(2, 64), (4, 104), (5, 208)])
def test_the_smallest_image_leaves_a_middle_without_its_halo(make, levels, side):
    assert smallest_side(make(levels=levels).network()) == side


def test_equal_models_are_equal_bytes(tmp_path, make, graph):
    for name in ("a.zip", "b.zip"):
        write_package(
            tmp_path / name,
            make(2, 3),
            graph(2, 3),
            Told("A model"),
            ExportParameters(),
            card="",
            result="logits",
        )
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize("result", ["logits", "probabilities"])
def test_the_tool_of_bioimage_io_finds_nothing_wrong(tmp_path, make, noise, norm, result):
    tool = shutil.which("bioimageio")
    if tool is None:
        pytest.skip(
            "bioimageio.core is not on the PATH (its versions clash with ours: an environment of its own)"
        )
    model, settings = make(2, 3, norm=norm), ExportParameters(author="Ada Example", license="MIT")
    told = Told("A model", sample=noise(300, 200, 2))
    write_package(
        tmp_path / "model.zip",
        model,
        graph_of(model, result)[0],
        told,
        settings,
        card="# A\n\n## Validation\n",
        result=result,
    )
    done = subprocess.run(
        [tool, "test", str(tmp_path / "model.zip")], capture_output=True, text=True, check=False
    )
    print(done.stdout, done.stderr)
    assert done.returncode == 0
    assert "passed" in done.stdout
