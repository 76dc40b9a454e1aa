import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchseg.errors import DataError
from patchseg.labels.coco import decompress

SQUARE = [[2, 1, 5, 1, 5, 4, 2, 4]]


def coco(*segmentations, size=(8, 10), categories=((1, "cell"),), **more):
    image = {"id": 7, "file_name": "a.png"} | ({"height": size[0], "width": size[1]} if size else {})
    annotations = [
        {
            "id": n,
            "image_id": 7,
            "category_id": categories[0][0],
            "segmentation": s,
            "iscrowd": int(isinstance(s, dict)),
        }
        for n, s in enumerate(segmentations, 1)
    ]
    return {
        "images": [image],
        "annotations": annotations,
        "categories": [{"id": number, "name": name, "supercategory": ""} for number, name in categories],
        **more,
    }


def compress(counts):
    """Write run lengths as COCO does, number by number."""
    text = ""
    for place, count in enumerate(counts):
        number, more = count - (counts[place - 2] if place > 2 else 0), True
        while more:
            bits = number & 31
            number >>= 5
            more = number != (-1 if bits & 16 else 0)
            text += chr(48 + bits + (32 if more else 0))
    return text


def only(annotations):
    ((shape,),) = [drawing.shapes for drawing in annotations.drawings]
    return shape


def refusal(read, tree):
    with pytest.raises(DataError) as caught:
        read(tree)
    return str(caught.value)


def test_polygons_by_hand(read, pixels, block):
    found = read(coco(SQUARE))
    assert (found.names, found.drawings[0].image, found.drawings[0].size) == (("cell",), "a.png", (8, 10))
    assert pixels(only(found)) == block(range(1, 4), range(2, 5))


def test_several_polygons_of_one_object_are_united_even_where_they_overlap(read, pixels, block):
    found = read(coco([*SQUARE, [4, 3, 7, 3, 7, 6, 4, 6]]))
    assert pixels(only(found)) == block(range(1, 4), range(2, 5)) | block(range(3, 6), range(4, 7))


@pytest.mark.parametrize("packed", [list, compress])
def test_run_lengths_count_down_the_columns(read, pixels, packed):
    # In an image of 8 rows: rows 6 and 7 of column 0, then row 0 of column 1; then row 3 of column 9.
    counts = [6, 3, 66, 1, 4]
    found = read(coco({"size": [8, 10], "counts": packed(counts)}))
    assert pixels(only(found)) == {(6, 0), (7, 0), (0, 1), (3, 9)}


@given(st.lists(st.integers(0, 2**31), max_size=12))
def test_compressed_numbers_come_back(counts):
    assert decompress(compress(counts), "a.json").tolist() == counts


def test_a_crowd_is_of_its_class_like_any_other(read):
    assert only(read(coco({"size": [8, 10], "counts": [0, 80]}))).name == "cell"


def test_boxes_without_an_outline_are_counted(read):
    found = read(coco(None, [], SQUARE))
    assert found.left_out == {"box without an outline": 2}
    assert len(found.drawings[0].shapes) == 1


def test_classes_stand_in_the_order_of_the_categories_that_are_used(read):
    tree = coco(SQUARE, SQUARE, categories=((9, "pore"), (2, "unused"), (3, "crack")))
    tree["annotations"][1]["category_id"] = 3
    assert read(tree).names == ("pore", "crack")


def test_images_without_annotations_are_listed(read):
    tree = coco()
    tree["images"].append({"id": "b", "file_name": "sub/b.png"})
    assert [(d.image, d.shapes, d.size) for d in read(tree).drawings] == [
        ("a.png", (), (8, 10)),
        ("sub/b.png", (), None),
    ]


def test_an_image_without_a_size_has_that_of_its_run_lengths(read):
    assert read(coco({"size": [8, 10], "counts": [80]}, size=None)).drawings[0].size == (8, 10)


@pytest.mark.parametrize(
    ("tree", "why"),
    [
        (coco([[1, 2, 3]]), "annotation 1: has an x without its y"),
        (
            coco({"size": [8, 10], "counts": [79]}),
            "annotation 1: its run lengths do not add up to its size of 8 x 10 pixels",
        ),
        (coco({"size": [8, 10], "counts": [10**9]}), "annotation 1: its run lengths do not add up"),
        (
            coco({"size": [8, 10], "counts": [2**61, 2**61, 2**61, 2**61, 2**61, 2**61, 2**61, 2**61, 80]}),
            "annotation 1: its run lengths do not",
        ),
        (
            coco({"size": [8, 10], "counts": compress([90, -10])}),
            "annotation 1: its run lengths do not add up",
        ),
        (
            coco({"size": [8, 10], "counts": compress([6, 3, 66, 1, 4])[:-2]}),
            "annotation 1: its run lengths do not add up",
        ),
        (coco({"size": [8, 10], "counts": "``"}), "annotation 1: its run lengths are damaged"),
        (coco({"size": [8, 10], "counts": "é"}), "annotation 1: its run lengths are damaged"),
        (coco({"size": [8, 10], "counts": "o" * 30 + "0"}), "annotation 1: its run lengths are damaged"),
        (
            coco({"size": [8, 10], "counts": [-1, 81]}),
            "annotations.0.segmentation.runs.counts.plain.0 does not fit",
        ),
        (coco({"size": [10, 8], "counts": [80]}), "gives a.png the sizes 8 x 10 and 10 x 8; expected one"),
        (coco(SQUARE, categories=((1, "a"), (1, "b"))), "gives one id to two images or categories"),
        (
            coco(SQUARE) | {"images": []},
            "annotation 1: is of image 7 and category 1, which are not both listed",
        ),
        (
            coco(SQUARE) | {"categories": []},
            "annotation 1: is of image 7 and category 1, which are not both listed",
        ),
    ],
)
def test_damage_is_told_with_its_place(read, tmp_path, tree, why):
    assert refusal(read, tree).startswith(f"{tmp_path / 'a.json'}: {why}")


def test_run_lengths_of_a_billion_pixels_are_refused_or_cost_nothing(read):
    tree = coco({"size": [40_000, 40_000], "counts": [0, 1_600_000_000]}, size=(40_000, 40_000))
    (part,) = only(read(tree)).parts
    assert part.ends.tolist() == [0, 1_600_000_000]
    assert "do not add up" in refusal(read, coco({"size": [8, 10], "counts": [0, 1_600_000_000]}))


def test_an_empty_text_of_run_lengths_has_no_number():
    assert np.array_equal(decompress("", "a.json"), [])
