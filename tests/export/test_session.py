"""What an exported file predicts, against its checkpoint; and files that are damaged or of something else."""

import json
import sys

import numpy as np
import onnx
import pytest
import torch

import patchseg
from patchseg.errors import DataError, UsageError
from patchseg.imaging import ArraySource
from patchseg.inference.engine import Engine
from patchseg.inference.predictor import most_probable
from patchseg.models.checkpoint import load
from patchseg.models.session import Exported
from patchseg.parameters import InferParameters
from patchseg.patches.pairs import RECORD
from patchseg.training.weights import start_from

CASES = [
    ((1, 3), "uint8", (33, 47)),
    ((3, 2), "uint8", (101, 64)),
    ((1, 2), "uint16", (70, 95)),
    ((3, 3), "uint16", (5, 7)),
]
WAYS = [{}, {"blend": "exact", "tile": 64}, {"symmetries": "all"}, {"blend": "flat"}]


@pytest.fixture
def file(tmp_path, graph):
    """Write an ONNX file and return its path."""

    def write(*sizes, **given):
        path = tmp_path / "model.onnx"
        path.write_bytes(graph(*sizes, **given))
        return path

    return write


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES)
def test_masks_are_those_of_the_checkpoint(make, file, noise, predicted, case, way):  # noqa: PLR0917 - fixtures
    sizes, dtype, shape = case
    pixels = noise(*shape, sizes[0], dtype)
    expected = predicted(make(*sizes, dtype=dtype), pixels, **way)
    found = predicted(file(*sizes, dtype=dtype), pixels, **way)
    assert len(most_probable(expected).unique()) > 1
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert torch.equal(most_probable(found), most_probable(expected))


def test_so_they_are_of_a_graph_that_gives_probabilities(make, file, noise, predicted):
    pixels = noise(61, 45, 2)
    expected = predicted(make(2, 3), pixels)
    found = predicted(file(2, 3, result="probabilities"), pixels)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert torch.equal(most_probable(found), most_probable(expected))


def test_a_network_without_a_halo_has_none_afterwards(file, noise, predicted):
    with pytest.raises(UsageError, match=r"^--blend exact: the network looks at a tile as a whole"):
        predicted(file(1, 2, norm="group"), noise(20, 20), blend="exact")


def test_all_but_the_weights_is_as_in_the_checkpoint(make, file):
    expected, found = make(2, 3), load(file(2, 3))
    assert isinstance(found, Exported)
    assert found.facts() == expected.facts()
    assert (found.weights, found.training) == ({}, None)


def test_it_goes_together_with_its_checkpoint(make, file, noise):
    model = make(2, 3)
    together = Engine.of([file(2, 3), model], InferParameters(threads=1), torch.device("cpu"))
    assert len(together.predictor.networks) == 2


def test_what_is_calibrated_is_the_checkpoint(file):
    path = file(2, 3)
    with pytest.raises(
        UsageError, match=r"model\.onnx: an ONNX file is not changed; do it to the checkpoint"
    ):
        load(path).save(path)


def flipped(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def other(content):
    model = onnx.load_from_string(content)
    del model.metadata_props[:]
    return model.SerializeToString()


def changed(key, value):
    def change(content):
        model = onnx.load_from_string(content)
        kept = [
            entry for entry in model.metadata_props if entry.key not in (f"patchseg.{key}", "patchseg.sha256")
        ]
        entries = [(entry.key, entry.value) for entry in kept] + (
            [] if value is None else [(f"patchseg.{key}", value)]
        )
        del model.metadata_props[:]
        for name, text in entries:
            model.metadata_props.add(key=name, value=text)
        return model.SerializeToString()

    return change


CURE = r"expected what `patchseg export -o NAME\.onnx` writes"


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (flipped, r": has changed since it was written; export it again"),
        (lambda content: content[:-100], rf": is damaged or no ONNX file \(.+\); {CURE}"),
        (lambda _: b"a table\n" * 100, rf": is damaged or no ONNX file \(.+\); {CURE}"),
        (lambda _: b"", rf": is damaged or no ONNX file \(.+\); {CURE}"),
        (other, rf": is an ONNX file, but of something else; {CURE}"),
        (changed("factor", None), rf": is incomplete \('factor'\); {CURE}"),
        (changed("classes", "[{"), rf": is incomplete \(.+\); {CURE}"),
        (
            changed("patchseg_format", "2"),
            r": has format 2, this patchseg reads up to 1; install a newer patchseg",
        ),
        (changed("patchseg_format", "[]"), rf": is incomplete \(.+\); {CURE}"),
        (
            changed("dtype", '"uint9"'),
            r": describes no network \(.+\); expected a checkpoint of patchseg, .+",
        ),
    ],
)
def test_a_damaged_file_or_one_of_something_else_is_one_sentence(file, spoil, told):
    path = file(2, 3)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(DataError, match=rf"model\.onnx{told}$") as error:
        load(path)
    assert "\n" not in str(error.value)


def test_what_another_program_has_written_anew_is_read(make, file, noise, predicted):
    path, pixels = file(2, 3), noise(33, 20, 2)
    model = onnx.load(path)
    model.producer_name = "another"
    model.metadata_props.add(key="another", value="{")
    onnx.save(model, path)
    torch.testing.assert_close(predicted(path, pixels), predicted(make(2, 3), pixels), rtol=0, atol=1e-5)


def test_without_onnxruntime_it_is_said_how_to_install_it(file, monkeypatch):
    path = file(2, 3)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(
        UsageError, match=r"model\.onnx: the package that runs it is not installed; `pip install"
    ):
        load(path)


def test_a_run_cannot_start_from_it(tmp_path, file):
    with pytest.raises(
        DataError, match=r"model\.onnx: can predict, but not go on learning; give the checkpoint"
    ):
        start_from(None, file(2, 3))


def test_16_bit_integers_go_in_as_they_are(file):
    network = load(file(1, 2, dtype="uint16")).network()
    whole = torch.from_numpy(np.full((1, 1, 8, 8), 40001, np.uint16))
    assert torch.equal(network(whole), network(whole.float()))


def test_graphs_run_on_the_cpu_and_in_fp32_whatever_is_asked_for(make, file, noise, hear):
    path, pixels = file(2, 3), noise(33, 20, 2)
    settings = InferParameters(threads=1, tile=48, precision="bf16")
    engine = Engine.of(
        [path], settings, torch.device("meta"), tell=hear.say
    )  # a device that computes nothing
    assert engine.predictor.device == torch.device("cpu")
    assert engine.arithmetic == [(torch.device("cpu"), "fp32")]
    assert hear.lines == ["networks of ONNX files run on the CPU and in fp32"]
    found = torch.cat(list(engine.rows(ArraySource(pixels))), dim=1)
    plain = Engine.of([path], InferParameters(threads=1, tile=48), torch.device("cpu"), tell=hear.say)
    assert torch.equal(found, torch.cat(list(plain.rows(ArraySource(pixels))), dim=1))
    assert len(hear.lines) == 1


@pytest.mark.parametrize(
    ("names", "precision"),
    [(["model.onnx"], "fp32"), (["best.pt"], "bf16"), (["best.pt", "model.onnx"], "bf16 and fp32")],
)
def test_the_record_says_in_which_precision_each_network_has_computed(  # noqa: PLR0917 - fixtures
    make, file, noise, tmp_path, names, precision
):
    file(2, 3), make(2, 3).save(tmp_path / "best.pt")
    np.save(tmp_path / "a.npy", noise(33, 20, 2))
    settings = InferParameters(output=str(tmp_path / "masks"), device="cpu", threads=1, precision="bf16")
    folder = patchseg.infer(
        [tmp_path / "a.npy"], checkpoint=[tmp_path / name for name in names], parameters=settings
    )
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    assert record["compute.precision"]["value"] == precision
    assert record["compute.device"]["value"] == "CPU, 1 thread"
    assert record["infer.precision"] == {"value": "bf16", "source": "call"}
