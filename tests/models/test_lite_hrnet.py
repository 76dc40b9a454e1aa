"""Lite-HRNet against the tables of its paper (arXiv:2104.06403) and what is published of its further sizes."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from patchseg.models import MODELS, reach
from patchseg.models.channel_weighting import Weighting
from patchseg.models.lite_hrnet import Fusion, Shuffle

torch.set_num_threads(1)

SIZES = ["s", "18", "x"]


def lite_hrnet(size, channels=3, classes=2):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MODELS[f"lite_hrnet_{size}"](channels=channels, classes=classes).eval()


def random_features(*shapes):
    draw = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=draw) for shape in shapes]


@pytest.mark.parametrize(
    ("size", "branches"),
    [
        ("s", [(60, 32, 24), (120, 16, 12), (240, 8, 6)]),
        ("18", [(40, 64, 48), (80, 32, 24), (160, 16, 12), (320, 8, 6)]),  # table 1
        ("x", [(18, 128, 96), (60, 64, 48), (80, 32, 24), (160, 16, 12), (320, 8, 6)]),
    ],
)
def test_branches_of_256_x_192_pixels_have_the_published_sizes(size, branches):
    net = lite_hrnet(size)
    with torch.no_grad():
        found = net.encoder(torch.zeros(1, 3, 256, 192))
    assert [tuple(features.shape[1:]) for features in found] == branches
    assert net.factor == 32


# Modules of two blocks and a fusion; table 1 for the 18.
@pytest.mark.parametrize(("size", "modules"), [("s", [4, 4]), ("18", [2, 4, 2]), ("x", [2, 4, 4, 2])])
def test_stages_have_the_published_modules(size, modules):
    stages = lite_hrnet(size).encoder.stages
    assert [[type(block) for block in stage.blocks] for stage in stages] == [
        [Weighting, Weighting, Fusion] * count for count in modules
    ]


# 1.1 million is the paper's, the others are the published 3.2 and 5.7 MB at 4 bytes a weight.
@pytest.mark.parametrize(("size", "weights"), [("s", 0.8e6), ("18", 1.1e6), ("x", 1.425e6)])
def test_weights_number_as_published(size, weights):
    count = sum(weight.numel() for weight in lite_hrnet(size).parameters())
    assert count == pytest.approx(weights, rel=0.05)


def test_operations_of_the_18_are_those_of_the_paper():
    # 205.2 million multiplications for 256 x 192 pixels and 17 joints, all layers counted; ours are in convolutions.
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        lite_hrnet("18", classes=17)(torch.zeros(1, 3, 256, 192))
    assert 0.95 * 205.2e6 < counter.get_total_flops() / 2 < 205.2e6


def test_a_block_weighs_one_half_of_the_features_and_takes_turns_with_the_other():
    fine, coarse = random_features((2, 8, 8, 12), (2, 16, 4, 6))
    block = Weighting((8, 16), 2).eval()
    with torch.no_grad():
        outputs = block([fine, coarse])
    for before, after in zip((fine, coarse), outputs, strict=True):
        half = before.shape[1] // 2
        assert after.shape == before.shape
        assert torch.equal(after[:, 0::2], before[:, :half])
        assert not torch.isclose(after[:, 1::2], before[:, half:]).any(dim=(0, 2, 3)).all()


def test_weights_over_resolutions_come_from_all_branches():
    # The weights of the fine branch change with the coarse one, by the same factor in all of a cell of it.
    fine, coarse, other = random_features((1, 8, 8, 8), (1, 16, 4, 4), (1, 16, 4, 4))
    block = Weighting((8, 16), 2).eval()
    seen = []
    block.depthwise[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        block([fine, coarse])
        block([fine, other])
    first, second = (weighed / fine[:, 4:] for weighed in seen)
    assert not torch.allclose(first, second)
    cells = first.unflatten(3, (4, 2)).unflatten(2, (4, 2))  # (1, 4, 4, 2, 4, 2)
    torch.testing.assert_close(cells, cells[:, :, :, :1, :, :1].expand_as(cells))
    assert ((first > 0) & (first < 1)).all()


def test_a_fusion_adds_what_every_branch_says_to_each():
    branches = random_features((1, 4, 8, 8), (1, 6, 4, 4), (1, 8, 2, 2))
    fusion = Fusion((4, 6, 8)).eval()
    with torch.no_grad():
        before = fusion(branches)
        assert [features.shape for features in before] == [features.shape for features in branches]
        for changed in range(3):
            others = [
                features + (place == changed) * torch.randn_like(features)
                for place, features in enumerate(branches)
            ]
            for one, two in zip(before, fusion(others), strict=True):
                assert not torch.equal(one, two)


@pytest.mark.parametrize(("step", "height"), [(1, 8), (2, 4)])
def test_a_shuffle_block_keeps_the_features_and_divides_the_resolution(step, height):
    features = random_features((1, 12, 8, 8))[0]
    with torch.no_grad():
        after = Shuffle(12, step).eval()(features)
    assert after.shape == (1, 12, height, height)
    if step == 1:
        assert torch.equal(after[:, 0::2], features[:, :6])


@pytest.mark.parametrize("size", SIZES)
def test_a_pixel_sees_the_whole_tile_so_there_is_no_halo(size):
    net = lite_hrnet(size, channels=1)
    assert net.halo is None
    assert reach.halo(net) is None
