"""Pooling with places and unpooling, against torch's own."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from patchseg.models.unpooling import pool, unpool

torch.set_num_threads(1)


def features(*shape, step=0.5, seed=0):
    """Return noise in coarse steps, so that many blocks hold their largest value more than once."""
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return (noise / step).round() * step


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    step=st.sampled_from([0.01, 1.0, 10.0]),
    layout=st.sampled_from([torch.contiguous_format, torch.channels_last]),
    seed=st.integers(0, 99),
)
def test_values_go_where_torchs_unpooling_puts_them(height, width, step, layout, seed):
    before = features(2, 3, 2 * height, 2 * width, step=step, seed=seed).contiguous(memory_format=layout)
    values, indices = F.max_pool2d(before, 2, return_indices=True)
    pooled, corners = pool(before)
    other = features(2, 3, height, width, step=0.01, seed=seed + 1)
    assert torch.equal(pooled, values)
    assert torch.equal(unpool(other, corners), F.max_unpool2d(other, indices, 2))


def test_of_equal_values_the_first_corner_is_taken_row_by_row():
    _, corners = pool(torch.tensor([[[[0.0, 0, 1, 2], [0, 0, 2, 2]]]]))
    assert unpool(torch.tensor([[[[7.0, 8]]]]), corners).tolist() == [[[[7, 0, 0, 8], [0, 0, 0, 0]]]]


def test_gradients_are_those_of_torchs_pooling_and_unpooling():
    found = []
    for own in (True, False):
        before = features(2, 3, 6, 8).requires_grad_()
        if own:
            values, corners = pool(before)
            placed = unpool(values.square(), corners)
        else:
            values, indices = F.max_pool2d(before, 2, return_indices=True)
            placed = F.max_unpool2d(values.square(), indices, 2)
        (placed * features(2, 3, 6, 8, seed=1)).sum().backward()
        found.append(before.grad)
    assert torch.equal(*found)


@pytest.mark.parametrize("corner", [0, 1, 2, 3])
def test_what_is_not_a_number_fills_the_whole_block(corner):
    before = features(1, 1, 4, 4)
    before[0, 0, corner // 2, corner % 2] = torch.nan
    placed = unpool(*pool(before))
    assert placed[..., :2, :2].isnan().all()
    assert placed.isnan().sum() == 4


def test_channels_last_stays_channels_last():
    before = features(2, 3, 6, 8).contiguous(memory_format=torch.channels_last)
    assert unpool(*pool(before)).is_contiguous(memory_format=torch.channels_last)
