"""What the values of a mask are called and how they are painted."""

import json
from pathlib import Path

import numpy as np
import pytest

from patchseg.errors import DataError
from patchseg.imaging.beside import Beside
from patchseg.imaging.write import open_writer
from patchseg.labels.classes import Classes
from patchseg.parameters import DataParameters
from patchseg.view.legend import Entry, find_classes, of_classes, of_values, read_record

CLASSES = [
    {"name": "ground", "value": 0, "color": "#000000"},
    {"name": "cell", "value": 7, "color": "#e69f00"},
]
MASK = Path("mask.png")


def pixels(*values: object, dtype: str = "u1") -> np.ndarray:
    """Return one row of a mask, (1, n, C)."""
    return np.array([values], dtype).reshape(1, len(values), -1)


def write_record(folder: Path, **more: object) -> None:
    record = {"data.classes": CLASSES, "infer.images": ["a.png"], **more}
    content = {key: {"value": value, "source": "x"} for key, value in record.items()}
    (folder / "parameters.effective.json").write_text(json.dumps(content))


def test_classes_come_from_the_record_of_infer_even_some_folders_above(tmp_path):
    write_record(tmp_path)
    (tmp_path / "a/b").mkdir(parents=True)
    found = find_classes(tmp_path / "a/b/c.png", DataParameters(classes=["x", "y"]))
    assert (found.names, found.values) == (("ground", "cell"), (0, 1))


def test_masks_in_the_values_of_the_training_masks_are_read_so(tmp_path):
    write_record(tmp_path, **{"infer.ignored": 255})
    assert find_classes(tmp_path / "c.png", DataParameters()).values == (0, 7)


def test_without_a_record_classes_come_from_the_parameters_then_from_the_file(tmp_path):
    beside = Beside().describing([CLASSES[0], {**CLASSES[1], "value": 1}])
    with open_writer(tmp_path / "a.tif", (2, 2), beside=beside) as writer:
        writer.write(np.zeros((2, 2), np.uint8))
    assert find_classes(tmp_path / "a.tif", DataParameters(classes=["x", "y"])).names == ("x", "y")
    assert find_classes(tmp_path / "a.tif", DataParameters()).names == ("ground", "cell")
    assert find_classes(tmp_path / "none.png", DataParameters()) is None


def test_the_record_of_another_verb_says_nothing_and_a_damaged_one_is_told(tmp_path):
    record = tmp_path / "parameters.effective.json"
    record.write_text('{"synth.seed": {"value": 0, "source": "default"}}')
    assert read_record(tmp_path / "a.png") is None
    record.write_text("{")
    with pytest.raises(
        DataError, match=r"parameters\.effective\.json: is no record of `infer` .+; remove it"
    ):
        read_record(tmp_path / "a.png")


def test_known_classes_have_their_names_and_colours():
    legend = of_classes(Classes.from_json(CLASSES), MASK, None)
    assert legend.entries == (Entry(0, "ground", "#000000"), Entry(1, "cell", "#e69f00"))
    assert legend.indices(pixels(0, 7, 255)).tolist() == [[0, 1, 255]]
    assert legend.colors[[1, 255]].tolist() == [[230, 159, 0], [128, 128, 128]]
    assert [legend.name(index) for index in (1, 255, 254)] == ["cell", "ignored", None]


@pytest.mark.parametrize(
    ("row", "expected"),
    [(pixels(0, 7, 3, 255), [[0, 1, 254, 255]]), (pixels((230, 159, 0), (1, 2, 3)), [[1, 254]])],
)
def test_what_is_no_class_is_shown_as_such(row, expected):
    assert of_classes(Classes.from_json(CLASSES), MASK, None).indices(row).tolist() == expected


def test_the_values_of_an_unknown_mask_are_named_by_number():
    legend = of_values(pixels(0, 3, 3, 255), MASK, None)
    assert [entry[:2] for entry in legend.entries] == [(0, "value 0"), (3, "value 3"), (255, "value 255")]
    assert legend.colors[255].tolist() == [128, 128, 128]


def test_white_is_a_class_where_all_else_is_black():
    assert of_values(pixels(0, 255), MASK, None).colors[255].tolist() == [230, 159, 0]


def test_a_palette_is_kept():
    legend = of_values(pixels(1), MASK, np.array([[0, 0, 0], [1, 2, 3]], np.uint8))
    assert legend.entries == (Entry(1, "value 1", "#010203"),)


def test_numbers_of_objects_share_colours_but_never_that_of_the_background():
    legend = of_values(pixels(0, 1, 253, 254, 70_000, dtype="i4"), MASK, None)
    indices = legend.indices(pixels(0, 1, 253, 254, 70_000, dtype="i4"))[0]
    assert indices.tolist() == [0, 1, 253, 1, 1 + 69_999 % 253]
    assert legend.entries == ()


def test_the_colours_of_an_unknown_mask_are_its_classes_black_the_lowest():
    row = pixels((200, 0, 0), (0, 0, 0), (0, 9, 0))
    legend = of_values(row, MASK, None)
    assert [entry.name for entry in legend.entries] == ["#000000", "#000900", "#c80000"]
    assert legend.indices(row).tolist() == [[2, 0, 1]]
    assert legend.indices(pixels((5, 5, 5))).tolist() == [[254]]
    np.testing.assert_array_equal(legend.colors[legend.indices(row)], row)
