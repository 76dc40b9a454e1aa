"""What holds for every network written here but the U-Net, which has tests of its own."""

import io

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from patchseg.models import build

torch.set_num_threads(1)

SPECS = {
    name: {"name": name}
    for name in ("enet", "lite_hrnet_s", "lite_hrnet_18", "lite_hrnet_x")
} | {"segnet": {"name": "segnet", "width": 8}}  # fmt: skip

every_network = pytest.mark.parametrize("name", SPECS)


def network(name, channels=2, classes=3, seed=0):
    """Return a network in evaluation mode whose norms have seen some images, in part."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = build(SPECS[name] | {"channels": channels, "classes": classes})
        net.set_normalization([128.0] * channels, [74.0] * channels)
        net(random_pixels(4, channels, 64, 64))
    return net.eval()


def random_pixels(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


@every_network
@pytest.mark.parametrize(("height", "width"), [(1, 1), (31, 65), (97, 33)])
def test_logits_have_the_height_and_width_of_any_image(name, height, width):
    with torch.no_grad():
        logits = network(name)(random_pixels(2, 2, height, width))
    assert logits.shape == (2, 3, height, width)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()


@every_network
def test_every_parameter_learns(name):
    net = network(name).train()
    net(random_pixels(2, 2, 64, 64)).square().mean().backward()
    still = [key for key, weight in net.named_parameters() if not weight.grad.abs().sum() > 0]
    assert still == []


def patch():
    """Return a disk and a line in noise, and their mask."""
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    disk, line = (rows - 30) ** 2 + (columns - 24) ** 2 < 225, (columns > 48) & (columns < 52)
    truth = (disk | line).long()[None]
    noise = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    return 60 + 80 * truth[:, None] + 20 * noise, truth


@every_network
def test_a_patch_is_learned_by_heart_and_known_in_bfloat16_too(name):
    pixels, truth = patch()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = network(name, channels=1, classes=2).train()
        optimizer = torch.optim.Adam(net.parameters(), 0.01)
        for _ in range(60):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(pixels), truth)
            loss.backward()
            optimizer.step()
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            half = net(pixels)  # norms and dropout as while it learns
    assert loss < 0.15  # 0.69 is that of knowing nothing
    assert half.dtype == torch.bfloat16
    assert (half.argmax(1) == truth).float().mean() > 0.95


@every_network
def test_a_tile_has_the_same_logits_at_any_place_of_a_batch(name):
    net = network(name).to(memory_format=torch.channels_last)
    tiles = random_pixels(5, 2, 64, 96).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        together = net(tiles)
        turned = net(tiles.flip(0).contiguous(memory_format=torch.channels_last)).flip(0)
        alone = torch.cat([net(tile[None]) for tile in tiles])
    assert torch.equal(turned, together)
    torch.testing.assert_close(alone, together, atol=5e-4 * float(together.abs().max()), rtol=0)


@every_network
def test_channels_last_changes_nothing(name):
    net, pixels = network(name), random_pixels(2, 2, 64, 32)
    with torch.no_grad():
        expected = net(pixels)
        net.to(memory_format=torch.channels_last)
        got = net(pixels.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(got, expected, atol=5e-4 * float(expected.abs().max()), rtol=0)


def same_as_onnx(net):
    """Write a network as ONNX and run it on images of three sizes, none of which it was written with."""
    onnxruntime = pytest.importorskip("onnxruntime")
    written, example = io.BytesIO(), torch.zeros(2, 2, 96, 128)
    axes = {"pixels": {0: "N", 2: "H", 3: "W"}, "logits": {0: "N", 2: "H", 3: "W"}}
    torch.onnx.export(
        net, (example,), written, dynamo=False, dynamic_axes=axes, input_names=["pixels"], output_names=["logits"]
    )  # fmt: skip
    session = onnxruntime.InferenceSession(written.getvalue(), providers=["CPUExecutionProvider"])
    for shape in ((1, 2, 64, 64), (3, 2, 97, 65), (2, 2, 160, 33)):
        pixels = random_pixels(*shape).float()
        with torch.no_grad():
            expected = net(pixels)
        got = torch.from_numpy(session.run(None, {"pixels": pixels.numpy()})[0])
        largest = max(1.0, float(expected.abs().max()))
        torch.testing.assert_close(got, expected, atol=1e-4 * largest, rtol=0)


# The newer way of writing ONNX takes a minute a network, and is tried in test_every_network.py. What torch says of the older, and in it:
@pytest.mark.filterwarnings(
    "ignore:You are using the legacy TorchScript-based ONNX export:DeprecationWarning"
)
@pytest.mark.filterwarnings("ignore:Constant folding:UserWarning")
@pytest.mark.filterwarnings("ignore:The feature will be removed:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:Converting a tensor to a Python:torch.jit.TracerWarning")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name == "lite_hrnet_x" else []) for name in SPECS]
)
def test_onnx_says_the_same_at_any_size(name):
    same_as_onnx(network(name))
