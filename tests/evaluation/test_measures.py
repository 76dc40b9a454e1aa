"""Outlines, objects and probabilities through `evaluate`: worked by hand, by bands of any height, and inside of a region."""

import csv
import json

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy import ndimage

from patchseg.errors import DataError, UsageError
from patchseg.evaluation import certainty as certainty_module
from patchseg.evaluation import evaluate as module
from patchseg.evaluation.evaluate import evaluate
from patchseg.imaging.beside import Beside
from patchseg.imaging.write import open_writer
from patchseg.parameters import DataParameters, EvaluateParameters
from patchseg.progress import Progress

DATA = DataParameters.model_validate({"classes": ["ground", "blob"]})
# One square that is a column off, one pixel that is made up; in the other image nothing but ground.
TRUTH = {"a": ["00000000", "01100000", "01100000", "00000000"], "b": ["000", "000"]}
MASKS = {"a": ["00000000", "00110000", "00110001", "00000000"], "b": ["000", "000"]}


class Told(Progress):
    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


def pixels(rows):
    return np.array([[255 if c == "." else int(c) for c in row] for row in rows], np.uint8)


def save(folder, images, **options):
    folder.mkdir(parents=True, exist_ok=True)
    for name, image in images.items():
        array = image if isinstance(image, np.ndarray) else pixels(image)
        Image.fromarray(array).save(folder / f"{name}.png", **options)
    return folder


@pytest.fixture
def folders(tmp_path):
    return save(tmp_path / "masks", MASKS), save(tmp_path / "truth", TRUTH)


def scores(folders, progress=None, **asked):
    path = evaluate(
        *folders, parameters=EvaluateParameters(**asked), data=DATA, overwrite=True, progress=progress
    )
    return json.loads(path.read_text(encoding="utf-8"))


def table(folder):
    with (folder / "scores.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def probable(folder, name, shares, dtype="float16"):
    """Write (H, W, K) shares as `infer --probabilities` does."""
    stored = np.round(shares * 255).astype(np.uint8) if dtype == "uint8" else shares.astype(np.float16)
    folder.mkdir(parents=True, exist_ok=True)
    with open_writer(folder / f"{name}.tif", stored.shape, stored.dtype, beside=Beside()) as file:
        file.write(stored)


def test_nothing_is_measured_that_was_not_asked_for(folders):
    found = scores(folders)
    assert not {"surface", "objects", "certainty"} & set(found)
    assert not {"surface", "objects", "certainty", "region"} & set(found["images"][0])


# Outlines


def test_outlines_worked_by_hand(folders):
    a, b = (entry["surface"]["classes"][1] for entry in scores(folders, boundary="1")["images"])
    # Truth: 4 pixels, distances 1, 0, 1, 0. Mask: 5 pixels, distances 0, 1, 0, 1, and 5 of the pixel that is made up.
    assert a["boundary_f1"] == pytest.approx(2 * 1 * 0.8 / (1 + 0.8))
    assert a["mean_distance"] == pytest.approx((2 + 2 + 5) / 9)
    assert a["hausdorff_95"] == pytest.approx(1 + 0.8 * 4)  # 0, 0, 1, 1, 5 at place 3.8
    assert (a["hausdorff_95_in_units"], a["mean_distance_in_units"]) == (None, None)
    assert set(b.values()) == {"blob", None}


def test_the_means_over_images_say_of_how_many(folders):
    found = scores(folders, boundary="1")
    a = found["images"][0]["surface"]["classes"][1]
    blob = found["surface"]["classes"][1]
    assert found["surface"]["tolerance"] == {"value": 1, "unit": "pixels"}
    assert (blob["name"], blob["images"], blob["images_with_both"]) == ("blob", 1, 1)
    assert blob["boundary_f1"] == a["boundary_f1"]


def test_a_class_that_was_missed_scores_zero_and_has_no_distance(tmp_path):
    folders = save(tmp_path / "m", {"a": ["0000"]}), save(tmp_path / "t", {"a": ["0110"]})
    found = scores(folders, boundary="2")
    blob = found["surface"]["classes"][1]
    assert (blob["boundary_f1"], blob["hausdorff_95"], blob["mean_distance"]) == (0, None, None)
    assert (blob["images"], blob["images_with_both"]) == (1, 0)


def test_distances_have_units_where_a_file_tells_the_size_of_a_pixel(tmp_path):
    # 50,800 dots an inch are 20,000 a centimetre: half a micrometre.
    folders = save(tmp_path / "m", MASKS, dpi=(50800, 50800)), save(tmp_path / "t", TRUTH)
    found = scores(folders, boundary="1")
    surface = found["images"][0]["surface"]
    blob = surface["classes"][1]
    assert (surface["unit"], surface["pixel"]) == ("µm", pytest.approx([0.5, 0.5]))
    assert blob["mean_distance_in_units"] == pytest.approx(0.5)
    assert blob["hausdorff_95_in_units"] == pytest.approx(4.2 / 2)
    assert found["surface"]["unit"] == "µm"
    assert found["surface"]["classes"][1]["mean_distance_in_units"] == pytest.approx(0.5)
    # 600 nm hold one pixel, 400 nm hold none.
    near, far = (scores(folders, boundary=text) for text in ("600nm", "400nm"))
    assert near["surface"]["classes"][1]["boundary_f1"] == blob["boundary_f1"]
    assert far["surface"]["classes"][1]["boundary_f1"] == pytest.approx(2 * 0.5 * 0.4 / 0.9)


def test_pixels_that_are_no_squares_are_measured_as_they_are(tmp_path):
    masks = save(tmp_path / "m", {"a": MASKS["a"]}, dpi=(25400, 50800))  # 1 micrometre wide, half high
    folders = masks, save(tmp_path / "t", {"a": TRUTH["a"]})
    blob = scores(folders, boundary="1")["images"][0]["surface"]["classes"][1]
    assert blob["mean_distance_in_units"] == pytest.approx(blob["mean_distance"])  # all distances run across
    masks = save(tmp_path / "m", {"a": MASKS["a"]}, dpi=(50800, 25400))
    blob = scores(folders, boundary="1")["images"][0]["surface"]["classes"][1]
    assert blob["mean_distance_in_units"] == pytest.approx(blob["mean_distance"] / 2)


def test_lengths_in_different_units_have_no_mean(tmp_path):
    save(tmp_path / "m", {"a": MASKS["a"]}, dpi=(50800, 50800))
    folders = save(tmp_path / "m", {"b": MASKS["b"]}), save(tmp_path / "t", TRUTH)
    surface = scores(folders, boundary="1")["surface"]
    assert surface["unit"] is None
    assert surface["classes"][1]["mean_distance_in_units"] is None
    assert surface["classes"][1]["mean_distance"] is not None


def test_a_tolerance_in_a_unit_that_files_do_not_tell_is_refused(folders):
    said = (
        r"a\.png: does not tell the size of its pixels in µm, which --boundary is in; give a number of pixels"
    )
    with pytest.raises(DataError, match=said):
        scores(folders, boundary="1.5um")


# Objects


def test_objects_worked_by_hand_and_added_up(folders):
    found = scores(folders, objects=True)
    a, b = (entry["objects"]["classes"][0] for entry in found["images"])
    # The square shares 2 pixels of 6, a third: missed, and made up, as is the lone pixel.
    assert (a["tp"], a["fp"], a["fn"]) == (0, 2, 1)
    assert (b["tp"], b["fp"], b["fn"], b["f1"]) == (0, 0, 0, None)
    [total] = found["objects"]["classes"]
    assert (total["name"], total["tp"], total["fp"], total["fn"], total["f1"]) == ("blob", 0, 2, 1, 0)


# Probabilities


@pytest.mark.parametrize("dtype", ["float16", "uint8"])
def test_probabilities_worked_by_hand(folders, dtype):
    masks, _ = folders
    # Of the blob's 4 pixels 2 are predicted with 0.8 and 2 held for ground with 0.4; of the rest 3 are predicted with 0.6.
    blob = np.where(pixels(MASKS["a"]) == 1, 0.6, 0.0)
    blob[1:3, 1], blob[1:3, 2] = 0.4, 0.8
    probable(masks / "probabilities", "a", np.stack([1 - blob, blob], axis=2), dtype)
    probable(masks / "probabilities", "b", np.stack([np.ones((2, 3)), np.zeros((2, 3))], axis=2), dtype)
    found = scores(folders, certainty=True)
    ground, blob = found["images"][0]["certainty"]["classes"]
    # Pairs: 2 of 4 pixels are above all 28 others, 2 above 25 of them.
    assert blob["roc_auc"] == ground["roc_auc"] == (2 * 28 + 2 * 25) / (4 * 28)
    assert blob["average_precision"] == pytest.approx((2 * 1 + 2 * 4 / 7) / 4)
    assert found["images"][1]["certainty"]["classes"][1] == {
        "name": "blob", "roc_auc": None, "average_precision": None,
    }  # fmt: skip
    # All images together: 0.6 is wrong 5 times (3 false, 2 missed), 0.8 right twice, 1 right 31 times.
    total = found["certainty"]
    assert total["ece"] == pytest.approx((5 * 0.6 + 2 * 0.2) / 38, abs=2e-4)
    assert sum(total["reliability"]["count"]) == 38
    assert len(total["reliability"]["edges"]) == 16
    assert "reliability" not in found["images"][0]["certainty"]


def test_pixels_without_a_predicted_class_do_not_count(tmp_path):
    # Outside of its region `infer` writes 255, and 0 for all probabilities.
    folders = save(tmp_path / "m", {"a": ["01."]}), save(tmp_path / "t", {"a": ["010"]})
    probable(tmp_path / "p", "a", np.array([[[1, 0], [0, 1], [0, 0]]]))
    found = scores(folders, probabilities=str(tmp_path / "p"))["certainty"]
    assert found["ece"] == 0
    assert sum(found["reliability"]["count"]) == 2


def test_masks_that_are_not_of_the_most_probable_class_are_told(tmp_path):
    folders = save(tmp_path / "m", {"a": ["0110"]}), save(tmp_path / "t", {"a": ["0110"]})
    shares = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.5, 0.5]])[None]
    probable(tmp_path / "p", "a", shares)
    told = Told()
    scores(folders, told, probabilities=str(tmp_path / "p"))
    assert len(told.lines) == 1
    assert told.lines[0].startswith("in 25 % of the pixels the mask is not of the most probable class;")
    shares[0, 2] = [0.3, 0.7]
    probable(tmp_path / "p", "a", shares)
    told = Told()
    scores(folders, told, probabilities=str(tmp_path / "p"))
    assert told.lines == []


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        (np.zeros((4, 8, 3), np.float16), "holds 4 x 8 pixels of 3 channels as float16; expected 4 x 8 of 2"),
        (np.zeros((4, 7, 2), np.float16), "holds 4 x 7 pixels of 2 channels as float16; expected 4 x 8 of 2"),
        (np.zeros((4, 8, 2), np.uint16), "of 2 channels as uint16; expected .* as float16 or uint8"),
        (
            np.full((4, 8, 2), np.nan, np.float16),
            "a.tif: probabilities: hold numbers below 0, above 1, or NaN",
        ),
    ],
)
def test_probabilities_that_do_not_fit_are_refused(folders, stored, said):
    masks, _ = folders
    probable(masks / "probabilities", "b", np.ones((2, 3, 2)) / 2)
    tifffile.imwrite(masks / "probabilities/a.tif", stored, photometric="minisblack", planarconfig="contig")
    with pytest.raises(DataError, match=said):
        scores(folders, certainty=True)


def test_missing_probabilities_are_all_listed(folders):
    masks, _ = folders
    with pytest.raises(
        UsageError, match=r"masks/probabilities: is no folder; .* so infer with --probabilities"
    ):
        scores(folders, certainty=True)
    (masks / "probabilities").mkdir()
    with pytest.raises(DataError) as caught:
        scores(folders, certainty=True)
    first, second = str(caught.value).splitlines()
    assert "masks/a.png: has no probabilities in" in first
    assert second.endswith("expected b.tif, so infer with --probabilities")


def test_files_of_halves_and_of_bytes_do_not_add_up(folders):
    masks, _ = folders
    for name, dtype, shape in (("a", "float16", (4, 8, 2)), ("b", "uint8", (2, 3, 2))):
        probable(masks / "probabilities", name, np.full(shape, 0.5), dtype)
    with pytest.raises(
        DataError, match=r"b\.tif: holds uint8, those before it float16; infer all of them alike"
    ):
        scores(folders, certainty=True)


# A region


@pytest.mark.parametrize("how", ["folder", "one", "box", "annotations"])
def test_only_the_inside_of_a_region_is_scored(tmp_path, folders, how):
    for folder in folders:
        (folder / "b.png").unlink()
    inside = np.zeros((4, 8), np.uint8)
    inside[:, :5] = 7
    ring = [[0, 0], [5, 0], [5, 4], [0, 4], [0, 0]]
    feature = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    (tmp_path / "a.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    region = {
        "folder": save(tmp_path / "fov", {"a_fov": inside}),
        "one": save(tmp_path / "fov", {"a_fov": inside}) / "a_fov.png",
        "box": "0,0,4,5",
        "annotations": tmp_path / "a.geojson",
    }[how]
    found = scores(folders, region=str(region), boundary="1", objects=True)
    # The pixel that is made up lies outside.
    assert found["confusion"] == [[14, 2], [2, 2]]
    assert found["images"][0]["region"] == {"pixels": 20, "share": 20 / 32}
    assert found["surface"]["classes"][1]["boundary_f1"] == 1
    assert found["objects"]["classes"][0]["fp"] == 1


def test_probabilities_outside_of_the_region_do_not_count(tmp_path):
    folders = save(tmp_path / "m", {"a": ["01"]}), save(tmp_path / "t", {"a": ["00"]})
    probable(tmp_path / "p", "a", np.array([[[1, 0], [0, 1]]]))
    found = scores(folders, probabilities=str(tmp_path / "p"), region="0,0,1,1")
    assert found["certainty"]["ece"] == 0


def test_what_is_transparent_or_black_lies_outside(tmp_path):
    folders = save(tmp_path / "m", {"a": ["010"]}), save(tmp_path / "t", {"a": ["000"]})
    # A palette whose first colour is white and whose second is black: what one sees counts.
    image = Image.fromarray(np.array([[0, 1, 0]], np.uint8))
    image.putpalette([255, 255, 255, 0, 0, 0])
    image.save(tmp_path / "fov.png")
    assert scores(folders, region=str(tmp_path / "fov.png"))["confusion"] == [[2, 0], [0, 0]]
    colors = np.full((1, 3, 4), 255, np.uint8)
    colors[0, 1, 3] = 0
    Image.fromarray(colors).save(tmp_path / "fov.png")
    assert scores(folders, region=str(tmp_path / "fov.png"))["confusion"] == [[2, 0], [0, 0]]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("nowhere", r"evaluate\.region: .*nowhere is neither a box nor a file"),
        ("fov", r"b\.png: has no mask in .*fov"),
        (
            "small.png",
            r"small\.png: is 2 x 3 pixels, the mask .*a\.png is 4 x 8; rows x columns of a region must",
        ),
        ("black", r"black/a\.png: is 0 everywhere; expected other values where masks are to be scored"),
    ],
)
def test_a_region_that_does_not_fit_is_told(tmp_path, folders, given, said):
    save(tmp_path / "fov", {"a": TRUTH["a"]})
    save(tmp_path, {"small": np.ones((2, 3), np.uint8)})
    save(tmp_path / "black", {"a": np.zeros((4, 8), np.uint8), "b": np.ones((2, 3), np.uint8)})
    with pytest.raises((DataError, UsageError), match=said):
        scores(folders, region=str(tmp_path / given))


def test_a_box_outside_is_told_with_the_name_of_the_parameter(folders):
    with pytest.raises(UsageError, match=r"evaluate\.region: 90,0,4,5 lies outside of .*a\.png"):
        scores(folders, region="90,0,4,5")


# Bands, and the table


@pytest.mark.parametrize("dtype", ["float16", "uint8"])
def test_bands_of_any_height_measure_the_same_to_the_last_bit(tmp_path, monkeypatch, dtype):
    random = np.random.default_rng(1)
    shares = ndimage.gaussian_filter(random.random((30, 21)), 2)
    shares = (shares - shares.min()) / np.ptp(shares)
    truth = (shares + random.normal(size=shares.shape) / 8 > 0.5).astype(np.uint8)
    truth[random.random(truth.shape) < 0.05] = 255
    inside = np.hypot(*np.mgrid[-15:15, -10:11]) < 14
    folders = save(tmp_path / "m", {"a": (shares > 0.5).astype(np.uint8)}), save(tmp_path / "t", {"a": truth})
    save(tmp_path / "fov", {"a": inside.astype(np.uint8)})
    probable(tmp_path / "p", "a", np.stack([1 - shares, shares], axis=2), dtype)
    asked = {"probabilities": str(tmp_path / "p"), "region": str(tmp_path / "fov")}
    asked |= {"boundary": "2", "objects": True}
    whole = scores(folders, **asked)
    for rows in (1, 4, 29):
        monkeypatch.setattr(module, "_BAND", rows * 21)
        assert scores(folders, **asked) == whole
    monkeypatch.setattr(certainty_module, "_BAND", 7 * 21)
    assert scores(folders, **asked) == whole


def test_the_table_has_columns_of_what_was_asked_for(folders):
    masks, _ = folders
    scores(folders, boundary="1", objects=True, region="0,0,2,2")
    a, b = table(masks)
    assert a["boundary_f1 blob"] == "0.0"
    assert (a["objects tp blob"], a["objects fn blob"], b["objects f1 blob"]) == ("0", "1", "")
    assert (a["region pixels"], b["unit"]) == ("4", "")
    scores(folders)
    assert "objects tp blob" not in table(masks)[0]
