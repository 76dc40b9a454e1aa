"""What holds for every network of `MODELS`, whatever it is made of: each is tried at its smallest settings."""

import copy
import functools
import inspect

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import patchseg
from patchseg.export.graph import graph_of
from patchseg.labels.classes import Classes
from patchseg.models import MODELS, build, defaults, reach, spec_of
from patchseg.models.checkpoint import Checkpoint, load
from patchseg.models.facts import facts_of
from patchseg.models.features import watched
from patchseg.models.session import OnnxNetwork
from patchseg.models.unet import NORMS
from patchseg.progress import Progress
from patchseg.training.losses import loss_of, supervised

CHANNELS, CLASSES = 3, 3
UNET = {"width": 4, "levels": 3}
# Encoders of timm that are made for tests.
SMALLEST = {"unet": UNET, "segnet": {"width": 8}, "smp/dpt": {"encoder": "tu-test_vit"}}
SMALLEST |= {
    n: {"encoder": "tu-test_efficientnet"} for n in MODELS if n.startswith("smp/") and n not in SMALLEST
}
VARIANTS = [
    *({"norm": norm} for norm in NORMS if norm != "batch"), {"deep_supervision": True, "levels": 4},
    {"residual": True}, {"attention": True}, {"upsampling": "bilinear"},
]  # fmt: skip
VARIANTS = [variant for variant in VARIANTS if set(variant) <= set(defaults("unet"))]

SETTINGS = [{"name": name} | SMALLEST.get(name, {}) for name in MODELS]
SETTINGS += [{"name": "unet"} | UNET | variant for variant in VARIANTS]


def called(settings):
    """Return the name of a network, and what it has besides."""
    more = [
        f"{key} {value}" for key, value in settings.items() if key not in SMALLEST.get(settings["name"], {})
    ]
    return ", ".join([settings["name"], *more[1:]])


every_network = pytest.mark.parametrize("settings", SETTINGS, ids=called)


def slow_but(*names):
    """Try networks of these names in every run, the others in the long one."""
    return pytest.mark.parametrize(
        "settings",
        [pytest.param(s, marks=[] if called(s) in names else [pytest.mark.slow]) for s in SETTINGS],
        ids=called,
    )


SIZES = {"lite_hrnet_18", "lite_hrnet_x"}  # of lite_hrnet_s
LIGHT = {called(settings) for settings in SETTINGS} - SIZES - {"smp/dpt"}


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def drawn(settings, seed=0):
    """Return a network of these settings with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build(spec_of(settings, CHANNELS, CLASSES))
    network.set_normalization([120.0] * CHANNELS, [60.0] * CHANNELS)
    return network


@functools.cache
def _made(place):
    network = drawn(SETTINGS[place]).train()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for seed in range(2):  # so that norms hold statistics
            network(pixels(2, 64, 64, seed=seed))
    return network.eval()


def made(settings):
    """Return a network of these settings that has seen a few images, in evaluation mode."""
    return copy.deepcopy(_made(SETTINGS.index(settings)))


def pixels(number, height, width, seed=0):
    """Return images in which there is something to see, raw."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(number, CHANNELS, -(-height // 8), -(-width // 8), generator=generator)
    return 255 * F.interpolate(coarse, (height, width), mode="bilinear")


def truth(images):
    """Return the classes that the brightness of images gives, and two corners to ignore, (N, H, W)."""
    bright = images.mean(dim=1)
    classes = (bright > 105).to(torch.uint8) + (bright > 150).to(torch.uint8)
    classes[:, :5, :7] = 255
    return classes


COST = supervised(loss_of("ce+dice"))


def checkpoint(settings, network):
    """Return a checkpoint of the network."""
    names, colors = ("a", "b", "c"), ("#000000", "#e69f00", "#56b4e9")
    channels = [{"name": name, "mean": 120.0, "std": 60.0} for name in ("red", "green", "blue")]
    return Checkpoint(
        spec_of(settings, CHANNELS, CLASSES), Classes(names, (0, 1, 2), colors), channels, "uint8", 64, 1.0,
        network.state_dict(),
    )  # fmt: skip


def test_every_network_there_is_is_tried():
    assert {settings["name"] for settings in SETTINGS} == set(MODELS)
    assert set(inspect.signature(MODELS["unet"]).parameters) <= {
        "channels", "classes", "max_width", *(key for settings in SETTINGS for key in settings),
    } | {"norm"}  # fmt: skip


@every_network
@torch.no_grad()
def test_logits_have_the_height_and_width_of_any_image(settings):
    network = made(settings)
    for height, width in ((33, 65), (1, 1), (64, 32)):
        logits = network(pixels(2, height, width))
        assert logits.shape == (2, CLASSES, height, width)
        assert logits.isfinite().all()


@every_network
def test_every_parameter_learns_from_two_patches(settings):
    still = None
    for seed in range(
        4
    ):  # a ReLU may let nothing through, or a norm level two patches, but not whatever is drawn
        network = drawn(settings, seed).train()
        images = pixels(2 + seed, 64, 64, seed=seed)
        COST(network(images), truth(images), None).backward()
        gradients = {name: weight.grad for name, weight in network.named_parameters()}
        zero = {name for name, gradient in gradients.items() if gradient is not None and not gradient.any()}
        still = zero if still is None else still & zero
        if not still:
            break
    assert still == set()
    idle = [name for name, gradient in gradients.items() if gradient is None]
    # Encoders of libraries are classifiers whose ends are left unused.
    assert all(settings["name"].startswith("smp/") and name.startswith("model.encoder.") for name in idle)


@every_network
def test_every_network_shows_what_it_sees_the_finest_first(settings):
    network = made(settings).train()
    with watched(network) as maps:
        network(pixels(2, 64, 64))
    sides = [seen.shape[-1] for seen in maps]
    assert sides == sorted(sides, reverse=True)
    assert sides[-1] < 64
    maps[-1].square().sum().backward()
    assert any(weight.grad is not None and weight.grad.any() for weight in network.parameters())


@every_network
def test_no_gradient_comes_from_pixels_to_ignore(settings):
    network, images = made(settings).train(), pixels(2, 40, 48)
    masks = truth(images)
    found = network(images)
    levels = [found] if isinstance(found, Tensor) else found
    gradients = torch.autograd.grad(COST(found, masks, None), levels)
    for level, gradient in enumerate(gradients):
        counted = masks[:, None, :: 2**level, :: 2**level] != 255
        assert not gradient.masked_select(~counted).any()
        assert gradient.masked_select(counted).any()


@every_network
def test_patches_of_nothing_but_ignored_pixels_teach_nothing(settings):
    network, images = made(settings).train(), pixels(2, 32, 32)
    loss = COST(network(images), torch.full((2, 32, 32), 255, dtype=torch.uint8), None)
    loss.backward()
    assert loss == 0
    assert all(weight.grad is None or not weight.grad.any() for weight in network.parameters())


@every_network
def test_one_patch_of_nothing_but_ignored_pixels_does_no_harm(settings):
    network, images = made(settings).train(), pixels(2, 32, 32)
    masks = truth(images)
    masks[1] = 255
    COST(network(images), masks, None).backward()
    assert all(weight.grad.isfinite().all() for weight in network.parameters() if weight.grad is not None)
    assert all(buffer.isfinite().all() for buffer in network.buffers())


@every_network
@torch.no_grad()
def test_the_logits_of_an_image_do_not_depend_on_the_images_beside_it(settings):
    network, images = made(settings), pixels(5, 40, 72)
    alone = torch.cat([network(image[None]) for image in images])
    scale = float(alone.abs().max())
    for order in ([3, 1], [4, 3, 2, 1, 0]):
        torch.testing.assert_close(network(images[order]), alone[order], rtol=0, atol=1e-5 * scale)


@every_network
@torch.no_grad()
def test_a_checkpoint_gives_the_same_logits_bit_by_bit(settings, tmp_path):
    network, images = made(settings), pixels(2, 33, 65)
    checkpoint(settings, network).save(tmp_path / "best.pt")
    read = load(tmp_path / "best.pt")
    assert torch.equal(read.network()(images), network(images))
    for name, weight in network.state_dict().items():
        assert weight.dtype == read.weights[name].dtype
        assert torch.equal(weight, read.weights[name])


@slow_but(*LIGHT)
def test_two_patches_are_learned_by_heart(settings):
    network, images = made(settings).train(), pixels(2, 32, 32, seed=3)
    masks = truth(images)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    torch.manual_seed(0)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = COST(network(images), masks, None)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if losses[-1] < losses[0] / 2:
            return
    raise AssertionError(losses)


@every_network
def test_what_is_known_of_it_before_it_learns_is_told(settings):
    network, known = made(settings), facts_of(spec_of(settings, CHANNELS, CLASSES))
    assert known.parameters == sum(weight.numel() for weight in network.parameters()) > 0
    assert known.gflops > 0
    assert known.exact == (network.halo is not None)
    if known.exact:  # what is known by a formula is what trying finds
        assert reach.halo(network) == network.halo
        assert known.receptive_field == getattr(network, "receptive_field", known.receptive_field)


@slow_but("unet")
def test_as_onnx_it_gives_the_same_logits_at_any_size(settings):
    network = made(settings)
    graph, difference = graph_of(checkpoint(settings, network), "logits")
    assert difference < 1e-4
    session = OnnxNetwork(graph)
    for number, height, width in ((2, 161, 193), (1, 1, 90)):  # none of the sizes that it was held against
        images = pixels(number, height, width)
        with torch.no_grad():
            expected, found = network(images), session(images)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


class Stop(Progress):
    """Gives up after some steps, as a crash would."""

    def __init__(self, steps):
        self.left = steps

    def step(self, count=1, note=""):
        self.left -= count
        if not self.left:
            raise ZeroDivisionError


@pytest.fixture(scope="module")
def patches(tmp_path_factory):
    """16 patches of 32 x 32 of gray images, none for validation."""
    folder = tmp_path_factory.mktemp("data")
    patchseg.synth(folder, parameters=patchseg.SynthParameters(train=2, test=0, height=64, width=64))
    return patchseg.prepare(
        folder / "train/images", folder / "train/masks",
        parameters=patchseg.PrepareParameters(output=str(folder / "patches.h5"), patch=32, per_image=2, validation=0.0),
    )  # fmt: skip


@slow_but("unet", "enet", "lite_hrnet_s", "smp/unet")
def test_a_run_that_crashed_goes_on_to_the_same_weights(settings, patches, tmp_path):
    def learn(folder, **more):
        parameters = patchseg.TrainParameters(
            name="run", steps=4, epoch_steps=2, batch=2, threads=1, device="cpu", ema=0.9
        )
        model = patchseg.ModelParameters(**settings)
        patchseg.train(patches, parameters=parameters, model=model, folder=tmp_path / folder, **more)
        return load(tmp_path / folder / "checkpoints/run/last.pt")

    straight = learn("straight")
    with pytest.raises(ZeroDivisionError):
        learn("crashed", progress=Stop(3))
    resumed = learn("crashed", resume=True)
    assert resumed.training["step"] == straight.training["step"] == 4
    for one, other in (
        (resumed.weights, straight.weights),
        (resumed.training["network"], straight.training["network"]),
    ):
        assert all(torch.equal(one[name], weight) for name, weight in other.items())
    assert not all(torch.equal(resumed.training["network"][n], w) for n, w in resumed.weights.items())
