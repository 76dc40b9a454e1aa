import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchseg.errors import DataError, UsageError
from patchseg.imaging import Box
from patchseg.labels.region import Region, Regions
from patchseg.labels.shapes import Shape, outline, rectangle

H, W = 12, 10
ALL = Box(0, 0, H, W)
windows = st.builds(
    lambda *sides: Box(*sides).clip(H, W),
    st.integers(0, H - 1), st.integers(0, W - 1), st.integers(1, H), st.integers(1, W),
)  # fmt: skip
boxes = st.tuples(st.integers(-4, H - 1), st.integers(-4, W - 1), st.integers(1, 16), st.integers(1, 16))
squares = st.tuples(st.integers(-3, W), st.integers(-3, H), st.integers(1, 8), st.integers(1, 8))


def found(*names):
    return [(Path("in", name), Path(name)) for name in names]


def parse(text, *names):
    return Regions.parse(text, found(*names or ("a.png",)))


def on(text, shape=(H, W), name="a.png"):
    return parse(text, name).on(Path("in", name), shape)


def mask(region, box=ALL):
    pixels = region.mask(box)
    return np.ones((box.height, box.width), np.bool_) if pixels is None else pixels


def geojson(path, *rectangles, kind=None):
    """Write rectangles (left, top, right, bottom) as QuPath does."""
    features = [
        {
            "type": "Feature",
            "geometry": {
                "type": "Polygon",
                "coordinates": [rectangle(*sides).rings[0].tolist()],
            },
            "properties": kind or {},
        }
        for sides in rectangles
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")
    return path


def via(path, **regions):
    """Write a square on each image: `via(path, a=(left, top, side))`; two attributes contend for the class."""
    tree = {
        name: {
            "filename": f"{name}.png",
            "regions": [
                {
                    "shape_attributes": {
                        "name": "rect", "x": side[0], "y": side[1], "width": side[2], "height": side[2],
                    },
                    "region_attributes": {"kind": "cell", "by": {"me": True, "you": True}},
                }
            ],
        }
        for name, side in regions.items()
    }  # fmt: skip
    path.write_text(json.dumps(tree), encoding="utf-8")
    return path


# Boxes


def test_a_box_is_top_left_height_width():
    region = on(" 2,3, 4 ,5 ")
    expected = np.zeros((H, W), np.bool_)
    expected[2:6, 3:8] = True
    np.testing.assert_array_equal(mask(region), expected)
    assert region.bounds == Box(2, 3, 4, 5)


@given(boxes, windows)
def test_a_box_has_the_pixels_that_lie_in_it_and_in_the_image(box, window):
    top, left, height, width = box
    expected = np.zeros((H, W), np.bool_)
    expected[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)] = True
    parsed = parse(",".join(map(str, box)))
    if not expected.any():
        with pytest.raises(UsageError, match=r"lies outside of in/a\.png, which is 12 x 10 pixels"):
            parsed.on(Path("in/a.png"), (H, W))
        return
    region = parsed.on(Path("in/a.png"), (H, W))
    np.testing.assert_array_equal(mask(region, window), expected[window.slices])
    assert (region.mask(window) is None) == expected[window.slices].all()
    assert region.touches(window) == expected[window.slices].any()


def test_a_box_is_the_region_of_every_image():
    regions = parse("0,0,2,2", "a.png", "b.png")
    assert regions.on(Path("in/a.png"), (H, W)).bounds == regions.on(Path("in/b.png"), (2, 2)).bounds


@pytest.mark.parametrize(
    "text", ["0,0,10", "0 0 10 10", "a,b,c,d", "0,0,1e3,5", "0,0,5.5,5", "", "missing.json"]
)
def test_text_that_is_neither_box_nor_file_is_refused(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="is neither a box nor a file; expected top,left,height,width"):
        parse(text)


@pytest.mark.parametrize("text", ["0,0,0,5", "0,0,5,-1"])
def test_a_box_without_pixels_is_refused(text):
    with pytest.raises(
        UsageError, match=f"{text} holds no pixel; expected a height and a width of 1 or more"
    ):
        parse(text)


# Drawings


@given(st.lists(squares, min_size=1, max_size=5), windows)
def test_the_region_is_the_union_of_all_shapes_whatever_their_class(drawn, window):
    expected = np.zeros((H, W), np.bool_)
    for left, top, width, height in drawn:
        expected[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)] = True
    shapes = tuple(
        Shape("ab"[i % 2], (rectangle(left, top, left + width, top + height),))
        for i, (left, top, width, height) in enumerate(drawn)
    )
    region = Region(shapes, (H, W))
    np.testing.assert_array_equal(mask(region, window), expected[window.slices])
    assert region.touches(window) == expected[window.slices].any()
    rows, columns = np.nonzero(expected)
    if len(rows):
        low, high = (rows.min(), columns.min()), (rows.max() + 1, columns.max() + 1)
        assert region.bounds == Box(*low, high[0] - low[0], high[1] - low[1])


def test_a_tile_within_the_bounds_of_a_shape_need_not_touch_it():
    triangle = Region((Shape(None, (outline([(0, 0), (10, 0), (0, 10)]),)),), (H, W))
    assert triangle.touches(Box(0, 0, 3, 3))
    assert triangle.touches(Box(4, 4, 3, 3))  # (4, 4) has its centre at (4.5, 4.5)
    assert not triangle.touches(Box(6, 6, 3, 3))


@given(squares, st.lists(windows, max_size=12))
def test_of_many_boxes_those_are_found_that_hold_a_pixel_of_the_region(square, tiles):
    left, top, width, height = square
    corners = [(left, top), (left + width, top), (left, top + height)]
    region = Region((Shape(None, (outline(corners),)),), (H, W))
    inside = mask(region)
    tiles.sort(key=lambda box: box.top)
    assert list(region.touched(tiles)) == [box for box in tiles if inside[box.slices].any()]
    assert [box for box in tiles if region.touches(box)] == list(region.touched(tiles))


def test_a_geojson_alone_is_the_region_of_the_image_it_is_given_for(tmp_path):
    region = on(
        geojson(tmp_path / "around the crack.geojson", (1, 1, 3, 4), kind={"classification": {"name": "x"}})
    )
    assert region.bounds == Box(1, 1, 3, 2)


def test_a_class_that_is_no_class_does_not_matter(tmp_path):
    file = geojson(tmp_path / "a.geojson", (1, 1, 3, 4), kind={"classification": {"name": [1]}})
    assert on(file).bounds == Box(1, 1, 3, 2)


def test_of_several_images_each_has_what_is_drawn_on_it(tmp_path):
    file = via(tmp_path / "via.json", a=(1, 2, 3), b=(4, 0, 2), other=(0, 0, 1))
    regions = parse(file, "x/a.tif", "b.png")
    assert regions.on(Path("in/x/a.tif"), (H, W)).bounds == Box(2, 1, 3, 3)
    assert regions.on(Path("in/b.png"), (H, W)).bounds == Box(0, 4, 2, 2)


def test_a_folder_may_hold_a_file_an_image(tmp_path):
    geojson(tmp_path / "a.geojson", (1, 1, 3, 4))
    geojson(tmp_path / "b.geojson", (0, 0, 2, 2))
    regions = parse(tmp_path, "a.png", "b.ome.tif")
    assert regions.on(Path("in/b.ome.tif"), (H, W)).bounds == Box(0, 0, 2, 2)


def test_all_images_without_a_region_are_told(tmp_path):
    file = geojson(tmp_path / "a.geojson", (1, 1, 3, 4))
    with pytest.raises(DataError) as caught:
        parse(file, "a.png", "b.png", "c.png")
    assert str(caught.value).splitlines() == [
        f"in/{name}.png: has no region in {file}; draw one on it, or leave the image out" for name in "bc"
    ]


def test_a_file_that_names_another_image_is_none_of_this_one(tmp_path):
    with pytest.raises(DataError, match=r"in/a\.png: has no region in .*via\.json; draw one on it"):
        parse(via(tmp_path / "via.json", b=(0, 0, 1)))


def test_two_drawings_of_one_image_are_refused(tmp_path):
    geojson(tmp_path / "a.geojson", (1, 1, 3, 4))
    via(tmp_path / "b.json", a=(0, 0, 1))
    # The name with a suffix goes first; without it both would do.
    with pytest.raises(
        DataError, match=r"in/a\.tif: may be a in .*a\.geojson or a\.png in .*b\.json; expected one"
    ):
        parse(tmp_path, "a.tif")


@pytest.mark.parametrize(
    "geometry", [{"type": "Point", "coordinates": [1, 1]}, {"type": "MultiPolygon", "coordinates": []}, None]
)
def test_what_has_no_area_is_no_region(tmp_path, geometry):
    file = tmp_path / "a.geojson"
    file.write_text(json.dumps({"type": "Feature", "geometry": geometry, "properties": {}}), encoding="utf-8")
    with pytest.raises(
        DataError, match=r"in/a\.png: has no region in .*a\.geojson, which draws no area on it; draw one"
    ):
        parse(file)


def test_shapes_outside_of_the_image_are_refused(tmp_path):
    file = geojson(tmp_path / "a.geojson", (100, 100, 130, 140), (0, -5, 9, 0))
    with pytest.raises(
        DataError, match=r"none of its shapes holds a pixel of in/a\.png, which is 12 x 10 pixels"
    ):
        on(file)


def test_a_drawing_made_on_another_size_is_refused(tmp_path):
    tree = {"shapes": [{"label": "x", "points": [[0, 0], [3, 0], [3, 3]]}], "imagePath": "a.png"}
    file = tmp_path / "a.json"
    file.write_text(json.dumps(tree | {"imageHeight": 24, "imageWidth": 20}), encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.json: a\.png is 24 x 20 pixels, in/a\.png is 12 x 10"):
        on(file)
