import csv
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from patchseg.errors import DataError, UsageError
from patchseg.imaging.beside import Beside
from patchseg.inference import areas as module
from patchseg.inference.areas import AreaRecord, Areas, keep, pixel_area, record_file, table, write_table
from patchseg.labels.classes import Classes

CLASSES = Classes(("sky", "tree", "road"), (0, 1, 2), ("#000000", "#111111", "#222222"))
PIXELS = np.zeros((4, 6), np.uint8)


def lines(path):
    """Return the table as {image: {column: text}}."""
    with path.open(encoding="utf-8", newline="") as file:
        return {line["image"]: line for line in csv.DictReader(file, strict=True)}


def count(mask, name="a", beside=Beside(), rows=3):
    areas = Areas(CLASSES)
    for top in range(0, len(mask), rows):
        areas.add(mask[top : top + rows])
    return areas.record(name, beside)


# Counting


def test_pixels_are_counted_by_class_and_ignored_ones_apart():
    mask = np.array([[0, 0, 1, 255], [2, 1, 1, 255]], np.uint8)
    assert count(mask, rows=1) == AreaRecord("a", 2, 4, {"sky": 2, "tree": 3, "road": 1}, 2)


@given(
    st.lists(st.lists(st.sampled_from([0, 1, 2, 255]), min_size=3, max_size=3), min_size=1), st.integers(1, 9)
)
def test_counts_do_not_depend_on_how_many_rows_come_at_a_time(rows, portion):
    mask = np.array(rows, np.uint8)
    expected = [sum(row.count(index) for row in rows) for index in (0, 1, 2, 255)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_COUNTED", 4)
        record = count(mask, rows=portion)
    assert [*record.pixels.values(), record.ignored] == expected
    assert (record.height, record.width) == mask.shape


def test_more_pixels_than_32_bits_count_are_counted():
    areas = Areas(CLASSES)
    row = np.ones((1, 10), np.uint8)
    areas.add(row)
    areas._counts[1] = 2**33  # as after many rows
    areas.add(row)
    assert areas.record("a").pixels["tree"] == 2**33 + 10


# The size of a pixel


def test_the_area_of_a_pixel_is_that_which_the_image_tells_in_micrometres(tmp_path):
    file = tmp_path / "a.ome.tif"
    tifffile.imwrite(file, PIXELS, metadata={"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25})
    area, unit = pixel_area(Beside.of_image(file))
    assert (area, unit) == (pytest.approx(0.125), "µm²")


def test_an_image_on_a_map_is_measured_on_the_map(tmp_path):
    scale = (33550, 12, 3, (2.0, 3.0, 0.0), True)
    tifffile.imwrite(
        tmp_path / "a.tif",
        PIXELS,
        metadata=None,
        extratags=[scale],
        resolution=(5000, 5000),
        resolutionunit=3,
    )
    assert pixel_area(Beside.of_image(tmp_path / "a.tif")) == (6.0, "map units²")


@pytest.mark.parametrize("scale", [(33550, 12, 1, 2.0, True), (33550, 12, 3, (0.0, 1.0, 0.0), True)])
def test_a_scale_that_is_none_is_left_out(tmp_path, scale):
    tifffile.imwrite(tmp_path / "a.tif", PIXELS, metadata=None, extratags=[scale])
    assert pixel_area(Beside.of_image(tmp_path / "a.tif")) == (None, "")


def test_what_a_program_writes_that_knows_nothing_is_no_size(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png", dpi=(72, 72))
    assert pixel_area(Beside.of_image(tmp_path / "a.png")) == (None, "")


# The table


def test_a_line_holds_pixels_shares_and_areas(tmp_path):
    mask = np.array([[0, 0, 1, 255], [1, 1, 0, 0]], np.uint8)
    keep(tmp_path, count(mask, beside=Beside(density=(20_000.0, 20_000.0))))  # half a micrometre
    (line,) = lines(write_table(tmp_path)).values()
    assert line == {
        "image": "a", "height": "2", "width": "4",
        "sky pixels": "4", "tree pixels": "3", "road pixels": "0", "ignored": "1",
        "sky share": "0.571428571429", "tree share": "0.428571428571", "road share": "0",
        "sky area": "1", "tree area": "0.75", "road area": "0", "area unit": "µm²",
    }  # fmt: skip


def test_what_is_not_known_is_left_empty(tmp_path):
    keep(tmp_path, count(np.full((2, 2), 255, np.uint8)))
    (line,) = lines(write_table(tmp_path)).values()
    assert (line["sky pixels"], line["ignored"]) == ("0", "4")
    assert {line[f"sky {kind}"] for kind in ("share", "area")} | {line["area unit"]} == {""}


def test_the_file_is_utf_8_with_quotes_where_they_are_needed(tmp_path):
    record = AreaRecord("plate 1/ä", 1, 1, {'oak, "old"': 1, "pine": 0}, 0)
    keep(tmp_path, record)
    raw = write_table(tmp_path).read_bytes()
    first, second, rest = raw.decode("utf-8").split("\r\n")
    assert first.startswith('image,height,width,"oak, ""old"" pixels",pine pixels,ignored,')
    assert second.startswith("plate 1/ä,1,1,1,0,0,1,0,")
    assert rest == ""
    assert list(lines(tmp_path / "areas.csv")) == ["plate 1/ä"]


def test_lines_come_in_natural_order_one_an_image(tmp_path):
    for name in ("x/a10", "x/a9", "b.1", "x/a10"):
        keep(tmp_path, count(PIXELS, name))
    assert list(lines(write_table(tmp_path))) == ["b.1", "x/a9", "x/a10"]


def test_a_later_run_adds_its_lines_and_replaces_those_of_its_images(tmp_path):
    keep(tmp_path, count(PIXELS, "a"))
    keep(tmp_path, count(PIXELS, "b"))
    write_table(tmp_path)
    keep(tmp_path, count(PIXELS + 1, "b"))
    keep(tmp_path, count(PIXELS, "c"))
    found = lines(write_table(tmp_path))
    assert {name: line["tree pixels"] for name, line in found.items()} == {"a": "0", "b": "24", "c": "0"}


def test_a_class_that_an_image_was_not_segmented_into_is_left_empty_in_its_line():
    header, one, two = table([AreaRecord("a", 1, 1, {"x": 1}, 0), AreaRecord("b", 1, 1, {"y": 1}, 0)])
    assert header[3:5] == ["x pixels", "y pixels"]
    assert (one[3:5], two[3:5]) == (["1", ""], ["", "1"])


def test_a_record_comes_back_as_it_was(tmp_path):
    record = AreaRecord("18/7.3", 2**33, 5, {"ä,": 2**40}, 3, 0.1, "µm²")
    keep(tmp_path, record)
    assert module._records(tmp_path) == [record]
    assert record_file(tmp_path, record.name).is_file()


# Several at a time


def test_a_record_that_comes_while_the_table_is_written_is_in_the_table(tmp_path, monkeypatch):
    keep(tmp_path, count(PIXELS, "a"))

    def while_writing(records):
        if len(records) == 1:
            keep(tmp_path, count(PIXELS, "b"))  # another process, which has finished before this one
            (tmp_path / "areas.csv").write_text("its table", encoding="utf-8")
        return table(records)

    monkeypatch.setattr(module, "table", while_writing)
    assert list(lines(write_table(tmp_path))) == ["a", "b"]


def test_no_line_is_lost_where_many_write_at_once(tmp_path):
    names = [f"{part}/{number}" for part in "abcd" for number in range(6)]

    def one(name):
        keep(tmp_path, count(PIXELS, name))
        write_table(tmp_path)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, names))
    assert list(lines(tmp_path / "areas.csv")) == names
    left = {path.name for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".json"}
    assert left == {"areas.csv"}


# What is refused


@pytest.mark.parametrize("content", ["", "{", "[]", '{"name": "a"}', '{"name": 1, "height": "x"}'])
def test_a_damaged_record_is_named(tmp_path, content):
    keep(tmp_path, count(PIXELS))
    record_file(tmp_path, "a").write_text(content, encoding="utf-8")
    with pytest.raises(
        DataError, match=r"a\.json: is no record of areas; remove it and segment its image again"
    ):
        write_table(tmp_path)


def test_a_folder_in_the_place_of_the_table_is_refused(tmp_path):
    (tmp_path / "areas.csv").mkdir()
    keep(tmp_path, count(PIXELS))
    with pytest.raises(UsageError, match=r"areas\.csv: cannot be written"):
        write_table(tmp_path)
    assert not list(tmp_path.rglob(".patchseg/*.csv"))
