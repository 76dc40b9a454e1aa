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
from patchseg.models.unet import UNet
from patchseg.training.losses import LOSSES, balanced_weights, loss_of, supervised

torch.set_num_threads(1)
cross_entropy, focal, dice = (loss_of(name) for name in ("ce", "focal", "dice"))


@pytest.fixture(params=LOSSES)
def loss(request):
    """Each loss there is."""
    return loss_of(request.param)


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


@pytest.mark.parametrize(
    ("weights", "expected"), [(None, 0.5 * (1 / 4 * 1 + 9 / 16 * 2)), ([1.0, 3.0], 29 / 32)]
)
def test_focal_is_as_by_hand(weights, expected):
    # p = 1/2 where class 0 is true, 1/4 where class 1 is: costs of 1/4 log 2 and 9/16 log 4.
    logits = of_probabilities([[0.5, 0.75, 0.1], [0.5, 0.25, 0.9]])
    weights = None if weights is None else torch.tensor(weights)
    got = focal(logits, torch.tensor([[[0, 1, 255]]]), weights)
    assert got.item() == pytest.approx(expected * math.log(2))


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
    both = loss_of("ce+dice")(logits, truth, weight)
    assert both.item() == pytest.approx(reference + slow, rel=1e-9)


@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 0.0]])
def test_gradients_are_those_of_finite_differences(loss, weights):
    logits, truth = batch(size=(2, 3, 2))
    weights = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: loss(x, truth, weights), logits.requires_grad_())


def test_ignored_pixels_have_no_gradient_and_the_others_do(loss):
    logits, truth = batch()
    moved = gradient(loss, logits, truth).abs().sum(dim=1) > 0
    assert torch.equal(moved, truth != 255)


def test_logits_at_ignored_pixels_change_nothing(loss):
    logits, truth = batch()
    other = torch.where((truth == 255)[:, None], 1e4 * torch.randn_like(logits), logits)
    assert torch.equal(loss(other, truth, None), loss(logits, truth, None))
    assert torch.equal(gradient(loss, other, truth), gradient(loss, logits, truth))


@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 3.0]])
def test_a_batch_of_nothing_but_ignored_pixels_costs_nothing_and_teaches_nothing(loss, weights):
    logits, truth = batch(ignored=1.1)
    weights = None if weights is None else torch.tensor(weights)
    assert loss(logits, truth, weights).item() == 0
    assert torch.equal(gradient(loss, logits, truth, weights), torch.zeros_like(logits))


def test_a_perfect_prediction_costs_nothing_and_its_opposite_much(loss):
    _, truth = batch(ignored=0)
    right = 50.0 * F.one_hot(truth.long(), 3).permute(0, 3, 1, 2)
    wrong = right.roll(1, dims=1)
    assert loss(right, truth, None).item() == pytest.approx(0, abs=1e-5)
    assert loss(wrong, truth, None).item() > 0.99


def test_truth_may_be_uint8_or_int64(loss):
    logits, truth = batch()
    assert torch.equal(loss(logits, truth, None), loss(logits, truth.long(), None))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_logits_of_half_precision_are_summed_in_float32_under_autocast(loss, dtype):
    # 2 * 96 * 96 pixels: a sum in bfloat16 stops growing at 256.
    logits, truth = batch(size=(2, 96, 96), dtype=dtype)
    weights = torch.tensor([0.5, 1.0, 1.5])
    with torch.autocast("cpu", dtype):
        got = loss(logits, truth, weights)
    assert got.dtype == torch.float32
    assert got.item() == pytest.approx(loss(logits.double(), truth, weights).item(), rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_254_classes_fit_beside_the_ignored_value(loss, dtype):
    logits, truth = batch(classes=254)
    truth[0, 0, :2] = torch.tensor([253, 255])
    slope = gradient(loss, logits, truth.to(dtype))[0, 253, 0]
    assert slope[0] < 0  # the last class is wanted where it is the truth
    assert slope[1] == 0


def test_weights_of_equal_size_change_nothing_whatever_their_size(loss):
    logits, truth = batch()
    for weight in (1.0, 0.01, 7.0):
        weighted = loss(logits, truth, torch.full((3,), weight, dtype=torch.float64))
        assert weighted.item() == pytest.approx(loss(logits, truth, None).item(), rel=1e-9)


def test_only_the_class_that_weighs_decides(loss):
    # All but class 2 weigh nothing, so it is the same whether they are confused with each other.
    _, truth = batch(ignored=0)
    confused = 50.0 * F.one_hot(torch.where(truth < 2, 1 - truth.long(), 2), 3).permute(0, 3, 1, 2)
    only = torch.tensor([0.0, 0.0, 1.0])
    assert loss(confused, truth, only).item() == pytest.approx(0, abs=1e-5)
    assert loss(confused.roll(1, dims=1), truth, only).item() > 0.99


def test_pictures_of_nothing_but_ignored_pixels_change_nothing(loss):
    (logits, truth), (others, _) = batch(), batch(seed=1)
    more = torch.cat([logits, others]), torch.cat([truth, torch.full_like(truth, 255)])
    assert loss(*more, None).item() == pytest.approx(loss(logits, truth, None).item(), rel=1e-9)


def test_gradients_of_float32_are_those_of_float64(loss):
    logits, truth = batch(size=(2, 256, 256), dtype=torch.float32)
    precise = gradient(loss, logits.double(), truth)
    assert (gradient(loss, logits, truth) - precise).abs().max() < 1e-3 * precise.abs().max()


# Sums, and the logits of several levels


@given(
    terms=st.lists(st.tuples(st.integers(1, 400), st.sampled_from(sorted(LOSSES))), min_size=1, max_size=4)
)
@settings(max_examples=25, deadline=None)
def test_a_sum_is_the_weighted_sum_of_its_terms_and_so_is_its_gradient(terms):
    logits, truth = batch()
    weights = torch.tensor([0.5, 2.0, 1.0])
    whole = loss_of(" + ".join(f"{weight / 100}*{name}" for weight, name in terms))
    parts = [(weight / 100, loss_of(name)) for weight, name in terms]
    expected = sum(weight * part(logits, truth, weights) for weight, part in parts)
    slope = sum(weight * gradient(part, logits, truth, weights) for weight, part in parts)
    assert whole(logits, truth, weights).item() == pytest.approx(expected.item(), rel=1e-9)
    assert gradient(whole, logits, truth, weights) == pytest.approx(slope, rel=1e-7, abs=1e-12)


def test_a_term_without_a_weight_has_weight_1_bit_for_bit():
    logits, truth = batch(dtype=torch.float32)
    assert torch.equal(
        loss_of("ce+dice")(logits, truth, None),
        cross_entropy(logits, truth, None) + dice(logits, truth, None),
    )


@pytest.mark.parametrize("spec", ["bce", "", "0*ce", "ce+"])
def test_what_is_no_sum_of_losses_is_refused(spec):
    with pytest.raises(ValueError, match=r"should be a sum such as .* of ce, dice, image_dice"):
        loss_of(spec)


def test_logits_that_are_no_list_cost_what_they_cost(loss):
    logits, truth = batch()
    assert torch.equal(supervised(loss)(logits, truth, None), loss(logits, truth, None))
    assert torch.equal(supervised(loss)([logits], truth, None), loss(logits, truth, None))


def test_levels_weigh_4_2_and_1_sevenths():
    # p(truth) is 1/2, 1/4, 1/8 throughout, so cross-entropy is 1, 2, 3 times log 2.
    levels = [
        torch.tensor([p, 1 - p]).log()[None, :, None, None].expand(1, 2, rows, columns)
        for p, rows, columns in ((1 / 2, 5, 3), (1 / 4, 3, 2), (1 / 8, 2, 1))
    ]
    got = supervised(cross_entropy)(levels, torch.zeros(1, 5, 3, dtype=torch.uint8), None)
    assert got.item() == pytest.approx((4 * 1 + 2 * 2 + 1 * 3) / 7 * math.log(2))


def test_the_truth_of_a_level_is_every_second_row_and_column_of_the_one_above(loss):
    _, truth = batch(size=(2, 7, 6))
    levels = [batch(size=(2, *size), seed=size[0])[0].requires_grad_() for size in ((7, 6), (4, 3), (2, 2))]
    total = supervised(loss)(levels, truth, None)
    total.backward()
    for level, each in enumerate(levels):
        expected = gradient(loss, each.detach(), truth[:, :: 2**level, :: 2**level])
        assert each.grad == pytest.approx((4, 2, 1)[level] / 7 * expected, rel=1e-9)


def test_every_head_of_a_network_learns():
    network = UNet(channels=1, classes=3, width=2, levels=5, deep_supervision=True).train()
    _, truth = batch(size=(2, 37, 50))
    supervised(loss_of("ce+dice"))(network(torch.rand(2, 1, 37, 50)), truth, None).backward()
    heads = [network.head, *network.deep_heads]
    assert len(heads) == 3
    assert all(head.weight.grad.abs().sum() > 0 for head in heads)


# The weights of classes


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
def test_losses_run_deterministically_on_cuda(loss):
    logits, truth = (tensor.cuda() for tensor in batch(size=(4, 96, 96), dtype=torch.float32))
    torch.use_deterministic_algorithms(True)
    try:
        first, second = gradient(loss, logits, truth), gradient(loss, logits, truth)
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(first, second)
