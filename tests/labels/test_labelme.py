import base64
import io
import json
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from patchseg.errors import DataError, UsageError
from patchseg.imaging import Box
from patchseg.labels.annotations import read_annotation_file


def shape(points, kind="polygon", label="cell", **more):
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, "flags": {}, **more}


def labelme(*shapes, image="a.jpg", **more):
    return {
        "version": "5.4.1",
        "flags": {},
        "shapes": list(shapes),
        "imagePath": image,
        "imageData": None,
        **more,
    }


def png(pixels, mode="L"):
    file = io.BytesIO()
    Image.fromarray((np.array(pixels) * 255).astype(np.uint8)).convert(mode).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(height, width):
    """Return a PNG that says to be huge, in a few bytes."""
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    data = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )
    return base64.b64encode(data).decode()


def only(annotations):
    ((shape,),) = [drawing.shapes for drawing in annotations.drawings]
    return shape


def refusal(read, *shapes, **more):
    with pytest.raises(DataError) as caught:
        read(labelme(*shapes, **more))
    return str(caught.value)


@pytest.mark.parametrize(
    ("drawn", "where"),
    [
        (shape([[2, 1], [5, 1], [5, 4], [2, 4]]), (range(1, 4), range(2, 5))),
        (shape([[2, 1], [5, 1], [5, 4], [2, 4]], None), (range(1, 4), range(2, 5))),
        (shape([[5, 4], [2, 1]], "rectangle"), (range(1, 4), range(2, 5))),
        (shape([[2, 1], [5, 1], [5, 4], [2, 4]], "rectangle"), (range(1, 4), range(2, 5))),
        (shape([[4, 4], [4, 5]], "circle"), (range(3, 5), range(3, 5))),
        (shape([[2, 1], [4, 2]], "mask", mask=png([[1, 1, 1], [1, 1, 1]])), (range(1, 3), range(2, 5))),
        (shape([[2, 1], [4, 2]], "mask", mask=png([[1, 1, 1], [1, 1, 1]], "1")), (range(1, 3), range(2, 5))),
    ],
    ids=["polygon", "first versions", "rectangle", "four corners", "circle", "mask", "mask of 1 bit"],
)
def test_shapes_by_hand(read, pixels, block, drawn, where):
    found = read(labelme(drawn))
    assert only(found).name == "cell"
    assert pixels(only(found)) == block(*where)


def test_a_mask_holds_its_bits(read, pixels):
    drawn = shape([[2.0, 1.0], [4.0, 2.0]], "mask", mask=png([[1, 0, 0], [0, 0, 1]]))
    assert pixels(only(read(labelme(drawn)))) == {(1, 2), (2, 4)}


def test_a_file_names_its_image_and_size(read):
    (drawing,) = read(labelme(image="..\\pictures\\a.jpg", imageHeight=8, imageWidth=10)).drawings
    assert (drawing.image, drawing.size, drawing.shapes) == ("a.jpg", (8, 10), ())


def test_what_has_no_area_is_counted(read):
    found = read(
        labelme(shape([[1, 1]], "point"), shape([[1, 1], [2, 2]], "linestrip"), shape([[1, 1]], "point"))
    )
    assert found.left_out == {"point": 2, "linestrip": 1}


@pytest.mark.parametrize(
    ("drawn", "why"),
    [
        (
            shape([[1, 1], [2, 2]], "cube"),
            "shape 1: is a cube; expected one of polygon, rectangle, circle, mask, so draw it as one",
        ),
        (shape([[1, 1]], "circle"), "shape 1: is a circle of 1 points; expected 2, so draw it again"),
        (shape([[1, 1]] * 3, "rectangle"), "shape 1: is a rectangle of 3 points; expected 2"),
        (shape([[0, 0], [1, 1]], "mask"), "shape 1: has no PNG for its mask"),
        (shape([[0, 0], [1, 1]], "mask", mask="???"), "shape 1: has no PNG for its mask"),
        (
            shape([[0, 0], [1, 1]], "mask", mask=png([[1, 1]])),
            "shape 1: its mask is 1 x 2 pixels, its box 2 x 2; expected them equal",
        ),
        (
            shape([[0, 0], [99999, 99999]], "mask", mask=bomb(100_000, 100_000)),
            "shape 1: its mask is 100000 x 100000 pixels",
        ),
        (shape([[0, 0], [9, 9]], "mask", mask=bomb(10, 10)), "shape 1: its mask is a damaged PNG"),
        (shape([[0, 0, 0]]), "shapes.0.points.0 does not fit: tuple should have at most 2 items"),
        (shape([], label=""), "shapes.0.label does not fit"),
    ],
)
def test_damage_is_told_with_its_place(read, tmp_path, drawn, why):
    assert refusal(read, drawn).startswith(f"{tmp_path / 'a.json'}: {why}")


def test_labels_are_the_classes_so_no_attribute_can_be_chosen(read):
    with pytest.raises(
        UsageError, match=r"data\.attribute: .*a\.json is LabelMe, whose labels are the classes"
    ):
        read(labelme(), attribute="kind")


@given(st.integers(8, 80), st.binary(min_size=1, max_size=4))
def test_a_damaged_mask_is_a_sentence_or_a_shape(tmp_path_factory, start, data):
    good = base64.b64decode(png([[1, 0, 0], [0, 0, 1]]))
    mask = base64.b64encode(good[:start] + data + good[start + len(data) :]).decode()
    path = tmp_path_factory.mktemp("mask") / "a.json"
    path.write_text(json.dumps(labelme(shape([[2, 1], [4, 2]], "mask", mask=mask))))
    try:
        (part,) = only(read_annotation_file(path)).parts
    except DataError:
        return
    assert part.box == Box(1, 2, 2, 3)
