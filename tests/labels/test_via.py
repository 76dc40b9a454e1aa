import csv
import json
import math

import pytest

from patchseg.errors import DataError, UsageError
from patchseg.labels.shapes import Drawing

SQUARE = {"name": "polygon", "all_points_x": [2, 5, 5, 2], "all_points_y": [1, 1, 4, 4]}


def region(shape=SQUARE, **attributes):
    return {"shape_attributes": shape, "region_attributes": attributes}


def via(*regions, name="a.png", size=100):
    return {
        f"{name}{size}": {"filename": name, "size": size, "regions": list(regions), "file_attributes": {}}
    }


def csv_of(*rows):
    head = (
        "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"
    )
    quoted = [",".join('"' + str(cell).replace('"', '""') + '"' for cell in row) for row in rows]
    return "\n".join([head, *quoted])


def only(annotations):
    (drawing,) = annotations.drawings
    return drawing.shapes


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda tree: tree,
        lambda tree: {"_via_settings": {"ui": {}}, "_via_img_metadata": tree, "_via_attributes": {}},
    ],
    ids=["export", "project"],
)
def test_exports_and_projects_are_read(read, pixels, block, wrapped):
    found = read(wrapped(via(region(kind="bug"), name="a.png") | via(name="b.png")))
    assert [drawing.image for drawing in found.drawings] == ["a.png", "b.png"]
    assert found.names == ("bug",)
    (shape,) = found.drawings[0].shapes
    assert (shape.name, pixels(shape)) == ("bug", block(range(1, 4), range(2, 5)))
    assert found.drawings[1] == Drawing("b.png", ())


def test_regions_of_version_1_are_an_object_by_number(read):
    tree = via()
    tree["a.png100"]["regions"] = {"0": region(kind="bug"), "1": region(kind="leaf")}
    assert [shape.name for shape in only(read(tree))] == ["bug", "leaf"]


def test_csv_says_what_json_says(read, pixels, block):
    text = csv_of(
        ("a.png", 100, "{}", 2, 0, json.dumps(SQUARE), json.dumps({"kind": "bug"})),
        (
            "a.png",
            100,
            "{}",
            2,
            1,
            json.dumps({"name": "rect", "x": 0, "y": 0, "width": 2, "height": 1}),
            json.dumps({"kind": "leaf"}),
        ),
        ("b.png", 100, "{}", 0, 0, "{}", "{}"),
    )
    for content in (text, "\ufeff#" + text):
        found = read(content, "a.csv")
        assert [(drawing.image, len(drawing.shapes)) for drawing in found.drawings] == [
            ("a.png", 2),
            ("b.png", 0),
        ]
        one, two = found.drawings[0].shapes
        assert (one.name, pixels(one)) == ("bug", block(range(1, 4), range(2, 5)))
        assert (two.name, pixels(two)) == ("leaf", block(range(1), range(2)))


def test_a_region_in_csv_may_have_more_corners_than_csv_usually_allows(read):
    many = {"name": "polygon", "all_points_x": [0] * 100_000, "all_points_y": [0] * 100_000}
    before = csv.field_size_limit()
    (shape,) = only(read(csv_of(("a.png", 1, "{}", 1, 0, json.dumps(many), "{}")), "a.csv"))
    assert len(shape.parts[0].rings[0]) == 100_000
    assert csv.field_size_limit() == before


@pytest.mark.parametrize(
    ("shape", "where"),
    [
        ({"name": "rect", "x": 1, "y": 2, "width": 3, "height": 4}, (range(2, 6), range(1, 4))),
        ({"name": "ellipse", "cx": 4, "cy": 3, "rx": 3.2, "ry": 0.6}, (range(3), range(0))),
        (
            {"name": "polyline", "all_points_x": [2, 5, 5, 2, 2], "all_points_y": [1, 1, 4, 4, 1]},
            (range(1, 4), range(2, 5)),
        ),
    ],
)
def test_shapes_by_hand(read, pixels, block, shape, where):
    expected = block(*where)
    if shape["name"] == "ellipse":
        # Half-axes 3.2 and 0.6 about (4, 3): 0.5 above and below, centres lie inside within 3.2 * sqrt(1 - (0.5 / 0.6)^2) = 1.77.
        expected = block((2, 3), (2, 3, 4, 5))
    assert pixels(only(read(via(region(shape))))[0]) == expected


def test_circles_and_turned_ellipses(read, pixels):
    circle, turned = only(
        read(
            via(
                region({"name": "circle", "cx": 4, "cy": 4, "r": 1}),
                region({"name": "ellipse", "cx": 4, "cy": 3, "rx": 3.2, "ry": 0.6, "theta": math.pi / 2}),
            )
        )
    )
    assert pixels(circle) == {(3, 3), (3, 4), (4, 3), (4, 4)}
    assert pixels(turned) == {(r, c) for r in (1, 2, 3, 4) for c in (3, 4)}


def test_what_has_no_area_is_counted(read):
    line = {"name": "polyline", "all_points_x": [2, 5, 5], "all_points_y": [1, 1, 4]}
    found = read(via(region({"name": "point", "cx": 1, "cy": 1}), region(line), region(line), region()))
    assert found.left_out == {"point": 1, "polyline": 2}
    assert len(only(found)) == 1


# Classes


def test_regions_without_attributes_have_no_class(read):
    found = read(via(region()))
    assert only(found)[0].name is None
    assert found.names == ()


def test_the_only_attribute_names_the_class(read):
    found = read(via(region(kind="leaf"), region(kind=" bug "), region(), region(kind=""), region(kind=7)))
    assert [shape.name for shape in only(found)] == ["leaf", "bug", None, None, "7"]
    assert found.names == ("7", "bug", "leaf")


def test_attributes_that_always_agree_are_one(read):
    assert read(via(region(insect="bug", inseto="bug"))).names == ("bug",)


def test_of_several_attributes_one_must_be_chosen(read, tmp_path):
    tree = via(region(kind="bug", age="old"), region(kind="leaf", age="old"))
    with pytest.raises(UsageError) as caught:
        read(tree)
    assert str(caught.value) == (
        f"data.attribute: the regions of {tmp_path / 'a.json'} have the attributes age, kind; say which of them names the class, "
        "such as --attribute age"
    )
    assert read(tree, attribute="kind").names == ("bug", "leaf")
    with pytest.raises(UsageError, match=r"no region of .* has colour; the attributes are age, kind"):
        read(tree, attribute="colour")


def test_a_checkbox_names_the_class_when_one_is_ticked(read):
    assert read(via(region(kind={"bug": True, "leaf": False}))).names == ("bug",)
    with pytest.raises(
        DataError, match=r"a\.json: a\.png, region 1: is bug and leaf at once; expected one class"
    ):
        read(via(region(kind={"bug": True, "leaf": True})))


# Damage


@pytest.mark.parametrize(
    ("tree", "why"),
    [
        (
            via(region({"name": "polygon", "all_points_x": [1, 2], "all_points_y": [1]})),
            "a.png, region 1: has 2 x and 1 y; expected",
        ),
        (
            via(region({"name": "cube"})),
            "images.a.png100.regions.0.shape_attributes does not fit: input tag 'cube'",
        ),
        (
            via(region({"name": "circle", "cx": 1, "cy": 1, "r": -1})),
            "images.a.png100.regions.0.shape_attributes.circle.r does not fit",
        ),
        (via(region(kind=["bug"])), 'a.png, region 1: its kind is ["bug"]; expected text'),
        (via(size=1) | via(size=2), "holds two images called a.png; leave one of them"),
        (
            {"a": {"filename": 7, "regions": []}},
            "images.a.filename does not fit: input should be a valid string, got 7",
        ),
    ],
)
def test_damage_is_told_with_its_place(read, tmp_path, tree, why):
    with pytest.raises(DataError) as caught:
        read(tree)
    assert str(caught.value).startswith(f"{tmp_path / 'a.json'}: {why}")


def test_damaged_csv_is_told_with_its_line(read, tmp_path):
    with pytest.raises(DataError, match=r"a\.csv:3: is damaged JSON"):
        read(csv_of(("a.png", 1, "{}", 1, 0, "{}", "{}"), ("a.png", 1, "{}", 1, 0, "{cut", "{}")), "a.csv")
    with pytest.raises(DataError, match=r"a\.csv:2: names no image"):
        read(csv_of(("", 1, "{}", 1, 0, "{}", "{}")), "a.csv")
