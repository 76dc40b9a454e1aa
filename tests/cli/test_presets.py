"""Settings of older systems: what they print, what it stands for, and that it trains."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from patchseg import loading
from patchseg.models import build, spec_of
from patchseg.parameters import Parameters
from patchseg.synth import SynthParameters, synth

PRESETS = sorted(loading.presets())
# Networks stand in for themselves at the smallest size; settings that one has none of are left aside.
SMALL = ["--width", 4, "--levels", 4]


def tree(name):
    return json.loads(loading.preset(name))


def values(name):
    """Return {key: value} of a preset, without its comments."""
    sections = {key: section for key, section in tree(name).items() if not key.startswith("//")}
    return {
        f"{section}.{key}": value
        for section, keys in sections.items()
        for key, value in keys.items()
        if not key.startswith("//")
    }


@pytest.fixture(scope="module")
def patches(tmp_path_factory):
    """A file of 8 patches of 64 x 64 in colour, and one image for validation."""
    from patchseg import DataParameters, PrepareParameters, prepare

    folder = tmp_path_factory.mktemp("presets")
    synth(folder, parameters=SynthParameters(train=3, test=0, height=64, width=64))
    for file in (folder / "train/images").iterdir():
        with Image.open(file) as image:
            gray = np.asarray(image)
        Image.fromarray(np.stack([gray, gray[::-1], 255 - gray], axis=2)).save(file)
    return prepare(
        folder / "train/images", folder / "train/masks", data=DataParameters(),
        parameters=PrepareParameters(output=str(folder / "patches.h5"), patch=64, per_image=1),
    )  # fmt: skip


def test_the_list_says_in_a_line_what_each_preset_is(run):
    ended = run("parameters", "--presets")
    assert ended.code == 0
    assert max(map(len, ended.out.splitlines())) <= 80
    lines = [line.split("  ", 1) for line in re.sub(r"\n +", " ", ended.out).splitlines()]
    assert [line[0] for line in lines] == PRESETS == [
        "carvana", "deepdetect-deeplab-vgg16", "deepdetect-enet", "deepdetect-pspnet-vgg16", "deepdetect-segnet",
        "deepdetect-unet", "efficientnet-b3-dice", "nnunet", "otx-lite-hrnet", "seed",
    ]  # fmt: skip
    assert all(20 < len(line[1].strip()) < 110 for line in lines)
    assert json.loads(run("parameters", "--presets", "--json").out) == loading.presets()


def test_an_unknown_preset_is_refused_with_the_nearest(run):
    ended = run("parameters", "--preset", "nn-unet")
    assert ended.code == 2
    assert ended.error == (
        '--preset nn-unet: is none of those that `patchseg parameters --presets` lists; did you mean "nnunet"?'
    )


@pytest.mark.parametrize("name", PRESETS)
def test_every_figure_has_its_source_beside_it(name):
    content = tree(name)
    assert {"//", "// source", "// not expressed"} <= set(content)
    for section, keys in content.items():
        if section.startswith("//"):
            continue
        told = [key for comment in keys if comment.startswith("// ") for key in comment[3:].split(", ")]
        assert sorted(told) == sorted(key for key in keys if not key.startswith("//"))
        assert all(text and isinstance(text, str) for key, text in keys.items() if key.startswith("//"))


@pytest.mark.parametrize("name", PRESETS)
def test_what_is_printed_is_a_file_of_parameters(name, run, here):
    (here / "preset.json").write_text(run("parameters", "--preset", name).out, encoding="utf-8")
    loaded = loading.load(here / "preset.json")
    for key, value in values(name).items():
        section, field = key.split(".")
        assert getattr(getattr(loaded, section), field) == value
        assert getattr(loaded, section).source(field) == str(here / "preset.json")


# What the sources say, read there once more: their sizes, solvers, losses and shares.
@pytest.mark.parametrize(
    ("name", "figures"),
    [
        ("seed", {
            "prepare.patch": 96, "prepare.per_image": 20, "prepare.validation": 0.1, "model.width": 64, "model.levels": 5,
            "train.epochs": 100, "train.batch": 16, "train.rate": 0.01, "train.loss": "ce", "train.optimizer": "sgd",
            "train.momentum": 0.9, "train.weight_decay": 0.0005, "infer.tile": 96, "infer.overlap": 0.5,
            "infer.blend": "flat",
        }),
        ("deepdetect-unet", {
            "prepare.patch": 480, "model.width": 64, "model.levels": 5, "model.norm": "none", "train.batch": 5,
            "train.steps": 40000, "train.rate": 0.001, "train.optimizer": "sgd", "train.momentum": 0.9,
            "train.weight_decay": 0.0005, "train.loss": "dice", "train.class_weights": "balanced",
            "augment.flips": "left-right", "augment.turns": False, "augment.noise": 0.001, "augment.color": 0.001,
        }),
        ("deepdetect-pspnet-vgg16", {
            "prepare.patch": 480, "model.name": "smp/pspnet", "model.encoder": "vgg16_bn", "model.pretrained": True,
            "train.batch": 6, "train.steps": 75000, "train.epoch_steps": 1000, "train.rate": 0.001,
            "train.optimizer": "amsgrad", "train.weight_decay": 0.0001, "train.loss": "dice",
            "train.class_weights": "balanced", "augment.flips": "left-right", "augment.noise": 0.001,
        }),
        ("deepdetect-deeplab-vgg16", {
            "prepare.patch": 480, "model.name": "smp/deeplabv3", "model.pretrained": True, "train.batch": 5,
            "train.steps": 20000, "train.rate": 0.001, "train.weight_decay": 0.0001, "train.loss": "ce",
        }),
        ("deepdetect-enet", {
            "prepare.patch": 480, "model.name": "enet", "train.batch": 3, "train.steps": 40000, "train.rate": 0.001,
            "train.weight_decay": 0.0001, "train.loss": "ce", "train.class_weights": "balanced",
        }),
        ("deepdetect-segnet", {
            "prepare.patch": 360, "model.name": "segnet", "train.batch": 4, "train.steps": 40000, "train.rate": 0.001,
            "train.weight_decay": 0.0005, "train.schedule": "constant",
        }),
        ("efficientnet-b3-dice", {
            "prepare.validation": 0.25, "model.name": "smp/unet", "model.encoder": "efficientnet-b3",
            "model.pretrained": True, "train.epochs": 40, "train.rate": 0.0005, "train.loss": "dice",
            "train.schedule": "step",  # a tenth for the last quarter, after the 30th of 40
        }),
        ("carvana", {
            "prepare.patch": 1024, "model.width": 8, "model.levels": 8, "model.norm": "batch", "train.epochs": 30,
            "train.batch": 1, "train.optimizer": "rmsprop", "train.rate": 0.0001, "train.momentum": 0.0,
            "train.schedule": "plateau", "train.patience": 4, "augment.flips": "left-right", "augment.color": 0.5,
            "augment.shift": 0.5, "augment.scale": 0.5, "augment.rotation": 0.5,
        }),
        ("otx-lite-hrnet", {
            "prepare.patch": 512, "model.name": "lite_hrnet_18", "train.epochs": 300, "train.batch": 8,
            "train.rate": 0.001, "train.optimizer": "adam", "train.weight_decay": 0.0, "train.clip": 40.0,
            "train.schedule": "plateau", "train.patience": 5, "train.warm_up": 0.01, "train.loss": "ce",
        }),
        ("nnunet", {
            "prepare.patch": 512, "prepare.foreground": 0.33, "model.width": 32, "model.max_width": 512,
            "model.levels": 8, "model.norm": "instance", "model.deep_supervision": True, "train.steps": 250000,
            "train.epoch_steps": 250, "train.batch": 2, "train.rate": 0.01, "train.optimizer": "sgd",
            "train.momentum": 0.99, "train.weight_decay": 3e-5, "train.schedule": "poly", "train.clip": 12.0,
            "train.loss": "ce+dice", "train.centred": 0.33, "augment.rotation": 0.2, "augment.degrees": 180.0,
            "augment.scale": 0.2, "augment.noise": 0.1, "augment.blur": 0.2, "augment.brightness": 0.15,
            "augment.contrast": 0.15, "augment.low_resolution": 0.25, "augment.gamma": 0.3, "augment.flips": "both",
            "augment.turns": False, "infer.symmetries": "flips", "infer.overlap": 0.5,
        }),
    ],
)  # fmt: skip
def test_the_figures_are_those_of_the_source(name, figures):
    assert {key: values(name).get(key) for key in figures} == figures


def test_the_batch_of_nnunet_follows_from_its_rules():
    # Of 30 images of 512 x 512, feature maps of a network from 32 to 512 channels: two convolutions on the way down, two
    # and a transposed one on the way up, and the scores of two classes.
    preset = values("nnunet")
    side, levels = preset["prepare.patch"], preset["model.levels"]
    widths = [min(preset["model.max_width"], preset["model.width"] * 2**level) for level in range(levels)]
    areas = [(side // 2**level) ** 2 for level in range(levels)]
    assert side // 2 ** (levels - 1) == 4  # 8 pixels are halved, 4 are not
    down = sum(2 * width * area for width, area in zip(widths, areas, strict=True))
    up = sum(3 * width * area for width, area in zip(widths[:-1], areas[:-1], strict=True))
    elements = down + up + 2 * areas[0]
    assert elements / 12 * 2 < 85e6  # so the patch need not shrink
    fitting = round(85e6 / elements * 12)
    assert fitting == 12
    assert preset["train.batch"] == max(min(fitting, round(30 * 0.05)), 2)


@pytest.mark.parametrize(
    ("name", "narrowest", "widest"), [("seed", 64, 1024), ("carvana", 8, 1024), ("nnunet", 32, 512)]
)
def test_a_network_is_as_wide_as_its_source_says(name, narrowest, widest):
    section = {
        key.removeprefix("model."): value for key, value in values(name).items() if key.startswith("model.")
    }
    settings = Parameters().model.model_dump() | section
    network = build(spec_of(settings, 1, 2))
    convolutions = [layer for layer in network.down.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert (convolutions[0].out_channels, convolutions[-1].out_channels) == (narrowest, widest)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_trains(name, run, here, patches):
    (here / "preset.json").write_text(run("parameters", "--preset", name).out, encoding="utf-8")
    small = SMALL if values(name)["model.name"] == "unet" else []
    untrained = ["--no-pretrained"] if "model.pretrained" in values(name) else []
    ended = run(
        "train", patches, "--parameters", "preset.json", "--name", "two", "--steps", 2, "-b", 2, "--threads", 1,
        "--device", "cpu", *small, *untrained,
    )  # fmt: skip
    assert ended.code == 0, ended.err
    assert ended.out == "checkpoints/two/best.pt\n"
    record = json.loads((here / "runs/two/parameters.effective.json").read_text(encoding="utf-8"))
    ours = {"train.steps", "train.batch", "model.width", "model.levels", "model.pretrained"}
    given = {
        key: value
        for key, value in values(name).items()
        if key.split(".")[0] in ("model", "augment", "train")
    }
    for key, value in given.items():
        assert key in ours or record[key] == {"value": value, "source": "preset.json"}
