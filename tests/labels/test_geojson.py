import pytest

from patchseg.errors import DataError

SQUARE = [[2, 1], [5, 1], [5, 4], [2, 4], [2, 1]]
HOLE = [[3, 2], [4, 2], [4, 3], [3, 3], [3, 2]]


def feature(coordinates, kind="Polygon", **properties):
    return {
        "type": "Feature",
        "id": "00000000-0000-4000-8000-000000000000",
        "geometry": {"type": kind, "coordinates": coordinates},
        "properties": {"objectType": "annotation", **properties},
    }


def tumor(coordinates=(SQUARE,), kind="Polygon"):
    return feature(list(coordinates), kind, classification={"name": "Tumor", "color": [200, 0, 0]})


def collection(*features, **more):
    return {"type": "FeatureCollection", "features": list(features), **more}


def only(annotations):
    ((shape,),) = [drawing.shapes for drawing in annotations.drawings]
    return shape


def refusal(read, tree):
    with pytest.raises(DataError) as caught:
        read(tree)
    return str(caught.value)


@pytest.mark.parametrize("wrapped", [collection, lambda feature: [feature], lambda feature: feature])
def test_collections_lists_and_single_features_are_read(read, pixels, block, wrapped):
    found = read(wrapped(tumor()), "slide 1.ome.geojson")
    assert (found.drawings[0].image, found.drawings[0].size, found.names) == ("slide 1.ome", None, ("Tumor",))
    assert (only(found).name, pixels(only(found))) == ("Tumor", block(range(1, 4), range(2, 5)))


def test_polygons_have_holes(read, pixels, block):
    assert pixels(only(read(tumor([SQUARE, HOLE])))) == block(range(1, 4), range(2, 5)) - {(2, 3)}


def test_several_polygons_are_one_shape(read, pixels, block):
    other = [[x + 5, y + 3] for x, y in SQUARE]
    found = read(tumor([[SQUARE, HOLE], [other]], "MultiPolygon"))
    assert pixels(only(found)) == (block(range(1, 4), range(2, 5)) - {(2, 3)}) | block(
        range(4, 7), range(7, 10)
    )


def test_a_third_coordinate_is_passed_over(read, pixels, block):
    assert pixels(only(read(tumor([[[x, y, 9] for x, y in SQUARE]])))) == block(range(1, 4), range(2, 5))


@pytest.mark.parametrize(
    ("properties", "attribute", "name"),
    [
        ({"classification": {"name": "Tumor", "colorRGB": -3670016}}, None, "Tumor"),
        ({"classification": "Tumor"}, None, "Tumor"),
        ({"name": "Tumor"}, None, None),
        ({"classification": {}}, None, None),
        ({"surface": "road", "classification": {"name": "Tumor"}}, "surface", "road"),
        ({"surface": 4}, "surface", "4"),
    ],
)
def test_the_class_is_the_classification_or_the_property_that_is_chosen(read, properties, attribute, name):
    assert only(read(feature([SQUARE], **properties), attribute=attribute)).name == name


def test_features_without_properties_have_no_class(read):
    assert only(read(feature([SQUARE]) | {"properties": None})).name is None


def test_what_has_no_area_is_counted(read):
    nested = {
        "type": "Feature",
        "geometry": {"type": "GeometryCollection", "geometries": []},
        "properties": {},
    }
    found = read(
        collection(
            feature([1, 1], "Point"),
            feature([SQUARE], "MultiLineString"),
            tumor() | {"geometry": None},
            nested,
        )
    )
    assert found.left_out == {
        "Point": 1,
        "MultiLineString": 1,
        "feature without geometry": 1,
        "GeometryCollection": 1,
    }


def test_a_file_without_features_says_that_nothing_is_drawn(read):
    assert read(collection()).drawings[0].shapes == ()


@pytest.mark.parametrize(
    ("tree", "why"),
    [
        (
            collection(tumor(), crs={"type": "name", "properties": {"name": "EPSG:25832"}}),
            "is in the coordinates of a map (it has a crs)",
        ),
        (tumor([SQUARE[0]]), "features.0.geometry.Polygon.coordinates.0.0 does not fit"),
        (
            tumor([[[1], [2], [3]]]),
            "features.0.geometry.Polygon.coordinates.0.0.1 does not fit: field required",
        ),
        (tumor() | {"geometry": {"type": "Circle"}}, "features.0.geometry does not fit: input tag 'Circle'"),
        (feature([SQUARE], classification=[1]), "feature 1: its classification is [1]; expected text"),
        ({"type": "FeatureCollection"}, "features does not fit: field required"),
    ],
)
def test_damage_is_told_with_its_place(read, tmp_path, tree, why):
    assert refusal(read, tree).startswith(f"{tmp_path / 'a.json'}: {why}")
