"""ENet against the tables of its paper (arXiv:1606.02147)."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from patchseg.models import reach
from patchseg.models.enet import ENet

torch.set_num_threads(1)


def enet(channels=3, classes=20, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return ENet(channels=channels, classes=classes).eval()


def test_stages_have_the_sizes_of_table_1():
    net, seen = enet(), {}
    parts = {
        "initial": net.encoder.joined, "1.0": net.encoder.down1, "1.4": net.encoder.stage1,
        "2.0": net.encoder.down2, "2.8": net.encoder.stage2, "3.8": net.encoder.stage3,
        "4.0": net.up4, "4.2": net.stage4, "5.0": net.up5, "5.1": net.stage5, "full": net.head,
    }  # fmt: skip
    for name, part in parts.items():
        part.register_forward_hook(
            lambda _, __, out, name=name: seen.update(
                {name: tuple((out[0] if isinstance(out, tuple) else out).shape[1:])}
            )
        )
    with torch.no_grad():
        net(torch.zeros(1, 3, 512, 512))
    assert seen == {
        "initial": (16, 256, 256), "1.0": (64, 128, 128), "1.4": (64, 128, 128),
        "2.0": (128, 64, 64), "2.8": (128, 64, 64), "3.8": (128, 64, 64),
        "4.0": (64, 128, 128), "4.2": (64, 128, 128), "5.0": (16, 256, 256), "5.1": (16, 256, 256),
        "full": (20, 512, 512),
    }  # fmt: skip


def test_weights_and_operations_are_those_of_the_paper():
    # 0.37 million weights, and 3.83 billion operations for 640 x 360 pixels, of which we count those in convolutions.
    net = enet()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.zeros(1, 3, 360, 640))
    assert round(sum(weight.numel() for weight in net.parameters()) / 1e6, 2) == 0.37
    assert 0.9 * 3.83e9 < counter.get_total_flops() < 3.83e9


def test_sections_2_and_3_have_the_dilations_and_kernels_of_table_1():
    for stage in (enet().encoder.stage2, enet().encoder.stage3):
        convolutions = [
            [(layer.kernel_size, layer.dilation[0]) for layer in block.branch if isinstance(layer, nn.Conv2d)]
            for block in stage
        ]
        regular, oblong = ((3, 3), 1), [((5, 1), 1), ((1, 5), 1)]
        assert [found[1:-1] for found in convolutions] == [
            [regular], [((3, 3), 2)], oblong, [((3, 3), 4)], [regular], [((3, 3), 8)], oblong, [((3, 3), 16)],
        ]  # fmt: skip


def test_dropout_is_a_hundredth_before_2_0_and_a_tenth_from_there():
    encoder = enet().encoder

    def drops(*parts):
        return {layer.p for part in parts for layer in part.modules() if isinstance(layer, nn.Dropout2d)}

    assert drops(encoder.down1, encoder.stage1) == {0.01}
    assert drops(encoder.down2, encoder.stage2, encoder.stage3) == {0.1}


@pytest.mark.parametrize(("channels", "features"), [(1, 16), (2, 16), (3, 16), (4, 17), (12, 25)])
def test_the_beginning_has_at_least_13_filters_and_16_features(channels, features):
    assert enet(channels).encoder.features == features
    assert enet(channels).encoder.initial.out_channels >= 13


def test_the_halo_is_what_trying_finds(monkeypatch):
    monkeypatch.setattr(reach, "_LARGEST", 2048)
    assert reach.halo(enet(1, 2)) == enet(1, 2).halo == 632
