import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from patchseg.training.losses import loss_of
from patchseg.training.overlap import _slopes

torch.set_num_threads(1)
dice, image_dice, tversky, lovasz = (loss_of(name) for name in ("dice", "image_dice", "tversky", "lovasz"))


def of_probabilities(rows):
    """Return logits (1, K, 1, W) whose softmax has these probabilities, a row a class."""
    return torch.tensor(rows, dtype=torch.float64).log()[None, :, None]


# Worked by hand: three classes, three pixels, the last one to ignore.
HAND = of_probabilities([[0.5, 0.25, 0.1], [0.25, 0.5, 0.1], [0.25, 0.25, 0.8]])
HAND_TRUTH = torch.tensor([[[0, 1, 255]]])


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


def test_tversky_is_as_by_hand():
    # Class 1: 1/2 of 1/2 + 0.3 * 1/4 + 0.7 * 1/2 = 37/40, so 20/37; class 2: 0.
    assert tversky(HAND, HAND_TRUTH, None).item() == pytest.approx(1 - (20 / 37) / 2, abs=2e-5)
    assert tversky(HAND, HAND_TRUTH, torch.tensor([9.0, 3.0, 1.0])).item() == pytest.approx(22 / 37, abs=2e-5)


def test_tversky_minds_a_missed_pixel_more_than_an_imagined_one():
    # Of two pixels one is taken for class 1 that is so, beside one that is missed: 1 / 1.7 ...
    logits = of_probabilities([[1e-30, 1.0], [1.0, 1e-30]])
    assert tversky(logits, torch.tensor([[[1, 1]]]), None).item() == pytest.approx(1 - 1 / 1.7, abs=1e-5)
    # ... or beside one that is taken for it, too: 1 / 1.3.
    logits = of_probabilities([[1e-30, 1e-30], [1.0, 1.0]])
    assert tversky(logits, torch.tensor([[[1, 0]]]), None).item() == pytest.approx(1 - 1 / 1.3, abs=1e-5)


def test_dice_of_images_divides_before_it_averages():
    # p = 1/2 on 4 pixels: 3 are of class 1 in one image, so 3 / 5; 4 in another, so 4 / 6; none in the last, so 0.
    logits = torch.zeros(3, 2, 1, 4, dtype=torch.float64)
    truth = torch.tensor([[[0, 1, 1, 1]], [[1, 1, 1, 1]], [[0, 0, 0, 0]]])
    assert image_dice(logits[:2], truth[:2], None).item() == pytest.approx((2 / 5 + 1 / 3) / 2, abs=1e-5)
    assert image_dice(logits, truth, None).item() == pytest.approx((2 / 5 + 1 / 3 + 1) / 3, abs=1e-5)


def test_dice_of_one_image_is_that_of_a_batch_of_one_with_its_weights():
    for weights in (None, torch.tensor([9.0, 3.0, 1.0])):
        assert torch.equal(image_dice(HAND, HAND_TRUTH, weights), dice(HAND, HAND_TRUTH, weights))


# Lovász. Two classes on three pixels, the last to ignore; p of class 1 is 1/4, 1/2, 7/8 where 0, 1, 1 are true.
# Errors of both classes are 1/4, 1/2, 1/8. Class 1 has 2 pixels: the second goes wrong first (1/2 of the union), then
# the first is taken for it (from 1/2 to 1/3 right), then the third goes (1/3): 1/4 + 1/24 + 1/24 = 1/3. Class 0 has
# one: the second is taken for it (from 1 to 1/2 right), then it goes (1/2), the third adds nothing: 1/4 + 1/8 = 3/8.
SORTED = of_probabilities([[0.75, 0.5, 0.125, 0.9], [0.25, 0.5, 0.875, 0.1]])
SORTED_TRUTH = torch.tensor([[[0, 1, 1, 255]]])


@pytest.mark.parametrize(
    ("weights", "expected"), [(None, 17 / 48), ([1.0, 3.0], (3 / 8 + 3 / 3) / 4), ([0.0, 1.0], 1 / 3)]
)
def test_lovasz_is_as_by_hand(weights, expected):
    weights = None if weights is None else torch.tensor(weights)
    assert lovasz(SORTED, SORTED_TRUTH, weights).item() == pytest.approx(expected)


def test_lovasz_passes_over_classes_that_the_truth_does_not_have():
    # Class 0 alone is there, on one pixel of p = 1/4.
    logits = of_probabilities([[0.25], [0.5], [0.25]])
    assert lovasz(logits, torch.tensor([[[0]]]), None).item() == pytest.approx(0.75)


def draw(seed, shape=(2, 4, 5), classes=3):
    """Return truth and predicted classes (N, H, W) and probabilities (N, K, H, W); some pixels are to ignore."""
    generator = np.random.default_rng(seed)
    truth, predicted = generator.integers(0, classes, (2, *shape), dtype=np.uint8)
    truth[generator.random(shape) < 0.2] = 255
    truth[0, 0, 0] = 0
    return truth, predicted, generator.dirichlet(np.ones(classes), shape).transpose(0, 3, 1, 2)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_lovasz_of_certain_predictions_is_1_minus_iou(seed):
    truth, predicted, _ = draw(seed)
    logits = 200.0 * (torch.from_numpy(predicted)[:, None] == torch.arange(3)[:, None, None])
    labelled = truth != 255
    costs = []
    for k in np.unique(truth[labelled]):
        own, taken = (truth == k)[labelled], (predicted == k)[labelled]
        costs.append(1 - (own & taken).sum() / (own | taken).sum())
    assert lovasz(logits, torch.from_numpy(truth), None).item() == pytest.approx(np.mean(costs), abs=1e-6)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_lovasz_agrees_with_the_growth_of_the_jaccard_distance_pixel_by_pixel(seed):
    truth, _, probabilities = draw(seed)
    costs = []
    for k in np.unique(truth[truth != 255]):
        pixels = [
            (abs((truth[n, row, column] == k) - probabilities[n, k, row, column]), truth[n, row, column] == k)
            for n, row, column in np.ndindex(*truth.shape)
            if truth[n, row, column] != 255
        ]
        own = sum(is_own for _, is_own in pixels)
        cost, before, missed, imagined = 0.0, 0.0, 0, 0
        for error, is_own in sorted(pixels, reverse=True):
            missed, imagined = missed + is_own, imagined + (not is_own)
            distance = 1 - (own - missed) / (own + imagined)
            cost, before = cost + error * (distance - before), distance
        costs.append(cost)
    logits = torch.from_numpy(probabilities).log()
    assert lovasz(logits, torch.from_numpy(truth), None).item() == pytest.approx(np.mean(costs), rel=1e-9)


def test_slopes_sum_to_the_whole_distance():
    generator = torch.Generator().manual_seed(0)
    errors, hits = torch.rand(2, 100, generator=generator), torch.zeros(2, 100)
    hits[0, :30] = 1  # the second class is nowhere
    slopes = _slopes(errors, hits)
    assert (slopes >= 0).all()
    assert slopes.sum(dim=1) == pytest.approx([1, 0])


def test_lovasz_has_a_finite_gradient_where_certain_and_right():
    # All errors are 0, so nothing tells labelled pixels from those to ignore in the order.
    truth = torch.tensor([[[0, 1, 255, 1]]])
    logits = (200.0 * (truth[:, None] == torch.arange(2)[:, None, None])).requires_grad_()
    loss = lovasz(logits, truth, None)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))
