from collections import Counter
from pathlib import Path

import pytest

from patchseg.errors import DataError, UsageError
from patchseg.labels.classes import Classes
from patchseg.labels.naming import drawn_classes, notes, unlabeled_value, values_by_name
from patchseg.labels.shapes import Annotations, Drawing, Shape
from patchseg.parameters import DataParameters


def drawn(*names, path="a.json", listed=None, left_out=None):
    shapes = tuple(Shape(name, ()) for name in names)
    order = listed or tuple(sorted({name for name in names if name}))
    return Annotations(Path(path), (Drawing("a.png", shapes),), order, Counter(left_out or {}))


def data(*classes, **settings):
    return DataParameters(classes=list(classes) or None, **settings)


def classes_of(*files, **settings):
    return drawn_classes(list(files), data(**settings))


def values(file, *names):
    return values_by_name(Classes.of(data(*names).classes), file)


# Classes


def test_the_background_comes_before_the_names_in_the_order_of_the_files():
    classes = classes_of(
        drawn("pore", "crack", listed=("crack", "unused", "pore")), drawn("leaf", "pore", path="b.json")
    )
    assert classes.names == ("background", "crack", "pore", "leaf")
    assert classes.values == (0, 1, 2, 3)
    assert classes.colors[:2] == ("#000000", "#e69f00")


@pytest.mark.parametrize("name", ["background", "Background", "_background_"])
def test_a_drawn_background_is_the_background(name):
    classes = classes_of(drawn("crack", name))
    assert classes.names == ("background", "crack")
    assert values_by_name(classes, drawn("crack", name)) == {"crack": 1, name: 0}


def test_shapes_without_a_name_are_objects():
    assert classes_of(drawn(None, None)).names == ("background", "object")


def test_what_is_to_be_ignored_is_no_class():
    classes = classes_of(drawn("crack", "__ignore__", "Ignore*"))
    assert classes.names == ("background", "crack")
    assert values_by_name(classes, drawn("crack", "__ignore__", "Ignore*")) == {
        "crack": 1,
        "__ignore__": 255,
        "Ignore*": 255,
    }


def test_with_the_rest_ignored_the_background_is_a_class_only_when_it_is_drawn():
    assert classes_of(drawn("crack", "pore"), unlabeled="ignore").names == ("crack", "pore")
    assert classes_of(drawn("crack", "background"), unlabeled="ignore").names == ("background", "crack")
    with pytest.raises(
        DataError, match=r"a\.json: draws 1 classes \(crack\); expected 2 to 254, so draw some background too"
    ):
        classes_of(drawn("crack"), unlabeled="ignore")


def test_nothing_drawn_is_no_data_set():
    with pytest.raises(
        DataError,
        match=r"a\.json: draws 1 classes \(background\); expected 2 to 254, the background included",
    ):
        classes_of(drawn())
    with pytest.raises(DataError, match="draws 301 classes"):
        classes_of(drawn(*map(str, range(300))))


def test_given_classes_are_taken_as_they_are():
    assert drawn_classes([drawn("x")], data("ground", "road")).names == ("ground", "road")


# Values


def test_names_have_the_values_of_their_classes():
    given = {"name": "ground", "value": 5}, {"name": "road", "value": 7}
    assert values(drawn("road", "ground"), *given) == {"road": 7, "ground": 5}


def test_shapes_without_a_name_are_of_the_only_class_there_is():
    assert values(drawn(None), "background", "kudzu") == {None: 1}
    assert values(drawn(None), "kudzu", "background") == {None: 0}


@pytest.mark.parametrize(
    ("names", "known"), [((None, "road"), ("ground", "road")), ((None,), ("ground", "road", "path"))]
)
def test_shapes_without_a_name_among_others_are_refused(names, known):
    with pytest.raises(DataError) as caught:
        values(drawn(*names), *known)
    assert (
        str(caught.value)
        == f"a.json: draws 1 shape without a class; expected one of {', '.join(known)}, so name or remove them"
    )


def test_names_that_are_no_class_are_all_listed():
    with pytest.raises(DataError) as caught:
        values(drawn("raod", "zebra", "zebra", "road"), "ground", "road")
    assert str(caught.value).splitlines() == [
        'a.json: draws 1 shape of class raod, which is none of ground, road; did you mean "road"?',
        "a.json: draws 2 shapes of class zebra, which is none of ground, road; add it to data.classes or rename it",
    ]


# What nothing is drawn on


def unlabeled(file, *names, **settings):
    return unlabeled_value(Classes.of(data(*names).classes), [file], data(**settings))


def test_the_rest_is_the_background_or_ignored():
    assert unlabeled(drawn("road"), "ground", "road") == 0
    assert unlabeled(drawn("road"), {"name": "ground", "value": 9}, {"name": "road", "value": 1}) == 9
    assert unlabeled(drawn("road"), "road", "background") == 1
    assert unlabeled(drawn("road"), "ground", "road", unlabeled="ignore") == 255


def test_a_first_class_that_is_drawn_itself_is_no_background():
    with pytest.raises(
        UsageError,
        match=r"data\.classes: begins with road, which is drawn itself, so it is open what the rest is",
    ):
        unlabeled(drawn("road", "path"), "road", "path")
    assert unlabeled(drawn("road", "path"), "road", "path", unlabeled="ignore") == 255
    assert unlabeled(drawn("road", "background"), "background", "road") == 0


def test_255_cannot_be_a_class_and_ignored():
    with pytest.raises(UsageError, match=r"data\.unlabeled: ignored pixels are 255, which is a class here"):
        unlabeled(
            drawn("road"), {"name": "ground", "value": 0}, {"name": "road", "value": 255}, unlabeled="ignore"
        )


# What is said


def test_what_could_have_been_meant_otherwise_is_said():
    classes = Classes.of(data("background", "kudzu").classes)
    file = drawn(None, left_out={"point": 3, "line": 1})
    assert notes(file, classes, {None: 1}) == [
        "a.json: its shapes name no class, so all are kudzu",
        "a.json: left out, as it has no area: 1 line, 3 point",
    ]
    assert notes(drawn("Ignore*", "kudzu"), classes, {"Ignore*": 255, "kudzu": 1}) == [
        "a.json: shapes of class Ignore* are ignored"
    ]
    assert notes(drawn("kudzu"), classes, {"kudzu": 1}) == []
