import math

import pytest
import torch
from torch import nn

from patchseg.models.unet import UNet
from patchseg.parameters import TrainParameters
from patchseg.training.average import Average
from patchseg.training.batch import Batch, Views
from patchseg.training.gradients import Gradients
from patchseg.training.losses import loss_of, supervised
from patchseg.training.objectives.build import SWITCHES, switched
from patchseg.training.objectives.self_training import SelfTraining, complementary, distance, sure

CPU = torch.device("cpu")
NONE = 255


class Shades(nn.Module):
    """Two classes: the pixel itself is the logit of the second, times a weight that is learned."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, pixels):
        return torch.cat([torch.zeros_like(pixels), pixels * self.weight], dim=1)


def way(network, loss="ce", objective="fixmatch", **values):
    """Return self-training by labels of which the teacher is surer than 0.9, from the first step on."""
    values = {"ramp": 0.0, "confidence": 0.9, "channel_dropout": 0.0} | values
    settings = switched(TrainParameters(objective=objective, **{"pseudo_weight": 1.0} | values))
    student = SelfTraining(network, supervised(loss_of(loss)), settings)
    student.average = Average(network, 0.9)
    return student


def views(weak, *strong, truth=None, inside=None):
    """Return views of unlabelled patches, (N, 1, H, W), without rectangles unless given."""
    n, _, *side = weak.shape
    truth = torch.full((n, *side), NONE, dtype=torch.uint8) if truth is None else truth
    none = torch.zeros(n, *side, dtype=torch.bool)
    return Views(weak, truth, strong, tuple(inside or [none] * len(strong)))


def of(*rows):
    """Return patches of a single row of pixels, (N, 1, 1, W)."""
    return torch.tensor(rows, dtype=torch.float32)[:, None, None]


LABELLED = of([0.0, 0.0]), torch.zeros(1, 1, 2, dtype=torch.uint8)


def test_labels_of_which_the_teacher_is_sure_are_learned_from_the_strong_view():
    # sigmoid(3) = 0.953 and sigmoid(-4) = 1 - 0.982 are sure, sigmoid(1) = 0.731 is not.
    student = way(Shades())
    batch = Batch(*LABELLED, views(of([3.0, -4.0, 1.0, 3.0]), of([1.0, 2.0, 5.0, 0.0])))
    complete = student.complete(batch, progress=1.0, most=8)
    (target,) = complete.targets
    assert target.labels[0, 0].tolist() == [1, 0, NONE, 1]
    assert target.weights[0, 0].tolist() == [1, 1, 0, 1]
    losses = student(complete._replace(views=None))
    # -log sigmoid(1), -log(1 - sigmoid(2)), -log(1/2) over four pixels: the unsure one counts as 0
    unlabelled = (math.log(1 + math.e**-1) + math.log(1 + math.e**2) + math.log(2)) / 4
    assert losses.parts["loss/labelled"].item() == pytest.approx(math.log(2))
    assert losses.parts["loss/unlabelled"].item() == pytest.approx(unlabelled)
    assert losses.parts["unlabelled/learned"].item() == 0.75
    assert losses.total.item() == pytest.approx(math.log(2) + unlabelled)
    assert losses.logits.shape == (1, 2, 1, 2)


def test_probabilities_are_learned_softly():
    student = way(Shades(), objective="mean-teacher", confidence=0.0, entropy_drop=0.0, pseudo_weight=2.0)
    batch = Batch(*LABELLED, views(of([0.0, 2.0]), of([1.0, 2.0])))
    losses = student(student.complete(batch, progress=1.0, most=8))
    difference = 1 / (1 + math.e**-1) - 0.5  # of both classes at the first pixel, none at the second
    assert losses.parts["loss/unlabelled"].item() == pytest.approx(difference**2 / 2)
    assert losses.total.item() == pytest.approx(math.log(2) + 2 * difference**2 / 2)


def test_in_a_rectangle_stands_the_opinion_of_the_patch_after():
    inside = torch.tensor([[[True, False]], [[False, True]]])
    batch = Batch(*LABELLED, views(of([9.0, 9.0], [-9.0, -9.0]), of([1, 1], [2, 2]), inside=[inside]))
    (target,) = way(Shades()).complete(batch, progress=1.0, most=1).targets
    assert target.labels[:, 0].tolist() == [[0, 1], [0, 1]]
    # A third patch is the neighbour of the second where it belongs to another process.
    batch = Batch(*LABELLED, views(of([9, 9], [-9, -9], [0, 9]), of([1, 1], [2, 2]), inside=[inside]))
    (target,) = way(Shades()).complete(batch, progress=1.0, most=8).targets
    assert target.labels[:, 0].tolist() == [[0, 1], [0, 1]]
    assert len(target.labels) == len(target.weights) == 2


def test_known_labels_take_the_place_of_the_teacher_s():
    truth = torch.tensor([[[0, NONE, 1]]], dtype=torch.uint8)
    batch = Batch(*LABELLED, views(of([9.0, 9.0, 0.0]), of([0.0, 0.0, 0.0]), truth=truth))
    for consistency in ("labels", "probabilities"):
        student = way(Shades(), consistency=consistency)
        (target,) = student.complete(batch, progress=1.0, most=8).targets
        assert target.labels[0, 0].tolist() == [0, 1, 1]
        assert target.weights[0, 0].tolist() == [1, 1, 1]
        if consistency == "probabilities":
            assert target.probabilities[0, 1, 0].tolist() == pytest.approx([0, 0.99988, 1], abs=1e-5)


def test_the_least_certain_pixels_are_left_out_by_their_entropy():
    probabilities = torch.tensor([0.5, 0.6, 0.9, 1.0, 0.2])
    both = torch.stack([1 - probabilities, probabilities])[None, :, None]
    unknown = torch.full((1, 1, 5), NONE, dtype=torch.uint8)
    assert sure(both, unknown, 0.0, 0.4)[0, 0].tolist() == [0, 0, 1, 1, 1]
    assert sure(both, unknown, 0.85, 0.2)[0, 0].tolist() == [0, 0, 1, 1, 0]
    assert sure(both, unknown, 0.0, 0.0)[0, 0].tolist() == [1] * 5


def test_the_share_that_is_left_out_falls_to_nothing():
    student = way(Shades(), objective="mean-teacher", confidence=0.0, entropy_drop=0.5)
    batch = Batch(*LABELLED, views(of([0.0, 1.0, 2.0, 3.0]), of([0.0, 0.0, 0.0, 0.0])))
    learned = [
        student.complete(batch, progress=progress, most=8).targets[0].weights[0, 0].tolist()
        for progress in (0.0, 0.5, 1.0)
    ]
    assert learned == [[0, 0, 1, 1], [0, 1, 1, 1], [1, 1, 1, 1]]


def test_the_weight_rises_over_its_share_of_the_run():
    student = way(Shades(), ramp=0.4, pseudo_weight=3.0)
    batch = Batch(*LABELLED, views(of([9.0, 9.0]), of([0.0, 0.0])))
    for progress, factor in ((0.0, math.exp(-5)), (0.2, math.exp(-5 / 4)), (0.4, 1.0), (1.0, 1.0)):
        losses = student(student.complete(batch, progress=progress, most=8))
        assert losses.total.item() == pytest.approx(math.log(2) * (1 + 3 * factor))


def network(**more):
    torch.manual_seed(0)
    return UNet(channels=1, classes=3, width=4, **{"norm": "group", "levels": 3} | more).train()


def drawn(n=4, side=16, number=2):
    torch.manual_seed(1)
    images, masks = torch.rand(n, 1, side, side), torch.randint(0, 3, (n, side, side), dtype=torch.uint8)
    weak = torch.rand(n, 1, side, side)
    inside = [torch.rand(n, side, side) < 0.3 for _ in range(number)]
    return Batch(images, masks, views(weak, *(weak + 0.1 * k for k in range(number)), inside=inside))


@pytest.mark.parametrize("objective", ["fixmatch", "mean-teacher"])
@pytest.mark.parametrize("more", [{}, {"deep_supervision": True, "levels": 4}])
def test_gradients_reach_the_student_alone(objective, more):
    student = way(network(**more), "ce+dice", objective, confidence=0.4)
    before = {name: value.clone() for name, value in student.average.network.state_dict().items()}
    complete = student.complete(drawn(), progress=1.0, most=4)
    assert not any(target.weights.requires_grad for target in complete.targets)
    student(complete).total.backward()
    assert all(weight.grad is None for weight in student.average.network.parameters())
    assert all(weight.grad is not None for weight in student.network.parameters())
    assert all(
        torch.equal(value, before[name]) for name, value in student.average.network.state_dict().items()
    )


@pytest.mark.parametrize("objective", ["fixmatch", "mean-teacher"])
def test_micro_batches_add_up_to_the_batch(objective):
    whole, parts = (way(network(), "ce", objective, confidence=0.0, entropy_drop=0.0) for _ in range(2))
    expected = Gradients(whole, CPU, "fp32", micro=4)(drawn(), progress=1.0)
    found = Gradients(parts, CPU, "fp32", micro=1)(drawn(), progress=1.0)
    torch.testing.assert_close(found.total, expected.total)
    for name in ("loss/labelled", "loss/unlabelled", "unlabelled/learned"):
        torch.testing.assert_close(found.parts[name], expected.parts[name])
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6)


def test_nothing_sure_costs_and_teaches_nothing():
    student = way(network(), "ce+dice", confidence=1.0)
    complete = student.complete(drawn(), progress=1.0, most=4)
    losses = student(complete)
    assert losses.parts["loss/unlabelled"].item() == 0
    assert losses.parts["unlabelled/learned"].item() == 0
    losses.total.backward()
    plain = network()
    supervised(loss_of("ce+dice"))(plain(drawn().images), drawn().masks, None).backward()
    for one, other in zip(student.network.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_the_distance_is_that_of_probabilities_by_hand():
    logits = torch.tensor([0.0, math.log(3)]).view(1, 2, 1, 1).requires_grad_()  # 1/4 and 3/4
    probabilities = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
    cost = distance(logits, probabilities, torch.full((1, 1, 1), 0.5))
    assert cost.item() == pytest.approx(0.5 * 0.75**2)
    assert torch.autograd.gradcheck(
        lambda x: ((x.softmax(1) - probabilities.double()) ** 2).mean(),
        logits.detach().double().requires_grad_(),
    )
    cost.backward()
    # d/dx of (p1 - 1)^2 / 2 + p2^2 / 2 with p2 = 3/4, dp2 = p2 (1 - p2)
    assert logits.grad.flatten().tolist() == pytest.approx([-0.5 * 1.5 * 3 / 16, 0.5 * 1.5 * 3 / 16])


def test_names_stand_for_settings_and_what_is_set_stays():
    for name, values in SWITCHES.items():
        planned = switched(TrainParameters(objective=name, views=1))
        assert planned.views == 1
        assert planned.source("views") == "call"
        assert all(getattr(planned, key) == value for key, value in values.items() if key != "views")


def test_two_views_lose_the_two_halves_of_the_features():
    torch.manual_seed(0)
    chosen = torch.tensor([True, False, True])[:, None, None, None]
    masks = complementary(chosen, 200, 2)
    assert masks.shape == (6, 200, 1, 1)
    one, other = masks.chunk(2)
    assert torch.equal(one + other, torch.full_like(one, 2.0))
    assert torch.equal(one[1], torch.ones_like(one[1]))
    assert {*one[[0, 2]].unique().tolist()} == {0.0, 2.0}
    assert 60 < (one[0] == 0).sum() < 140
    assert not torch.equal(one[0], one[2])
    assert torch.equal(complementary(~chosen, 7, 1)[0], torch.ones(7, 1, 1))


def test_features_are_dropped_in_the_views_of_the_chosen_patches_alone():
    """With all patches chosen the views say otherwise than without; the labelled patches never lose anything."""
    plain, lossy = (way(network(), confidence=0.0, channel_dropout=share) for share in (0.0, 1.0))
    torch.manual_seed(3)
    losses = [student(student.complete(drawn(), progress=1.0, most=4)) for student in (plain, lossy)]
    assert losses[0].parts["loss/labelled"] == losses[1].parts["loss/labelled"]
    assert losses[0].parts["loss/unlabelled"] != losses[1].parts["loss/unlabelled"]
    assert not any(module._forward_hooks for module in lossy.network.modules())
