"""What the settings of the U-Net change, and that without them it is the network it always was."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from patchseg.models import build, reach
from patchseg.models.folding import folded
from patchseg.models.unet import NORMS, UPSAMPLINGS, Gate, Residual, UNet, halo, levels_for, receptive_field

torch.set_num_threads(1)

VARIANTS = [
    {"residual": residual, "attention": attention, "upsampling": upsampling}
    for residual, attention, upsampling in product((False, True), (False, True), UPSAMPLINGS)
]
variants = st.sampled_from(VARIANTS)
each_variant = pytest.mark.parametrize(
    "variant", VARIANTS, ids=lambda variant: "-".join(map(str, variant.values()))
)


def unet(channels=1, classes=2, *, seed=0, **settings):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return UNet(channels=channels, classes=classes, **{"width": 4, "levels": 3} | settings).eval()


def with_statistics(net):
    """Give batch norms something that they have seen."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 2)
    return net


def random_pixels(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


class AsItWas(nn.Module):
    """The network before it had any of these settings."""

    def __init__(self, channels, classes, width, levels, norm):
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))
        widths = [width * 2**level for level in range(levels)]
        self.down, self.enlarge, self.up = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for inputs, outputs in zip([channels, *widths], widths, strict=False):
            self.down.append(self.pair(inputs, outputs, norm))
        for outputs in widths[-2::-1]:
            self.enlarge.append(nn.ConvTranspose2d(2 * outputs, outputs, 2, stride=2))
        for outputs in widths[-2::-1]:
            self.up.append(self.pair(2 * outputs, outputs, norm))
        self.head = nn.Conv2d(width, classes, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    @staticmethod
    def pair(inputs, outputs, norm):
        layers = []
        for before in (inputs, outputs):
            layers.append(nn.Conv2d(before, outputs, 3, padding=1, bias=norm == "none"))
            layers += {
                "batch": [nn.BatchNorm2d(outputs)],
                "group": [nn.GroupNorm(outputs // 2, outputs)],
                "none": [],
            }[norm]
            layers.append(nn.ReLU())
        return nn.Sequential(*layers)

    def forward(self, features):
        skips = []
        for down in self.down:
            features = down(F.max_pool2d(features, 2) if skips else features)
            skips.append(features)
        for enlarge, up, skip in zip(self.enlarge, self.up, skips[-2::-1], strict=True):
            features = up(torch.cat([skip, enlarge(features)], dim=1))
        return self.head(features)


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
def test_without_settings_it_is_bit_for_bit_the_network_that_it_was(norm):
    # Of 4 and 8 channels, group norm makes groups of two.
    with torch.random.fork_rng():
        torch.manual_seed(5)
        was = AsItWas(2, 3, 4, 2, norm)
        torch.manual_seed(5)
        # A description from before the settings were there.
        now = build({"name": "unet", "channels": 2, "classes": 3, "width": 4, "levels": 2, "norm": norm})
    assert list(now.state_dict()) == list(was.state_dict())
    assert all(torch.equal(weight, was.state_dict()[name]) for name, weight in now.state_dict().items())
    pixels = torch.randn(2, 2, 12, 8, generator=torch.Generator().manual_seed(0))
    for mode in (True, False):  # in training, then with the statistics of that
        assert torch.equal(now.train(mode)(pixels), was.train(mode)(pixels))


@given(
    variant=variants,
    norm=st.sampled_from(sorted(NORMS)),
    levels=st.integers(1, 4),
    max_width=st.sampled_from([None, 2, 6]),
    size=st.tuples(st.integers(1, 30), st.integers(1, 30)),
)
def test_logits_have_the_height_and_width_of_any_image(variant, norm, levels, max_width, size):
    net = unet(2, 3, width=2, levels=levels, norm=norm, max_width=max_width, **variant)
    with torch.no_grad():
        logits = net(random_pixels(2, 2, *size))
    assert logits.shape == (2, 3, *size)
    assert logits.isfinite().all()


@each_variant
@pytest.mark.parametrize("norm", sorted(NORMS))
def test_every_parameter_learns(variant, norm):
    net = unet(2, 3, levels=4, norm=norm, deep_supervision=True, **variant).train()
    net.set_normalization([128] * 2, [74] * 2)
    sum(level.square().mean() for level in net(random_pixels(2, 2, 40, 40))).backward()
    still = [name for name, weight in net.named_parameters() if not weight.grad.abs().sum() > 0]
    assert still == []


@each_variant
@pytest.mark.parametrize("norm", sorted(NORMS))
def test_no_image_of_a_batch_looks_at_another(variant, norm):
    net = with_statistics(unet(norm=norm, **variant))
    pixels = random_pixels(3, 1, 20, 12)
    others = pixels.clone()
    others[[0, 2]] = random_pixels(2, 1, 20, 12, seed=1)
    with torch.no_grad():
        assert torch.equal(net(pixels)[1], net(others)[1])
        assert not torch.equal(net(pixels)[0], net(others)[0])


@each_variant
@pytest.mark.parametrize("levels", [1, 2, 3, 4])
def test_the_halo_as_tried_is_that_of_the_formula(variant, levels):
    net = unet(2, width=2, levels=levels, **variant)
    assert reach.halo(net) == net.halo == halo(levels, variant["upsampling"])


@pytest.mark.parametrize("norm", ["group", "instance"])
def test_norms_over_a_tile_leave_no_halo(norm):
    net = unet(norm=norm, levels=2)
    assert net.halo is None
    assert reach.halo(net) is None


@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize("levels", [1, 2, 3, 4, 5])
def test_the_receptive_field_of_bilinear_up_sampling_is_the_mean_support_of_the_gradient(levels, attention):
    net = unet(classes=1, width=1, levels=levels, norm="none", upsampling="bilinear", attention=attention)
    net.pool = nn.AvgPool2d(2)
    for weight in net.parameters():  # no path may end in a ReLU, or cancel another
        nn.init.constant_(weight, 0.1 if weight.ndim == 4 else 0)
    factor, side = net.factor, (receptive_field(levels, "bilinear") // net.factor + 3) * 2 * net.factor
    seen = []
    for row in range(side // 2, side // 2 + factor):
        pixels = torch.full((1, 1, side, factor), 1e-3, requires_grad=True)
        net(pixels)[0, 0, row, 0].backward()
        rows = (pixels.grad[0, 0] != 0).any(dim=1).nonzero()[:, 0]
        assert 0 < rows[0] < rows[-1] < side - 1
        seen.append(len(rows))
    assert np.mean(seen) == receptive_field(levels, "bilinear") == net.receptive_field


@given(patch=st.integers(1, 2000))
def test_the_levels_for_a_patch_are_those_of_the_up_sampling(patch):
    # Half-way between 20, 50, 110, 230 and 470 lie 35, 80, 170 and 350.
    assert levels_for(patch, "bilinear") == 2 + sum(patch > middle for middle in (35, 80, 170, 350))


def test_a_residual_block_adds_what_goes_around_before_the_last_relu():
    block = Residual(1, 2, "none")
    with torch.no_grad():
        for weight in block.parameters():
            weight.zero_()
        block.body[0].weight[:, 0, 1, 1] = torch.tensor(
            [1.0, -1.0]
        )  # x and, by the ReLU in between, nothing of -x
        block.body[2].weight[0, 0, 1, 1] = 10
        block.body[2].weight[1, 0, 1, 1] = -10
        block.around[0].weight[:, 0, 0, 0] = torch.tensor([1.0, 4.0])
        out = block(torch.tensor([[[[3.0, -2.0]]]]))
    # 10 x 3 + 3 and -10 x 3 + 4 x 3 < 0; of -2, whose body is 0, -2 and 4 x -2: all below 0.
    assert out.tolist() == [[[[33, 0]], [[0, 0]]]]


def test_where_the_features_stay_as_many_what_goes_around_is_untouched():
    assert isinstance(Residual(4, 4, "batch").around, nn.Identity)
    assert isinstance(Residual(2, 4, "batch").around, nn.Sequential)


def test_a_gate_weighs_each_pixel_by_itself_and_by_what_comes_from_below():
    gate = Gate(1)
    with torch.no_grad():
        gate.seen.weight.fill_(2), gate.below.weight.fill_(3), gate.below.bias.fill_(-1)
        gate.attention.weight.fill_(0.5), gate.attention.bias.fill_(-2)
        out = gate(torch.tensor([[[[2.0, 2.0, -9.0]]]]), torch.tensor([[[[1.0, 0.0, 1.0]]]]))
    # ReLUs of 4 + 3 - 1, 4 + 0 - 1, -18 + 3 - 1; halves of that less 2: 1, -1/2, -2.
    by_hand = [2 / (1 + np.exp(-1)), 2 / (1 + np.exp(0.5)), -9 / (1 + np.exp(2))]
    torch.testing.assert_close(out, torch.tensor([[[by_hand]]], dtype=torch.float32))


def test_a_gate_between_the_levels_weighs_what_was_seen_and_not_what_comes_from_below():
    net = unet(width=4, levels=2, attention=True)
    joined = []
    net.up[0].register_forward_pre_hook(lambda _, inputs: joined.append(inputs[0]))
    pixels = random_pixels(1, 1, 4, 4)
    with torch.no_grad():
        net(pixels)
        gate, net.gates = net.gates, nn.ModuleList()
        net(pixels)
    gated, plain = joined
    seen, below = plain.split(4, dim=1)
    with torch.no_grad():
        assert torch.equal(gated, torch.cat([gate[0](seen, below), below], dim=1))
    assert not torch.equal(gated, plain)


def test_bilinear_up_sampling_works_as_by_hand():
    up = UPSAMPLINGS["bilinear"](2, 1)
    with torch.no_grad():
        up[0].weight[0, :, 0, 0] = torch.tensor([1.0, 10.0])
        up[0].bias.fill_(1)
        out = up(torch.tensor([[[[1.0, 3.0]], [[2.0, 0.0]]]]))
    # 1 + 20 + 1 and 3 + 0 + 1; between them three quarters of the nearer and a quarter of the other.
    assert out.tolist() == [[[[22, 17.5, 8.5, 4]] * 2]]


def test_instance_norm_is_torchs_with_scales_and_offsets():
    torchs, ours = nn.InstanceNorm2d(3, affine=True), NORMS["instance"](3)
    with torch.no_grad():
        ours.weight[:], ours.bias[:] = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([-1.0, 0.0, 5.0])
    torchs.load_state_dict(ours.state_dict())
    features = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0)) * 7 + 3
    torch.testing.assert_close(ours(features), torchs(features))
    torch.testing.assert_close(ours(features).mean(dim=(2, 3)), ours.bias.expand(2, 3))


# By hand, for 1 channel, 2 classes, width 2, 2 levels, as in test_unet: 378 weights of 3x3 convolutions, 34 of the enlarging,
# 6 of the head, and two numbers for each of 16 outputs of the norm. Around blocks go 1x1 convolutions 1>2, 2>4, 4>2: 18
# weights and 8 outputs with norms. A gate has 2 + 2 + 1 for one feature between, and 2 more. Bilinear: 4 x 2 + 2 for 34.
@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({}, 450),
        ({"norm": "instance"}, 450),
        ({"residual": True}, 450 + 18 + 16),
        ({"residual": True, "norm": "none"}, 434 + 18 + 8),
        ({"attention": True}, 450 + 7),
        ({"upsampling": "bilinear"}, 450 - 34 + 10),
        # All of level 1 is 2 wide, too: 2>2, 2>2 for 2>4, 4>4, the enlarging 2>2, and four outputs less.
        ({"max_width": 2}, 450 - (72 + 144 - 36 - 36) - (34 - 18) - 8),
        ({"max_width": 4}, 450),
    ],
)  # fmt: skip
def test_parameters_number_as_by_hand(settings, count):
    net = unet(width=2, levels=2, **settings)
    assert sum(weight.numel() for weight in net.parameters()) == count


def test_no_level_is_wider_than_the_most():
    net = unet(width=4, levels=5, max_width=12)
    assert [down[0].out_channels for down in net.down] == [4, 8, 12, 12, 12]
    assert [up[0].out_channels for up in net.up] == [12, 12, 8, 4]


@each_variant
def test_all_batch_norms_fold_and_the_function_stays(variant):
    net = with_statistics(unet(2, 3, **variant))
    pixels = random_pixels(2, 2, 20, 12).float() / 255
    flat = folded(net)
    assert not [module for module in flat.modules() if isinstance(module, nn.BatchNorm2d)]
    with torch.no_grad():
        torch.testing.assert_close(flat(pixels), net(pixels), rtol=0, atol=1e-5)


@each_variant
def test_the_signal_keeps_its_size_through_a_deep_network_without_norms(variant):
    net = unet(classes=8, width=16, levels=5, norm="none", **variant)
    with torch.no_grad():
        logits = net(torch.randn(2, 1, 48, 48, generator=torch.Generator().manual_seed(0)))
    assert 0.3 < logits.std() < 10


@each_variant
def test_a_network_is_built_again_from_its_description_and_weights(variant):
    spec = {"name": "unet", "channels": 1, "classes": 2, "width": 2, "levels": 3, "max_width": 6, **variant}
    first, again = build(spec), build(spec)
    again.load_state_dict(first.state_dict())
    pixels = random_pixels(1, 1, 9, 7)
    with torch.no_grad():
        assert torch.equal(first.eval()(pixels), again.eval()(pixels))
