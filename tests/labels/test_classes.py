from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchseg.errors import DataError, UsageError
from patchseg.imaging import picture
from patchseg.labels.classes import IGNORE, Classes, MaskReading, pack
from patchseg.parameters import ClassParameters

MASK = Path("masks/a.png")
LINES = Classes(("background", "line"), (0, 1), ("#000000", "#e69f00"))
PAINTED = Classes(("sky", "tree"), (None, None), ("#0000ff", "#00ff00"))
BINARY = Classes(("background", "foreground"), (0, 255), ("#000000", "#e69f00"))


def classes(*given):
    return Classes.of([ClassParameters(**({"name": g} if isinstance(g, str) else g)) for g in given])


def values(*numbers, dtype=np.uint8):
    return np.array([numbers], dtype)[:, :, None]  # (1, n, 1)


def colors(*codes):
    return np.array([[picture.rgb(code) for code in codes]], np.uint8)  # (1, n, 3)


def refusal(which, pixels, palette=None):
    with pytest.raises(DataError) as caught:
        which.encode(pixels, MASK, palette)
    return str(caught.value)


# What the parameters say


def test_names_alone_are_values_in_their_order_and_colours_of_the_palette():
    made = classes("a", "b", "c")
    assert made.names == ("a", "b", "c")
    assert made.values == (0, 1, 2)
    np.testing.assert_array_equal(made.palette, picture.palette(3))


def test_a_value_is_kept_and_a_place_fills_in_for_one_that_is_missing():
    assert classes({"name": "a", "value": 10}, "b").values == (10, 1)


def test_colours_without_values_make_masks_be_read_by_colour():
    made = classes({"name": "a", "color": "#0000FF"}, {"name": "b", "color": "#00ff00"})
    assert made.values == (None, None)
    assert made.colors == ("#0000ff", "#00ff00")


def test_a_colour_that_is_left_out_never_meets_a_given_one():
    second = picture.hexadecimal(picture.palette(2)[1])
    made = classes({"name": "a", "color": second}, "b", "c")
    assert made.colors[0] == second
    assert len(set(made.colors)) == 3


@pytest.mark.parametrize(
    ("given_classes", "found"),
    [
        (["a"], "holds 1 classes; expected 2 to 254"),
        ([f"c{i}" for i in range(255)], "holds 255 classes; expected 2 to 254"),
        (["a", "b", "a"], "the name a stands twice"),
        ([{"name": "a", "value": 1}, "b"], "the value 1 stands twice"),
        (
            [{"name": "a", "color": "#FF0000"}, {"name": "b", "color": "#ff0000"}],
            "the color #ff0000 stands twice",
        ),
    ],
)
def test_classes_that_cannot_be_told_apart_or_are_too_many_are_refused(given_classes, found):
    with pytest.raises(UsageError) as caught:
        classes(*given_classes)
    assert str(caught.value).startswith(f"data.classes: {found}")


def test_254_classes_are_not_too_many():
    many = classes(*[f"c{i}" for i in range(254)])
    np.testing.assert_array_equal(many.encode(values(0, 253, 255), MASK), [[0, 253, 255]])


@pytest.mark.parametrize("which", [LINES, PAINTED, BINARY])
def test_classes_survive_their_json_form(which):
    items = which.to_json()
    assert Classes.from_json(items) == which
    assert set(items[0]) == {"name", "value", "color"}


def test_classes_tell_their_values_and_names():
    assert str(LINES) == "0 background, 1 line"
    assert str(PAINTED) == "0 sky, 1 tree"
    assert len(LINES) == 2


# By value


def test_values_become_places_and_255_is_ignored():
    made = classes({"name": "a", "value": 7}, {"name": "b", "value": 3})
    assert made.encode(values(3, 7, 255, 7), MASK).tolist() == [[1, 0, IGNORE, 0]]


def test_255_is_a_class_where_one_has_it():
    assert BINARY.encode(values(0, 255), MASK).tolist() == [[0, 1]]


@given(st.lists(st.integers(0, 255), min_size=2, max_size=20, unique=True), st.data())
def test_encoding_finds_the_class_of_each_value(known, data):
    made = classes(*[{"name": str(value), "value": value} for value in known])
    drawn = data.draw(st.lists(st.sampled_from(known), min_size=1, max_size=30))
    indices = made.encode(values(*drawn), MASK)
    assert [known[index] for index in indices[0]] == drawn
    assert indices.dtype == np.uint8


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32])
def test_values_may_be_of_any_dtype(dtype):
    assert LINES.encode(values(0, 1, 255, dtype=dtype), MASK).tolist() == [[0, 1, IGNORE]]


def test_a_value_of_no_class_is_told_in_one_sentence():
    assert refusal(LINES, values(0, 7, 1)) == (
        "masks/a.png: value 7 is no class (0 background, 1 line); add it to data.classes or set it to 255"
    )


@pytest.mark.parametrize(
    ("pixels", "found"),
    [
        (values(9, 8, 9, 7), "7, 8, 9"),
        (values(*range(2, 20)), "2, 3, 4, 5, 6 ..."),
        (values(256, 0, dtype=np.uint16), "256"),
        (values(-1, 0, dtype=np.int16), "-1"),
        (values(0.5, 1, dtype=np.float32), "0.5"),
        (values(np.nan, 1, dtype=np.float32), "nan"),
        (values(254), "254"),
    ],
)
def test_unknown_values_are_listed(pixels, found):
    assert f"value {found} is no class" in refusal(LINES, pixels)


# By colour


def test_colours_become_places():
    assert PAINTED.encode(colors("#00ff00", "#0000ff"), MASK).tolist() == [[1, 0]]


def test_alpha_beside_the_colour_does_not_matter():
    rgba = np.concatenate([colors("#00ff00"), np.full((1, 1, 1), 9, np.uint8)], axis=2)
    assert PAINTED.encode(rgba, MASK).tolist() == [[1]]


def test_a_colour_of_no_class_is_told_in_one_sentence():
    assert refusal(PAINTED, colors("#0000ff", "#fe0000")) == (
        "masks/a.png: colour #fe0000 is no class (#0000ff sky, #00ff00 tree); add it to data.classes or repaint it "
        "(or, for soft edges and JPEG, give --mask-tolerance)"
    )


def test_a_palette_is_read_by_colour_where_classes_are_colours():
    palette = np.array([[0, 255, 0], [0, 0, 255]], np.uint8)
    assert PAINTED.encode(values(0, 1), MASK, palette).tolist() == [[1, 0]]
    assert "colour #000000 is no class" in refusal(PAINTED, values(2), palette)


def test_a_palette_is_read_by_index_where_classes_are_values():
    palette = np.array([[9, 9, 9], [1, 1, 1]], np.uint8)
    assert LINES.encode(values(0, 1, 255), MASK, palette).tolist() == [[0, 1, IGNORE]]


def test_an_index_mask_stored_as_gray_rgb_is_read_by_value():
    gray = np.repeat(values(0, 1, 255), 3, axis=2)
    assert LINES.encode(gray, MASK).tolist() == [[0, 1, IGNORE]]
    assert BINARY.encode(np.repeat(values(0, 255), 3, axis=2), MASK).tolist() == [[0, 1]]
    assert "value 7 is no class" in refusal(LINES, np.repeat(values(0, 7), 3, axis=2))


def test_gray_is_a_colour_like_any_other_where_classes_are_colours():
    assert "colour #010101 is no class" in refusal(PAINTED, np.repeat(values(1), 3, axis=2))


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_packing_is_the_hexadecimal_number_of_the_colour(color):
    packed = pack(np.array([[color]], np.uint8), MASK)
    assert f"#{packed[0, 0]:06x}" == picture.hexadecimal(color)


def test_colours_of_16_bits_are_refused():
    with pytest.raises(DataError, match=r"masks/a\.png: has colours of uint16; expected 8 bits a channel"):
        PAINTED.encode(colors("#00ff00").astype(np.uint16), MASK)


# What else decides how masks are read


def reading(classes, **values):
    return Classes(classes.names, classes.values, classes.colors, MaskReading(**values))


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(-1, np.int16), (65535, np.uint16), (254, np.uint8), (0, np.uint8), (-9999, np.float32)],
)
def test_any_value_may_be_ignored_besides_255(value, dtype):
    one = Classes(("a", "b"), (1, 2), ("#000000", "#e69f00"), MaskReading(ignore=value))
    assert one.encode(values(1, value, 2, 255, dtype=dtype), MASK).tolist() == [[0, IGNORE, 1, IGNORE]]


def test_a_colour_may_be_ignored_in_colours_and_palettes():
    one = reading(PAINTED, ignore="#e0e0c0")
    assert one.encode(colors("#0000ff", "#e0e0c0"), MASK).tolist() == [[0, IGNORE]]
    palette = np.array([[0, 0, 255], [224, 224, 192]], np.uint8)
    assert one.encode(values(1, 0), MASK, palette).tolist() == [[IGNORE, 0]]
    assert "colour #e0e0c1 is no class" in refusal(one, colors("#e0e0c1"))


def test_values_of_classes_may_be_large_or_negative():
    made = classes({"name": "sea", "value": -5}, {"name": "city", "value": 1000})
    assert made.encode(values(1000, -5, dtype=np.int32), MASK).tolist() == [[1, 0]]


@pytest.mark.parametrize(
    ("given_classes", "how", "told"),
    [
        (["a", "b"], {"ignore": 1}, "data.ignore: 1 is a class in data.classes"),
        ([{"name": "a", "color": "#00ff00"}, "b"], {"ignore": "#00ff00"}, "data.ignore: #00ff00 is a class"),
        (["a", "b", "c"], {"binary": True}, "data.classes: holds 3 classes; expected 2 with --binary"),
    ],
)
def test_classes_and_readings_that_contradict_each_other_are_refused(given_classes, how, told):
    given_classes = [ClassParameters(**({"name": g} if isinstance(g, str) else g)) for g in given_classes]
    with pytest.raises(UsageError, match=told):
        Classes.of(given_classes, MaskReading(**how))


def test_shades_are_pulled_to_the_nearest_value_within_the_tolerance():
    soft = reading(BINARY, tolerance=40)
    assert soft.encode(values(0, 40, 215, 255), MASK).tolist() == [[0, 0, 1, 1]]
    assert "value 41, 214 is no class" in refusal(soft, values(0, 41, 214))


def test_class_numbers_are_no_shades():
    assert "value 7 is no class" in refusal(reading(LINES, tolerance=40), values(0, 1, 7))


def test_colours_are_pulled_where_no_channel_is_off_by_more():
    soft = reading(PAINTED, tolerance=20)
    assert soft.encode(colors("#1414eb", "#00ff00", "#14eb14"), MASK).tolist() == [[0, 1, 1]]
    assert (
        "colour #1500ff is no class (#0000ff sky, #00ff00 tree); add it to data.classes or repaint it"
        in refusal(soft, colors("#1500ff"))
    )


def test_black_and_white_that_jpeg_has_coloured_are_read_by_value():
    soft = reading(BINARY, tolerance=20)
    assert soft.encode(colors("#030102", "#fffdf0", "#000000"), MASK).tolist() == [[0, 1, 0]]


@given(st.lists(st.integers(0, 0xFFFFFF), min_size=1, max_size=40), st.integers(0, 255))
def test_a_pulled_pixel_is_that_of_a_slow_search(packed, tolerance):
    pixels = np.array([[[n >> 16, n >> 8 & 255, n & 255] for n in packed]], np.uint8)
    soft = reading(PAINTED, tolerance=tolerance)
    expected = []
    for pixel in pixels[0].astype(int):
        off = [max(abs(pixel - picture.rgb(color))) for color in PAINTED.colors]
        expected.append(off.index(min(off)) if min(off) <= tolerance else None)
    if None in expected:
        assert "is no class" in refusal(soft, pixels)
    else:
        assert soft.encode(pixels, MASK).tolist() == [expected]


def test_any_value_but_0_is_foreground_with_binary_even_255():
    one = reading(LINES, binary=True)
    assert one.encode(values(0, 1, 255, 300, 70000, dtype=np.uint32), MASK).tolist() == [[0, 1, 1, 1, 1]]
    assert one.encode(values(0, -3, dtype=np.int16), MASK).tolist() == [[0, 1]]
    assert reading(LINES, binary=True, ignore=255).encode(values(0, 255, 9), MASK).tolist() == [
        [0, IGNORE, 1]
    ]
    assert reading(LINES, binary=True, tolerance=9).encode(values(9, 10), MASK).tolist() == [[0, 1]]
    assert "holds NaN or infinity" in refusal(one, values(np.nan, 1, dtype=np.float32))


def test_any_colour_but_black_is_foreground_with_binary():
    one = reading(LINES, binary=True, ignore="#ffffff")
    assert one.encode(colors("#000000", "#010000", "#ffffff"), MASK).tolist() == [[0, 1, IGNORE]]
    palette = np.array([[9, 0, 0], [0, 0, 0]], np.uint8)
    assert one.encode(values(0, 1), MASK, palette).tolist() == [[1, 0]], (
        "black is the background, whatever its index"
    )


@given(st.sampled_from([np.uint8, np.uint16, np.int32, np.float32]), st.data())
def test_every_dtype_and_size_is_read_alike(dtype, data):
    known = data.draw(st.lists(st.integers(0, 255), min_size=2, max_size=5, unique=True))
    one = reading(
        classes(*[{"name": str(v), "value": v} for v in known]), ignore=data.draw(st.sampled_from([-1, 999]))
    )
    drawn = data.draw(st.lists(st.sampled_from(known), min_size=1, max_size=9)) * 40
    assert one.encode(values(*drawn, dtype=dtype), MASK).tolist() == [[known.index(v) for v in drawn]]


@pytest.mark.parametrize("how", [{"ignore": -1}, {"ignore": "#ffffff", "tolerance": 3.5}, {"binary": True}])
def test_classes_survive_their_json_form_with_their_reading(how):
    one = reading(LINES, **how)
    assert Classes.from_json(one.to_json(), one.reading.to_json() | {"newer": 1}) == one


# The user's own values


@pytest.mark.parametrize(
    ("given_values", "ignore", "table", "dtype", "ignored"),
    [
        ((0, 7), None, [0, 7, 255], np.uint8, 255),
        ((0, 255), None, [0, 255, 1], np.uint8, 1),
        ((1, 2), 0, [1, 2, 0], np.uint8, 0),
        ((0, 1000), None, [0, 1000, 255], np.uint16, 255),
        ((0, 1), -1, [0, 1, -1], np.int32, -1),
        ((None, None), None, [[0, 0, 0], [230, 159, 0], [128, 128, 128]], np.uint8, "#808080"),
        ((None, None), "#ffffff", [[0, 0, 0], [230, 159, 0], [255, 255, 255]], np.uint8, "#ffffff"),
    ],
)
def test_indices_go_back_to_the_values_of_the_users_masks(given_values, ignore, table, dtype, ignored):
    one = Classes(LINES.names, given_values, LINES.colors, MaskReading(ignore=ignore))
    back = one.originals()
    assert back.table[[0, 1, 255]].tolist() == table
    assert (back.table.dtype, back.ignored) == (dtype, ignored)
    # And what is written can be read again.
    written = back.table[np.array([[0, 1, 255]])]
    written = written if written.ndim == 3 else written[:, :, None]
    again = Classes(one.names, one.values, one.colors, MaskReading(back.ignored))
    assert again.encode(written, MASK).tolist() == [[0, 1, IGNORE]]
