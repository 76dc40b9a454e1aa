"""The library's networks: images of any size and channels, encoders by name, and what they do to tiles."""

import warnings

import pytest
import torch
from torch import nn

from patchseg.errors import UsageError
from patchseg.models import MODELS, build, defaults
from patchseg.models.folding import folded
from patchseg.models.network import encoder_of
from patchseg.models.smp import statistics_of

LIBRARY = [name for name in MODELS if name.startswith("smp/")]
SMALL = {"smp/segformer": "mit_b0", "smp/dpt": "tu-vit_tiny_patch16_224"}


def network(name="smp/unet", *, channels=1, classes=3, encoder=None):
    torch.manual_seed(0)
    encoder = encoder or SMALL.get(name, "resnet18")
    return build({"name": name, "channels": channels, "classes": classes, "encoder": encoder}).eval()


def with_statistics(net):
    """Give every batch norm statistics and scales of its own, as training does."""
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean, 0, 0.1)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
            nn.init.uniform_(layer.weight, 0.5, 1.0)
    return net


@pytest.mark.parametrize("name", LIBRARY)
@torch.no_grad()
def test_logits_have_the_size_of_any_image(name):
    net = network(name)
    for sides in [(37, 61), (1, 1), (96, 64)]:
        assert net(torch.zeros(2, 1, *sides, dtype=torch.uint8)).shape == (2, 3, *sides)


@pytest.mark.parametrize("channels", [3, 5])
@pytest.mark.parametrize("name", ["smp/unet", "smp/segformer", "smp/dpt"])
@torch.no_grad()
def test_images_may_have_any_channels(name, channels):
    assert network(name, channels=channels)(torch.rand(1, channels, 33, 40)).shape == (1, 3, 33, 40)


def test_the_library_has_twelve_architectures_and_all_are_offered():
    import segmentation_models_pytorch as smp

    assert {f"smp/{name}" for name in smp.MODEL_ARCHITECTURES_MAPPING} == set(LIBRARY)


def test_each_pads_to_what_its_encoder_needs():
    factors = {name: network(name).factor for name in ("smp/unet", "smp/deeplabv3", "smp/deeplabv3plus")}
    assert factors == {"smp/unet": 32, "smp/deeplabv3": 8, "smp/deeplabv3plus": 16}
    assert network("smp/dpt").factor == 32  # patches of 16, whose coarsest features are once more halved


@torch.no_grad()
def test_vision_transformers_that_keep_to_one_size_are_told_not_to():
    net = network(encoder="tu-swin_tiny_patch4_window7_224")
    assert net(torch.rand(1, 1, 70, 33)).shape == (1, 3, 70, 33)


def test_the_encoder_is_a_part_of_the_network_and_a_unet_has_none():
    net = network()
    assert net.encoder is net.model.encoder
    assert {id(weight) for weight in net.encoder.parameters()} < {id(weight) for weight in net.parameters()}
    assert encoder_of(build({"name": "unet", "channels": 1, "classes": 2, "width": 2})) is None


def test_each_network_knows_an_encoder_that_suits_it():
    assert defaults("smp/unet") == {"encoder": "resnet34"}
    assert defaults("smp/segformer") == {"encoder": "mit_b0"}
    assert defaults("smp/dpt")["encoder"].startswith("tu-vit")


@pytest.mark.parametrize(
    ("encoder", "told"),
    [
        ("resnet43", r'"resnet43" is none of the \d+ encoders of the library; did you mean "resnet34"\?'),
        ("tu-convnext_tinny", r'did you mean "tu-convnext_tiny"\?'),
        ("zebra", "expected one such as resnet34"),
        ("tu-hf_hub:some/one", "expected one such as"),  # would be fetched
        ("tu-local-dir:/tmp", "expected one such as"),
    ],
)
def test_an_unknown_encoder_is_refused_in_a_sentence(encoder, told):
    with pytest.raises(UsageError, match=r"^model\.encoder: .*" + told):
        network(encoder=encoder)


@pytest.mark.parametrize(
    ("name", "encoder", "cure"),
    [
        ("smp/dpt", "resnet18", "such as tu-vit_small_patch16_224$"),
        ("smp/dpt", "tu-vit_small_patch14_dinov2", "no mask of the size of the image"),
        ("smp/linknet", "mit_b0", "such as resnet34$"),
        ("smp/unet", "tu-vit_tiny_patch16_224", "Unsupported model downsampling"),
        ("smp/unet", "tu-resnet18.nonsense", "Invalid pretrained tag"),
    ],
)
def test_what_does_not_go_together_is_refused_in_a_sentence(name, encoder, cure):
    with pytest.raises(UsageError, match=rf"^model\.encoder: {encoder} does not go with {name} \(.*{cure}"):
        network(name, encoder=encoder)


def test_deprecated_names_of_encoders_are_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network(encoder="timm-efficientnet-b0")


def test_without_the_package_a_sentence_names_the_extra(run_python):
    code = (
        "import sys; sys.modules['segmentation_models_pytorch'] = None\n"
        "from patchseg.errors import UsageError\n"
        "from patchseg.models import build\n"
        "build({'name': 'unet', 'channels': 1, 'classes': 2})\n"
        "try: build({'name': 'smp/unet', 'channels': 1, 'classes': 2})\n"
        "except UsageError as error: print(error)"
    )
    done = run_python(code)
    assert 'not installed; `pip install "patchseg[smp]"`' in done.stdout, done.stderr


def test_importing_the_networks_does_not_import_the_library(run_python):
    code = "import sys, patchseg.models, patchseg.training.train; print('timm' in sys.modules, 'segmentation_models_pytorch' in sys.modules)"
    assert run_python(code).stdout.split() == ["False", "False"]


@pytest.mark.parametrize(
    ("name", "encoder", "halo"),
    [
        # A ResNet-18 sees 435 pixels: 7, then 11 after the pooling, and by its four stages 43, 99, 211, 435. That is 217 to each
        # side; the decoder's two convolutions at 1/16, 1/8, ..., 1/1 add 62, and poolings that lie unluckily up to 8.
        ("smp/unet", "resnet18", 288),
        ("smp/linknet", "resnet18", 256),
        ("smp/unet", "resnet34", 544),
        ("smp/unet", "efficientnet-b0", None),  # squeeze and excitation: the mean of a tile
        ("smp/deeplabv3plus", "resnet18", None),  # pools globally
        ("smp/segformer", "mit_b0", None),  # attention
    ],
)
def test_how_far_they_see_is_found(name, encoder, halo):
    assert network(name, encoder=encoder).halo == halo


@torch.no_grad()
def test_a_tile_with_its_halo_says_what_the_whole_image_says():
    net = with_statistics(network("smp/unet"))
    image = torch.rand(1, 1, 2 * 288 + 192, 64, generator=torch.Generator().manual_seed(1))
    whole = net(image)
    part = net(image[..., 64 : 64 + 2 * 288 + 32, :])
    zone = slice(64 + 288, 64 + 288 + 32)
    torch.testing.assert_close(part[..., 288 : 288 + 32, :], whole[..., zone, :], rtol=1e-4, atol=1e-4)
    short = net(image[..., 64 + 288 - 32 : 64 + 288 + 64, :])[..., 32 : 32 + 32, :]  # with a halo of 32
    assert not torch.allclose(short, whole[..., zone, :], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "encoder", "left"),
    [
        ("smp/unet", "resnet18", 0),
        ("smp/fpn", "mobilenet_v2", 0),
        ("smp/unet", "efficientnet-b0", 1),  # that of the classifier, which no image reaches
        # Its norms end in their activation, so they are not taken for plain ones.
        ("smp/unet", "tu-efficientnet_b0", 0),
        ("smp/deeplabv3plus", "resnet18", 0),
    ],
)
@torch.no_grad()
def test_folding_leaves_no_plain_batch_norm_and_changes_nothing(name, encoder, left):
    net = with_statistics(network(name, encoder=encoder))
    small = folded(net)
    pixels = torch.rand(2, 1, 80, 64, generator=torch.Generator().manual_seed(1))
    expected = net(pixels)
    torch.testing.assert_close(small(pixels), expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
    assert sum(type(layer) is nn.BatchNorm2d for layer in small.modules()) == left
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in net.modules()) > 10


@torch.no_grad()
def test_a_tile_is_what_it_is_in_any_batch():
    net = folded(with_statistics(network("smp/unet")))
    tiles = torch.rand(4, 1, 96, 96, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(net(tiles)[2:3], net(tiles[2:3]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("encoder", "mean", "std"),
    [
        ("resnet34", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("inceptionv4", (0.5,) * 3, (0.5,) * 3),
        ("dpn98", (0.4863, 0.4588, 0.4078), (0.2348,) * 3),
        ("tu-resnet18", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("tu-vit_tiny_patch16_224", (0.5,) * 3, (0.5,) * 3),
    ],
)
def test_the_statistics_of_an_encoder_are_those_it_was_trained_with(encoder, mean, std):
    found = statistics_of(encoder)
    assert found == (pytest.approx(mean, abs=1e-4), pytest.approx(std, abs=1e-4))
