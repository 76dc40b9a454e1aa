import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, maximum_filter, minimum_filter

from patchseg.imaging import Box
from patchseg.labels.annotations import read_annotation_file
from patchseg.labels.classes import Classes
from patchseg.labels.drawn import Drawn
from patchseg.labels.naming import values_by_name
from patchseg.labels.rasterize import cover
from patchseg.labels.shapes import outline
from patchseg.labels.write_labelme import OPEN, _regions, labelme_tree, slit

CLASSES = Classes(("background", "line", "ellipse"), (0, 1, 2), ("#000000", "#e69f00", "#56b4e9"))


def painted(tree, folder, classes=CLASSES):
    """Return the mask (H, W) that our reader makes of a LabelMe file."""
    file = folder / "a.json"
    file.write_text(json.dumps(tree), encoding="utf-8")
    annotations = read_annotation_file(file)
    ((drawing),) = annotations.drawings
    values = values_by_name(classes, annotations)
    unlabeled = classes.names.index("background")
    drawn = Drawn(annotations, drawing, drawing.size, values, unlabeled)
    return drawn.open().read(Box(0, 0, *drawing.size))[:, :, 0]


def smooth(seed, values, shape=(40, 48), sigma=3):
    fields = np.random.default_rng(seed).standard_normal((len(values), *shape))
    blurred = np.stack([gaussian_filter(field, sigma) for field in fields])
    return np.array(values, np.uint8)[blurred.argmax(axis=0)]


def off_by_more_than_a_pixel(one, other):
    """Return how many pixels differ that touch no pixel of another value."""
    inside = maximum_filter(one, 3) == minimum_filter(one, 3)
    return int(((one != other) & inside).sum())


@given(st.integers(0, 2**32), st.sampled_from([1, 3]))
def test_read_again_a_mask_is_the_same_to_within_a_pixel(tmp_path_factory, seed, sigma):
    mask = smooth(seed, (0, 1, 2, 255), sigma=sigma)
    again = painted(labelme_tree(mask, CLASSES, "a.png"), tmp_path_factory.mktemp("labelme"))
    assert off_by_more_than_a_pixel(mask, again) == 0
    assert (mask == again).mean() > 0.6


def test_rectangles_with_holes_come_back_exactly_where_nothing_is_open(tmp_path):
    mask = np.zeros((30, 30), np.uint8)
    mask[2:28, 2:28] = 1
    mask[5:12, 5:12] = 0  # a hole
    mask[15:25, 6:20] = 2  # one that holds another class
    mask[18:20, 8:12] = 0
    tree = labelme_tree(mask, CLASSES, "a.png")
    assert sorted(shape["label"] for shape in tree["shapes"]) == ["ellipse", "line"]
    np.testing.assert_array_equal(painted(tree, tmp_path), mask)


def test_what_is_open_lies_beneath_and_a_pixel_beyond(tmp_path):
    mask = np.zeros((9, 20), np.uint8)
    mask[:, 5:10], mask[:, 10:15] = 255, 1
    tree = labelme_tree(mask, CLASSES, "a.png")
    assert [shape["label"] for shape in tree["shapes"]] == [OPEN, "line"]
    again = painted(tree, tmp_path)
    assert again[4].tolist() == [0] * 4 + [255] * 6 + [1] * 5 + [0] * 5


def test_the_background_is_not_drawn_wherever_it_stands_among_the_classes(tmp_path):
    classes = Classes(("cell", "background"), (0, 1), ("#e69f00", "#000000"))
    mask = np.ones((8, 8), np.uint8)
    mask[2:5, 3:7] = 0
    tree = labelme_tree(mask, classes, "a.png")
    assert [shape["label"] for shape in tree["shapes"]] == ["cell"]
    np.testing.assert_array_equal(painted(tree, tmp_path, classes), mask)


def test_a_file_says_what_labelme_asks_for():
    mask = np.zeros((4, 6), np.uint8)
    mask[1:3, 2:5] = 1
    tree = labelme_tree(mask, CLASSES, "../images/a.png")
    assert {key: tree[key] for key in ("imagePath", "imageData", "imageHeight", "imageWidth", "flags")} == {
        "imagePath": "../images/a.png", "imageData": None, "imageHeight": 4, "imageWidth": 6, "flags": {},
    }  # fmt: skip
    (shape,) = tree["shapes"]
    assert shape["shape_type"] == "polygon"
    assert shape["points"] == [[2, 1], [5, 1], [5, 3], [2, 3]]


def test_stairs_become_lines_and_a_line_of_one_pixel_stays(tmp_path):
    rows, columns = np.indices((60, 60))
    disk = ((rows - 30) ** 2 + (columns - 30) ** 2 < 25**2).astype(np.uint8)
    (shape,) = labelme_tree(disk, CLASSES, "a.png")["shapes"]
    corners = sum(len(region.outer) for region in _regions(disk, [1]))
    assert len(shape["points"]) < 0.6 * corners
    line = np.zeros((20, 20), np.uint8)
    line[4, 2:18] = line[5:16, 17] = 1
    np.testing.assert_array_equal(painted(labelme_tree(line, CLASSES, "a.png"), tmp_path), line)


@pytest.mark.parametrize("seed", range(4))
def test_an_outline_with_slits_to_its_holes_covers_the_same_pixels(seed):
    draw = np.random.default_rng(seed)
    ring = np.array([[0, 0], [0, 40], [40, 40], [40, 0]])
    holes = []
    for row, column in ((3, 3), (3, 22), (22, 3), (22, 22)):
        high, wide = draw.integers(2, 15, 2)
        holes.append(
            np.array([[row, column], [row + high, column], [row + high, column + wide], [row, column + wide]])
        )
    box, inside = cover(outline(slit(ring, holes)[:, ::-1].astype(float)), Box(0, 0, 40, 40))
    expected = np.ones((40, 40), bool)
    for (top, left), _, (bottom, right), _ in holes:
        expected[top:bottom, left:right] = False
    np.testing.assert_array_equal(inside, expected[box.slices])
