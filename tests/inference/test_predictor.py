import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from patchseg.inference.predictor import Predictor, most_probable
from patchseg.models.checkpoint import Checkpoint

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def predictor(make):
    return Predictor.of(make(channels=3, classes=3), CPU, "fp32")


def tiles(count, side=16, channels=3, seed=0, dtype=np.uint8):
    values = np.random.default_rng(seed).integers(0, 256, (count, side, side, channels))
    return torch.from_numpy(values.astype(dtype))


class Sums(nn.Module):
    """Gives the sum of all channels as the logit of class 0 and nothing for class 1; weighs nothing."""

    def forward(self, pixels):
        total = pixels.float().sum(dim=1)
        return torch.stack([total, torch.zeros_like(total)], dim=1)


def test_tiles_become_probabilities_as_worked_by_hand():
    # Logits (log 3, 0) and (0, 0): three to one, and even. Rows, columns and channels lie as in files.
    tile = torch.tensor([[[[np.log(2), np.log(1.5)], [0, 0]]]])  # (1, 1, 2, 2)
    probabilities = Predictor(Sums(), CPU)(tile)
    assert probabilities.shape == (1, 2, 1, 2)
    np.testing.assert_allclose(probabilities[0, :, 0], [[0.75, 0.5], [0.25, 0.5]], atol=1e-7)


@given(side=st.integers(1, 33), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_probabilities_sum_to_1(predictor, side, seed):
    probabilities = predictor(tiles(2, side, seed=seed))
    assert probabilities.shape == (2, 3, side, side)
    assert probabilities.dtype == torch.float32
    assert probabilities.min() >= 0
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2, side, side), rtol=0, atol=1e-6)


def test_probabilities_are_the_softmax_of_the_checkpoints_own_network(make, predictor):
    batch = tiles(2)
    with torch.no_grad():
        logits = make(channels=3, classes=3).network()(batch.permute(0, 3, 1, 2).contiguous())
    torch.testing.assert_close(predictor(batch), logits.softmax(1), rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.int32, np.float32, np.float64])
def test_pixels_of_any_dtype_give_the_same(predictor, dtype):
    assert torch.equal(predictor(tiles(2, dtype=dtype)), predictor(tiles(2)))


def test_16_bits_are_told_apart_up_to_the_last(make):
    predict = Predictor.of(make(dtype="uint16"), CPU, "fp32")
    bright = torch.full((1, 16, 16, 1), 65535, dtype=torch.uint16)
    less = torch.full((1, 16, 16, 1), 65535 - 200, dtype=torch.uint16)
    assert (predict(bright) - predict(less)).abs().max() > 1e-4


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15)
def test_a_tile_does_not_depend_on_the_others_in_its_batch_nor_on_its_place(predictor, seed):
    batch = tiles(4, seed=seed)
    expected = predictor(batch)
    for others in (torch.zeros_like(batch), batch.flip(0)):
        for place in (0, 3):
            changed = others.clone()
            changed[place] = batch[1]
            assert torch.equal(predictor(changed)[place], expected[1])


def test_no_gradient_is_kept_and_the_network_stays_in_evaluation_mode(make):
    checkpoint: Checkpoint = make(channels=3)
    network = checkpoint.network()
    assert not Predictor(network, CPU)(tiles(1)).requires_grad
    assert not network.training


def test_bf16_is_near_fp32_and_gives_float32(make, predictor):
    half = Predictor.of(make(channels=3, classes=3), CPU, "bf16")(tiles(2))
    assert half.dtype == torch.float32
    torch.testing.assert_close(half.sum(1), torch.ones(2, 16, 16), rtol=0, atol=1e-6)
    difference = (half - predictor(tiles(2))).abs()
    assert 0 < difference.max() < 0.1


@given(
    classes=st.integers(2, 254),
    levels=st.integers(1, 4),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60)
def test_the_most_probable_class_is_the_first_of_the_highest(classes, levels, height, width, seed):
    # Few levels, so that many are equal; numpy's argmax takes the first of equals.
    values = np.random.default_rng(seed).integers(0, levels, (classes, height, width)).astype(np.float32)
    result = most_probable(torch.from_numpy(values))
    assert result.dtype == torch.uint8
    np.testing.assert_array_equal(result, values.argmax(0))


def test_the_probabilities_stay_as_they_were():
    probabilities = torch.rand(3, 5, 5)
    before = probabilities.clone()
    most_probable(probabilities)
    assert torch.equal(probabilities, before)
