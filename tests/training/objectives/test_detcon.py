"""Contrast of regions with an average: what it costs, where gradients stop, and that the average is exact."""

import copy
import math

import pytest
import torch
from torch import nn

from patchseg.errors import UsageError
from patchseg.models.network import Network
from patchseg.models.unet import UNet
from patchseg.parameters import TrainParameters
from patchseg.training.average import Average
from patchseg.training.batch import Batch, View
from patchseg.training.objectives.build import objective_of
from patchseg.training.objectives.detcon import DetCon
from patchseg.training.optimizers import optimizer_of

NONE = 255
DECAY = 0.75


class Turned(Network):
    """One stage of two features: the pixels, turned by a matrix that is learned."""

    factor = 1

    def __init__(self):
        super().__init__(2)
        self.stage, self.head = nn.Conv2d(2, 2, 1, bias=False), nn.Conv2d(2, 2, 1)
        nn.init.eye_(self.stage.weight.data[:, :, 0, 0])

    @property
    def stages(self):
        return [self.stage]

    def decide(self, features):
        return self.head(self.stage(features))


class Blind(Turned):
    @property
    def stages(self):
        return []


def way(network, **values):
    objective = DetCon(network, TrainParameters(objective="detcon", ema=DECAY, **values))
    objective.average = Average(network, DECAY)
    return objective


def bare(network, **values):
    """Return it without heads, so that features are contrasted as they are."""
    objective = way(network, **values)
    objective.projector = objective.predictor = nn.Identity()
    objective._target.network = nn.Identity()
    return objective


def view(columns, regions):
    """Return a view of one patch, a row of pixels: (1, 2, 1, W) and (1, 1, W)."""
    image = torch.tensor(columns, dtype=torch.float32).T[None, :, None]
    return View(image, torch.tensor(regions, dtype=torch.uint8)[None, None])


def of(*views):
    return Batch(*views[0], contrasted=views)


X, Y = [2.0, 0.0], [0.0, 3.0]


def unet(**settings):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return UNet(channels=1, classes=2, **{"width": 4, "levels": 4, "norm": "batch"} | settings).train()


def seen_twice(n=3, seed=0):
    """Return a batch of two views of some patches, each of four regions."""
    generator = torch.Generator().manual_seed(seed)
    images = 3 * torch.rand(2 * n, 1, 16, 16, generator=generator)
    regions = (torch.arange(16)[:, None] // 8 * 2 + torch.arange(16) // 8).to(torch.uint8).expand(n, 16, 16)
    return of(View(images[:n], regions), View(images[n:], regions))


def test_two_regions_in_two_views_worked_by_hand():
    """Region 7 is x in both views, region 9 y and then x; what is in one view only is left out."""
    objective = bare(Turned(), temperature=1.0)
    found = objective(of(view([X, X, Y, Y], [7, 7, 9, 3]), view([X, Y, X, X], [7, 200, 9, NONE])))
    e = math.e
    losses = [
        math.log(2 * e + 1) - 1,  # 7: its other view x; beside it x of 9, and y
        math.log(3),  # 9: y, and all others x
        math.log(2 * e + 1) - 1,
        math.log(2 * e + 1),  # 9: x, its other view y, and x twice
    ]
    assert found.total.item() == pytest.approx(sum(losses) / 4)
    assert found.logits is None
    assert found.parts == {}


def test_vectors_are_held_against_those_of_the_average():
    """The network has learned to turn its features by a quarter, the average not yet: all that is alike looks unlike."""
    objective = bare(Turned(), temperature=1.0)
    turned = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    objective.network.stage.weight.data[:, :, 0, 0] = turned
    found = objective(of(view([X, Y], [0, 1]), view([X, Y], [0, 1])))
    # Each: its other view looks unlike, of the two of the other region both look alike.
    assert found.total.item() == pytest.approx(math.log(2 * math.e + 1))


def test_nothing_in_both_views_teaches_nothing_and_does_no_harm():
    objective = way(unet())
    first, second = seen_twice().contrasted
    found = objective(of(first, second._replace(regions=second.regions + 100)))
    assert found.total == 0
    found.total.backward()
    assert all(w.grad is None or w.grad.isfinite().all() for w in objective.parameters())


def test_gradients_reach_the_way_down_and_both_heads_and_stop_at_the_average():
    objective = way(unet())
    objective(seen_twice()).total.backward()
    taught = {
        name for name, weight in objective.named_parameters() if weight.grad is not None and weight.grad.any()
    }
    down = {name for name, _ in objective.named_parameters() if name.startswith("network.down")}
    assert {name for name in taught if name.startswith("network")} == {n for n in down if n in taught}
    assert {n.split(".")[0] for n in taught} == {"network", "projector", "predictor"}
    assert all(n in taught for n in down if n.endswith("0.weight"))
    assert not [
        n for n, w in objective.named_parameters() if n.startswith("network.up") and w.grad is not None
    ]
    theirs = [*objective.average.network.parameters(), *objective._target.network.parameters()]
    assert all(weight.grad is None and not weight.requires_grad for weight in theirs)


def test_the_average_keeps_its_statistics_and_the_network_gathers_its_own():
    objective = way(unet())
    before = copy.deepcopy(objective.average.network.state_dict())
    objective(seen_twice())
    assert all(torch.equal(w, before[n]) for n, w in objective.average.network.state_dict().items())
    counts = {n: int(b) for n, b in objective.network.named_buffers() if n.endswith("num_batches_tracked")}
    assert {count for n, count in counts.items() if n.startswith("down")} == {1}
    assert {count for n, count in counts.items() if not n.startswith("down")} == {0}


def test_the_average_of_network_and_projector_is_exact_step_by_step():
    objective = way(unet(norm="group"))
    optimizer = torch.optim.SGD(objective.parameters(), 0.1)
    names = ("network.down.1.0.weight", "projector.layers.0.weight")
    expected = None
    for step in range(6):
        optimizer.zero_grad()
        objective(seen_twice(seed=step)).total.backward()
        optimizer.step()
        objective.after_step(step)
        now = [dict(objective.named_parameters())[name].detach().clone() for name in names]
        decay = min(1 - 1 / (step + 1), DECAY)
        expected = (
            now
            if expected is None
            else [decay * a + (1 - decay) * b for a, b in zip(expected, now, strict=True)]
        )
        network, projector = objective.average.network, objective._target.network
        mine = [network.down[1][0].weight, projector.layers[0].weight]
        for found, value, raw in zip(mine, expected, now, strict=True):
            torch.testing.assert_close(found, value)
            assert step == 0 or not torch.equal(found, raw)


def test_the_state_is_that_of_both_heads_and_of_the_average_projector():
    one, other = way(unet()), way(unet(), seed=1)
    for head in (one.projector, one.predictor, one._target.network):
        for weight in head.parameters():
            weight.data.normal_()
    other.restore(one.state())
    for name in ("projector", "predictor"):
        mine, its = (getattr(each, name).state_dict() for each in (one, other))
        assert all(torch.equal(mine[key], its[key]) for key in mine)
    mine, its = (each._target.network.state_dict() for each in (one, other))
    assert all(torch.equal(mine[key], its[key]) for key in mine)
    assert not torch.equal(other.projector.layers[0].weight, other._target.network.layers[0].weight)


def test_both_heads_learn_with_the_optimizer_and_the_average_does_not():
    objective = way(unet())
    optimizer = optimizer_of(objective.network, TrainParameters(rate=0.01), objective.heads)
    known = [id(w) for group in optimizer.param_groups for w in group["params"]]
    assert len(known) == len(set(known)) == len(list(objective.parameters()))
    assert known[-1] in {id(w) for w in objective.predictor.parameters()} or objective.heads
    heads = {id(w) for head in (objective.projector, objective.predictor) for w in head.parameters()}
    assert {id(w) for w in objective.heads} == heads
    assert objective.idle


def test_regions_drawn_are_sixteen_of_those_there_are(monkeypatch):
    objective, seen = way(unet()), []
    first = View(
        torch.rand(1, 1, 16, 16), torch.arange(64).repeat_interleave(4).reshape(1, 16, 16).to(torch.uint8)
    )
    inner = objective.projector.forward
    monkeypatch.setattr(
        objective.projector, "forward", lambda means: seen.append(means.shape) or inner(means)
    )
    objective(of(first, first))
    assert seen == [(2, 16, 32)]


def test_a_network_that_shows_no_features_is_refused():
    with pytest.raises(UsageError, match=r"model\.name: Blind does not show its features"):
        way(Blind())


def test_it_goes_by_its_name():
    assert isinstance(objective_of(TrainParameters(objective="detcon"), unet(), None), DetCon)


def test_regions_are_told_apart_better_with_every_step():
    objective = way(unet(norm="group"))
    optimizer = torch.optim.Adam(objective.parameters(), 0.01)
    generator = torch.Generator().manual_seed(0)
    shades = torch.rand(3, 1, 2, 2, generator=generator).repeat_interleave(8, 2).repeat_interleave(8, 3)
    regions = seen_twice().contrasted[0].regions
    losses = []
    for step in range(40):
        noisy = [shades + 0.05 * torch.randn(shades.shape, generator=generator) for _ in range(2)]
        optimizer.zero_grad()
        cost = objective(of(*(View(image, regions) for image in noisy))).total
        cost.backward()
        optimizer.step()
        objective.after_step(step)
        losses.append(cost.item())
    assert losses[-1] < 0.7 * losses[0]
