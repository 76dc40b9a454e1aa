import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from patchseg.parameters import ClassParameters, DataParameters, ModelParameters, TrainParameters
from patchseg.values import loss_terms, seconds


def test_planning_twice_keeps_the_first_plan_and_leaves_the_original():
    original = ModelParameters(width=8)
    planned = original.planned(width=32, levels=4).planned(levels=5)
    assert (planned.width, planned.levels, planned.source("width")) == (8, 4, "call")
    assert (original.levels, original.source("levels")) == (None, "default")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90s", 90), ("90", 90), ("5m", 300), ("1.5h", 5400), (" 2 m ", 120), ("0.5s", 0.5)],
)
def test_durations_are_seconds_minutes_and_hours(text, expected):
    assert seconds(text) == expected
    assert TrainParameters(time=text).time == expected


@given(st.integers(0, 10**6) | st.floats(0, 1e6))
def test_a_duration_in_numbers_is_seconds_already(number):
    assert seconds(number) == number


@pytest.mark.parametrize("text", ["", "m", "5 days", "-5m", "1e3s", "5m30s"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="duration"):
        seconds(text)


def test_a_time_is_any_of_them_and_above_0():
    assert TrainParameters(time="2m").time == TrainParameters(time=120).time == 120
    with pytest.raises(ValidationError, match="greater than 0"):
        TrainParameters(time="0s")


@pytest.mark.parametrize(("given", "meant"), [("3", 3), (3, 3), ("channels", "channels"), (None, None)])
def test_pages_are_a_number_or_channels(given, meant):
    assert DataParameters(pages=given).pages == meant


@pytest.mark.parametrize("pages", [0, -1, "0", 1.5, True, "channel", "all", ""])
def test_what_is_no_page_is_refused(pages):
    with pytest.raises(
        ValidationError, match='should be the number of a page, from 1 on, "channels" or "stack"'
    ):
        DataParameters(pages=pages)


@pytest.mark.parametrize("color", ["red", "#fff", "e69f00", "#e69f0g", "#e69f00\n", ""])
def test_what_is_no_colour_is_refused(color):
    assert ClassParameters(name="a", color="#E69f00").color == "#E69f00"
    with pytest.raises(ValidationError, match="should be a colour"):
        ClassParameters(name="a", color=color)


@pytest.mark.parametrize(
    ("written", "taken"),
    [
        ({"channels": "0,2"}, [0, 2]),
        ({"channels": [0.0, 2.0]}, [0, 2]),  # what the command line makes of 0,2
        ({"channels": "red, nir"}, ["red", "nir"]),
        ({"channels": ["red", 3]}, ["red", 3]),
        ({"max_memory": "8GB"}, 8 * 10**9),
        ({"max_memory": 5}, 5),
    ],
)
def test_channels_and_sizes_are_taken_as_people_write_them(written, taken):
    data = DataParameters(**written)
    assert getattr(data, next(iter(written))) == taken


@pytest.mark.parametrize(
    "written",
    [
        {"channels": []},
        {"channels": [-1]},
        {"channels": "1,"},
        {"channels": [0.5]},
        {"max_memory": "8 apples"},
        {"max_memory": 0},
    ],
)
def test_what_is_no_channel_and_no_size_is_refused(written):
    with pytest.raises(ValidationError):
        DataParameters(**written)


NAMES = ("ce", "dice", "image_dice")


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("ce", [(1, "ce")]),
        ("0.5*ce+dice", [(0.5, "ce"), (1, "dice")]),
        (" .25 * image_dice + 2*ce ", [(0.25, "image_dice"), (2, "ce")]),
        ("ce+ce", [(1, "ce"), (1, "ce")]),
    ],
)
def test_sums_of_losses_are_weights_and_names_in_their_order(text, terms):
    assert loss_terms(text, NAMES) == terms


@pytest.mark.parametrize(
    "text",
    [
        *("", "+", "ce+", "+ce", "ce++dice", "ce dice", "ce*0.5", "2ce", "2*", "*ce", "1*2*ce"),  # no terms
        *(
            "-1*ce",
            "ce-dice",
            "nan*ce",
            "inf*ce",
            "1e-3*ce",
            "1,5*ce",
            "1.2.3*ce",
            f"{'9' * 400}*ce",
        ),  # weights
        *("0*ce", "0.0*dice", "ce+0*dice"),  # what weighs nothing is no part of a sum
        *("focal", "CE", "image-dice", "ce+focal"),  # names
    ],
)
def test_what_is_no_sum_of_losses_is_refused(text):
    with pytest.raises(
        ValueError, match=r'^should be a sum such as "0.5\*ce\+focal" of ce, dice, image_dice'
    ):
        loss_terms(text, NAMES)


def test_a_name_that_is_nearly_a_loss_is_told_which():
    with pytest.raises(ValueError, match=r'; did you mean "dice"\?$'):
        loss_terms("ce + 2*dise", NAMES)
    with pytest.raises(ValueError, match=r"image_dice$"):  # the name is right, the weight is not
        loss_terms("0*dice", NAMES)
