import copy
import json
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchseg.errors import DataError, PatchsegError, UsageError
from patchseg.imaging import Box
from patchseg.labels.annotations import ANNOTATIONS, annotation_files, read_annotation_file, read_annotations
from patchseg.labels.rasterize import cover
from patchseg.labels.shapes import Annotations

CORNERS = [[2, 1], [5, 1], [5, 4], [2, 4]]
FLAT = [number for corner in CORNERS for number in corner]

VIA = {
    "a.png1": {
        "filename": "a.png",
        "size": 1,
        "regions": [
            {
                "shape_attributes": {"name": "polygon", "all_points_x": [2, 5, 5], "all_points_y": [1, 1, 4]},
                "region_attributes": {"kind": "cell"},
            },
            {
                "shape_attributes": {"name": "ellipse", "cx": 4, "cy": 3, "rx": 3, "ry": 1, "theta": 0.1},
                "region_attributes": {},
            },
        ],
    }
}
LABELME = {
    "version": "5.0",
    "shapes": [
        {"label": "cell", "points": CORNERS, "shape_type": "polygon"},
        {"label": "cell", "points": CORNERS[:2], "shape_type": "circle"},
        {"label": "cell", "points": [[2, 1], [2, 1]], "shape_type": "mask", "mask": "iVBORw0KGgo="},
    ][:2],
    "imagePath": "a.png",
    "imageHeight": 8,
    "imageWidth": 10,
}
COCO = {
    "images": [{"id": 1, "file_name": "a.png", "height": 8, "width": 10}],
    "annotations": [
        {"image_id": 1, "category_id": 1, "segmentation": [FLAT]},
        {"image_id": 1, "category_id": 1, "segmentation": {"size": [8, 10], "counts": [6, 3, 66, 1, 4]}},
        {"image_id": 1, "category_id": 1, "segmentation": {"size": [8, 10], "counts": "63R2N4"}},
    ][:2],
    "categories": [{"id": 1, "name": "cell"}],
}
GEOJSON = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "geometry": {"type": kind, "coordinates": rings},
            "properties": {"classification": {"name": "cell"}},
        }
        for kind, rings in (("Polygon", [CORNERS]), ("MultiPolygon", [[CORNERS]]))
    ],
}
CVAT = (
    '<annotations><image id="0" name="a.png" width="10" height="8"><polygon label="cell" points="2,1;5,1;5,4" z_order="0"/>'
    '<ellipse label="cell" cx="4" cy="4" rx="2" ry="1"/><mask label="cell" rle="0,6" left="2" top="1" width="3" height="2"/>'
    '<box label="cell" xtl="1" ytl="2" xbr="7" ybr="4" rotation="90"/></image></annotations>'
)
CSV = "filename,region_shape_attributes,region_attributes\n" + (
    'a.png,"{""name"":""polygon"",""all_points_x"":[2,5,5],""all_points_y"":[1,1,4]}","{""kind"":""cell""}"\n'
)
GOOD = {"via": VIA, "labelme": LABELME, "coco": COCO, "geojson": GEOJSON, "cvat": CVAT}


def placed(content, folder, name="a.json"):
    path = Path(folder) / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


# Recognition


def test_every_format_is_recognised_by_itself_alone():
    assert set(GOOD) == set(ANNOTATIONS)
    for name, content in [*GOOD.items(), ("via", CSV)]:
        assert [key for key, format in ANNOTATIONS.items() if format.accepts(content)] == [name]


@pytest.mark.parametrize("name", list(GOOD))
def test_a_file_is_read_for_what_it_is_whatever_its_name_says(tmp_path, name):
    found = read_annotation_file(placed(GOOD[name], tmp_path, "a.xml" if name != "cvat" else "a.json"))
    assert {shape.name for drawing in found.drawings for shape in drawing.shapes} == {"cell"} | (
        {None} if name == "via" else set()
    )


@pytest.mark.parametrize(
    "content", ["{}", "[]", "", "a,b\n1,2\n", "<svg></svg>", '{"classes": []}', "[1]", "[null]", "{"]
)
def test_other_files_are_told_what_is_known(tmp_path, content):
    path = placed(content, tmp_path)
    with pytest.raises(DataError) as caught:
        read_annotation_file(path)
    if content != "{":
        assert str(caught.value) == (
            f"{path}: holds annotations of no known format; expected one of VIA (JSON, CSV), LabelMe, COCO, GeoJSON in pixels "
            "(QuPath), CVAT for images 1.1"
        )


# Folders


def test_a_folder_gives_all_its_annotation_files_in_order(tmp_path):
    for name in ("b.json", "a.json", ".hidden.json"):
        placed(LABELME, tmp_path, name)
    placed("not looked at", tmp_path, "notes.txt")
    assert [file.path.name for file in read_annotations(tmp_path)] == ["a.json", "b.json"]
    assert [file.name for file in annotation_files(tmp_path)] == ["a.json", "b.json"]
    assert [file.path.name for file in read_annotations(tmp_path / "b.json")] == ["b.json"]


def test_everything_wrong_in_a_folder_is_listed(tmp_path):
    placed("{", tmp_path, "a.json")
    placed(LABELME, tmp_path, "b.json")
    placed("{}", tmp_path, "c.json")
    with pytest.raises(DataError) as caught:
        read_annotations(tmp_path)
    assert [line.split(": ")[0] for line in str(caught.value).splitlines()] == [
        str(tmp_path / "a.json"),
        str(tmp_path / "c.json"),
    ]


def test_missing_and_empty_places_are_usage_errors(tmp_path):
    with pytest.raises(UsageError, match="is neither a file nor a folder of annotations"):
        read_annotations(tmp_path / "no.json")
    with pytest.raises(UsageError, match=r"holds no annotations; expected files ending in \.json"):
        read_annotations(tmp_path)


# Anything at all gives a result or a sentence


def use(content, tmp_path):
    """Read content and paint all of it into an image of 8 x 10."""
    try:
        found = read_annotation_file(placed(content, tmp_path))
    except PatchsegError:
        return
    assert isinstance(found, Annotations)
    for drawing in found.drawings:
        for shape in drawing.shapes:
            for part in shape.parts:
                box, pixels = cover(part, Box(0, 0, 8, 10))
                assert pixels.shape == (box.height, box.width)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


odd = st.sampled_from(
    [None, True, -1, 0, 0.5, 3, 10**9, 2**31, 2**63, 2**64, 10**400, 1e308, -1e308, "", "x", "1", "é\u0000", "../../etc/passwd", [], {}, [[]],
     [[[]]], [None], {"name": "polygon"}, {"size": [1, 1], "counts": [1]}, {"size": [2**32, 2**32], "counts": [2**64]}, "a" * 1000]
)  # fmt: skip
anything = st.recursive(
    odd | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def places(tree, path=()):
    """Yield the path of everything in a tree."""
    yield path
    if isinstance(tree, dict | list):
        for key in tree if isinstance(tree, dict) else range(len(tree)):
            yield from places(tree[key], (*path, key))


@settings(max_examples=150)
@given(st.sampled_from(["via", "labelme", "coco", "geojson"]), st.data())
def test_a_file_with_something_else_in_one_place_never_breaks_the_reader(scratch, name, data):
    tree = copy.deepcopy(GOOD[name])
    *way, last = data.draw(st.sampled_from([path for path in places(tree) if path]))
    inner = tree
    for key in way:
        inner = inner[key]
    if data.draw(st.integers(0, 5)) == 0:
        del inner[last]
    else:
        inner[last] = data.draw(anything)
    use(tree, scratch)


@settings(max_examples=150)
@given(st.sampled_from([*(json.dumps(GOOD[name]) for name in GOOD if name != "cvat"), CVAT, CSV]), st.data())
def test_a_file_with_other_characters_never_breaks_the_reader(scratch, text, data):
    start = data.draw(st.integers(0, len(text)))
    stop = start + data.draw(st.integers(0, 12))
    use(text[:start] + data.draw(st.text(max_size=6)) + text[stop:], scratch)


@settings(max_examples=100)
@given(
    st.sampled_from(["", "{", "[", "<annotations>", "filename,region_shape_attributes\n"]),
    st.text(max_size=60),
)
def test_text_of_any_kind_never_breaks_the_reader(scratch, start, text):
    use(start + text, scratch)


@settings(max_examples=100)
@given(
    st.sampled_from(["points", "rle", "left", "top", "width", "height", "rx", "rotation", "z_order", "name"]),
    st.text(max_size=20) | odd.map(str),
)
def test_an_xml_attribute_of_any_kind_never_breaks_the_reader(scratch, attribute, value):
    start = CVAT.index(f" {attribute}=") + len(attribute) + 3
    use(CVAT[:start] + value.replace('"', "'") + CVAT[CVAT.index('"', start) :], scratch)


def swap(tree, old, new):
    return json.loads(json.dumps(tree).replace(json.dumps(old), json.dumps(new)))


@pytest.mark.parametrize(
    "content",
    [
        swap(COCO, [8, 10], [2**31 - 1, 2**31 - 1]),
        swap(swap(COCO, [8, 10], [65_000, 65_000]), [6, 3, 66, 1, 4], [0, 65_000 * 65_000]),
        swap(swap(COCO, [8, 10], [2**31 - 1, 1]), [6, 3, 66, 1, 4], [0, 2**31 - 1]),
        swap(COCO, 8, 4_000_000_000),
        CVAT.replace('rle="0,6"', 'rle="0,2147483647"').replace('width="3" height="2"', 'width="2000000000" height="2000000000"'),
        CVAT.replace('width="10" height="8"', 'width="4000000000" height="4000000000"'),
        swap(GEOJSON, [2, 1], [-1e9, -1e9]),
        swap(VIA, 3, 1e9),
    ],
)  # fmt: skip
def test_what_claims_to_be_huge_takes_neither_time_nor_memory(tmp_path, content):
    use(GOOD["coco"], tmp_path)  # what is loaded once does not count
    tracemalloc.start()
    begun = time.perf_counter()
    use(content, tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**23
    assert time.perf_counter() - begun < 5


def test_thirty_thousand_corners_are_read_quickly(tmp_path):
    corners = np.random.default_rng(0).uniform(0, 1000, (30_000, 2)).round(2).tolist()
    path = placed(swap(GEOJSON, CORNERS, corners), tmp_path)
    begun = time.perf_counter()
    assert len(read_annotation_file(path).drawings[0].shapes[0].parts[0].rings[0]) == 30_000
    assert time.perf_counter() - begun < 10


ESCAPED = json.dumps({"a": "\ud800"})[6:-1]


@pytest.mark.parametrize("old", ["cell", "kind", "a.png", "polygon"])
@pytest.mark.parametrize("name", ["via", "labelme", "coco", "geojson"])
def test_half_a_character_never_breaks_the_reader(tmp_path, name, old):
    text = json.dumps(GOOD[name])
    use(text.replace(json.dumps(old), ESCAPED), tmp_path)
    if old == "cell":
        with pytest.raises(DataError):
            read_annotation_file(placed(text.replace('"cell"', ESCAPED), tmp_path))
