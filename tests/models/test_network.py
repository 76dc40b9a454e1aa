"""How far networks see, as found by trying, against what is known of them."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from patchseg.models import defaults, reach, spec_of
from patchseg.models.network import Network
from patchseg.models.unet import UNet, halo


class Tried(Network):
    """A network of any function of features."""

    def __init__(self, decide, factor=1):
        super().__init__(1)
        self.factor, self.function = factor, decide

    def decide(self, features):
        return self.function(features)


@pytest.mark.parametrize("levels", [1, 2, 3, 4, 5])
def test_the_halo_of_a_unet_as_tried_is_that_of_its_formula(levels):
    assert reach.halo(UNet(channels=2, classes=2, width=2, levels=levels)) == halo(levels)


def test_a_convolution_of_seven_sees_three_pixels():
    assert Tried(nn.Conv2d(1, 2, 7, padding=3)).eval().halo == 3


def test_the_halo_is_a_multiple_of_the_factor():
    assert Tried(nn.Conv2d(1, 2, 7, padding=3), factor=4).eval().halo == 4


def test_what_looks_at_the_mean_of_a_tile_has_no_halo():
    assert Tried(lambda features: features + features.mean(dim=(2, 3), keepdim=True)).halo is None
    assert UNet(channels=1, classes=2, width=4, levels=2, norm="group").halo is None
    assert reach.halo(UNet(channels=1, classes=2, width=4, levels=2, norm="group")) is None


def test_nor_has_what_resamples_by_the_size_of_a_tile():
    def corners(features):
        small = F.avg_pool2d(features, 4)
        return F.interpolate(small, features.shape[-2:], mode="bilinear", align_corners=True)

    def centres(features):
        small = F.avg_pool2d(features, 4)
        return F.interpolate(small, features.shape[-2:], mode="bilinear", align_corners=False)

    assert Tried(corners, factor=4).halo is None
    assert Tried(centres, factor=4).halo == 4


def test_trying_leaves_the_network_as_it_was():
    network = UNet(channels=1, classes=2, width=2, levels=2).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    reach.halo(network)
    assert network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_a_spec_has_the_settings_of_its_network_only():
    given = {"name": "unet", "width": None, "levels": 3, "norm": "group", "encoder": "resnet34"}
    assert spec_of(given, 1, 2) == {
        "name": "unet", "channels": 1, "classes": 2, **defaults("unet"), "levels": 3, "norm": "group",
    }  # fmt: skip
