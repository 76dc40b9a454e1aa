import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from patchseg.errors import DataError
from patchseg.imaging import Box
from patchseg.labels import drawn as module
from patchseg.labels.drawn import Drawn, bands, require_fit
from patchseg.labels.shapes import Annotations, Drawing, Shape, bitmap, rectangle

H, W = 12, 10
FILE = Path("a.json")
VALUES = {"a": 1, "b": 2, "c": 7, "ignored": 255, None: 3}

boxes = st.tuples(st.integers(-2, W), st.integers(-2, H), st.integers(0, 8), st.integers(0, 8))
drawings = st.lists(st.tuples(st.sampled_from(list(VALUES)), boxes), max_size=8)


def drawn(shapes, *, unlabeled=0, shape=(H, W)):
    """Return rectangles (name, (left, top, width, height)) as a drawing."""
    made = tuple(Shape(name, (rectangle(x, y, x + w, y + h),)) for name, (x, y, w, h) in shapes)
    drawing = Drawing("a.png", made)
    return Drawn(Annotations(FILE, (drawing,), (), Counter()), drawing, shape, VALUES, unlabeled)


def naive(shapes, unlabeled):
    """Paint pixel by pixel; return the values and how many pixels changed hands."""
    image, owner, taken = np.full((H, W), unlabeled), {}, 0
    for name, (x, y, w, h) in shapes:
        for row in range(max(y, 0), min(y + h, H)):
            for column in range(max(x, 0), min(x + w, W)):
                before = owner.get((row, column))
                taken += before is not None and before != VALUES[name]
                owner[row, column] = image[row, column] = VALUES[name]
    return image, taken


def test_later_shapes_lie_over_earlier_ones_by_hand():
    shapes = [("a", (0, 0, 4, 2)), ("b", (2, 0, 4, 1)), ("b", (5, 0, 2, 1))]
    assert drawn(shapes).open().read(Box(0, 0, 2, 8))[:, :, 0].tolist() == [
        [1, 1, 2, 2, 2, 2, 2, 0],
        [1, 1, 1, 1, 0, 0, 0, 0],
    ]
    tally = drawn(shapes).tally()
    assert (tally.overwritten, tally.empty, tally.pixels[[0, 1, 2]].tolist()) == (2, 0, [H * W - 11, 6, 5])


@given(
    drawings,
    st.sampled_from([0, 255]),
    st.tuples(st.integers(0, H - 1), st.integers(0, W - 1), st.integers(1, H), st.integers(1, W)),
)
def test_any_window_shows_what_painting_pixel_by_pixel_gives(shapes, unlabeled, window):
    image, taken = naive(shapes, unlabeled)
    box = Box(*window).clip(H, W)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BAND", 3 * W)
        painted = drawn(shapes, unlabeled=unlabeled)
        with painted.open() as source:
            assert (source.shape, source.dtype, source.palette, source.valid(box)) == (
                (H, W, 1),
                np.uint8,
                None,
                None,
            )
            np.testing.assert_array_equal(source.read(box)[:, :, 0], image[box.slices])
        tally = painted.tally()
    assert tally.overwritten == taken
    np.testing.assert_array_equal(tally.pixels, np.bincount(image.reshape(-1), minlength=256))
    assert tally.empty == sum(naive([shape], 0)[0].sum() == 0 for shape in shapes)


def test_parts_of_one_shape_are_united():
    parts = (rectangle(0, 0, 4, 2), rectangle(2, 0, 6, 2))
    one = drawn([])
    drawing = Drawing("a.png", (Shape("a", parts),))
    tally = dataclasses.replace(one, drawing=drawing).tally()
    assert (tally.pixels[1], tally.overwritten, tally.empty) == (12, 0, 0)


def test_a_shape_counts_as_empty_only_when_no_band_has_a_pixel_of_it(monkeypatch):
    monkeypatch.setattr(module, "_BAND", W)
    assert drawn([("a", (0, 0, 1, H)), ("b", (-2, 0, 2, 5)), ("c", (1, 1, 0, 3))]).tally().empty == 2


@given(st.integers(0, 9), st.integers(1, 40), st.integers(1, 9), st.integers(1, 30))
def test_bands_cut_a_box_from_top_to_bottom(top, height, width, size):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BAND", size)
        parts = bands(Box(top, 3, height, width))
    assert [row for box in parts for row in range(box.top, box.bottom)] == list(range(top, top + height))
    assert {(box.left, box.width) for box in parts} == {(3, width)}
    assert all(box.height * width <= max(size, width) for box in parts)


# Sizes


def refusal(drawing, image, shape):
    with pytest.raises(DataError) as caught:
        require_fit(drawing, FILE, image, shape)
    return str(caught.value)


def test_a_drawing_fits_an_image_of_its_size_or_of_any_where_it_says_none(tmp_path):
    require_fit(Drawing("a.png", (), (8, 10)), FILE, tmp_path / "a.png", (8, 10))
    require_fit(Drawing("a.png", ()), FILE, tmp_path / "a.png", (8, 10))
    mask = Shape("a", (bitmap(np.ones((3, 4), np.bool_), top=5, left=6),))
    require_fit(Drawing("a.png", (mask,)), FILE, tmp_path / "a.png", (8, 10))


def test_another_size_is_told(tmp_path):
    image = tmp_path / "a.png"
    assert refusal(Drawing("a.png", (), (8, 10)), image, (8, 11)) == (
        f"a.json: a.png is 8 x 10 pixels, {image} is 8 x 11; rows x columns must be equal, so give the image that was drawn on"
    )
    mask = Shape("a", (bitmap(np.ones((3, 4), np.bool_), top=6, left=6),))
    assert "a.json: a.png is 9 x 10 pixels" in refusal(Drawing("a.png", (mask,)), image, (8, 10))
    assert "a.json: a.png is 9 x 10 pixels" in refusal(Drawing("a.png", (mask,)), image, (9, 9))


def test_an_image_that_exif_turns_is_told_so(tmp_path):
    image = tmp_path / "a.jpg"
    picture = Image.new("RGB", (10, 8))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(image, exif=exif)
    assert "once turned upright by its EXIF orientation" in refusal(
        Drawing("a.jpg", (), (8, 10)), image, (10, 8)
    )
    picture.save(image)
    assert "EXIF" not in refusal(Drawing("a.jpg", (), (8, 10)), image, (10, 8))
