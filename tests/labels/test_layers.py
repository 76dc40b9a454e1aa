import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from patchseg.errors import DataError
from patchseg.imaging import Box
from patchseg.labels.classes import Classes, MaskReading
from patchseg.labels.layers import Layer, LayeredMask, Layers, layered_classes

SHAPES = Classes(("background", "circle", "square"), (0, 1, 2), ("#000000", "#e69f00", "#56b4e9"))
VALUED = Classes(SHAPES.names, (5, 1000, -1), SHAPES.colors)
PAINTED = Classes(SHAPES.names, (None, None, None), SHAPES.colors)


@pytest.fixture
def layer(tmp_path):
    """Write the pixels of an object and return its layer."""

    def layer(name, pixels, number=0, suffix=".png"):
        path = tmp_path / f"{name}_{number}{suffix}"
        Image.fromarray(np.asarray(pixels, np.uint8)).save(path)
        return Layer(path, name)

    return layer


def read(mask):
    return mask.read(Box(0, 0, *mask.shape[:2]))[:, :, 0].tolist()


def test_the_later_object_wins_and_the_pixels_it_takes_from_another_class_are_counted(layer):
    layers = [
        layer("circle", [[9, 9, 9, 0]]),
        layer("circle", [[9, 0, 0, 0]], 1),
        layer("square", [[0, 255, 255, 0]]),
    ]
    mask = LayeredMask(layers, SHAPES)
    assert read(mask) == [[1, 2, 2, 0]]
    assert mask.overlap == 2
    assert read(LayeredMask(layers[::-1], SHAPES)) == [[1, 1, 1, 0]]


@pytest.mark.parametrize(
    ("classes", "expected"), [(VALUED, [[1000, 5], [-1, 255]]), (PAINTED, [[1, 0], [2, 255]])]
)
def test_layers_hold_the_values_of_their_classes(layer, classes, expected):
    layers = [
        layer("circle", [[1, 0], [0, 0]]),
        layer("square", [[0, 0], [1, 0]]),
        layer("ignore", [[0, 0], [0, 1]]),
    ]
    mask = Layers(tuple(layers), classes).open()
    assert read(mask) == expected
    assert classes.encode(mask.read(Box(0, 0, 2, 2)), Path("a.png")).tolist() == [[1, 0], [2, 255]]


def test_black_and_transparent_pixels_are_no_object_whatever_the_format(layer):
    opaque = [[[0, 0, 0, 255], [255, 255, 255, 255]]]
    clear = [[[255, 0, 0, 255], [255, 0, 0, 0]]]
    layers = [layer("circle", opaque), layer("square", clear)]
    assert read(LayeredMask(layers, SHAPES)) == [[2, 1]]
    palette = Image.fromarray(np.array([[0, 1]], np.uint8))
    palette.putpalette([255, 0, 0, 0, 0, 0])
    palette.save(layers[0].path)
    assert read(LayeredMask(layers[:1], SHAPES)) == [[1, 0]], "a palette is read by its colours"


@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.integers(0, 2**12 - 1)), min_size=1, max_size=5))
def test_the_union_is_that_of_painting_one_after_the_other(objects):
    arrays = [np.array([bits >> n & 1 for n in range(12)], bool).reshape(3, 4) for _, bits in objects]
    with tempfile.TemporaryDirectory() as folder:
        layers = [
            Layer(Path(folder) / f"{n}.png", SHAPES.names[place]) for n, (place, _) in enumerate(objects)
        ]
        for layer, pixels in zip(layers, arrays, strict=True):
            Image.fromarray(pixels).save(layer.path)
        mask = LayeredMask(layers, SHAPES)
    expected, overlap = np.zeros((3, 4), int), 0
    for (place, _), found in zip(objects, arrays, strict=True):
        for row, column in np.argwhere(found):
            overlap += expected[row, column] not in (0, place)
            expected[row, column] = place
    assert read(mask) == expected.tolist()
    assert mask.overlap == overlap


def test_objects_with_several_values_need_to_be_told_what_they_are(layer):
    soft = layer("circle", [[0, 60, 255, 255, 200]])
    with pytest.raises(
        DataError, match=r"circle_0\.png: holds 3 values besides 0; expected one, .* --binary .* --mask-tol"
    ):
        LayeredMask([soft], SHAPES)
    edges = LayeredMask(
        [soft], Classes(SHAPES.names, SHAPES.values, SHAPES.colors, MaskReading(tolerance=100))
    )
    assert (read(edges), edges.pulled) == ([[0, 0, 1, 1, 1]], 2)
    numbered = LayeredMask(
        [soft], Classes(SHAPES.names, SHAPES.values, SHAPES.colors, MaskReading(binary=True))
    )
    assert (read(numbered), numbered.pulled) == ([[0, 1, 1, 1, 1]], 0)


def test_layers_of_other_sizes_or_classes_are_refused(layer):
    one, other = layer("circle", [[1, 0]]), layer("square", [[1, 0, 0]])
    with pytest.raises(
        DataError, match=r"square_0\.png: is 1 x 3 pixels, .*circle_0\.png is 1 x 2; expected all masks"
    ):
        LayeredMask([one, other], SHAPES)
    with pytest.raises(
        DataError, match=r'is of the class squares, which is none of background, circle, square; .*"square"'
    ):
        LayeredMask([one._replace(name="squares")], SHAPES)


def test_the_classes_of_layers_are_their_names():
    layers = [Layer(Path("x.png"), name) for name in ("square", "circle", "square", "ignore", "background")]
    assert layered_classes(layers, MaskReading(ignore=3)) == Classes(
        SHAPES.names, SHAPES.values, SHAPES.colors, MaskReading(ignore=3)
    )
    with pytest.raises(DataError, match="the masks' names hold 0 classes"):
        layered_classes(layers[3:], MaskReading())
