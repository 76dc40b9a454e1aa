import json

import numpy as np
import pytest
import tifffile
from PIL import Image

import patchseg
from patchseg.errors import DataError, UsageError
from patchseg.imaging import Box, open_raw
from patchseg.labels.classes import Classes
from patchseg.parameters import DataParameters
from patchseg.patches import drawings as module
from patchseg.patches.drawings import import_annotations, name_drawings
from patchseg.patches.pairs import Pair
from patchseg.progress import Progress


class Heard(Progress):
    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


def square(label, left, top, size):
    return {"label": label, "points": [[left, top], [left + size, top + size]], "shape_type": "rectangle"}


SHAPES = {"a": [square("pore", 0, 0, 4), square("crack", 2, 0, 4)], "b": []}


@pytest.fixture
def folder(tmp_path):
    """Return a folder with two images of 8 x 10 and their LabelMe files: overlapping squares on a, nothing on b."""
    for name, shapes in SHAPES.items():
        for sub in ("images", "json"):
            (tmp_path / sub).mkdir(exist_ok=True)
        Image.fromarray(np.zeros((8, 10), np.uint8)).save(tmp_path / "images" / f"{name}.png")
        tree = {"shapes": shapes, "imagePath": f"{name}.png"}
        (tmp_path / "json" / f"{name}.json").write_text(json.dumps(tree))
    return tmp_path


def draw(folder, name, *shapes):
    (folder / "json" / f"{name}.json").write_text(json.dumps({"shapes": shapes, "imagePath": f"{name}.png"}))


def run(folder, heard=None, overwrite=False, **data):
    return import_annotations(
        folder / "json", folder / "images", folder / "masks",
        data=DataParameters.model_validate(data), overwrite=overwrite, progress=heard,
    )  # fmt: skip


def mask(folder, name="a.png"):
    with open_raw(folder / "masks" / name) as source:
        return source.read(Box(0, 0, *source.shape[:2]))[:, :, 0], source.palette


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_function_is_at_the_front_door():
    assert patchseg.import_annotations is import_annotations


def test_masks_hold_the_classes_in_their_colours(folder):
    assert run(folder) == folder / "masks"
    pixels, palette = mask(folder)
    expected = np.zeros((8, 10), np.uint8)
    expected[:4, :4] = 2  # pore, after crack in the alphabet
    expected[:4, 2:6] = 1
    np.testing.assert_array_equal(pixels, expected)
    assert palette[:3].tolist() == [[0, 0, 0], [230, 159, 0], [86, 180, 233]]
    assert not mask(folder, "b.png")[0].any()


def test_the_classes_lie_beside_the_masks_ready_for_prepare(folder):
    run(folder)
    tree = read(folder / "masks/parameters.json")
    loaded = patchseg.load(folder / "masks/parameters.json")
    assert tree["data"]["classes"] == Classes.of(loaded.data.classes).to_json()
    assert [item["name"] for item in tree["data"]["classes"]] == ["background", "crack", "pore"]


def test_the_record_counts_pixels_overlaps_and_what_was_left_out(folder):
    draw(
        folder,
        "a",
        *SHAPES["a"],
        {"label": "crack", "points": [[1, 1]], "shape_type": "point"},
        square("pore", 20, 20, 4),
    )
    heard = Heard()
    run(folder, heard)
    record = read(folder / "masks/imported.json")
    assert {item["name"]: item["pixels"] for item in record["classes"]} == {
        "background": 160 - 24,
        "crack": 16,
        "pore": 8,
    }
    assert {key: record[key] for key in ("ignored", "unlabeled", "overwritten", "empty", "left_out")} == {
        "ignored": 0, "unlabeled": "background", "overwritten": 8, "empty": 1, "left_out": {"point": 1},
    }  # fmt: skip
    assert record["images"][0] == {
        "image": str(folder / "images/a.png"), "mask": str(folder / "masks/a.png"), "annotations": str(folder / "json/a.json"),
        "shapes": 3, "overwritten": 8, "empty": 1,
    }  # fmt: skip
    assert heard.lines == [
        f"{folder / 'json/a.json'}: left out, as it has no area: 1 point",
        "1 image without a shape, all background",
        "shapes of different classes overlap in 8 pixels: the later one has them",
        "1 of 3 shapes without a pixel: too thin, or outside of the image",
    ]


def test_blank_pixels_are_ignored_on_request(folder):
    run(folder, unlabeled="ignore")
    pixels, palette = mask(folder)
    assert (pixels[:4, :2] == 1).all()  # no background is drawn, so crack is 0 and pore 1
    assert (pixels[4:] == 255).all()
    assert palette[255].tolist() == [128, 128, 128]
    assert read(folder / "masks/imported.json")["ignored"] == 160 - 24


def test_given_classes_decide_values_and_colours(folder):
    run(
        folder,
        classes=[{"name": "rest", "value": 3}, {"name": "pore", "value": 9, "color": "#ff0000"}, "crack"],
    )
    pixels, palette = mask(folder)
    assert (pixels[0, 0], pixels[0, 3], pixels[7, 7]) == (9, 2, 3)
    assert palette[9].tolist() == [255, 0, 0]
    assert (folder / "masks/a.png").exists()


def test_large_masks_are_tiled_tiffs_written_band_by_band(folder, monkeypatch):
    run(folder)
    expected = mask(folder)[0]
    monkeypatch.setattr(module, "PNG_PIXELS", 79)
    monkeypatch.setattr("patchseg.labels.drawn._BAND", 30)
    run(folder, overwrite=True)
    np.testing.assert_array_equal(mask(folder, "a.tif")[0], expected)
    with tifffile.TiffFile(folder / "masks/a.tif") as file:
        assert file.pages[0].is_tiled


@pytest.mark.parametrize("name", ["b.png", "parameters.json", "imported.json"])
def test_what_exists_is_kept_unless_told_otherwise(folder, name):
    (folder / "masks").mkdir()
    (folder / "masks" / name).touch()
    with pytest.raises(
        UsageError, match=rf"{name}: exists already; choose another output or give --overwrite"
    ):
        run(folder)
    run(folder, overwrite=True)
    assert all((folder / "masks" / name).stat().st_size for name in ("a.png", name))


def test_a_drawing_none_of_which_meets_its_image_is_refused(folder):
    draw(folder, "a", square("pore", 500_000, 500_000, 10))
    with pytest.raises(
        DataError,
        match=r"a\.json: none of its 1 shape holds a pixel of its image; expected coordinates in pixels",
    ):
        run(folder)
    assert not (folder / "masks").exists()


def test_names_that_are_no_class_are_told_for_all_files(folder):
    draw(folder, "b", square("paw", 0, 0, 4))
    with pytest.raises(DataError) as caught:
        run(folder, classes=["background", "crack"])
    assert [line.split(": ")[0] for line in str(caught.value).splitlines()] == [
        str(folder / f"json/{name}.json") for name in "ab"
    ]


def test_names_that_differ_only_in_capitals_are_said(folder):
    draw(folder, "b", square("Crack", 0, 0, 4))
    heard = Heard()
    run(folder, heard)
    assert "classes crack and Crack differ only in capitals; if they are one, rename them" in heard.lines


def test_drawn_and_painted_masks_in_one_set_need_given_classes(folder):
    pairs = [Pair("a", folder / "images/a.png", folder / "images/a.png")]
    with pytest.raises(UsageError, match=r"data\.classes: must be given where some masks are drawn"):
        name_drawings(pairs, DataParameters(), Progress())
    given = DataParameters.model_validate({"classes": ["background", "crack"]})
    assert name_drawings(pairs, given, Progress()).pairs == pairs


def test_the_mask_of_a_pair_is_a_file_where_nothing_is_drawn(folder):
    with Pair("a", folder / "images/a.png", folder / "images/b.png").open_mask() as source:
        assert source.shape == (8, 10, 1)
