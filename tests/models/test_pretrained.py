"""Weights for encoders: out of files of any names, for any channels, and how the pixels are scaled for them."""

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import resnet18

import patchseg
from patchseg.errors import DataError, UsageError
from patchseg.labels.classes import Classes
from patchseg.models import build
from patchseg.models.checkpoint import Checkpoint
from patchseg.models.pretrained import adapted, fitted, pretrain, read_weights

GRAY, RGB, FIVE = ["gray"], ["red", "green", "blue"], [f"channel_{index}" for index in range(5)]


@pytest.fixture(scope="module")
def given():
    """Random weights of torchvision's ResNet-18, classifier included."""
    torch.manual_seed(5)
    model = resnet18(weights=None)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean)
    return model.state_dict()


@pytest.fixture(scope="module")
def file(given, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(given, path)
    return path


def network(channels, encoder="resnet18", name="smp/unet"):
    torch.manual_seed(0)
    spec = {"name": name, "channels": len(channels), "classes": 2, "encoder": encoder}
    net = build(spec)
    net.set_normalization([10.0] * len(channels), [2.0] * len(channels))
    return net, spec


@pytest.fixture
def make_checkpoint():
    """Make the checkpoint of a network of three channels and two classes."""

    def make(net, spec):
        channels = [{"name": name, "mean": 10.0, "std": 2.0} for name in RGB]
        classes = Classes(("background", "cell"), (0, 1), ("#000000", "#e69f00"))
        return Checkpoint(spec, classes, channels, "uint8", 64, 1.0, net.state_dict())

    return make


def begun(weights, channels=RGB, dtype="uint8", **values):
    net, spec = network(channels, **values)
    told = pretrain(net, spec, weights, channels=channels, dtype=dtype)
    return net, " ".join(told)


def test_an_encoder_begins_with_the_tensors_of_a_file_and_nothing_else_changes(given, file):
    net, told = begun(file)
    fresh, _ = network(RGB)
    state = net.encoder.state_dict()
    for name, weight in given.items():
        if not name.startswith("fc.") and not name.endswith("num_batches_tracked"):
            assert torch.equal(state[name], weight), name
    for name, weight in fresh.state_dict().items():
        if not name.startswith("model.encoder.") and name not in ("mean", "std"):
            assert torch.equal(net.state_dict()[name], weight), name
    assert told.startswith("resnet18.pth, sha256 ")
    assert "100 of 100 tensors; 2 without a place (fc.weight, fc.bias); pixels scaled as those it" in told


@pytest.mark.parametrize("prefix", ["encoder.", "module.", "backbone.", "model.encoder."])
@pytest.mark.parametrize("inside", [None, "state_dict", "weights"])
def test_names_may_have_a_prefix_and_the_tensors_lie_deeper(given, file, tmp_path, prefix, inside):
    renamed = {prefix + name: weight for name, weight in given.items()}
    renamed["decoder.blocks.0.weight"] = torch.zeros(3)
    torch.save({inside: renamed, "epoch": 3} if inside else renamed, tmp_path / "other.pth")
    net, told = begun(tmp_path / "other.pth")
    plain, _ = begun(file)
    assert all(
        torch.equal(a, b) for a, b in zip(net.state_dict().values(), plain.state_dict().values(), strict=True)
    )
    assert "100 of 100" in told


def test_a_checkpoint_of_patchseg_gives_its_encoder(make_checkpoint, file, tmp_path):
    net, _ = begun(file)
    make_checkpoint(net, network(RGB)[1]).save(tmp_path / "best.pt")
    again, told = begun(tmp_path / "best.pt")
    assert torch.equal(again.encoder.conv1.weight, net.encoder.conv1.weight)
    assert "100 of 100" in told


def test_the_names_of_the_library_for_an_encoder_of_timm_fit_with_and_without_a_prefix(given, tmp_path):
    net, _ = network(RGB, "tu-resnet18")
    for number, state in enumerate((net.encoder.state_dict(), net.state_dict())):
        torch.save(state, tmp_path / f"{number}.pth")
        again, told = begun(tmp_path / f"{number}.pth", encoder="tu-resnet18")
        assert "100 of 100" in told
        assert torch.equal(again.encoder.model.conv1.weight, net.encoder.model.conv1.weight)


def test_a_network_without_published_weights_keeps_the_scaling_of_the_training_set(tmp_path):
    spec = {"name": "enet", "channels": 3, "classes": 2}
    net = build(spec)
    net.set_normalization([10.0] * 3, [2.0] * 3)
    torch.save(build(spec).encoder.state_dict(), tmp_path / "enet.pth")
    _, told = pretrain(net, spec, tmp_path / "enet.pth", channels=RGB, dtype="uint8")
    assert told.endswith("pixels scaled as the training set's")
    assert net.mean.tolist() == [10.0] * 3


def test_safetensors_say_the_same_as_torch(given, file, tmp_path):
    save_file({name: weight.contiguous() for name, weight in given.items()}, tmp_path / "a.safetensors")
    read = read_weights(tmp_path / "a.safetensors")
    assert read.keys() == given.keys()
    assert all(torch.equal(read[name], weight) for name, weight in given.items())


def test_an_encoder_of_timm_takes_the_same_file(given, file):
    net, told = begun(file, encoder="tu-resnet18")
    assert torch.equal(
        net.encoder.state_dict()["model.layer4.1.conv2.weight"], given["layer4.1.conv2.weight"]
    )
    assert "100 of 100" in told


def test_underscores_may_stand_for_points_as_timm_flattens_names():
    expected = {"model.stages_0.blocks.0.weight": torch.zeros(2)}
    fit = fitted(expected, {"stages.0.blocks.0.weight": torch.ones(2)}, channels=1)
    assert fit.found["model.stages_0.blocks.0.weight"].tolist() == [1, 1]


def test_a_first_convolution_is_summed_for_one_channel_and_repeated_in_turn_for_more():
    weight = torch.tensor([1.0, 2.0, 6.0]).view(1, 3, 1, 1)
    assert adapted(weight, 1).flatten().tolist() == [9]
    assert adapted(weight, 2).flatten().tolist() == [1.5, 3]
    torch.testing.assert_close(adapted(weight, 5).flatten(), torch.tensor([1.0, 2, 6, 1, 2]) * 3 / 5)


@pytest.mark.parametrize("channels", [1, 3, 6])
def test_equal_channels_answer_as_a_gray_image_in_red_green_and_blue(given, channels):
    weight, plane = given["conv1.weight"], torch.rand(1, 1, 9, 9)
    expected = nn.functional.conv2d(plane.expand(-1, 3, -1, -1), weight)
    found = nn.functional.conv2d(plane.expand(-1, channels, -1, -1), adapted(weight, channels))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("channels", "words"), [(GRAY, "from 3 to 1 channel;"), (FIVE, "from 3 to 5 channels;")]
)
def test_other_channels_are_adapted_and_told(given, file, channels, words):
    net, told = begun(file, channels)
    assert torch.equal(net.encoder.conv1.weight, adapted(given["conv1.weight"], len(channels)))
    assert words in told


def test_the_pixels_of_8_bit_colour_images_are_scaled_as_the_weights_know_it(file):
    net, _ = begun(file)
    torch.testing.assert_close(net.mean, torch.tensor([123.675, 116.28, 103.53]))  # 255 times ImageNet's
    torch.testing.assert_close(net.std, torch.tensor([58.395, 57.12, 57.375]))


@pytest.mark.parametrize(
    ("channels", "dtype"), [(GRAY, "uint8"), (RGB, "uint16"), (["a", "b", "c"], "uint8")]
)
def test_other_pixels_are_scaled_as_the_training_set_is(file, channels, dtype):
    net, told = begun(file, channels, dtype)
    assert (net.mean.tolist(), net.std.tolist()) == ([10.0] * len(channels), [2.0] * len(channels))
    assert told.endswith("pixels scaled as the training set's")


def test_what_is_missing_is_told(given, tmp_path):
    some = {name: weight for name, weight in given.items() if not name.startswith("layer4.1")}
    some["layer1.0.conv1.weight"] = torch.zeros(2)
    torch.save(some, tmp_path / "some.pth")
    net, told = begun(tmp_path / "some.pth")
    fresh, _ = network(RGB)
    assert torch.equal(net.encoder.layer1[0].conv1.weight, fresh.encoder.layer1[0].conv1.weight)
    assert "89 of 100 tensors; 11 missing (layer1.0.conv1.weight, layer4.1.conv1.weight, layer4.1.bn1" in told
    assert "3 without a place (layer1.0.conv1.weight, fc.weight, fc.bias)" in told


def test_weights_of_another_network_are_refused_and_leave_it_as_it_was(file):
    net, spec = network(RGB, "mobilenet_v2")
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(
        DataError, match=r"resnet18\.pth: holds the weights of another network than the encoder mobilenet_v2"
    ):
        pretrain(net, spec, file, channels=RGB, dtype="uint8")
    assert all(torch.equal(before[name], weight) for name, weight in net.state_dict().items())


class Code:
    def __reduce__(self):
        return print, ("run",)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"conv1.weight": Code()}, "could run code"),
        ({"epoch": 3}, "holds no weights"),
        ([1, 2], "holds no weights"),
        (None, "could run code"),
    ],
)
def test_a_file_that_holds_no_weights_is_refused_and_nothing_in_it_runs(tmp_path, capsys, content, told):
    path = tmp_path / "a.pth"
    path.write_bytes(b"no weights") if content is None else torch.save(content, path)
    with pytest.raises(DataError, match=rf"a\.pth: .*{told}"):
        read_weights(path)
    assert capsys.readouterr().out == ""


def test_a_damaged_safetensors_file_and_one_that_is_not_there_are_refused(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"no weights")
    with pytest.raises(DataError, match=r"a\.safetensors: is damaged"):
        read_weights(tmp_path / "a.safetensors")
    with pytest.raises(UsageError, match=r"^model\.encoder_weights: .*b\.pth is no file"):
        read_weights(tmp_path / "b.pth")


def test_a_download_that_fails_names_the_cure(tmp_path):
    """Offline, as the library itself can be told to be; without that it would try for half a minute."""
    code = (
        "import sys; from patchseg.models.smp import download; from patchseg.errors import UsageError\n"
        "for encoder in sys.argv[1:]:\n"
        "  try: download(encoder)\n"
        "  except UsageError as error: print(error)"
    )
    root = str(Path(patchseg.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": root, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    encoders = ["resnet18", "tu-resnet18"]
    done = subprocess.run(
        [sys.executable, "-c", code, *encoders], capture_output=True, text=True, check=False, env=environment
    )
    for encoder, told in zip(encoders, done.stdout.splitlines(), strict=True):
        assert told.startswith(
            f"model.pretrained: the weights of the encoder {encoder} could not be downloaded ("
        )
        assert "name a file that holds them in model.encoder_weights (--encoder-weights)" in told
    assert "Traceback" not in done.stderr
