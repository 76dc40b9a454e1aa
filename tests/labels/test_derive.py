from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchseg.errors import DataError
from patchseg.imaging import ArraySource, picture
from patchseg.labels import derive as module
from patchseg.labels.classes import MaskReading
from patchseg.labels.derive import derive, survey

FOLDER = Path("masks")
PALETTE = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255]], np.uint8)
GRAYS = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)


def surveys(*masks, palette=None):
    """Survey masks: lists of values, or of "#rrggbb"."""
    found = []
    for number, mask in enumerate(masks):
        painted = isinstance(mask[0], str)
        pixels = np.array([[picture.rgb(c) for c in mask]], np.uint8) if painted else np.array([mask])
        if not painted and pixels.dtype.kind == "i":
            pixels = pixels.astype(np.uint16 if pixels.max() > 255 else np.uint8)
        source = ArraySource(pixels, palette=None if painted else palette)
        found.append(survey(source, FOLDER / f"{number}.png"))
    return found


def derived(*masks, palette=None):
    classes = derive(surveys(*masks, palette=palette))
    return list(zip(classes.names, classes.values, classes.colors, strict=True))


def refusal(*masks, palette=None):
    with pytest.raises(DataError) as caught:
        derive(surveys(*masks, palette=palette))
    return str(caught.value)


# Surveys


@given(st.lists(st.integers(0, 255), min_size=1, max_size=60))
def test_a_survey_lists_the_distinct_values_band_by_band(values):
    pixels = np.array(values, np.uint8)[:, None]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BAND", 7)
        found = survey(ArraySource(pixels), FOLDER / "a.png")
    assert found[:3] == (FOLDER / "a.png", "value", frozenset(values))
    assert dict(found.counts) == {value: values.count(value) for value in values}


def test_a_survey_of_a_palette_mask_lists_the_colours_that_are_used():
    found = surveys([0, 2, 2], palette=PALETTE)[0]
    assert (found.kind, found.values, found.colors) == ("palette", {0, 2}, ((0, 0x000000), (2, 0x0000FF)))


def test_a_survey_of_colours_packs_them_and_leaves_alpha_out():
    pixels = np.array([[[255, 0, 16, 9], [0, 0, 1, 8]]], np.uint8)
    found = survey(ArraySource(pixels), FOLDER / "a.png")
    assert (found.kind, found.values) == ("color", {0xFF0010, 0x000001})


# 0 and 255


def test_masks_of_0_and_255_make_255_the_foreground():
    assert [part[:2] for part in derived([0, 255], [0, 255])] == [("background", 0), ("foreground", 255)]
    assert derived([0, 255], [0], [255]) == derived([0, 255])


def test_one_mask_of_0_and_255_decides_nothing_where_another_holds_more():
    names = [("background", 0), ("class_1", 1)]
    assert [part[:2] for part in derived([0, 255], [0, 1])] == names
    assert [part[:2] for part in derived([0, 1], [0, 255])] == names


@given(st.lists(st.lists(st.sampled_from([0, 255]), min_size=1, max_size=4), min_size=1, max_size=5))
def test_the_rule_of_0_and_255_looks_at_all_masks_together(masks):
    if {value for mask in masks for value in mask} == {0, 255}:
        assert derived(*masks)[1][1] == 255
    else:
        assert "hold only the value" in refusal(*masks)


@pytest.mark.parametrize("palette", [PALETTE, GRAYS])
def test_the_rule_holds_for_palette_masks_too(palette):
    assert derived([0, 255], palette=palette) == derived([0, 255])


def test_the_rule_holds_for_gray_masks_stored_as_colours():
    assert derived(["#000000", "#ffffff"]) == derived([0, 255])
    assert derived(["#000000", "#ffffff"], [0, 255]) == derived([0, 255])


# Values


def test_values_without_a_gap_are_classes_and_255_is_ignored():
    expected = [
        (name, value, picture.hexadecimal(color))
        for (name, value), color in zip(
            [("background", 0), ("class_1", 1), ("class_2", 2)], picture.palette(3), strict=True
        )
    ]
    assert derived([0, 2], [1, 255]) == expected
    assert derived(["#000000", "#020202", "#010101"]) == expected


def test_values_with_a_gap_are_refused_with_the_lines_to_write():
    assert refusal([0, 7], [9, 255]) == (
        "masks: the masks hold the values 0, 7, 9, 255; expected 0, 1, 2 ... without a gap, so name them in "
        'parameters.json, "data": {"classes": [{"name": "class_0", "value": 0}, '
        '{"name": "class_7", "value": 7}, {"name": "class_9", "value": 9}]}'
    )


@pytest.mark.parametrize("masks", [([1, 2],), ([0.0, 0.5, 1.0],), ([0, 1, 300],), ([128, 0],)])
def test_values_that_do_not_count_up_from_0_are_refused(masks):
    assert "without a gap" in refusal(*masks)


@pytest.mark.parametrize("value", [0, 1, 255])
def test_a_single_value_is_no_data_set(value):
    assert refusal([value], [value]).startswith(
        f"masks: the masks hold only the value {value}; expected at least"
    )


def test_numbered_objects_are_not_taken_for_classes():
    assert len(derived(list(range(32)))) == 32
    assert refusal(list(range(33))).startswith(
        "masks: the masks hold 33 values; expected one a class, not one an"
    )


# Colours


def test_colours_are_classes_with_black_as_background_and_plain_names():
    assert derived(["#ff0000", "#000000"], ["#0000ff", "#123456"]) == [
        ("background", None, "#000000"),
        ("blue", None, "#0000ff"),
        ("#123456", None, "#123456"),
        ("red", None, "#ff0000"),
    ]


def test_a_mask_that_is_all_background_may_be_gray_among_coloured_ones():
    assert derived(["#ff0000", "#000000"], [0, 0]) == derived(["#ff0000", "#000000"])


def test_a_gray_class_among_colours_is_a_colour_in_every_mask():
    assert derived(["#ff0000", "#000000"], ["#000000", "#ffffff"])[-1] == ("white", None, "#ffffff")


def test_values_among_colours_are_refused():
    assert refusal(["#ff0000", "#000000"], [0, 1]) == (
        "masks/1.png: holds values, other masks in masks colours; expected one kind, so save them alike"
    )


def test_palette_masks_among_colours_are_read_by_their_colours():
    mixed = [*surveys(["#ff0000", "#000000"]), *surveys([0, 2], palette=PALETTE)]
    classes = derive(mixed)
    assert classes.colors == ("#000000", "#0000ff", "#ff0000")
    # And both kinds encode so.
    assert classes.encode(np.array([[[2]]], np.uint8), FOLDER, PALETTE).tolist() == [[1]]
    assert classes.encode(PALETTE[None, 1:2], FOLDER).tolist() == [[2]]


def test_colours_without_black_leave_the_background_open():
    assert refusal(["#ff0000", "#00ff00"]).startswith(
        "masks: none of the masks' colours #00ff00, #ff0000 is black, so it is open which is the background"
    )


def test_soft_edges_are_not_taken_for_classes():
    edges = [f"#{value:02x}0000" for value in range(33)]
    assert len(derived(edges[:32])) == 32
    assert refusal(edges).startswith("masks: the masks hold 33 colours; expected one a class")


# Palettes


def test_palettes_that_agree_give_their_colours_by_index():
    assert derived([0, 1, 2], [0, 255], palette=PALETTE) == [
        ("background", 0, "#000000"),
        ("class_1", 1, "#ff0000"),
        ("class_2", 2, "#0000ff"),
    ]


def test_palettes_that_disagree_are_read_by_their_colours():
    mixed = [*surveys([0, 1], palette=PALETTE), *surveys([0, 1], palette=PALETTE[[0, 2]])]
    classes = derive(mixed)
    assert classes.values == (None, None, None)
    assert classes.colors == ("#000000", "#0000ff", "#ff0000")


def test_palettes_that_disagree_are_refused_beside_masks_without_colours():
    mixed = [*surveys([0, 1], palette=PALETTE), *surveys([0, 1], palette=PALETTE[[0, 2]]), *surveys([0, 1])]
    with pytest.raises(DataError) as caught:
        derive(mixed)
    assert str(caught.value).startswith(
        "masks/0.png: its palette shows index 1 as #0000ff, other masks in masks as #ff0000; give data.classes"
    )


def test_palettes_that_differ_only_where_nothing_is_painted_agree():
    mixed = [*surveys([0, 1], palette=PALETTE), *surveys([0, 1], palette=PALETTE[:2])]
    assert derive(mixed).colors == ("#000000", "#ff0000")


def test_a_palette_that_only_spells_out_the_grays_says_nothing_of_colours():
    assert derived([0, 1, 2], palette=GRAYS) == derived([0, 1, 2])
    mixed = [*surveys([0, 1], palette=GRAYS), *surveys([0, 1], palette=PALETTE)]
    assert derive(mixed).colors == ("#000000", "#ff0000")


def test_a_palette_with_one_colour_for_two_classes_gives_way_to_the_default_one():
    same = np.array([[0, 0, 0], [9, 0, 0], [9, 0, 0]], np.uint8)
    assert [color for *_, color in derived([0, 1, 2], palette=same)] == [
        picture.hexadecimal(color) for color in picture.palette(3)
    ]


# Readings


def read(*masks, palette=None, **how):
    classes = derive(surveys(*masks, palette=palette), MaskReading(**how))
    assert classes.reading == MaskReading(**how)
    return list(zip(classes.names, classes.values, strict=True))


def test_what_is_ignored_is_no_class():
    assert read([0, 1, 65535], ignore=65535) == [("background", 0), ("class_1", 1)]
    assert read([0, 1, 254], ignore=254) == [("background", 0), ("class_1", 1)]
    assert read([-1, 0, 1], ignore=-1) == [("background", 0), ("class_1", 1)]
    assert read(["#000000", "#ff0000", "#e0e0c0"], ignore="#e0e0c0") == [("background", None), ("red", None)]
    assert read(["#000000", "#010101", "#090909"], ignore=9) == [("background", 0), ("class_1", 1)]
    with pytest.raises(DataError, match="without a gap"):
        read([0, 1, 2], ignore=0)


def test_soft_black_and_white_is_0_and_255_within_the_tolerance():
    expected = [("background", 0), ("foreground", 255)]
    assert read([0, 3, 250, 255], [0], tolerance=40) == expected
    assert read(["#000000", "#030102"], ["#fffdf0"], tolerance=20) == expected
    with pytest.raises(DataError, match="without a gap"):
        read([0, 3, 128, 255], tolerance=40)
    with pytest.raises(DataError, match="without a gap"):
        read([0, 3, 9], tolerance=40)


def test_colours_nearer_than_the_tolerance_are_not_each_a_class():
    with pytest.raises(DataError, match=r"colours that lie within data\.mask_tolerance 20 of each other"):
        read(["#000000", "#ff0000"], ["#f00000"], tolerance=20)
    assert read(["#000000", "#ff0000"], tolerance=20) == [("background", None), ("red", None)]


def test_plain_values_stay_what_they_are_whatever_the_tolerance():
    assert read([0, 1, 255], tolerance=40) == [("background", 0), ("class_1", 1)]


def test_numbered_objects_are_one_class_with_binary():
    assert read(list(range(900)), [0], binary=True) == [("background", 0), ("foreground", 1)]
    assert read([0, 255], binary=True) == [("background", 0), ("foreground", 255)]
    assert read(["#000000", "#ffffff"], binary=True) == [("background", 0), ("foreground", 255)]
    assert read([0, 1, 2], palette=PALETTE, binary=True) == [("background", 0), ("foreground", 1)]


@pytest.mark.parametrize(
    ("masks", "how", "told"),
    [
        ([[0]], {}, "0 (black) only"),
        ([[3, 4]], {}, "no 0 (black)"),
        ([[0, 9]], {"ignore": 9}, "0 (black) only"),
        ([["#ff0000", "#ffffff"]], {}, "no 0 (black)"),
    ],
)
def test_binary_masks_of_one_kind_only_are_refused(masks, how, told):
    with pytest.raises(DataError) as caught:
        read(*masks, binary=True, **how)
    assert str(caught.value).startswith(f"masks: the masks hold {told}; expected 0 for the background")
