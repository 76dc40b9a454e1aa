import json

import pytest
from pydantic import Field

from patchseg.errors import DataError
from patchseg.labels.content import Part, Pixel, name, parse_json, read_content, understood


class Ring(Part):
    corners: list[tuple[Pixel, Pixel]]
    name: str = Field("", min_length=0)


def refusal(call, *arguments):
    with pytest.raises(DataError) as caught:
        call(*arguments)
    return str(caught.value)


def written(tmp_path, data):
    path = tmp_path / "a.json"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def test_json_is_a_tree_and_all_else_is_text(tmp_path):
    assert read_content(written(tmp_path, '\ufeff {"a": [1, 2.5]}')) == {"a": [1, 2.5]}
    assert read_content(written(tmp_path, "<annotations/>")) == "<annotations/>"
    assert read_content(written(tmp_path, "")) == ""


def test_what_cannot_be_read_is_told_with_the_path(tmp_path):
    assert refusal(read_content, tmp_path / "no.json").endswith(
        "no.json: cannot be read (no such file or directory); check the path"
    )
    path = written(tmp_path, b"\xff\xd8\xff\xe0")
    assert (
        refusal(read_content, path) == f"{path}: is no UTF-8 text; expected annotations as JSON, XML or CSV"
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"a": 1', "is damaged JSON (Expecting ',' delimiter"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', 'is damaged JSON (the key "c" stands twice in one object)'),
        ("[NaN]", "is damaged JSON (NaN is no number of JSON)"),
        ("[-Infinity]", "is damaged JSON (-Infinity is no number of JSON)"),
        ("[" + "9" * 5000 + "]", "is damaged JSON (Exceeds the limit"),
        ("[" * 100_000, "is JSON nested too deeply for annotations"),
        ('{"a":' * 100_000, "is JSON nested too deeply for annotations"),
    ],
    ids=["cut off", "twice", "NaN", "infinity", "digits", "lists", "objects"],
)
def test_json_that_would_lose_or_break_something_is_refused(text, why):
    assert refusal(parse_json, text, "a.json").startswith(f"a.json: {why}")


def test_the_first_mistake_is_told_with_its_place_and_the_number_of_others():
    tree = {"corners": [[0, 1], ["x", 1], [2]]}
    assert refusal(understood, Ring, tree, "a.json").startswith(
        'a.json: corners.1.0 does not fit: input should be a valid number, unable to parse string as a number, got "x" (and 1 more); '
    )


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 1e10, -1e300, 10**400])
def test_what_is_no_coordinate_of_an_image_is_refused(number):
    assert "a.json: corners.0.0 does not fit" in refusal(
        understood, Ring, {"corners": [[number, 0]]}, "a.json"
    )


def test_long_input_is_cut_short_in_the_error():
    assert len(refusal(understood, Ring, {"corners": "x" * 10_000}, "a.json")) < 200
    assert refusal(understood, Ring, [1], "a.json").startswith("a.json: the whole does not fit")


def test_what_is_not_asked_for_is_passed_over():
    tree = json.loads('{"corners": [[0, 1]], "imageData": "...", "version": 5}')
    assert understood(Ring, tree, "a.json").corners == [(0.0, 1.0)]


@pytest.mark.parametrize("value", [1.5, ["a"], {"a": 1}, "a\nb", "\ud800", "x" * 101])
def test_what_cannot_be_shown_is_no_name(value):
    with pytest.raises(ValueError, match=r"^is .*; expected"):
        name(value)
