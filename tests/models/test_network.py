"""How far networks see, as found by trying, against what is known of them."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from patchseg.models import defaults, reach, spec_of
from patchseg.models.network import Network
from patchseg.models.unet import UNet, halo, receptive_field


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


@pytest.mark.parametrize("dilation", [4, 24])
def test_a_dilated_convolution_sees_as_far_as_its_outer_rows(dilation):
    assert Tried(nn.Conv2d(1, 2, 3, padding=dilation, dilation=dilation)).halo == dilation


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


@pytest.mark.parametrize("levels", [1, 2, 3, 4, 5, 6])
def test_the_receptive_field_of_a_unet_as_tried_is_that_of_its_formula(levels):
    assert reach.receptive_field(UNet(channels=2, classes=2, width=2, levels=levels)) == receptive_field(
        levels
    )


@pytest.mark.parametrize(
    ("decide", "factor", "rows"),
    [
        (nn.Conv2d(1, 2, 7, padding=3), 1, 7),
        (nn.Conv2d(1, 2, 3, padding=4, dilation=4), 1, 3),  # every fourth row of nine
        (nn.Conv2d(1, 2, 3, padding=24, dilation=24), 1, 3),
        (nn.Sequential(nn.AvgPool2d(4), nn.Upsample(scale_factor=4)), 4, 4),
        # Of windows of 3 at every second row, each is shown twice.
        (nn.Sequential(nn.MaxPool2d(3, 2, padding=1), nn.Upsample(scale_factor=2)), 2, 3),
        # Two rows of each of the two cells between whose centres a row lies.
        (nn.Sequential(nn.AvgPool2d(2), nn.Upsample(scale_factor=2, mode="bilinear")), 2, 4),
    ],
)  # fmt: skip
def test_the_receptive_field_is_the_number_of_rows_that_decide_one(decide, factor, rows):
    assert reach.receptive_field(Tried(decide, factor)) == rows


def test_what_decides_a_row_unevenly_counts_by_its_mean():
    def every_other(features):  # even rows see themselves, odd ones the row above too
        shifted = F.pad(features, (0, 0, 1, 0))[..., :-1, :]
        odd = torch.arange(features.shape[-2]) % 2 == 1
        return torch.where(odd[:, None], features + shifted, features)

    assert reach.receptive_field(Tried(every_other, factor=2)) == 1.5


def test_what_looks_at_a_whole_tile_has_no_receptive_field():
    assert reach.receptive_field(UNet(channels=1, classes=2, width=4, levels=2, norm="group")) is None


def test_trying_leaves_the_network_as_it_was():
    network = UNet(channels=1, classes=2, width=2, levels=2).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    reach.halo(network)
    reach.receptive_field(network)
    assert network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_a_spec_has_the_settings_of_its_network_only():
    given = {"name": "unet", "width": None, "levels": 3, "norm": "group", "encoder": "resnet34"}
    assert spec_of(given, 1, 2) == {
        "name": "unet", "channels": 1, "classes": 2, **defaults("unet"), "levels": 3, "norm": "group",
    }  # fmt: skip
