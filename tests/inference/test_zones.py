from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from patchseg.errors import UsageError
from patchseg.imaging import ArraySource, Box
from patchseg.inference.predictor import Predictor
from patchseg.inference.stream import stream
from patchseg.inference.zones import Zones, spans
from patchseg.models.unet import UPSAMPLINGS, UNet, halo

CPU = torch.device("cpu")
factors = st.sampled_from([1, 2, 4, 8])


@st.composite
def axes(draw):
    """Draw size, tile, halo and factor of an axis that can be tiled."""
    factor = draw(factors)
    reach = factor * draw(st.integers(0, 4))
    tile = 2 * reach + factor * draw(st.integers(1, 6))
    return draw(st.integers(1, 200)), tile, reach, factor


@given(axes())
def test_zones_lie_side_by_side_and_have_their_halo_wherever_the_image_goes_on(axis):
    size, tile, reach, factor = axis
    found = spans(*axis)
    assert [pixel for span in found for pixel in range(span.zone_start, span.zone_stop)] == list(range(size))
    for span in found:
        assert 0 <= span.start <= span.zone_start < span.zone_stop <= span.stop <= size
        assert span.start == 0 or span.zone_start - span.start >= reach
        assert span.stop == size or span.stop - span.zone_stop >= reach
        assert span.start % factor == span.zone_start % factor == 0
        # The network pads right and below to a multiple: a tile is as large then as all others.
        padded = -(-(span.stop - span.start) // factor) * factor
        assert padded == tile or len(found) == 1


def test_a_row_of_zones_worked_by_hand():
    # Tiles of 8 with a halo of 2, zones of 4; the last one starts at 8 = 16 - 8 and lacks the column that 15 lacks.
    assert [tuple(span) for span in spans(15, 8, 2, 2)] == [(0, 8, 0, 6), (4, 12, 6, 10), (8, 15, 10, 15)]
    assert [tuple(span) for span in spans(8, 8, 2, 2)] == [(0, 8, 0, 8)]
    assert [tuple(span) for span in spans(9, 8, 2, 2)] == [(0, 8, 0, 6), (2, 9, 6, 9)]


@pytest.mark.parametrize(("tile", "smallest"), [(96, 104), (103, 104), (100, 104)])
def test_tiles_that_cannot_be_exact_are_refused_with_the_smallest_that_can(tile, smallest):
    with pytest.raises(UsageError, match=rf"tiles of {tile} pixels .* multiple of 8, {smallest} or more"):
        Zones((500, 500), tile, 48, 8)


def trained(levels, norm="batch", **settings):
    """Return a network whose norms have seen something, in evaluation mode."""
    with torch.random.fork_rng():
        torch.manual_seed(levels)
        network = UNet(channels=2, classes=3, width=4, levels=levels, norm=norm, **settings)
        network.set_normalization([100, 120], [50, 60])
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 2)
    return network.eval()


def positive(levels, **settings):
    """Return a network in which everything that is reached counts: no weight is negative, and poolings average."""
    network = trained(levels, "none", **settings).double()
    network.pool = nn.AvgPool2d(2)
    network.mean[:], network.std[:] = 0, 1
    for weight in network.parameters():
        nn.init.constant_(weight, 0.1)
    return network


@pytest.mark.parametrize("upsampling", ["transposed", "bilinear"])
@pytest.mark.parametrize("levels", [1, 2, 3, 4, 5])
def test_the_halo_holds_all_pixels_that_a_zone_depends_on_and_one_step_less_does_not(levels, upsampling):
    network = positive(levels, upsampling=upsampling)
    reach, factor = halo(levels, upsampling), 2 ** (levels - 1)
    start, stop = 2 * reach, 2 * reach + factor  # the smallest aligned zone, far from all borders
    pixels = torch.ones(1, 2, stop + 2 * reach, stop + 2 * reach, dtype=torch.float64, requires_grad=True)
    # The network works in float32 where pixels come in.
    network.float()(pixels.float())[..., start:stop, start:stop].sum().backward()
    seen = (pixels.grad[0, 0] != 0).nonzero()
    first, last = seen.min().item(), seen.max().item()
    assert start - reach <= first < start - reach + factor
    assert stop + reach > last >= stop + reach - factor


def joined(zones, pixels, network, batch=3):
    source, predict = ArraySource(pixels), Predictor([network], CPU)
    rows = stream(source, predict, zones, classes=3, window="flat", batch=batch, device=CPU)
    return torch.cat(list(rows), dim=1)


@pytest.mark.parametrize("levels", [1, 2, 3])
@given(st.tuples(st.integers(1, 130), st.integers(1, 130)), st.integers(1, 5), st.integers(0, 2**32 - 1))
@settings(max_examples=15)
def test_zones_put_together_equal_one_big_forward(levels, shape, more, seed):
    network, factor = trained(levels), 2 ** (levels - 1)
    zones = Zones(shape, 2 * halo(levels) + more * factor, halo(levels), factor)
    pixels = np.random.default_rng(seed).integers(0, 256, (*shape, 2), np.uint8)
    with torch.inference_mode():
        whole = network(torch.from_numpy(pixels).permute(2, 0, 1)[None])[0].softmax(0)
    torch.testing.assert_close(joined(zones, pixels, network), whole, rtol=0, atol=1e-5)


@given(
    residual=st.booleans(),
    attention=st.booleans(),
    upsampling=st.sampled_from(sorted(UPSAMPLINGS)),
    levels=st.integers(1, 3),
    shape=st.tuples(st.integers(1, 100), st.integers(1, 100)),
    seed=st.integers(0, 2**32 - 1),
)
def test_so_they_do_whatever_the_network_is_made_of(shape, seed, levels, **variant):
    network = trained(levels, max_width=6, **variant)
    zones = Zones(shape, 2 * network.halo + network.factor, network.halo, network.factor)
    pixels = np.random.default_rng(seed).integers(0, 256, (*shape, 2), np.uint8)
    with torch.inference_mode():
        whole = network(torch.from_numpy(pixels).permute(2, 0, 1)[None])[0].softmax(0)
    torch.testing.assert_close(joined(zones, pixels, network), whole, rtol=0, atol=1e-5)


@given(st.tuples(st.integers(1, 100), st.integers(1, 100)), st.data())
@settings(max_examples=25)
def test_a_part_has_the_bytes_that_it_has_in_the_whole(shape, data):
    top, left = (data.draw(st.integers(0, side - 1)) for side in shape)
    height, width = (
        data.draw(st.integers(1, side - start)) for side, start in zip(shape, (top, left), strict=True)
    )
    zones, network = Zones(shape, 24, 8, 2), trained(2)
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 2), np.uint8)
    part = joined(replace(zones, part=Box(top, left, height, width)), pixels, network, batch=2)
    whole = joined(zones, pixels, network, batch=2)[:, top : top + height, left : left + width]
    assert part.shape[1:] == (height, width)
    assert torch.equal(part, whole)


def test_a_group_or_instance_norm_sees_the_whole_tile_so_there_is_no_halo():
    assert UNet(channels=1, classes=2, norm="group").halo is None
    assert UNet(channels=1, classes=2, norm="instance").halo is None
    assert UNet(channels=1, classes=2, norm="batch").halo == 48
