import math
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from patchseg import parameters
from patchseg.errors import DataError
from patchseg.training.losses import LOSSES, balanced_weights, both, cross_entropy, dice

torch.set_num_threads(1)
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())


def batch(*, classes=3, size=(2, 5, 4), ignored=0.3, seed=0, dtype=torch.float64):
    """Return random logits (N, K, H, W) and truth (N, H, W) uint8 with some pixels to ignore."""
    draw = np.random.default_rng(seed)
    truth = draw.integers(0, classes, size, dtype=np.uint8)
    truth[draw.random(size) < ignored] = 255
    logits = torch.from_numpy(draw.normal(size=(size[0], classes, *size[1:])))
    return logits.to(dtype), torch.from_numpy(truth)


def of_probabilities(rows):
    """Return logits (1, K, 1, W) whose softmax has these probabilities, a row a class."""
    return torch.tensor(rows, dtype=torch.float64).log()[None, :, None]


def gradient(loss, logits, truth, weights=None):
    logits = logits.clone().requires_grad_()
    loss(logits, truth, weights).backward()
    return logits.grad


def slow_dice(logits, truth, weights):
    """Dice by its definition, a pixel at a time."""
    probabilities = logits.softmax(dim=1)
    costs = []
    for k in range(1, logits.shape[1]):
        overlap = total = 0.0
        for n, row, column in np.ndindex(*truth.shape):
            if truth[n, row, column] == 255:
                continue
            p, t = probabilities[n, k, row, column].item(), float(truth[n, row, column] == k)
            overlap += p * t
            total += p + t
        costs.append(1 - (2 * overlap + 1e-5) / (total + 1e-5))
    return np.average(costs, weights=weights[1:])


# Worked by hand: three classes, three pixels, the last one to ignore.
HAND = of_probabilities([[0.5, 0.25, 0.1], [0.25, 0.5, 0.1], [0.25, 0.25, 0.8]])
HAND_TRUTH = torch.tensor([[[0, 1, 255]]])


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (None, math.log(2)),  # both true classes have p = 1/2
        ([1.0, 3.0, 1.0], math.log(2)),
        ([0.0, 0.0, 1.0], 0.0),  # nothing that weighs
    ],
)
def test_cross_entropy_is_as_by_hand(weights, expected):
    weights = None if weights is None else torch.tensor(weights)
    assert cross_entropy(HAND, HAND_TRUTH, weights).item() == pytest.approx(expected, abs=1e-9)


def test_cross_entropy_weighs_pixels_by_their_true_class():
    # p = 1/2 where class 0 is true, 1/4 where class 1 is: (1 log 2 + 3 log 4) / 4 = 7/4 log 2.
    logits = of_probabilities([[0.5, 0.75], [0.5, 0.25]])
    got = cross_entropy(logits, torch.tensor([[[0, 1]]]), torch.tensor([1.0, 3.0]))
    assert got.item() == pytest.approx(1.75 * math.log(2))


def test_dice_is_as_by_hand():
    # Class 1: overlap 1/2, sums 3/4 + 1, so 4/7; class 2: 0 of 1/2 + 0, so 0. Background and pixel 3 are out.
    assert dice(HAND, HAND_TRUTH, None).item() == pytest.approx(1 - (4 / 7) / 2, abs=2e-5)
    assert dice(HAND, HAND_TRUTH, torch.tensor([9.0, 3.0, 1.0])).item() == pytest.approx(4 / 7, abs=2e-5)


def test_dice_sums_over_the_batch_before_it_divides():
    # One image holds class 1 on two pixels, half seen; one holds none, half imagined: 2 * 1 / (2 + 2).
    logits = torch.zeros(2, 2, 1, 2, dtype=torch.float64)
    truth = torch.tensor([[[1, 1]], [[0, 0]]])
    assert dice(logits, truth, None).item() == pytest.approx(0.5, abs=1e-5)


def test_dice_charges_nothing_for_a_class_neither_there_nor_predicted():
    # Class 2 is nowhere; class 1 has p = 1/2 on its one pixel: 2 * 1/2 / (1/2 + 1) = 2/3, averaged with 1.
    logits = of_probabilities([[1.0, 0.5], [1e-30, 0.5], [1e-30, 1e-30]])
    assert dice(logits, torch.tensor([[[0, 1]]]), None).item() == pytest.approx(1 / 6, abs=1e-5)


@given(seed=st.integers(0, 2**32 - 1), weights=st.lists(st.floats(0.01, 10), min_size=3, max_size=3))
@settings(max_examples=25, deadline=None)
def test_losses_agree_with_slow_references(seed, weights):
    logits, truth = batch(seed=seed)
    truth[0, 0, 0] = 0  # one pixel counts at least
    weight = torch.tensor(weights, dtype=torch.float64)
    reference = F.cross_entropy(logits, truth.long(), weight, ignore_index=255).item()
    slow = slow_dice(logits, truth, weights)
    assert cross_entropy(logits, truth, weight).item() == pytest.approx(reference, rel=1e-9)
    assert dice(logits, truth, weight).item() == pytest.approx(slow, rel=1e-9)
    assert both(logits, truth, weight).item() == pytest.approx(reference + slow, rel=1e-9)


@every_loss
@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 0.0]])
def test_gradients_are_those_of_finite_differences(loss, weights):
    logits, truth = batch(size=(2, 3, 2))
    weights = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: loss(x, truth, weights), logits.requires_grad_())


@every_loss
def test_ignored_pixels_have_no_gradient_and_the_others_do(loss):
    logits, truth = batch()
    moved = gradient(loss, logits, truth).abs().sum(dim=1) > 0
    assert torch.equal(moved, truth != 255)


@every_loss
def test_logits_at_ignored_pixels_change_nothing(loss):
    logits, truth = batch()
    other = torch.where((truth == 255)[:, None], 1e4 * torch.randn_like(logits), logits)
    assert torch.equal(loss(other, truth, None), loss(logits, truth, None))
    assert torch.equal(gradient(loss, other, truth), gradient(loss, logits, truth))


@every_loss
@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 3.0]])
def test_a_batch_of_nothing_but_ignored_pixels_costs_nothing_and_teaches_nothing(loss, weights):
    logits, truth = batch(ignored=1.1)
    weights = None if weights is None else torch.tensor(weights)
    assert loss(logits, truth, weights).item() == 0
    assert torch.equal(gradient(loss, logits, truth, weights), torch.zeros_like(logits))


@every_loss
def test_a_perfect_prediction_costs_nothing_and_its_opposite_much(loss):
    _, truth = batch(ignored=0)
    right = 50.0 * F.one_hot(truth.long(), 3).permute(0, 3, 1, 2)
    wrong = right.roll(1, dims=1)
    assert loss(right, truth, None).item() == pytest.approx(0, abs=1e-5)
    assert loss(wrong, truth, None).item() > 0.99


@every_loss
def test_truth_may_be_uint8_or_int64(loss):
    logits, truth = batch()
    assert torch.equal(loss(logits, truth, None), loss(logits, truth.long(), None))


@every_loss
def test_logits_of_bfloat16_are_summed_in_float32_under_autocast(loss):
    # 2 * 96 * 96 pixels: a sum in bfloat16 stops growing at 256.
    logits, truth = batch(size=(2, 96, 96), dtype=torch.bfloat16)
    weights = torch.tensor([0.5, 1.0, 1.5])
    with torch.autocast("cpu", torch.bfloat16):
        got = loss(logits, truth, weights)
    assert got.dtype == torch.float32
    assert got.item() == pytest.approx(loss(logits.double(), truth, weights).item(), rel=1e-5)


@every_loss
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_254_classes_fit_beside_the_ignored_value(loss, dtype):
    logits, truth = batch(classes=254)
    truth[0, 0, :2] = torch.tensor([253, 255])
    slope = gradient(loss, logits, truth.to(dtype))[0, 253, 0]
    assert slope[0] < 0  # the last class is wanted where it is the truth
    assert slope[1] == 0


def test_balanced_weights_are_as_by_hand():
    # Shares 0.98 and 0.02: 1 / ln 2 and 1 / ln 1.04, divided by their mean.
    rare, common = 1 / math.log(1.04), 1 / math.log(2)
    mean = (rare + common) / 2
    assert balanced_weights(np.array([98, 2])) == pytest.approx([common / mean, rare / mean])


@given(counts=st.lists(st.integers(0, 10**9), min_size=2, max_size=10).filter(any))
def test_balanced_weights_average_one_and_favour_the_rare(counts):
    weights = balanced_weights(np.array(counts))
    present = [weight for weight, count in zip(weights, counts, strict=True) if count]
    assert np.mean(present) == pytest.approx(1)
    assert all(weight == 0 for weight, count in zip(weights, counts, strict=True) if not count)
    assert sorted(present, reverse=True) == [
        w for _, w in sorted(zip(filter(None, counts), present, strict=True))
    ]


def test_balanced_weights_of_no_pixels_are_refused_in_a_sentence():
    with pytest.raises(DataError, match="only ignored pixels"):
        balanced_weights(np.zeros(3, dtype=np.int64))


def test_parameters_offer_exactly_the_losses_there_are():
    assert set(get_args(parameters.Loss)) == set(LOSSES)


@pytest.mark.gpu
@every_loss
def test_losses_run_deterministically_on_cuda(loss):
    logits, truth = (tensor.cuda() for tensor in batch(size=(4, 96, 96), dtype=torch.float32))
    torch.use_deterministic_algorithms(True)
    try:
        first, second = gradient(loss, logits, truth), gradient(loss, logits, truth)
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(first, second)
