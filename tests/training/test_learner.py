import copy

import numpy as np
import pytest
import torch

from patchseg.errors import DataError, UsageError
from patchseg.parameters import ModelParameters, TrainParameters
from patchseg.patches.store import PatchFile
from patchseg.training.batch import Batch
from patchseg.training.learner import Learner
from patchseg.training.losses import loss_of
from patchseg.training.optimizers import OPTIMIZERS
from patchseg.training.schedule import onecycle
from patchseg.training.weights import start_from

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def easy(tmp_path_factory, write_patches):
    """A file whose masks are thresholds of its images: dark, gray, light; and the batch of all of it."""
    shades = np.random.default_rng(0).integers(0, 256, (8, 4, 4, 1), dtype=np.uint8)
    images = shades.repeat(4, axis=1).repeat(4, axis=2)
    masks = np.digitize(images[..., 0], (85, 170)).astype(np.uint8)
    with PatchFile(write_patches(tmp_path_factory.mktemp("easy") / "p.h5", images, masks)) as file:
        yield file, (torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(masks))


@pytest.fixture
def learner(easy):
    """Make a learner of a network 4 wide; parameters of train as keywords."""

    def make(**values):
        model = ModelParameters(width=4, levels=2, norm="batch")
        return Learner.of(easy[0], TrainParameters(**{"rate": 0.02, "batch": 8} | values), model, CPU)

    return make


def vector(learner):
    """Return all weights as one vector."""
    return torch.cat([weight.detach().flatten() for weight in learner.network.parameters()])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_learns_an_easy_set(easy, learner, optimizer):
    # Rates for 60 steps; a run has more and does with less.
    rate = {"sgd": 0.1, "radam": 0.2, "rmsprop": 0.002, "adagrad": 0.1}.get(optimizer, 0.02)
    student, losses = learner(optimizer=optimizer, rate=rate), []
    for step in range(60):
        student.learn(Batch(*easy[1]), progress=step / 59)
        losses.append(student.mean_losses()["loss/train"])
    assert np.mean(losses[-5:]) < 0.4 * losses[0]
    right = student.predictor()(easy[1][0].permute(0, 2, 3, 1)).argmax(1) == easy[1][1]
    assert right.float().mean() > 0.9


def test_building_a_network_leaves_the_global_generator_alone_and_depends_on_the_seed(learner):
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = vector(learner(seed=5))
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(1)
    assert torch.equal(vector(learner(seed=5)), first)
    assert not torch.equal(vector(learner(seed=6)), first)


def test_the_network_normalizes_by_the_statistics_of_the_patches(learner):
    network = learner().network
    assert (network.mean.item(), network.std.item()) == (100, 50)


def test_the_loss_is_the_mean_since_it_was_last_asked(easy, learner):
    student, alone = learner(), learner()
    singles = []
    for _ in range(3):
        alone.learn(Batch(*easy[1]), progress=0.5)
        student.learn(Batch(*easy[1]), progress=0.5)
        singles.append(alone.mean_losses()["loss/train"])
    assert singles[0] != singles[1]
    assert student.mean_losses()["loss/train"] == pytest.approx(np.mean(singles), rel=1e-6)
    assert student.mean_losses()["loss/train"] == 0


@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 5.0]])
def test_the_loss_is_of_the_network_in_training_with_the_weights_of_the_classes(easy, learner, weights):
    images, masks = easy[1]
    student = learner(loss="ce", class_weights=weights)
    logits = copy.deepcopy(student.network).train()(images)
    expected = loss_of("ce")(logits, masks, None if weights is None else torch.tensor(weights))
    student.predictor()  # leaves the network in evaluation mode
    student.learn(Batch(images, masks), progress=0.5)
    assert student.mean_losses()["loss/train"] == pytest.approx(expected.item(), rel=1e-6)


def test_a_wrong_number_of_class_weights_is_refused(learner):
    with pytest.raises(
        UsageError, match=r"train\.class_weights: holds 2 numbers, the patches have 3 classes"
    ):
        learner(class_weights=[1.0, 2.0])


def test_the_gradient_is_clipped_to_a_norm(easy, learner):
    sgd = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "schedule": "constant", "rate": 1.0}
    moved = {}
    for clip in (0.0, 1e-3, 1e3):
        student = learner(clip=clip, **sgd)
        before = vector(student)
        student.learn(Batch(*easy[1]), progress=0.5)
        moved[clip] = (vector(student) - before).norm().item()
    assert moved[1e-3] == pytest.approx(1e-3, rel=1e-2)
    assert moved[0.0] == moved[1e3] > 0.1


def test_the_rate_follows_the_schedule_down_to_its_last_small_value(easy, learner):
    student = learner(rate=0.02)
    for progress in (0.0, 0.15, 0.6, 1.0):
        student.learn(Batch(*easy[1]), progress=progress)
        assert student.rate == pytest.approx(0.02 * onecycle(progress))
    assert student.rate == pytest.approx(2e-5)


def test_a_network_with_deep_supervision_learns_from_all_its_levels(easy):
    model = ModelParameters(width=4, levels=4, norm="batch", deep_supervision=True)
    student = Learner.of(easy[0], TrainParameters(rate=0.02, batch=8), model, CPU)
    before = [head.weight.detach().clone() for head in student.network.deep_heads]
    assert before
    student.learn(Batch(*easy[1]), progress=0.5)
    assert not any(map(torch.equal, before, [head.weight for head in student.network.deep_heads]))


def test_a_batch_to_ignore_costs_nothing_and_breaks_nothing(easy, learner):
    student = learner()
    student.learn(Batch(easy[1][0], torch.full_like(easy[1][1], 255)), progress=0.5)
    assert student.mean_losses()["loss/train"] == 0
    assert vector(student).isfinite().all()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_restored_learner_goes_on_bit_for_bit(easy, learner, differences, tmp_path, optimizer):
    straight, stopped, restored = (learner(optimizer=optimizer, seed=seed) for seed in (0, 0, 1))
    for step in range(5):
        straight.learn(Batch(*easy[1]), progress=step / 4)
    for step in range(2):
        stopped.learn(Batch(*easy[1]), progress=step / 4)
    torch.save((stopped.weights(), stopped.state() | {"best": 0.5}), tmp_path / "state.pt")
    restored.restore(*torch.load(tmp_path / "state.pt", weights_only=True))
    for step in range(2, 5):
        restored.learn(Batch(*easy[1]), progress=step / 4)
    assert restored.best == 0.5
    assert not differences(straight.weights(), restored.weights())
    assert not differences(straight.state(), restored.state() | {"best": None})
    assert restored.step == 5


def test_weights_that_were_taken_do_not_change_with_the_network(easy, learner):
    student = learner()
    taken = student.weights()
    before = copy.deepcopy(taken)
    student.learn(Batch(*easy[1]), progress=0.5)
    assert all(torch.equal(taken[name], before[name]) for name in before)


def test_a_learner_starts_from_the_weights_and_the_normalization_of_a_checkpoint(
    straight, learner, differences
):
    path = straight / "checkpoints/run/best.pt"
    saved = torch.load(path, weights_only=True)
    student = learner()
    assert differences(student.weights(), saved["weights"])
    start_from(student, path)
    assert not differences(student.weights(), saved["weights"])
    assert student.step == 0


def test_weights_of_another_network_are_refused(easy, straight):
    path = straight / "checkpoints/run/best.pt"
    wide = Learner.of(
        easy[0], TrainParameters(rate=0.1, batch=8), ModelParameters(width=8, levels=2, norm="batch"), CPU
    )
    with pytest.raises(
        DataError,
        match=r"best\.pt: holds a network of width 4, the run has width 8; leave out what makes it another network",
    ):
        start_from(wide, path)


def test_weights_of_a_network_with_other_heads_are_refused_with_their_cure(easy, straight, tmp_path):
    old = torch.load(straight / "checkpoints/run/best.pt", weights_only=True)
    del old["model"]["deep_supervision"]  # as those that were written before there was any
    torch.save(old, tmp_path / "old.pt")
    for width, deep, told in (
        (8, False, "width 4, the run has width 8"),
        (4, True, "deep_supervision False, the run has deep_supervision True"),
    ):
        model = ModelParameters(width=width, levels=2, norm="batch", deep_supervision=deep)
        student = Learner.of(easy[0], TrainParameters(rate=0.1, batch=8), model, CPU)
        with pytest.raises(DataError, match=rf"old\.pt: holds a network of {told}; leave out what makes"):
            start_from(student, tmp_path / "old.pt")


def test_a_run_may_go_on_in_fp16_and_come_back(easy, learner):
    student = learner()
    for precision in ("fp16", "fp32"):
        student.learn(Batch(*easy[1]), progress=0.5)
        other = learner(precision=precision)
        other.restore(student.weights(), student.state())
        student = other
    student.learn(Batch(*easy[1]), progress=0.5)
    assert student.step == 3


@pytest.mark.parametrize(("asked", "then"), [(None, 2), (4, 4)])
def test_micro_batches_are_those_of_the_run_unless_others_are_asked_for(learner, asked, then):
    state = learner(micro_batch=2).state()
    student = learner(micro_batch=asked)
    student.restore(student.weights(), state)
    assert student.gradients.micro == then


@pytest.mark.parametrize("micro", [8, 3])
def test_a_class_is_missed_only_where_it_is(easy, learner, micro):
    student = learner(micro_batch=micro, rate=1e-9)
    torch.nn.init.constant_(student.network.head.weight, 0.0)
    student.network.head.bias.data = torch.tensor([9.0, 0.0, 0.0])  # nothing but background
    masks = easy[1][1].clamp(max=1)
    masks[:-1] = 0
    student.learn(Batch(easy[1][0], masks.flip(0) if micro == 8 else masks), progress=0.5)
    assert student.unpredicted() == [1]
    assert student.unpredicted() == []
