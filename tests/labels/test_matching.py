from pathlib import Path

import pytest

from patchseg.labels.matching import entries_of, match
from patchseg.labels.shapes import Annotations, Drawing


def matched(images, names):
    """Match images, each with its relative path, with the names that a.json lists: the places of both, and what is open."""
    file = Annotations(Path("a.json"), tuple(Drawing(name, ()) for name in names))
    found, findings = match([(Path("in", image), Path(image)) for image in images], entries_of([file]))
    return {images.index(path.relative_to("in").as_posix()): place for path, place in found.items()}, findings


@pytest.mark.parametrize(
    "entry",
    ["18/7.png", "18\\7.png", "18/7", "18/7.jpg", "7.png", "C:\\x\\7.png", "../../7.tif", "7", "7.ome.tif"],
)
def test_an_image_goes_by_its_path_its_name_or_its_stem(entry):
    assert matched(["18/7.png"], [entry]) == ({0: 0}, [])


@pytest.mark.parametrize("entry", ["8.png", "18/8.png", "7.3", "17.png", ""])
def test_another_name_is_another_image(entry):
    assert matched(["18/7.png"], [entry]) == ({}, [])


def test_an_exact_path_goes_before_a_name_and_takes_its_entry():
    images = ["x/1.png", "y/1.png", "y/2.png"]
    assert matched(images, ["x/1.png", "2.png"]) == ({0: 0, 2: 1}, [])


def test_an_exact_name_goes_before_a_stem():
    assert matched(["a.png"], ["a.tif", "a.png"]) == ({0: 1}, [])


def test_what_may_be_meant_in_two_ways_is_told():
    assert matched(["x/1.png", "y/1.png"], ["1.png"])[1] == [
        "in/x/1.png and in/y/1.png: may be 1.png in a.json; expected one of each, so rename them"
    ]
    assert matched(["1.png"], ["x/1.png", "y/1.png"])[1] == [
        "in/1.png: may be x/1.png in a.json or y/1.png in a.json; expected one of each, so rename them"
    ]
