"""Labels and contrast of classes: what it costs, where gradients go, and what is saved of it."""

import math
from contextlib import nullcontext

import pytest
import torch
from torch import nn

from patchseg.errors import UsageError
from patchseg.models.network import Network
from patchseg.models.unet import UNet
from patchseg.parameters import TrainParameters
from patchseg.training.batch import Batch, View
from patchseg.training.gradients import Gradients
from patchseg.training.losses import loss_of, supervised
from patchseg.training.objectives.build import objective_of, require_use
from patchseg.training.objectives.supcon import SupCon
from patchseg.training.optimizers import optimizer_of

CPU = torch.device("cpu")
NONE = 255


class Shades(Network):
    """Two classes and one stage of two features, both the pixels times a weight that is learned."""

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


class Blind(Shades):
    @property
    def stages(self):
        return []


def way(network, **values):
    settings = TrainParameters(objective="supcon", **values)
    return SupCon(network, supervised(loss_of("ce")), settings)


def view(columns, regions):
    """Return a view of one patch, a row of pixels: (1, 2, 1, W) and (1, 1, W)."""
    image = torch.tensor(columns, dtype=torch.float32).T[None, :, None]
    return View(image, torch.tensor(regions, dtype=torch.uint8)[None, None])


X, Y = [2.0, 0.0], [0.0, 3.0]
BATCH = Batch(torch.zeros(1, 2, 1, 2), torch.zeros(1, 1, 2, dtype=torch.uint8))


def unet(**settings):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return UNet(channels=1, classes=3, **{"width": 4, "levels": 4, "norm": "group"} | settings).train()


def seen_twice(n=3, seed=0):
    """Return a batch of some patches with labels, and two views with regions of three classes."""
    generator = torch.Generator().manual_seed(seed)
    images = 3 * torch.rand(3 * n, 1, 16, 16, generator=generator)
    masks = torch.randint(0, 4, (3 * n, 16, 16), generator=generator).to(torch.uint8)
    masks[masks == 3] = NONE
    views = [View(images[start : start + n], masks[start : start + n]) for start in (n, 2 * n)]
    return Batch(images[:n], masks[:n], contrasted=tuple(views))


def test_classes_in_two_views_worked_by_hand():
    """Class 0 looks like x in both views, class 1 like y in the first and like x in the second; pixels of no class do not count."""
    objective = way(Shades(), temperature=1.0, contrast_weight=0.5)
    objective.projector = nn.Identity()
    views = view([X, X, Y, Y], [0, 0, 1, NONE]), view([X, X, Y, X], [0, 0, NONE, 1])
    found = objective(BATCH._replace(contrasted=views))
    e = math.e
    # Each beside its positive: of the other three, the likenesses. First 0: x, 0, x; first 1: three times 0, and so on.
    losses = [
        math.log(2 * e + 1) - 1, math.log(3), math.log(2 * e + 1) - 1, math.log(2 * e + 1),
    ]  # fmt: skip
    assert found.parts["loss/contrast"].item() == pytest.approx(sum(losses) / 4)
    labelled = SupCon.forward(objective, BATCH)
    assert labelled.parts.keys() == {"loss/labelled"}
    assert found.total.item() == pytest.approx(labelled.total.item() + 0.5 * sum(losses) / 4)
    assert torch.equal(found.logits, labelled.logits)


def test_one_class_in_one_view_has_nothing_to_be_contrasted_with():
    objective = way(Shades())
    views = view([X, Y], [0, 0]), view([X, Y], [NONE, NONE])
    found = objective(BATCH._replace(contrasted=views))
    assert found.parts["loss/contrast"] == 0
    found.total.backward()
    assert all(weight.grad.isfinite().all() for weight in objective.network.parameters())


def test_contrast_teaches_the_way_down_and_the_projector_and_nothing_else():
    objective = way(unet(), contrast_weight=2.0)
    batch = seen_twice()
    labelled = {n: w.grad for n, w in gradients_of(objective, batch._replace(contrasted=()))}
    both = {n: w.grad for n, w in gradients_of(objective, batch)}
    assert {n for n, grad in labelled.items() if grad is None} == {
        n for n in both if n.startswith("projector")
    }
    taught = {n for n, grad in labelled.items() if grad is not None and not torch.equal(grad, both[n])}
    assert taught == {n for n in labelled if n.startswith("network.down")}
    assert all(both[n].any() for n in both if n.startswith("projector"))


def gradients_of(objective, batch):
    objective.zero_grad()
    objective(batch).total.backward()
    found = [(n, nn.Parameter(w.detach())) for n, w in objective.named_parameters()]
    for (_, copy), weight in zip(found, objective.parameters(), strict=True):
        copy.grad = None if weight.grad is None else weight.grad.clone()
    return found


def test_norms_of_the_way_up_do_not_see_the_views():
    objective = way(unet(norm="batch"))
    batch = seen_twice()
    objective(batch)
    once = {n: b.item() for n, b in objective.network.named_buffers() if n.endswith("num_batches_tracked")}
    assert {count for n, count in once.items() if n.startswith("down")} == {2}
    assert {count for n, count in once.items() if not n.startswith("down")} == {1}


def test_micro_batches_contrast_each_their_own_patches():
    objective, batch = way(unet()), seen_twice(4)
    step = Gradients(objective, CPU, "fp32", micro=2)
    found = step(batch)
    parts = [objective(part).parts["loss/contrast"] for part in batch.parts(2)]
    torch.testing.assert_close(found.parts["loss/contrast"], torch.stack(parts).mean())


def test_the_optimizer_has_the_projector_after_all_that_it_has_without():
    settings = TrainParameters(weight_decay=0.1, rate=0.01)
    objective = way(unet())
    plain, taught = (optimizer_of(objective.network, settings, heads) for heads in ((), objective.heads))
    assert len(taught.param_groups) == len(plain.param_groups) + 2
    for mine, its in zip(plain.param_groups, taught.param_groups, strict=False):
        assert [id(w) for w in mine["params"]] == [id(w) for w in its["params"]]
    theirs = [w for group in taught.param_groups[-2:] for w in group["params"]]
    assert {id(w) for w in theirs} == {id(w) for w in objective.projector.parameters()}
    assert [group["weight_decay"] for group in taught.param_groups[-2:]] == [0.1, 0.0]


def test_the_projector_begins_by_the_seed_alone_and_its_state_is_all_of_it():
    one, other, third = way(unet()), way(unet(), seed=1), way(unet(width=8))
    first = {n: w.clone() for n, w in one.projector.state_dict().items()}
    assert not torch.equal(other.projector.state_dict()["layers.0.weight"], first["layers.0.weight"])
    torch.rand(3)
    again = way(unet()).projector.state_dict()
    assert all(torch.equal(again[n], first[n]) for n in first)
    other.restore(one.state())
    assert all(torch.equal(w, first[n]) for n, w in other.projector.state_dict().items())
    assert third.projector.layers[0].in_features == 64  # of the features at an eighth
    assert one.idle


def test_a_network_that_shows_no_features_is_refused():
    with pytest.raises(UsageError, match=r"model\.name: Blind does not show its features"):
        way(Blind())


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (
            {"contrast_every": 2},
            "contrast_every: is set, but train.objective is supervised, .*--objective supcon",
        ),
        (
            {"objective": "fixmatch", "temperature": 0.2},
            "temperature: is set, but train.objective is fixmatch",
        ),
        (
            {"objective": "supcon", "views": 2},
            "views: .* is supcon, .*--objective fixmatch, or leave out --views",
        ),
        (
            {"confidence": 0.5},
            "confidence: .* is supervised, .*--objective fixmatch, or leave out --confidence",
        ),
    ],
)
def test_what_an_objective_does_not_look_at_is_refused(values, told):
    with pytest.raises(UsageError, match=rf"^train\.{told}"):
        require_use(TrainParameters(**values), of_regions=False)


def test_what_an_objective_looks_at_is_taken():
    require_use(
        TrainParameters(objective="supcon", contrast_every=2, contrast_weight=0.5, temperature=0.2, ema=0.9),
        of_regions=False,
    )
    require_use(TrainParameters(objective="mean-teacher", views=2, ema=0.9), of_regions=False)


@pytest.mark.slow
def test_a_compiled_network_contrasts_what_the_plain_one_does():
    plain, compiled = (
        objective_of(TrainParameters(objective="supcon"), unet(), nullcontext) for _ in range(2)
    )
    expected = Gradients(plain, CPU, "fp32", micro=3)(seen_twice())
    step = Gradients(compiled, CPU, "fp32", micro=3, compiled=True)
    for batch in (seen_twice()._replace(contrasted=()), seen_twice()):
        found = step(batch)
    assert step.compiled
    torch.testing.assert_close(found.parts["loss/contrast"], expected.parts["loss/contrast"])
    torch.testing.assert_close(found.total, expected.total)
