import pytest

from patchseg.errors import DataError

HEAD = '<?xml version="1.0" encoding="utf-8"?>\n'
META = "<version>1.1</version><meta><job><labels><label><name>cell</name></label></labels></job></meta>"


def cvat(*shapes, size='width="10" height="8"', name="a.png"):
    return (
        f'{HEAD}<annotations>{META}<image id="0" name="{name}" {size}>{"".join(shapes)}</image></annotations>'
    )


def polygon(label="cell", z=0, points="2,1;5,1;5,4;2,4"):
    return f'<polygon label="{label}" source="manual" occluded="0" points="{points}" z_order="{z}"></polygon>'


def only(annotations):
    ((shape,),) = [drawing.shapes for drawing in annotations.drawings]
    return shape


def refusal(read, text):
    with pytest.raises(DataError) as caught:
        read(text, "a.xml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("drawn", "where"),
    [
        (polygon(), (range(1, 4), range(2, 5))),
        (polygon(points="2,1; 5.00,1 ;5,4;2,4;"), (range(1, 4), range(2, 5))),
        ('<box label="cell" xtl="2" ytl="1" xbr="5" ybr="4" z_order="0"/>', (range(1, 4), range(2, 5))),
        ('<box label="cell" xtl="1" ytl="2" xbr="7" ybr="4" rotation="90"/>', (range(6), range(3, 5))),
        ('<ellipse label="cell" cx="4" cy="4" rx="1" ry="1"/>', (range(3, 5), range(3, 5))),
        ('<ellipse label="cell" cx="4" cy="3" rx="3.2" ry="0.6" rotation="90"/>', (range(1, 5), range(3, 5))),
        (
            '<mask label="cell" rle="0, 6" left="2" top="1" width="3" height="2" z_order="0"/>',
            (range(1, 3), range(2, 5)),
        ),
    ],
    ids=["polygon", "spaces", "box", "turned box", "ellipse", "turned ellipse", "mask"],
)
def test_shapes_by_hand(read, pixels, block, drawn, where):
    found = read(cvat(drawn), "a.xml")
    assert (found.names, found.drawings[0].image, found.drawings[0].size) == (("cell",), "a.png", (8, 10))
    assert pixels(only(found)) == block(*where)


def test_run_lengths_count_along_the_rows_of_their_box_and_need_not_reach_its_end(read, pixels):
    found = read(cvat('<mask label="cell" rle="1,1,2,1" left="2" top="1" width="3" height="2"/>'), "a.xml")
    assert pixels(only(found)) == {(1, 3), (2, 3)}


def test_shapes_lie_over_each_other_by_z_order_then_as_they_stand(read):
    text = cvat(polygon("d", 2), polygon("b", 1), polygon("c", 1), polygon("a", -1))
    assert [shape.name for shape in read(text, "a.xml").drawings[0].shapes] == ["a", "b", "c", "d"]


def test_what_has_no_area_is_counted_and_attributes_are_passed_over(read):
    line = (
        '<polyline label="cell" points="1,1;2,2" z_order="0"><attribute name="age">old</attribute></polyline>'
    )
    found = read(
        cvat(line, '<points label="cell" points="1,1"/>', '<tag label="sharp"/>', polygon()), "a.xml"
    )
    assert found.left_out == {"polyline": 1, "points": 1, "tag": 1}
    assert len(found.drawings[0].shapes) == 1


def test_images_without_shapes_are_listed(read):
    found = read(cvat(name="sub/b.png", size=""), "a.xml")
    assert [(d.image, d.shapes, d.size) for d in found.drawings] == [("sub/b.png", (), None)]


LAUGHS = (
    '<!DOCTYPE a [<!ENTITY l "ha"><!ENTITY m "&l;&l;&l;&l;&l;&l;&l;&l;"><!ENTITY n "&m;&m;&m;&m;&m;&m;&m;">]>'
)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"{HEAD}{LAUGHS}<annotations>&n;</annotations>", "has a document type (DOCTYPE)"),
        (
            f'{HEAD}<!DOCTYPE a [<!ENTITY f SYSTEM "file:///etc/passwd">]><annotations>&f;</annotations>',
            "has a document type",
        ),
        (f"{HEAD}<annotations><track id='0'></track></annotations>", "is of a video; expected images"),
        (cvat(polygon())[:-20], "is damaged XML (unclosed token"),
        (cvat(polygon(points="2,1;5")), "a.png, polygon 1: points.1.1 does not fit: field required"),
        (cvat(polygon(points="2,1;5,NaN;1,1")), "a.png, polygon 1: points.1.1 does not fit"),
        (cvat("<polygon points='1,1'/>"), "a.png, polygon 1: label does not fit: field required"),
        (
            cvat('<mask label="cell" rle="0,7" left="2" top="1" width="3" height="2"/>'),
            "a.png, mask 1: its run lengths exceed its 2 x 3 pixels",
        ),
        (
            cvat('<mask label="cell" rle="0,-7" left="2" top="1" width="3" height="2"/>'),
            "a.png, mask 1: rle.1 does not fit",
        ),
        (
            cvat('<mask label="cell" rle="0" left="2" top="1" width="0" height="2"/>'),
            "a.png, mask 1: width does not fit",
        ),
        (f"{HEAD}<annotations><image id='0'/></annotations>", "image 1: name does not fit"),
    ],
)
def test_damage_is_told_with_its_place(read, tmp_path, text, why):
    assert refusal(read, text).startswith(f"{tmp_path / 'a.xml'}: {why}")
