import itertools
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from patchseg.errors import PatchsegError
from patchseg.imaging import Box
from patchseg.labels.annotations import read_annotation_file
from patchseg.labels.classes import Classes
from patchseg.labels.drawn import Drawn
from patchseg.labels.naming import values_by_name
from patchseg.labels.outlines import Outliner
from patchseg.labels.selection import Selection
from patchseg.labels.write_geojson import GeoJsonWriter

CLASSES = Classes(
    ("background", "grain", 'Grünschliff "2"', "pore"),
    (0, 1, 2, 3),
    ("#000000", "#e69f00", "#56b4e9", "#ff0001"),
)


def write(path, mask, **wishes):
    """Write the outlines of a mask, in bands of three rows."""
    outliner, selection = Outliner(mask.shape[1]), Selection(**wishes)
    with GeoJsonWriter(path, CLASSES) as file:
        for rows in np.split(mask, range(3, len(mask), 3)):
            file.write(selection.push(outliner.push(rows)))
        file.write(selection.push(outliner.finish()))
        file.write(selection.finish())


def read(path, shape):
    """Read a file and paint it, as `prepare` does."""
    annotations = read_annotation_file(path)
    values = values_by_name(CLASSES, annotations)
    return Drawn(annotations, annotations.drawings[0], shape, values).open().read(Box(0, 0, *shape))[:, :, 0]


def read_back(mask, **wishes):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.geojson"
        write(path, mask, **wishes)
        return read(path, mask.shape)


@given(
    arrays(
        np.uint8,
        array_shapes(min_dims=2, max_dims=2, max_side=10),
        elements=st.sampled_from([0, 1, 1, 2, 3, 255]),
    )
)
def test_a_mask_is_read_back_as_it_was(mask):
    expected = np.where(mask == 255, 0, mask)
    np.testing.assert_array_equal(read_back(mask), expected)
    np.testing.assert_array_equal(read_back(mask, largest=100), expected)


def test_a_larger_mask_is_read_back_as_it_was(tmp_path):
    generator = np.random.default_rng(1)
    mask = np.kron(generator.integers(0, 4, (30, 40)), np.ones((6, 6))).astype(np.uint8)
    mask[generator.random(mask.shape) < 0.03] = 2
    write(tmp_path / "a.geojson", mask)
    np.testing.assert_array_equal(read(tmp_path / "a.geojson", mask.shape), mask)
    features = json.loads((tmp_path / "a.geojson").read_text(encoding="utf-8"))["features"]
    areas = dict.fromkeys(CLASSES.names, 0)
    for feature in features:
        properties = feature["properties"]
        areas[properties["classification"]["name"]] += properties["measurements"]["Area (pixels)"]
    assert list(areas.values()) == [0, *(int((mask == index).sum()) for index in (1, 2, 3))]


def test_small_regions_within_filled_ones_lie_over_them_where_the_largest_are_chosen():
    mask = np.full((5, 5), 1, np.uint8)
    mask[1:4, 1:4], mask[2, 2] = 0, 3
    expected = np.full((5, 5), 1)
    expected[2, 2] = 3
    np.testing.assert_array_equal(read_back(mask, holes=False, largest=9), expected)


def test_a_feature_is_what_qupath_imports(tmp_path):
    mask = np.array([[0, 3, 3, 3], [0, 3, 0, 3], [0, 3, 3, 3]], np.uint8)
    outliner = Outliner(4)
    with GeoJsonWriter(tmp_path / "a.geojson", CLASSES, (0.5, 0.25)) as file:
        file.write(outliner.push(mask) + outliner.finish())
    assert json.loads((tmp_path / "a.geojson").read_text(encoding="utf-8")) == {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "geometry": {
                    "type": "Polygon",
                    "coordinates": [
                        [[1, 0], [4, 0], [4, 3], [1, 3], [1, 0]],
                        [[2, 1], [2, 2], [3, 2], [3, 1], [2, 1]],
                    ],
                },
                "properties": {
                    "objectType": "annotation",
                    "classification": {"name": "pore", "color": [255, 0, 1]},
                    "isLocked": False,
                    "measurements": {"Area (pixels)": 8, "Area (µm²)": 1.0},
                },
            }
        ],
    }


def test_a_feature_is_a_line_and_a_mask_without_regions_a_collection_of_none(tmp_path):
    write(tmp_path / "a.geojson", np.array([[1, 0, 2]], np.uint8))
    lines = (tmp_path / "a.geojson").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line.rstrip(","))["type"] for line in lines[1:-1]] == ["Feature", "Feature"]
    write(tmp_path / "b.geojson", np.zeros((4, 4), np.uint8))
    assert not read(tmp_path / "b.geojson", (4, 4)).any()


def test_outer_rings_are_counterclockwise_as_stored_and_holes_are_not(tmp_path):
    write(tmp_path / "a.geojson", np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0]], np.uint8))
    [feature] = json.loads((tmp_path / "a.geojson").read_text(encoding="utf-8"))["features"]
    areas = []
    for ring in feature["geometry"]["coordinates"]:
        assert ring[0] == ring[-1]
        areas.append(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in itertools.pairwise(ring)) / 2)
    assert areas == [8, -1]


def test_after_an_error_there_is_no_file(tmp_path):
    with pytest.raises(TypeError), GeoJsonWriter(tmp_path / "a.geojson", CLASSES) as file:
        file.write(None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_told_and_leaves_no_file(tmp_path, monkeypatch):
    opened = Path.open
    monkeypatch.setattr(
        Path,
        "open",
        lambda path, *how, **more: opened(
            Path("/dev/full") if path.suffix == ".part" else path, *how, **more
        ),
    )
    with pytest.raises(PatchsegError, match="the disk is full"):
        write(tmp_path / "a.geojson", np.array([[1]], np.uint8))
    assert list(tmp_path.iterdir()) == []
