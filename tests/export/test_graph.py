"""ONNX files against torch: sizes, what they give, what they say of themselves, and what is refused."""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from patchseg import __version__
from patchseg.errors import PatchsegError, UsageError
from patchseg.export.graph import OPSET, difference, graph_of
from patchseg.models import MODELS, Network


class Tried(Network):
    """A network of a function of features."""

    factor = 2

    def __init__(self, function, channels=1):
        super().__init__(channels)
        self.function = function

    def decide(self, features):
        return self.function(features)


def run(graph, pixels):
    session = onnxruntime.InferenceSession(graph)
    return session.run(None, {"pixels": pixels})[0]


@pytest.mark.parametrize("shape", [(1, 64, 64), (3, 33, 47), (1, 5, 3), (2, 1, 1)])
def test_a_graph_takes_any_size_and_gives_what_torch_does(make, graph, shape):
    pixels = np.random.default_rng(0).uniform(0, 255, (shape[0], 2, *shape[1:])).astype(np.float32)
    with torch.no_grad():
        expected = make(2, 3).network()(torch.from_numpy(pixels)).numpy()
    np.testing.assert_allclose(run(graph(2, 3), pixels), expected, atol=1e-5 * np.abs(expected).max())


def test_on_request_it_gives_probabilities(make, graph):
    pixels = np.random.default_rng(0).uniform(0, 255, (1, 2, 33, 47)).astype(np.float32)
    found = run(graph(2, 3, result="probabilities"), pixels)
    with torch.no_grad():
        expected = make(2, 3).network()(torch.from_numpy(pixels)).softmax(1).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


def test_a_network_that_sees_all_of_a_tile_is_exported_too(make, graph):
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 1, 21, 40)).astype(np.float32)
    with torch.no_grad():
        expected = make(1, 2, norm="group").network()(torch.from_numpy(pixels)).numpy()
    found = run(graph(1, 2, norm="group"), pixels)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_its_metadata_say_all_that_the_checkpoint_knows(make, graph):
    model = onnx.load_from_string(graph(2, 3))
    onnx.checker.check_model(model)
    known = {entry.key.removeprefix("patchseg."): entry.value for entry in model.metadata_props}
    digest = known.pop("sha256")
    told = {key: json.loads(value) for key, value in known.items()}
    assert len(digest) == 64
    assert [item["name"] for item in told["classes"]] == ["class 0", "class 1", "class 2"]
    assert [item["value"] for item in told["classes"]] == [0, 1, 2]
    assert told["palette"] == [[0, 0, 0], [230, 159, 0], [86, 180, 233]]
    assert told["normalization"] == {"mean": [128, 128], "std": [64, 64]}
    assert [item["name"] for item in told["channels"]] == ["channel 0", "channel 1"]
    assert (told["dtype"], told["patch"], told["tile"], told["scale"]) == ("uint8", 16, 256, 1)
    assert (told["factor"], told["halo"], told["result"], told["calibration"]) == (4, 24, "logits", None)
    assert (told["version"], told["patchseg_format"]) == (__version__, 1)
    assert [entry.version for entry in model.opset_import if entry.domain == ""] == [OPSET]
    shape = [size.dim_param or size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim]
    assert shape == ["N", 2, "H", "W"]


def test_no_path_of_this_machine_is_in_it(graph):
    for path in (Path(torch.__file__).parents[1], Path(__file__).parents[2]):
        assert str(path).encode() not in graph(2, 3)


def test_the_difference_is_the_largest_over_all_sizes_by_the_largest_number():
    like = Tried(nn.Identity())

    def only_where(side, value):
        return Tried(lambda x: torch.full_like(x, 2.0) + (value if x.shape[-2] == side else 0))

    plain = only_where(0, 0.0)
    assert difference(plain, plain, like) == 0
    for side in (64, 66, 134):  # rows, padded to a multiple of 2
        assert difference(plain, only_where(side, 0.01), like) == pytest.approx(0.005, rel=1e-4)
        assert not difference(plain, only_where(side, torch.nan), like) <= 1


def test_a_network_that_becomes_another_when_it_is_exported_is_refused(make, monkeypatch):
    def otherwise(channels, classes):
        return Tried(lambda x: x.repeat(1, 2, 1, 1) * (1.1 if torch.compiler.is_compiling() else 1.0))

    monkeypatch.setitem(MODELS, "other", otherwise)
    model = make(1, 2)
    model.model = {"name": "other", "channels": 1, "classes": 2}
    model.weights = otherwise(1, 2).state_dict()
    with pytest.raises(
        PatchsegError, match=r"^the network other gives something else as ONNX, by 0\.1 of its"
    ) as told:
        graph_of(model, "logits")
    assert told.value.exit_code == 1


@pytest.mark.parametrize(
    ("asks", "told"),
    [
        (lambda x: x.shape[-1] == 44, r"gives something else as ONNX, by .+ of its largest number"),
        (
            lambda x: bool(x.sum() > 0),
            r"cannot be written as ONNX for images of any size \(.+\); export it as safetensors",
        ),
    ],
)
def test_a_network_that_does_otherwise_by_size_or_by_values_is_refused(make, monkeypatch, asks, told):
    def twofold(channels, classes):
        return Tried(lambda x: x.repeat(1, 2, 1, 1) * (2 if asks(x) else 1))

    monkeypatch.setitem(MODELS, "twofold", twofold)
    model = make(1, 2)
    model.model = {"name": "twofold", "channels": 1, "classes": 2}
    model.weights = twofold(1, 2).state_dict()
    with pytest.raises(PatchsegError, match=rf"^the network twofold {told}") as error:
        graph_of(model, "logits")
    assert "\n" not in str(error.value)


def test_a_network_whose_graph_fails_at_other_sizes_is_refused(make, monkeypatch):
    pool = nn.AdaptiveMaxPool2d(6)  # which torch's exporter writes for one size

    def pooled(channels, classes):
        return Tried(lambda x: (x + pool(x).sum(dim=(2, 3), keepdim=True)).repeat(1, 2, 1, 1))

    monkeypatch.setitem(MODELS, "pooled", pooled)
    model = make(1, 2)
    model.model = {"name": "pooled", "channels": 1, "classes": 2}
    model.weights = pooled(1, 2).state_dict()
    with pytest.raises(PatchsegError, match=r"^the network pooled .+; export it as safetensors$") as error:
        graph_of(model, "logits")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "pool",
    [
        nn.AdaptiveAvgPool2d(6),
        nn.AdaptiveAvgPool2d(1),
        lambda x: F.adaptive_avg_pool2d(x, (1, 7)),
        lambda x: F.interpolate(x, size=(3, 2), mode="area"),
    ],
)
def test_averages_over_a_number_of_bins_hold_at_every_size(make, monkeypatch, pool):
    def pooled(channels, classes):
        def function(x):
            bins = pool(x)
            weights = torch.arange(1.0, 1 + bins.shape[-2] * bins.shape[-1]).view(bins.shape[-2:])
            return torch.cat([x, x + (bins * weights).sum(dim=(2, 3), keepdim=True)], dim=1)

        return Tried(function)

    monkeypatch.setitem(MODELS, "pooled", pooled)
    model = make(1, 2)
    model.model = {"name": "pooled", "channels": 1, "classes": 2}
    model.weights = pooled(1, 2).state_dict()
    graph, _ = graph_of(model, "logits")
    network = model.network()
    for sides in ((1, 1), (2, 40), (7, 13), (130, 66)):
        pixels = torch.rand(2, 1, *sides, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            expected = network(pixels)
        torch.testing.assert_close(
            torch.from_numpy(run(graph, pixels.numpy())), expected, rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_without_the_extra_it_is_said_how_to_install_it(make, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        UsageError, match=rf"^the package {package}, .+ is not installed; `pip install 'patchseg\[onnx\]'`$"
    ):
        graph_of(make(), "logits")
