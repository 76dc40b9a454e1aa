import csv
import json
import shutil

import numpy as np
import pytest
import tifffile
from PIL import Image

import patchseg
from patchseg.errors import DataError, UsageError
from patchseg.parameters import AuditParameters, DataParameters
from patchseg.studies.audit import audit
from patchseg.synth import CLASSES

NAMES = [
    {"name": "ground", "value": 0, "color": "#000000"},
    {"name": "line", "value": 7, "color": "#e69f00"},
    {"name": "blob", "value": 9, "color": "#56b4e9"},
]
VALUES = np.array([0, 7, 9], np.uint8)


@pytest.fixture
def folders(tmp_path):
    """Make masks of two images that are right but for a blob that is missing in b, as `infer` and the user have them."""
    predicted, truth, images = (tmp_path / name for name in ("masks", "truth", "images"))
    (predicted / "confidence").mkdir(parents=True)
    truth.mkdir()
    images.mkdir()
    for name in "ab":
        mask = np.zeros((50, 40), np.uint8)
        mask[4:8] = 1
        mask[20:30, 12:22] = 2
        save(predicted / f"{name}.png", mask)
        given = mask.copy()
        if name == "b":
            given[20:30, 12:22] = 0
        save(truth / f"{name}.png", VALUES[given])
        save(images / f"{name}.png", 200 - 60 * mask)
        tifffile.imwrite(predicted / f"confidence/{name}.tif", np.full((50, 40), 0.75, np.float16))
    record(predicted, images)
    return predicted, truth


def save(file, pixels):
    Image.fromarray(pixels).save(file)


def record(folder, images, **more):
    content = {"data.classes": NAMES, "infer.images": [str(images)], **more}
    text = json.dumps({key: {"value": value, "source": "file"} for key, value in content.items()})
    (folder / "parameters.effective.json").write_text(text, encoding="utf-8")


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def into(folder, **values):
    return AuditParameters(output=str(folder), **values)


def test_a_missing_object_is_written_with_its_files_relative_to_the_output(folders, tmp_path):
    path = audit(*folders, parameters=into(tmp_path / "out/audit"))
    assert path == tmp_path / "out/audit/suspects.json"
    assert read(path) == {
        "suspects": [
            {
                "rank": 1, "image": "b", "box": [20, 12, 10, 10], "pixels": 100, "kind": "missing object",
                "given": "ground", "predicted": "blob", "confidence": 0.75, "score": 0.8, "shift": None, "note": "",
                "picture": "../../images/b.png", "truth": "../../truth/b.png", "mask": "../../masks/b.png",
            }
        ],
        "found": 1,
        "images": 2,
    }  # fmt: skip
    with (tmp_path / "out/audit/suspects.csv").open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert row == {
        "rank": "1", "image": "b", "kind": "missing object", "given": "ground", "predicted": "blob", "top": "20",
        "left": "12", "height": "10", "width": "10", "pixels": "100", "confidence": "0.75", "score": "0.8", "note": "",
    }  # fmt: skip
    assert "missing object" in (tmp_path / "out/audit/gallery.html").read_text(encoding="utf-8")


def test_nothing_is_changed_in_what_was_given(folders, tmp_path):
    before = {file: file.read_bytes() for folder in folders for file in folder.rglob("*") if file.is_file()}
    audit(*folders, parameters=into(tmp_path / "audit"))
    after = {file: file.read_bytes() for folder in folders for file in folder.rglob("*") if file.is_file()}
    assert before == after


def test_probabilities_come_before_leads(folders, tmp_path):
    predicted, truth = folders
    (predicted / "probabilities").mkdir()
    for name in "ab":
        mask = np.array(Image.open(predicted / f"{name}.png"))
        chances = np.zeros((50, 40, 3), np.uint8)
        np.put_along_axis(chances, mask[:, :, None], 204, axis=2)
        chances[:, :, 0] += 51  # of which a blob's lead over the ground is 153 / 255
        tifffile.imwrite(predicted / f"probabilities/{name}.tif", chances, planarconfig="contig")
    (suspect,) = read(audit(predicted, truth, parameters=into(tmp_path / "audit")))["suspects"]
    assert suspect["confidence"] == 0.6


def test_only_so_many_are_written_as_wanted_the_likeliest(folders, tmp_path):
    predicted, truth = folders
    given = np.array(Image.open(truth / "a.png"))
    given[42:47, 30:35] = 7
    save(truth / "a.png", given)
    document = read(audit(predicted, truth, parameters=into(tmp_path / "one", count=1)))
    assert (document["found"], [s["kind"] for s in document["suspects"]]) == (2, ["missing object"])
    document = read(audit(predicted, truth, parameters=into(tmp_path / "two")))
    assert [s["kind"] for s in document["suspects"]] == ["missing object", "extra object"]


def test_good_masks_give_empty_files(folders, tmp_path):
    predicted, truth = folders
    shutil.copy(truth / "a.png", truth / "b.png")
    document = read(audit(predicted, truth, parameters=into(tmp_path / "audit")))
    assert document == {"suspects": [], "found": 0, "images": 2}
    assert "nowhere" in (tmp_path / "audit/gallery.html").read_text(encoding="utf-8")


def test_the_folder_of_a_cross_validation_says_which_masks_were_given(folders, tmp_path):
    predicted, truth = folders
    whole = tmp_path / "crossval"
    whole.mkdir()
    predicted.rename(whole / "masks")
    with pytest.raises(
        UsageError, match=r"crossval: does not say which masks were given; name them as TRUTH"
    ):
        audit(whole, parameters=into(tmp_path / "audit"))
    document = read(audit(whole, truth, parameters=into(tmp_path / "named")))
    record(whole, tmp_path / "images", **{"data.masks": str(truth)})
    assert read(audit(whole, parameters=into(tmp_path / "found")))["suspects"] == document["suspects"]
    (whole / "parameters.effective.json").unlink()
    shutil.copytree(truth, whole / "truth")
    (suspect,) = read(audit(whole, parameters=into(tmp_path / "painted")))["suspects"]
    assert suspect["truth"] == "../crossval/truth/b.png"


def test_masks_without_a_record_need_the_classes(folders, tmp_path):
    predicted, truth = folders
    (predicted / "parameters.effective.json").unlink()
    for name in "ab":
        shutil.copy(truth / "a.png", predicted / f"{name}.png")
    with pytest.raises(UsageError, match=r"give data\.classes"):
        audit(predicted, truth, parameters=into(tmp_path / "audit"))
    data = DataParameters.model_validate({"classes": NAMES})
    (suspect,) = read(audit(predicted, truth, parameters=into(tmp_path / "audit"), data=data))["suspects"]
    assert (suspect["predicted"], suspect["picture"]) == ("blob", None)


def test_without_knowing_how_sure_masks_are_there_is_no_audit(folders, tmp_path):
    predicted, truth = folders
    shutil.rmtree(predicted / "confidence")
    with pytest.raises(
        UsageError, match=r"holds neither probabilities nor confidence.*infer again with --confidence"
    ):
        audit(predicted, truth, parameters=into(tmp_path / "audit"))


def test_all_that_is_wrong_with_the_files_is_told_at_once(folders, tmp_path):
    predicted, truth = folders
    for name in "ab":
        (predicted / f"confidence/{name}.tif").unlink()
    with pytest.raises(DataError) as caught:
        audit(predicted, truth, parameters=into(tmp_path / "audit"))
    assert [line.split("; ")[0] for line in str(caught.value).splitlines()] == [
        f"{predicted}/confidence/{name}.tif: is missing" for name in "ab"
    ]
    tifffile.imwrite(predicted / "confidence/a.tif", np.zeros((50, 40, 2), np.float16), planarconfig="contig")
    tifffile.imwrite(predicted / "confidence/b.tif", np.zeros((40, 50), np.float16))
    with pytest.raises(DataError) as caught:
        audit(predicted, truth, parameters=into(tmp_path / "audit"))
    first, second = str(caught.value).splitlines()
    assert first == (
        f"{predicted}/confidence/a.tif: has 2 channels; expected one, or one of each of 3 classes"
    )
    assert second.startswith(f"{truth}/b.png: is 50 x 40 pixels, ")
    assert "confidence/b.tif (40 x 50)" in second
    assert not (tmp_path / "audit").exists()


def test_nothing_is_overwritten_unasked(folders, tmp_path):
    audit(*folders, parameters=into(tmp_path / "audit"))
    with pytest.raises(UsageError, match=r"suspects.json \(and 2 more\): exists already"):
        audit(*folders, parameters=into(tmp_path / "audit"))
    audit(*folders, parameters=into(tmp_path / "audit"), overwrite=True)


# Planted errors: at least 90 % of them are among the first suspects, twice as many as there are.


@pytest.mark.parametrize("kind", ["probabilities", "confidence"])
def test_planted_errors_are_found_by_predictions_as_a_network_might_make_them(planting, tmp_path, kind):
    set_ = tmp_path / "set"
    patchseg.synth(set_, parameters=patchseg.SynthParameters(train=16, test=0, height=160, width=120, seed=5))
    masks = set_ / "train/masks"
    shutil.copytree(masks, tmp_path / "clean")
    planted = planting.plant(masks, 5, each=3)
    predicted = planting.simulate(tmp_path / "clean", tmp_path / "masks", CLASSES, 5)
    if kind == "confidence":
        shutil.rmtree(predicted / "probabilities")
    path = audit(predicted, masks, parameters=into(tmp_path / "audit"))
    assert (tmp_path / "audit/gallery.html").stat().st_size < 5_000_000
    found = planting.recalled(planted, read(path)["suspects"])
    assert sum(there for there, _ in found.values()) >= 0.9 * len(planted), found


@pytest.mark.slow
def test_planted_errors_are_found_by_networks_that_have_learned_from_such(planting, tmp_path):
    patchseg.synth(tmp_path / "set", parameters=patchseg.SynthParameters(train=20, test=0))
    images, masks = (tmp_path / "set/train" / name for name in ("images", "masks"))
    planted = planting.plant(masks, 0)
    predicted = planting.predict(images, masks, tmp_path, steps=1500, seed=0)
    document = read(audit(predicted, masks, parameters=into(tmp_path / "audit")))
    found = planting.recalled(planted, document["suspects"])
    assert sum(there for there, _ in found.values()) >= 0.9 * len(planted), found
