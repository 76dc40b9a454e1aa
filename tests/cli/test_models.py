"""`patchseg models`: tables that fit a terminal, documents that hold all."""

import json

import pytest

from patchseg.cli import models as verb
from patchseg.errors import UsageError
from patchseg.models import MODELS

WIDTH = 80


@pytest.fixture(autouse=True)
def _working_folder(here):
    """Work where no parameters.json says anything."""


@pytest.fixture
def only_unet(monkeypatch):
    """List one network, as the others take seconds."""
    monkeypatch.setattr(verb, "MODELS", {"unet": MODELS["unet"]})


def test_a_network_is_a_line_of_its_numbers(run, only_unet):
    ended = run("models", "--width", 4, "--levels", 2)
    assert ended.code == 0
    assert ended.err == ""
    first, second, head, line = ended.out.splitlines()
    assert "512 x 512" in first
    assert "a multiply-add counted as 2 operations" in first
    assert second == "3 channels, 2 classes"
    assert head.split() == ["network", "parameters", "GFLOPs", "field", "exact", "pretrained"]
    assert line.split() == ["unet", "1,754", "0.49", "18", "yes", "no"]
    assert max(map(len, ended.out.splitlines())) <= WIDTH
    assert len(line) == len(head)


def test_channels_and_classes_are_as_asked(run, only_unet):
    ended = run("models", "--width", 4, "--levels", 2, "--channels", 1, "--classes", 5)
    # 2 x 9 x 4 weights of two channels less, (4 + 1) x 3 of three classes more.
    assert "1 channel, 5 classes" in ended.out
    assert ended.out.split()[-5] == f"{1754 - 72 + 15:,}"


def test_what_a_parameters_file_says_of_the_model_counts(run, only_unet, write_parameters):
    write_parameters(model={"width": 4, "levels": 2})
    assert "1,754" in run("models").out


def test_one_network_is_told_with_its_settings(run):
    ended = run("models", "unet", "--levels", 3, "--norm", "group", "--width", 2)
    told = {line[:20].strip(): line[21:] for line in ended.out.splitlines()}
    assert told["name"] == "unet"
    assert (told["levels"], told["norm"], told["width"]) == ("3", "group", "2")
    assert told["receptive field"] == "all of the tile"
    assert told["exact blending"] == told["pretrained"] == "no"
    assert max(map(len, ended.out.splitlines())) <= WIDTH


def test_json_is_one_document(run, only_unet):
    document = json.loads(run("models", "--json", "--width", 4, "--levels", 2).out)
    assert document["image"] == [512, 512]
    assert document["operations_a_multiply_add"] == 2
    (unet,) = document["networks"]
    assert (unet["name"], unet["parameters"], unet["receptive_field"], unet["exact"]) == (
        "unet",
        1754,
        18,
        True,
    )
    assert unet["spec"]["levels"] == 2


def test_json_of_one_network(run):
    document = json.loads(run("models", "unet", "--json", "--width", 4, "--levels", 2).out)
    assert (document["name"], document["parameters"], document["weights"]) == ("unet", 1754, [])


def test_a_mistyped_network_is_told_with_the_nearest(run):
    ended = run("models", "unot")
    assert ended.code == 2
    assert ended.error == 'unot: is no network; did you mean "unet"?'


def test_a_network_that_is_like_none_is_told_with_all(run):
    assert run("models", "swin").error == f"swin: is no network; there are {', '.join(MODELS)}"


def test_a_network_that_cannot_be_built_here_is_told_below(run, monkeypatch):
    def missing(**settings):
        raise UsageError("smp/x: needs a package that is not installed; `pip install patchseg[smp]`")

    from patchseg import models

    more = {"unet": MODELS["unet"], "smp/x": missing}
    monkeypatch.setattr(verb, "MODELS", more)
    monkeypatch.setattr(models, "MODELS", more)
    ended = run("models", "--width", 4, "--levels", 2)
    assert ended.code == 0
    assert ended.out.endswith(
        "\nleft out: smp/x (smp/x: needs a package that is not installed; `pip install\npatchseg[smp]`)\n"
    )
    document = json.loads(run("models", "--json", "--width", 4, "--levels", 2).out)
    assert document["networks"][1]["name"] == "smp/x"
    assert "pip install" in document["networks"][1]["error"]


def test_encoders_are_listed_by_name(run):
    pytest.importorskip("segmentation_models_pytorch")
    ended = run("models", "--encoders", "resnet18")
    assert ended.code == 0
    *_, head, line = ended.out.splitlines()
    assert head.split() == ["encoder", "parameters", "GFLOPs", "pretrained"]
    assert line.split() == ["resnet18", "11,176,512", "18.95", "imagenet", "ssl", "swsl"]
    assert max(map(len, ended.out.splitlines())) <= WIDTH
    (encoder,) = json.loads(run("models", "--encoders", "resnet18", "--json").out)["encoders"]
    assert encoder["weights"] == ["imagenet", "ssl", "swsl"]


def test_encoders_and_a_network_exclude_each_other(run):
    ended = run("models", "unet", "--encoders", "resnet")
    assert ended.code == 2
    assert ended.error == "--encoders: lists all that fit; leave out unet"


def test_encoders_without_their_library_are_refused_in_a_sentence(run, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "segmentation_models_pytorch", None)
    ended = run("models", "--encoders")
    assert ended.code == 2
    assert ended.error.endswith('is not installed; `pip install "patchseg[smp]"`')


def test_settings_of_networks_are_none_of_encoders(run):
    ended = run("models", "--encoders", "resnet18", "--width", 8)
    assert ended.code == 2
    assert ended.error == "--width: encoders have no such setting; leave it out, or --encoders"
