from dataclasses import fields

import pytest

from patchseg.parameters import AugmentParameters
from patchseg.training.draws import Draws
from patchseg.training.photometry import VARIATIONS
from patchseg.training.recipe import STRENGTHS, Recipe, recipe_of

FIELDS = {field.name for field in fields(Recipe)}
SWITCHES = set(AugmentParameters.model_fields) - {"strength"}
IN_SPACE = {"rotation", "scale", "shear", "shift", "elastic"}
SHARES = {*VARIATIONS, *IN_SPACE, "cutmix", "match"}


def test_every_switch_is_a_field_of_the_recipe():
    assert SWITCHES <= FIELDS


def test_every_variation_is_a_share_of_the_recipe_and_has_a_switch_and_a_number():
    assert set(VARIATIONS) <= FIELDS
    assert {*SHARES, "flips", "turns", "degrees"} == SWITCHES
    for name in SHARES:
        assert Draws.of(0, 0, 2)[name].shape == (2,)


@pytest.mark.parametrize("strength", STRENGTHS)
def test_a_strength_alone_is_its_recipe(strength):
    assert recipe_of(AugmentParameters(strength=strength)) == STRENGTHS[strength]


def test_by_default_nothing_is_varied():
    assert recipe_of(AugmentParameters()).idle


def test_single_switches_override_a_strength_and_leave_the_rest():
    given = AugmentParameters(
        strength="strong", flips="none", turns=False, rotation=0, noise=1, degrees=15, cutmix=0.0
    )
    recipe = recipe_of(given)
    assert (recipe.flips, recipe.turns, recipe.rotation, recipe.noise) == ("none", False, 0, 1)
    assert (recipe.degrees, recipe.cutmix) == (15, 0)
    strong = STRENGTHS["strong"]
    changed = {"flips", "turns", "rotation", "noise", "degrees", "cutmix"}
    assert {name for name in FIELDS if getattr(recipe, name) != getattr(strong, name)} == changed


@pytest.mark.parametrize("name", sorted(SHARES))
def test_any_share_alone_ends_idleness_and_only_those_in_space_move(name):
    recipe = recipe_of(AugmentParameters.model_validate({name: 0.01}))
    assert not recipe.idle
    assert recipe.moves == (name in IN_SPACE)


@pytest.mark.parametrize("given", [{"flips": "left-right"}, {"flips": "up-down"}, {"turns": True}])
def test_flips_and_turns_move(given):
    recipe = recipe_of(AugmentParameters.model_validate(given))
    assert recipe.moves
    assert not recipe.idle


def test_the_angle_alone_does_nothing():
    recipe = recipe_of(AugmentParameters(degrees=90))
    assert recipe.idle
    assert not recipe.moves


def test_strengths_grow():
    weaker = STRENGTHS["none"]
    for name in ("light", "standard", "strong"):
        recipe = STRENGTHS[name]
        assert all(getattr(weaker, share) <= getattr(recipe, share) for share in SHARES)
        assert recipe.moves
        weaker = recipe
