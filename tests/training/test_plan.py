import pytest

from patchseg.parameters import AugmentParameters, ModelParameters, TrainParameters
from patchseg.training.plan import Facts, filled, plan, steps_of

SMALL = Facts(patch=96, patches=1000, shares=(1.0, 0.8, 0.5), device="cpu")


def values(facts=SMALL, model=None, **train):
    return {
        c.key: c.value
        for c in plan(facts, model or ModelParameters(), TrainParameters(**train), AugmentParameters())
    }


def test_the_plan_of_a_small_set_without_a_gpu_is_as_by_hand():
    assert values(epochs=10) == {
        "model.levels": 4, "model.width": 8, "train.batch": 4, "model.norm": "batch", "train.rate": 0.004,
        "train.schedule": "onecycle", "train.centred": 0.0, "train.ema": 1 - 50 / 2500,
        "augment.strength": "standard",
    }  # fmt: skip


def test_a_gpu_takes_wider_networks_and_larger_batches():
    chosen = values(SMALL._replace(device="cuda", patch=200))
    assert (chosen["model.width"], chosen["train.batch"], chosen["train.rate"]) == (32, 16, 0.002)
    assert chosen["model.levels"] == 5


def test_bilinear_up_sampling_sees_farther_so_fewer_levels_may_do():
    # 3 levels see 44 or 50 pixels, 4 see 96 or 110: to 75 the nearest is 96 or 50.
    facts = SMALL._replace(patch=75)
    assert values(facts)["model.levels"] == 4
    assert values(facts, ModelParameters(upsampling="bilinear"))["model.levels"] == 3
    told = plan(facts, ModelParameters(upsampling="bilinear"), TrainParameters(), AugmentParameters())
    assert told[0].reason == "sees 50 pixels, a patch has 75"


def test_what_is_set_is_neither_chosen_nor_ignored():
    chosen = values(model=ModelParameters(width=64), batch=2)
    assert not {"model.width", "train.batch"} & set(chosen)
    assert (chosen["model.norm"], chosen["train.rate"]) == ("group", 0.002)


@pytest.mark.parametrize(
    ("processes", "set_by_hand", "norm"),
    [(4, {}, "batch"), (8, {}, "group"), (1, {"micro_batch": 2}, "group"), (2, {"micro_batch": 4}, "batch")],
)
def test_the_norm_suits_the_patches_that_are_seen_at_once(processes, set_by_hand, norm):
    assert values(SMALL._replace(device="cuda", processes=processes), **set_by_hand)["model.norm"] == norm


@pytest.mark.parametrize(
    ("steps", "seen"), [(1, "1 of 1 step"), (200, "10 of 200 steps"), (5000, "100 of 5000 steps")]
)
def test_the_reason_for_the_average_says_how_much_it_remembers(steps, seen):
    (choice,) = [
        c
        for c in plan(SMALL, ModelParameters(), TrainParameters(steps=steps), AugmentParameters())
        if c.key == "train.ema"
    ]
    assert choice.reason == f"averages about {seen}"


def test_sgd_has_its_own_rate_and_schedule():
    chosen = values(optimizer="sgd")
    assert (chosen["train.rate"], chosen["train.schedule"]) == (0.01, "poly")


@pytest.mark.parametrize(
    ("shares", "centred"),
    [((1.0, 0.2, 0.9), 0.33), ((1.0, 0.25), 0.0), ((1.0, 0.0, 0.5), 0.0), ((1.0,), 0.0), ((0.1, 0.9), 0.0)],
)
def test_patches_are_drawn_for_classes_that_few_of_them_hold(shares, centred):
    assert values(SMALL._replace(shares=shares))["train.centred"] == centred


def test_the_average_is_as_long_as_the_run_allows_and_open_while_time_decides():
    assert values(steps=5000)["train.ema"] == 0.99
    assert values(time=60.0)["train.ema"] == 0.999


@pytest.mark.parametrize(
    ("settings", "strength"),
    [
        ({"steps": 749}, "light"),  # of 4 patches, of which there are 1000
        ({"steps": 750}, "standard"),
        ({"time": 20.0}, "light"),
        ({"time": 300.0}, "standard"),
    ],
)
def test_patches_are_varied_more_in_runs_that_see_them_often(settings, strength):
    assert values(**settings)["augment.strength"] == strength


@pytest.mark.parametrize(
    ("settings", "steps"),
    [({"epochs": 3}, 750), ({"steps": 7}, 7), ({"time": 5.0}, None), ({"epochs": 3, "epoch_steps": 10}, 30)],
)
def test_the_length_of_a_run_is_known_beforehand_but_for_a_time(settings, steps):
    assert steps_of(TrainParameters(**settings), 4, 1000) == steps


def test_every_choice_has_a_reason_and_fills_its_field():
    model, train, augment = ModelParameters(), TrainParameters(), AugmentParameters()
    choices = plan(SMALL, model, train, augment)
    assert all(len(choice.reason) > 5 for choice in choices)
    model, train = filled(model, choices), filled(train, choices)
    augment = filled(augment, choices)
    assert {model.source("width"), train.source("rate"), augment.source("strength")} == {"plan"}
    assert plan(SMALL, model, train, augment) == []
    assert train.epochs == 100


def test_a_network_of_a_library_has_no_width_levels_or_norm_to_plan():
    chosen = values(model=ModelParameters(name="smp/unet"), epochs=10)
    assert not {"model.width", "model.levels", "model.norm", "train.encoder_rate"} & set(chosen)
    assert chosen["train.rate"] == 0.001


@pytest.mark.parametrize("given", [{"pretrained": True}, {"encoder_weights": "a.pth"}])
def test_a_pretrained_encoder_learns_at_a_tenth_of_the_rate(given):
    assert values(model=ModelParameters(name="smp/unet", **given))["train.encoder_rate"] == 0.1
