"""safetensors and the JSON beside it: the same checkpoint, bit for bit, or a sentence."""

import json
import sys

import pytest
import safetensors.torch
import torch

from patchseg.errors import DataError, UsageError
from patchseg.models.checkpoint import digest, load


@pytest.fixture
def file(tmp_path, make):
    """Return what has been written of a checkpoint of two channels and three classes."""
    path = tmp_path / "model.safetensors"
    make(2, 3, scores={"mean_iou": 0.5, "loss/val": float("nan")}).save(path)
    return path


def test_the_same_checkpoint_comes_back_bit_for_bit(make, file, noise, predicted):
    expected, found = make(2, 3), load(file)
    assert found.facts() == expected.facts() | {"scores": {"mean_iou": 0.5, "loss/val": None}}
    assert set(found.weights) == set(expected.weights)
    for name, weight in expected.weights.items():
        assert torch.equal(found.weights[name], weight)
        assert found.weights[name].dtype == weight.dtype
    pixels = noise(61, 45, 2)
    assert torch.equal(predicted(file, pixels), predicted(expected, pixels))


def test_other_programs_read_both_files(make, file):
    facts = json.loads(file.with_suffix(".json").read_text())
    assert [item["name"] for item in facts["classes"]] == ["class 0", "class 1", "class 2"]
    assert facts["model"]["levels"] == 3
    weights = safetensors.torch.load_file(file)
    assert torch.equal(weights["mean"], make(2, 3).weights["mean"])


def test_weights_that_lie_in_memory_in_another_way_are_written(tmp_path, make):
    model = make(2, 3)
    expected = model.weights["up.0.0.weight"].clone()
    model.weights["up.0.0.weight"] = expected.to(memory_format=torch.channels_last)
    model.save(tmp_path / "a.safetensors")
    assert torch.equal(load(tmp_path / "a.safetensors").weights["up.0.0.weight"], expected)


def flip(file):
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)


def change(**values):
    def spoil(file):
        beside = file.with_suffix(".json")
        beside.write_text(json.dumps(json.loads(beside.read_text()) | values))

    return spoil


def cut(file):
    beside = file.with_suffix(".json")
    beside.write_text(beside.read_text()[:-10])


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (
            flip,
            r"model\.safetensors: is damaged, or of another model than model\.json beside it; export both again",
        ),
        (
            cut,
            r"model\.json: is damaged or of something else \(.+\); expected what `patchseg export -o NAME\.safeten.+",
        ),
        (
            lambda file: file.with_suffix(".json").write_text("[]"),
            r"model\.json: is damaged or of something else .+",
        ),
        (
            change(patchseg_format=2),
            r"model\.safetensors: has format 2, this patchseg reads up to 1; install a newer .+",
        ),
        (change(patchseg_format="a"), r"model\.json: is of something else \(patchseg_format a\); .+"),
        (change(dtype="uint9"), r"model\.safetensors: describes no network .+"),
        (
            change(channels=[]),
            r"model\.safetensors: its parts do not fit its network \(channels\); train it again",
        ),
    ],
)
def test_damage_is_one_sentence(file, spoil, told):
    spoil(file)
    with pytest.raises(DataError, match=rf"{told}$") as error:
        load(file)
    assert "\n" not in str(error.value)


def test_weights_of_another_network_are_refused(file):
    beside = file.with_suffix(".json")
    facts = json.loads(beside.read_text())
    facts["model"]["width"] = 6
    beside.write_text(json.dumps(facts))
    with pytest.raises(
        DataError, match=r"model\.safetensors: its parts do not fit its network \(down\.0\.0\.weight\)"
    ):
        load(file)


def test_without_the_json_it_is_not_known_what_the_weights_are(file):
    file.with_suffix(".json").unlink()
    with pytest.raises(UsageError, match=r"model\.safetensors: has no model\.json beside it"):
        load(file)


def test_without_the_package_it_is_said_how_to_install_it(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(
        UsageError, match=r"model\.safetensors: the package .+; `pip install 'patchseg\[safetensors\]'`"
    ):
        load(file)


def test_another_calibration_is_another_model(file):
    before, model = digest(file), load(file)
    model.calibration = {"temperature": 2.0, "thresholds": None}
    model.save(file)
    assert load(file).calibration == model.calibration
    assert digest(file) != before
