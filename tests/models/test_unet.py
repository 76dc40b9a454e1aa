from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from patchseg import parameters
from patchseg.errors import DataError
from patchseg.models import MODELS, build
from patchseg.models.unet import NORMS, UNet, levels_for, receptive_field

torch.set_num_threads(1)


def unet(channels=1, classes=2, *, width=4, levels=3, norm="batch", seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return UNet(channels=channels, classes=classes, width=width, levels=levels, norm=norm).eval()


def random_pixels(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def support(net, row, *, height, width):
    """Count the rows of input that decide a row of output, by the gradient of one of its pixels."""
    pixels = torch.ones(1, 1, height, width, requires_grad=True)
    net(pixels)[0, 0, row, width // 2].backward()
    rows = (pixels.grad[0, 0] != 0).any(dim=1).nonzero()[:, 0]
    assert len(rows) == rows[-1] - rows[0] + 1
    assert rows[0] > 0
    assert rows[-1] < height - 1
    return len(rows)


def all_positive(levels):
    """Return a network in which every path from a pixel in to a pixel out carries a positive gradient."""
    net = unet(classes=1, width=1, levels=levels, norm="none")
    net.pool = nn.AvgPool2d(2)
    with torch.no_grad():
        for weight in net.parameters():
            weight.fill_(0.1 if weight.ndim == 4 else 0)
    return net


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    levels=st.integers(1, 5),
    norm=st.sampled_from(sorted(NORMS)),
    features=st.sampled_from([1, 3, 8]),
)
def test_logits_have_the_height_and_width_of_any_image(height, width, levels, norm, features):
    # Width 1 leaves a group norm a single value where the image is a single pixel; see the test after this.
    features = max(features, 2) if norm == "group" else features
    net = unet(channels=2, classes=3, width=features, levels=levels, norm=norm)
    with torch.no_grad():
        logits = net(random_pixels(2, 2, height, width))
    assert logits.shape == (2, 3, height, width)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()


@pytest.mark.parametrize("width", [2, 4, 8, 16])
def test_group_norm_works_on_a_single_pixel(width):
    net = unet(width=width, levels=1, norm="group").train()
    assert net(torch.full((1, 1, 1, 1), 7.0)).isfinite().all()


@pytest.mark.parametrize("channels", [2, 4, 6, 8, 12, 16, 24, 40])
def test_group_norm_has_8_groups_or_the_largest_power_of_two_below_that_leaves_two_channels_each(channels):
    groups = [g for g in (1, 2, 4, 8) if channels % g == 0 and channels // g >= 2]
    assert NORMS["group"](channels).num_groups == max(groups)


@pytest.mark.parametrize("norm", sorted(NORMS))
def test_padding_inside_is_the_mean_of_the_training_set_outside_to_the_right_and_below(norm):
    net = unet(channels=2, norm=norm)
    net.set_normalization([100.0, 30.0], [50.0, 20.0])
    pixels = random_pixels(1, 2, 13, 9)
    padded = torch.tensor([100, 30], dtype=torch.uint8)[:, None, None].repeat(1, 1, 16, 12)
    padded[..., :13, :9] = pixels
    with torch.no_grad():
        assert torch.equal(net(pixels), net(padded)[..., :13, :9])


@pytest.mark.parametrize("dtype", [torch.int16, torch.int64, torch.uint16, torch.float32, torch.float64])
def test_the_same_pixels_in_any_dtype_give_the_same_logits(dtype):
    net = unet(channels=3)
    net.set_normalization([90, 100, 110], [40, 50, 60])
    pixels = random_pixels(1, 3, 11, 8)
    with torch.no_grad():
        assert torch.equal(net(pixels.to(dtype)), net(pixels))


def test_raw_pixels_are_normalized_per_channel_inside():
    raw, plain = unet(channels=2), unet(channels=2)
    raw.set_normalization([1000.0, 10.0], [200.0, 5.0])
    pixels = random_pixels(1, 2, 8, 8).float()
    by_hand = torch.stack([(pixels[:, 0] - 1000) / 200, (pixels[:, 1] - 10) / 5], dim=1)
    with torch.no_grad():
        assert torch.equal(raw(pixels), plain(by_hand))
        assert not torch.equal(raw(pixels), plain(pixels))


def test_a_channel_that_never_changes_is_not_divided_by_zero():
    net = unet(channels=2)
    net.set_normalization(np.array([5.0, 7.0]), np.array([0.0, 2.0]))
    assert net.std.tolist() == [1.0, 2.0]
    with torch.no_grad():
        assert net(torch.full((1, 2, 4, 4), 5)).isfinite().all()


@pytest.mark.parametrize(("mean", "std"), [([1.0], [1.0, 1.0]), ([1.0, 1.0], [1.0])])
def test_normalization_of_another_number_of_channels_is_no_normalization(mean, std):
    with pytest.raises(RuntimeError, match="shape"):
        unet(channels=2).set_normalization(mean, std)


def test_normalization_travels_with_the_weights():
    net, other = unet(channels=2, seed=0), unet(channels=2, seed=1)
    net.set_normalization([3.0, 4.0], [5.0, 6.0])
    other.load_state_dict(net.state_dict())
    pixels = random_pixels(1, 2, 8, 8)
    assert other.mean.tolist() == [3.0, 4.0]
    assert other.std.tolist() == [5.0, 6.0]
    with torch.no_grad():
        assert torch.equal(net(pixels), other(pixels))


def test_neighbouring_grey_levels_of_16_bits_differ_under_bfloat16_autocast():
    # bfloat16 rounds 60000 and 60010 to one number: they only differ if normalized before.
    net = unet()
    net.set_normalization([60000.0], [10.0])
    pixels = torch.full((1, 1, 8, 8), 60000, dtype=torch.uint16)
    pixels[..., 4:] = 60010
    with torch.no_grad():
        full = net(pixels)
        with torch.autocast("cpu", torch.bfloat16):
            half = net(pixels)
    assert half.dtype == torch.bfloat16
    assert full[..., 4:].sub(full[..., :4]).abs().max() > 0.1
    torch.testing.assert_close(half.float(), full, atol=0.05 * full.abs().max().item(), rtol=0)


def test_channels_last_stays_channels_last_and_changes_nothing():
    net = unet(channels=3, classes=5)
    net.set_normalization([128.0] * 3, [74.0] * 3)
    pixels = random_pixels(2, 3, 16, 16)
    with torch.no_grad():
        expected = net(pixels)
        net.to(memory_format=torch.channels_last)
        got = net(pixels.contiguous(memory_format=torch.channels_last))
    assert got.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_pooling_skip_and_enlarging_work_as_by_hand():
    # Convolutions that pass one feature on, and a last join of skip + 10 x enlarged: x + 10 x the block's maximum.
    net = unet(classes=1, width=1, levels=2, norm="none")
    with torch.no_grad():
        for weight in net.parameters():
            weight.zero_()
        for block in (*net.down, *net.up):
            for convolution in (block[0], block[2]):
                convolution.weight[0, 0, 1, 1] = 1
        net.up[0][0].weight[0, 1, 1, 1] = 10
        net.enlarge[0].weight[0, 0] = 1
        net.head.weight[:] = 1
        logits = net(torch.tensor([[[[1, 2, 5], [3, 4, 0]]]]))
    assert logits.tolist() == [[[[41, 42, 55], [43, 44, 50]]]]


# By hand, for 1 channel, 2 classes, width 2, 2 levels: 3x3 convolutions 1>2, 2>2 | 2>4, 4>4 | 4>2, 2>2 have
# (18 + 36) + (72 + 144) + (72 + 36) = 378 weights and 16 outputs; the 2x2 enlarging 4>2 has 32 + 2, the head 4 + 2.
# A norm has two numbers an output, its absence one bias.
@pytest.mark.parametrize(("norm", "count"), [("batch", 450), ("group", 450), ("none", 434)])
def test_parameters_number_as_by_hand(norm, count):
    net = unet(width=2, levels=2, norm=norm)
    assert sum(weight.numel() for weight in net.parameters()) == count


def test_every_parameter_learns():
    net = unet(channels=2, classes=3, levels=4).train()
    net(random_pixels(2, 2, 24, 24)).square().mean().backward()
    still = [name for name, weight in net.named_parameters() if not weight.grad.abs().sum() > 0]
    assert still == []


def test_the_signal_keeps_its_size_through_a_deep_network_without_norms():
    net = unet(classes=8, width=16, levels=5, norm="none")
    with torch.no_grad():
        logits = net(torch.randn(2, 1, 48, 48, generator=torch.Generator().manual_seed(0)))
    assert 0.3 < logits.std() < 10


@pytest.mark.parametrize("levels", [1, 2, 3, 4, 5, 6])
def test_receptive_field_is_the_mean_support_of_the_gradient_over_the_grid_of_poolings(levels):
    net = all_positive(levels)
    height = (receptive_field(levels) // net.factor + 3) * 2 * net.factor
    seen = [support(net, height // 2 + shift, height=height, width=net.factor) for shift in range(net.factor)]
    assert np.mean(seen) == receptive_field(levels) == net.receptive_field
    assert {3: {44}, 4: {92, 100}}.get(levels, set(seen)) == set(seen)


def test_columns_see_as_far_as_rows():
    net = all_positive(3)
    pixels = torch.ones(1, 1, 64, 96, requires_grad=True)
    net(pixels)[0, 0, 32, 48].backward()
    assert (pixels.grad != 0).sum() == 44 * 44


@given(patch=st.integers(1, 5000))
def test_levels_are_those_whose_receptive_field_is_nearest_to_the_patch(patch):
    # Half-way between 18, 44, 96, 200 and 408 lie 31, 70, 148 and 304.
    assert levels_for(patch) == 2 + sum(patch > middle for middle in (31, 70, 148, 304))


def test_a_network_is_built_from_its_description():
    spec = {"name": "unet", "channels": 2, "classes": 3, "width": 4, "levels": 3, "norm": "group"}
    net = build(spec)
    assert isinstance(net, UNet)
    assert (net.factor, net.head.out_channels, net.mean.shape) == (4, 3, (2,))
    assert any(isinstance(module, nn.GroupNorm) for module in net.modules())
    assert spec["name"] == "unet"  # the description is as it was


def test_a_network_of_an_unknown_name_is_refused_in_a_sentence():
    with pytest.raises(
        DataError, match=r'network "swin", but this patchseg has only unet, .*; read it with the'
    ):
        build({"name": "swin", "channels": 1, "classes": 2})


def test_parameters_offer_exactly_the_networks_and_norms_there_are():
    assert set(get_args(parameters.Model)) == set(MODELS)
    assert set(get_args(parameters.Norm)) == set(NORMS)
