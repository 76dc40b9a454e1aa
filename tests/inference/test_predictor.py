import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from patchseg.inference.predictor import SYMMETRIES, Predictor, most_probable
from patchseg.models import build
from patchseg.models.checkpoint import Checkpoint
from patchseg.models.folding import folded

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def predictor(make):
    return Predictor([folded(make(channels=3, classes=3).network())], CPU)


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
    probabilities = Predictor([Sums()], CPU)(tile)
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
    predict = Predictor([folded(make(dtype="uint16").network())], CPU)
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


@pytest.mark.parametrize("symmetries", ["none", "all"])
@pytest.mark.parametrize("side", [(5, 7), (17, 23), (31, 33), (97, 45)])
def test_nor_does_it_with_two_threads_and_odd_sizes(make, side, symmetries):
    # Threads share out a batch in pieces that know nothing of its tiles.
    torch.set_num_threads(2)
    try:
        network = make(channels=3, classes=5).network()
        predict = Predictor([network], CPU, symmetries=SYMMETRIES[symmetries], entropy=True)
        batch = torch.randint(
            0, 256, (5, *side, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
        )
        expected = predict(batch)[1]
        for place in range(5):
            changed = batch.flip(0)
            changed[place] = batch[1]
            assert torch.equal(predict(changed)[place], expected)
    finally:
        torch.set_num_threads(1)


class Corner(nn.Module):
    """Gives class 1 a logit in the top left pixel alone, whatever it sees: no symmetry leaves it where it is."""

    def forward(self, pixels):
        logits = torch.zeros(len(pixels), 2, *pixels.shape[-2:])
        logits[:, 1, 0, 0] = 1000
        return logits


@pytest.mark.parametrize(
    ("name", "sure"),
    [
        ("none", [[1, 0.5], [0.5, 0.5], [0.5, 0.5]]),
        ("flips", [[0.625, 0.625], [0.5, 0.5], [0.625, 0.625]]),
        ("all", [[0.625, 0.625], [0.5, 0.5], [0.625, 0.625]]),
    ],
)
def test_opinions_of_turned_tiles_are_laid_back_and_averaged(name, sure):
    # One opinion in four (two in eight) says 1 in a given corner, the others 1/2: 1/4 + 3/8 = 0.625.
    predict = Predictor([Corner()], CPU, symmetries=SYMMETRIES[name])
    np.testing.assert_allclose(predict(tiles(1, 3)[:, :, :2])[0, 1], sure, atol=1e-7)


@given(st.sampled_from(SYMMETRIES["all"]), st.integers(1, 7), st.integers(1, 7))
def test_a_symmetry_is_undone(symmetry, height, width):
    image = torch.arange(2.0 * height * width).reshape(2, height, width)
    assert torch.equal(symmetry.undo(symmetry.apply(image)), image)


def test_the_eight_symmetries_are_all_there_are():
    image = torch.arange(9).reshape(3, 3)
    for name, count in (("none", 1), ("flips", 4), ("all", 8)):
        assert len({tuple(s.apply(image).flatten().tolist()) for s in SYMMETRIES[name]}) == count


def test_networks_are_averaged_and_disagreement_is_left_to_who_knows_the_mean():
    class Says(nn.Module):
        def __init__(self, logit):
            super().__init__()
            self.logit = logit

        def forward(self, pixels):
            return torch.stack([torch.zeros_like(pixels[:, 0]), pixels[:, 0] * 0 + self.logit], dim=1)

    # 3/4 and 1/4: the mean is even, each opinion has the entropy of 3 to 1.
    predict = Predictor([Says(np.log(3)), Says(-np.log(3))], CPU, entropy=True)
    found = predict(tiles(2, 2).float())
    assert found.shape == (2, 3, 2, 2)
    np.testing.assert_allclose(found[:, :2], 0.5, atol=1e-7)
    np.testing.assert_allclose(found[:, 2], -(0.75 * np.log(0.75) + 0.25 * np.log(0.25)), atol=1e-6)


class Tight(nn.Module):
    """Has memory for a number of tiles at a time."""

    def __init__(self, most):
        super().__init__()
        self.most = most

    def forward(self, pixels):
        if len(pixels) > self.most:
            raise torch.OutOfMemoryError("out of memory: tried to allocate more than there is")
        return torch.stack([pixels[:, 0].float(), pixels[:, 0].float() * 0], dim=1)


def test_a_batch_that_is_too_large_is_halved_until_it_fits_and_that_is_told():
    told = []
    predict, batch = Predictor([Tight(2)], CPU, tell=told.append), tiles(8)
    expected = Predictor([Tight(8)], CPU)(batch)
    assert torch.equal(predict(batch), expected)
    assert told == [f"out of memory; {n} tiles at a time from here on" for n in (4, 2)]
    predict(batch)
    assert len(told) == 2
    assert predict.at_once == 2
    with pytest.raises(torch.OutOfMemoryError):
        Predictor([Tight(0)], CPU)(batch)


def test_folding_batch_norms_changes_rounding_alone(make):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build(
            {"name": "unet", "channels": 3, "classes": 3, "width": 4, "levels": 3, "norm": "batch"}
        )
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias)
    network.eval()
    before = [weight.clone() for weight in network.state_dict().values()]
    without = folded(network)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in without.modules())
    assert all(map(torch.equal, before, network.state_dict().values()))
    pixels = tiles(2, dtype=np.float32).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        torch.testing.assert_close(without(pixels), network(pixels), rtol=1e-4, atol=1e-4)


def test_no_gradient_is_kept_and_the_network_stays_in_evaluation_mode(make):
    checkpoint: Checkpoint = make(channels=3)
    network = checkpoint.network()
    assert not Predictor([network], CPU)(tiles(1)).requires_grad
    assert not network.training


def test_bf16_is_near_fp32_and_gives_float32(make, predictor):
    half = Predictor([make(channels=3, classes=3).network()], CPU, "bf16")(tiles(2))
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
