import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from patchseg.models.features import padded, watched
from patchseg.models.unet import UNet
from patchseg.training.augment import Augmentation
from patchseg.training.draws import Draws
from patchseg.training.objectives.contrast import (
    Projector,
    pooled,
    region_contrast,
    same_classes,
    same_regions,
    sampled,
)
from patchseg.training.recipe import Recipe

SEEDS = st.integers(0, 2**32 - 1)


def drawn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def slow(anchors, targets, alike, there, temperature):
    """Return the loss as the papers write it, anchor by anchor."""
    losses = []
    for i in range(len(anchors)):
        others = [a for a in range(len(anchors)) if a != i and there[a]]
        positives = [p for p in others if alike[i, p]]
        if not there[i] or not positives:
            continue
        weight = {
            a: math.exp(float(torch.cosine_similarity(anchors[i], targets[a], dim=0)) / temperature) for a in others
        }  # fmt: skip
        losses.append(-sum(math.log(weight[p] / sum(weight.values())) for p in positives) / len(positives))
    return sum(losses) / len(losses) if losses else 0.0


def test_two_images_of_two_regions_worked_by_hand():
    # Of images A and B, regions 0 and 1 each. All vectors lie on two axes; lengths do not count.
    x, y = [2.0, 0.0], [0.0, 3.0]
    first, second = [x, y, y, [-1.0, 0.0]], [x, x, y, y]
    vectors, ids = torch.tensor(first + second), torch.tensor([[0, 1], [0, 1]])
    there = torch.ones(8, dtype=torch.bool)
    # Each row: the score of the positive, and how many of the seven others have the scores 1, 0 and -1, at temperature 1.
    rows = [
        (1, 2, 4, 1),  # A0: x; x x | y y y y | -x
        (0, 3, 4, 0),  # A1: y; y y y | x x x -x
        (1, 3, 4, 0),  # B0: y
        (0, 0, 4, 3),  # B1: -x; nothing | y y y y | x x x
        (1, 2, 4, 1), (0, 2, 4, 1), (1, 3, 4, 0), (0, 3, 4, 0),  # the second view: x, x, y, y
    ]  # fmt: skip
    e = math.e
    losses = [math.log(one * e + zero + less / e) - positive for positive, one, zero, less in rows]
    found = region_contrast(vectors, vectors, same_regions(ids), there, temperature=1)
    torch.testing.assert_close(float(found), sum(losses) / 8, rtol=1e-6, atol=0)


def test_classes_worked_by_hand():
    # Three vectors of one class and one of another, one image in each of them and one view alone.
    vectors = torch.tensor([[1.0, 0], [1, 0], [0, 1], [1, 0]])
    alike = torch.tensor([[1, 1, 1, 0]] * 3 + [[0, 0, 0, 1]]).bool()
    e = math.e
    first = math.log(2 * e + 1) - (1 + 0) / 2  # others: x, y, x; positives x and y
    third = math.log(3)  # others: x, x, x, all at a score of 0
    found = region_contrast(vectors, vectors, alike, torch.ones(4).bool(), temperature=1)
    torch.testing.assert_close(float(found), (2 * first + third) / 3, rtol=1e-6, atol=0)


@given(SEEDS, st.booleans())
@settings(max_examples=30)
def test_the_loss_is_that_of_the_papers(seed, by_class):
    generator = np.random.default_rng(seed)
    images, regions = generator.integers(1, 4, 2)
    count = 2 * images * regions
    anchors, targets = drawn(count, 5, seed=seed % 1000), drawn(count, 5, seed=seed % 1000 + 1)
    if by_class:
        alike = same_classes(torch.from_numpy(generator.integers(0, 3, (images, regions))))
    else:
        alike = same_regions(torch.arange(regions).expand(images, regions))
    there = torch.from_numpy(generator.random(count) < 0.8)
    found = region_contrast(anchors, targets, alike, there)
    torch.testing.assert_close(float(found), slow(anchors, targets, alike, there, 0.1), rtol=1e-9, atol=1e-12)


def batch(images=2, regions=3, width=6):
    count = 2 * images * regions
    return drawn(count, width), drawn(count, width, seed=1), torch.ones(count, dtype=torch.bool)


@pytest.mark.parametrize("alike", [same_regions, same_classes])
def test_gradients_are_those_of_differences_of_the_loss(alike):
    anchors, targets, there = batch()
    there[4] = False
    kinds = alike(torch.arange(3).expand(2, 3))
    anchors.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda a: region_contrast(a, targets, kinds, there, temperature=0.5), anchors
    )


def test_no_gradient_reaches_the_targets():
    anchors, targets, there = (values.requires_grad_(values.is_floating_point()) for values in batch())
    kinds = same_regions(torch.arange(3).expand(2, 3))
    region_contrast(anchors, targets, kinds, there).backward()
    assert targets.grad is None
    assert anchors.grad.any(dim=1).all()
    # Of vectors that are both, only the anchors learn.
    (alone,) = torch.autograd.grad(region_contrast(anchors, anchors.detach(), kinds, there), anchors)
    (both,) = torch.autograd.grad(region_contrast(anchors, anchors, kinds, there), anchors)
    assert torch.equal(alone, both)


@given(SEEDS)
@settings(max_examples=15)
def test_neither_order_nor_length_nor_what_is_not_there_changes_the_loss(seed):
    anchors, targets, there = batch(images=2, regions=4)
    kinds, generator = (
        same_classes(torch.tensor([[0, 1, 2, 0], [1, 1, 2, 3]])),
        torch.Generator().manual_seed(seed),
    )
    there[torch.randperm(16, generator=generator)[:5]] = False
    expected = region_contrast(anchors, targets, kinds, there)
    order = torch.randperm(16, generator=generator)
    moved = region_contrast(anchors[order], targets[order], kinds[order][:, order], there[order])
    torch.testing.assert_close(moved, expected)
    lengths = torch.rand(16, 1, generator=generator, dtype=torch.float64) + 0.1
    torch.testing.assert_close(region_contrast(anchors * lengths, targets / lengths, kinds, there), expected)
    other = torch.where(there[:, None], anchors, 77), torch.where(there[:, None], targets, 0)
    torch.testing.assert_close(region_contrast(*other, kinds, there), expected)
    few = region_contrast(anchors[there], targets[there], kinds[there][:, there], there[there])
    torch.testing.assert_close(few, expected)


@pytest.mark.parametrize(
    "there",
    [
        pytest.param([False] * 4, id="no region"),
        pytest.param([True, False, False, False], id="one region"),
        pytest.param([True, True, False, False], id="no positive"),
        pytest.param([True, False, False, True], id="of other regions"),
    ],
)
def test_without_a_positive_the_loss_is_0_and_teaches_nothing(there):
    anchors = drawn(4, 3).requires_grad_()
    loss = region_contrast(anchors, anchors, same_regions(torch.tensor([[0, 1]])), torch.tensor(there))
    loss.backward()
    assert loss == 0
    assert not anchors.grad.any()
    assert anchors.grad.isfinite().all()


def test_a_vector_of_zeros_does_no_harm():
    anchors = torch.zeros(4, 3, requires_grad=True)
    region_contrast(anchors, anchors, same_regions(torch.tensor([[0, 1]])), torch.ones(4).bool()).backward()
    assert anchors.grad.isfinite().all()


def test_autocast_leaves_the_loss_and_means_in_float32():
    anchors, targets, there = (values.float() if values.is_floating_point() else values for values in batch())
    kinds = same_regions(torch.arange(3).expand(2, 3))
    regions, ids = torch.arange(64, dtype=torch.uint8).reshape(1, 8, 8) // 16, torch.arange(4)[None]
    features = drawn(1, 5, 4, 4, dtype=torch.float32)
    expected = region_contrast(anchors, targets, kinds, there), pooled(features, regions, ids)[0]
    with torch.autocast("cpu", torch.bfloat16):
        found = region_contrast(anchors, targets, kinds, there), pooled(features, regions, ids)[0]
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
    assert region_contrast(anchors.bfloat16(), targets, kinds, there).dtype == torch.float32
    assert pooled(features.bfloat16(), regions, ids)[0].dtype == torch.float32


def test_means_weigh_each_cell_by_what_a_region_covers_of_it():
    # Cells of 2 x 2 pixels. Region 5 covers all of the first, half of the second; region 2 the other half and the third.
    regions = torch.tensor(
        [[[5, 5, 5, 2], [5, 5, 5, 2], [2, 2, 255, 255], [2, 2, 255, 255]]], dtype=torch.uint8
    )
    features = torch.tensor([[[[10.0, 40], [100, 1000]], [[1, 2], [3, 4]]]])
    found, there = pooled(features, regions, torch.tensor([[2, 9, 5, 255]], dtype=torch.uint8))
    assert there.tolist() == [[True, False, True, False]]
    expected = torch.tensor(
        [[(20 + 100) / 1.5, (1 + 3) / 1.5], [0, 0], [(10 + 20) / 1.5, (1 + 1) / 1.5], [0, 0]]
    )
    torch.testing.assert_close(found, expected[None])


@given(SEEDS)
@settings(max_examples=15)
def test_means_are_those_over_enlarged_features(seed):
    regions = torch.from_numpy(np.random.default_rng(seed).integers(0, 5, (3, 8, 12), np.uint8))
    regions[regions == 4] = 255
    features, ids = drawn(3, 2, 4, 3, seed=seed % 1000), torch.tensor([[0, 2], [3, 1], [7, 0]])
    found, there = pooled(features, regions, ids)
    large = features.repeat_interleave(2, dim=2).repeat_interleave(4, dim=3)
    for image in range(3):
        for place, number in enumerate(ids[image]):
            inside = regions[image] == number
            assert there[image, place] == inside.any()
            if inside.any():
                torch.testing.assert_close(found[image, place], large[image][:, inside].mean(dim=1))


def test_features_learn_from_means_and_those_of_no_region_do_not():
    regions = torch.full((1, 4, 4), 255, dtype=torch.uint8)
    regions[0, :2, :2] = 3
    features, ids = drawn(1, 2, 2, 2).requires_grad_(), torch.tensor([[3, 4]])
    assert torch.autograd.gradcheck(lambda seen: pooled(seen, regions, ids)[0], features)
    pooled(features, regions, ids)[0].sum().backward()
    assert features.grad[0, 0].tolist() == [[1, 0], [0, 0]]


def test_regions_are_drawn_from_those_in_both_views_and_none_twice():
    first = torch.tensor([[[0, 1, 2], [3, 254, 255]]], dtype=torch.uint8).expand(400, 2, 3)
    second = torch.tensor([[[254, 2, 1], [0, 9, 255]]], dtype=torch.uint8).expand(400, 2, 3)
    draws = torch.rand(400, 255, generator=torch.Generator().manual_seed(0))
    found = sampled(first, second, draws, number=3)
    assert found.dtype == torch.uint8
    assert all(len(set(row)) == 3 and set(row) <= {0, 1, 2, 254} for row in found.tolist())
    # Each of four is among three drawn with a chance of 3/4: 300 of 400, give or take 4 times 8.7.
    assert all(abs((found == number).sum() - 300) < 35 for number in (0, 1, 2, 254))
    assert sampled(first[:1], second[:1], draws[:1], number=6)[0, 4:].tolist() == [255, 255]
    assert torch.equal(found[7:9], sampled(first[7:9], second[7:9], draws[7:9], number=3))


def test_one_vector_is_projected_as_it_is_among_others():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        projector = Projector(5, hidden=16, outputs=4).train()
    features = drawn(3, 2, 5, dtype=torch.float32)
    together = projector(features)
    assert together.shape == (3, 2, 4)
    torch.testing.assert_close(projector(features[1, :1]), together[1, :1])
    together.square().sum().backward()
    assert all(weight.grad.any() for weight in projector.parameters())
    assert (
        sum(weight.numel() for weight in Projector(64).parameters()) == 64 * 256 + 3 * 256 + 256 * 128 + 128
    )


def test_numbers_of_regions_travel_through_an_augmentation_as_masks_do():
    generator = np.random.default_rng(0)
    regions = torch.from_numpy(generator.integers(0, 255, (4, 40, 40), np.uint8))
    images = regions[..., None]  # whose pixels say which region they are from
    # Whole pixels move, up to 4 of them, and the stored window ends after 2.
    recipe, channels = (
        Recipe(flips="both", turns=True, shift=1.0),
        [{"name": "gray", "mean": 0.0, "std": 1.0}],
    )
    vary = Augmentation(recipe, patch=36, margin=2, channels=channels, device=torch.device("cpu"))
    views = [vary(images, regions, Draws.of(0, first, 4)) for first in (0, 4)]
    for pixels, numbers in views:
        held = numbers != 255
        torch.testing.assert_close(pixels[:, 0][held], numbers[held].float(), rtol=0, atol=1e-2)
        assert held.float().mean() > 0.8
        assert not held.all()
    assert not torch.equal(views[0][1], views[1][1])
    ids = sampled(views[0][1], views[1][1], torch.rand(4, 255), number=16)
    assert all(
        set(row) <= set(numbers.flatten().tolist())
        for _, view in views
        for row, numbers in zip(ids.tolist(), view, strict=True)
    )


def test_regions_learn_to_find_themselves_in_another_view():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network, projector = UNet(channels=1, classes=2, width=4, levels=2), Projector(8, 16, 8)
    regions = torch.tensor([0, 1, 2], dtype=torch.uint8).repeat_interleave(7).expand(3, 5, 21)
    gray = drawn(3, 1, 1, 3, dtype=torch.float32).repeat_interleave(7, dim=3)
    views = gray.repeat(2, 1, 5, 1) + 0.1 * drawn(6, 1, 5, 21, seed=1, dtype=torch.float32)
    ids, kinds = torch.arange(3).expand(3, 3), same_regions(torch.arange(3).expand(3, 3))
    optimizer = torch.optim.Adam([*network.parameters(), *projector.parameters()], 0.01)
    losses = []
    for _ in range(30):
        with watched(network) as maps:
            network(views)
        means, there = pooled(maps[-1], padded(network, regions.repeat(2, 1, 1)), ids.repeat(2, 1))
        vectors = projector(means).flatten(0, 1)
        loss = region_contrast(vectors, vectors, kinds, there.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
