"""Adaptive pooling by matrix products, against torch's own and by hand."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from patchseg.models.pooling import pooled, shares

torch.set_num_threads(1)


def features(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=200, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    rows=st.integers(1, 8),
    columns=st.integers(1, 8),
    seed=st.integers(0, 99),
)
def test_bins_are_those_of_torch_whatever_the_sides(height, width, rows, columns, seed):
    given = features(2, 3, height, width, seed=seed).double()
    expected = F.adaptive_avg_pool2d(given, (rows, columns))
    torch.testing.assert_close(pooled(given, (rows, columns)), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("bins", [1, 2, 3, 6])
@pytest.mark.parametrize("side", [1, 2, 5, 6, 7, 13])
def test_in_float32_they_differ_by_rounding(side, bins):
    given = features(2, 3, side, side + 4)
    expected = F.adaptive_avg_pool2d(given, bins)
    torch.testing.assert_close(pooled(given, (bins, bins)), expected, rtol=0, atol=1e-6)


def test_five_pixels_in_three_bins_and_two_in_three():
    # Bins of five: pixels 0 and 1; 1, 2 and 3; 3 and 4. Of two, which are fewer: 0; 0 and 1; 1.
    five = torch.tensor([[1, 3, 5, 7, 12]]).float()
    assert torch.equal(pooled(five, (1, 3)), torch.tensor([[2, 5, 9.5]]))
    assert shares(2, 3).tolist() == [[1, 0], [0.5, 0.5], [0, 1]]


def test_each_bin_is_a_mean_and_all_bins_of_a_multiple_are_blocks():
    assert torch.equal(shares(12, 3), torch.eye(3).repeat_interleave(4, dim=1) / 4)
    for side in range(1, 20):
        assert torch.allclose(shares(side, 7).sum(dim=1), torch.ones(7))


def test_the_mean_of_all_is_the_mean():
    given = features(2, 3, 5, 7)
    assert torch.equal(pooled(given, (1, 1)), given.mean((2, 3), keepdim=True))


def test_a_graph_of_it_holds_at_other_sizes():
    class Pooling(torch.nn.Module):
        def forward(self, given):
            return pooled(given, (3, 6))

    sides = dict.fromkeys((2, 3), torch.export.Dim.DYNAMIC)
    graph = torch.export.export(Pooling(), (features(1, 2, 9, 11),), dynamic_shapes={"given": sides}).module()
    for height, width in ((9, 11), (3, 6), (2, 50), (17, 4)):
        given = features(1, 2, height, width)
        torch.testing.assert_close(graph(given), F.adaptive_avg_pool2d(given, (3, 6)))
