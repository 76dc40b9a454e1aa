"""SegNet against its paper (arXiv:1511.00561), and its encoder against VGG16."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from patchseg.models import reach
from patchseg.models.segnet import SegNet

torch.set_num_threads(1)


def segnet(channels=3, classes=12, width=64):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SegNet(channels=channels, classes=classes, width=width).eval()


@pytest.fixture(scope="module")
def full():
    return segnet()


def convolutions(module):
    return [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]


def test_the_decoder_mirrors_the_encoder(full):
    down = [(layer.in_channels, layer.out_channels) for layer in convolutions(full.encoder)]
    up = [
        (layer.in_channels, layer.out_channels)
        for stage in (*reversed(full.decoder), full.head)
        for layer in convolutions(stage)
    ]
    assert len(down) == len(up) == 13
    assert down[0] == (3, 64)
    assert up == [*((outputs, inputs) for inputs, outputs in down[:0:-1]), (64, 12)]


def test_weights_and_operations_are_those_that_are_published(full):
    # 29.46 million and 286.03 billion for 640 x 360 pixels (as the paper of ENet has it). Ours have no biases before norms: 4224 on
    # the way down and 3712 on the way up, twice as many numbers of norms in their place.
    counts = [sum(weight.numel() for weight in part.parameters()) for part in (full, full.encoder)]
    assert counts[1] == 14_714_688 - 4224 + 2 * 4224  # the known number of VGG16's 13 convolutions
    assert round((counts[0] + 4224 + 3712) / 1e6, 2) == 29.45
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        full(torch.zeros(1, 3, 32, 64))
    assert counter.get_total_flops() * (640 * 360) / (32 * 64) == pytest.approx(286.03e9, rel=0.01)


def test_features_go_where_the_largest_were_as_torch_puts_them():
    net = segnet(width=2)
    features = torch.randn(2, 3, 64, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        inner, places = features, []
        for stage in net.encoder:
            inner, indices = F.max_pool2d(stage(inner), 2, return_indices=True)
            places.append(indices)
        for stage, indices in zip(reversed(net.decoder), reversed(places), strict=True):
            inner = stage(F.max_unpool2d(inner, indices, 2))
        assert torch.equal(net.decide(features), net.head(inner))


def test_weights_of_vgg16_with_batch_norm_fit_the_encoder_in_order(full):
    torchvision = pytest.importorskip("torchvision")
    vgg = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"], batch_norm=True).eval()
    pairs = zip(convolutions(vgg), convolutions(full.encoder), strict=True)
    norms = [
        [layer for layer in part.modules() if isinstance(layer, nn.BatchNorm2d)]
        for part in (vgg, full.encoder)
    ]
    with torch.no_grad():
        for (theirs, ours), given, norm in zip(pairs, *norms, strict=True):
            given.running_mean.normal_(0, 0.1)
            theirs.bias.normal_(0, 0.1)
            ours.weight.copy_(theirs.weight)
            norm.load_state_dict(given.state_dict())
            norm.running_mean -= theirs.bias
        pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        found = pixels
        for stage in full.encoder:
            found = F.max_pool2d(stage(found), 2)
        torch.testing.assert_close(found, vgg(pixels), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("width", [1, 3])
def test_the_halo_is_what_trying_finds(width):
    assert reach.halo(segnet(width=width)) == segnet(width=width).halo == 192
