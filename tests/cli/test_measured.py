"""What `patchseg evaluate` prints of outlines, objects, probabilities and regions, in 80 columns."""

import json

import numpy as np
import pytest
from PIL import Image

from patchseg.imaging.write import open_writer

NAMES = ["ground", "a class with a very long name", "thin line"]


@pytest.fixture
def scored(here):
    """Write two masks, with probabilities, and the truth: two squares of which one is a pixel off."""
    truth = np.zeros((20, 24), np.uint8)
    truth[2:8, 2:8], truth[12:18, 12:18] = 1, 2
    mask = np.roll(truth, 1, axis=1)
    for kind, pixels in (("masks", mask), ("truth", truth)):
        (here / kind).mkdir()
        for name in ("one", "two"):
            Image.fromarray(pixels).save(here / kind / f"{name}.png", dpi=(50800, 50800))
    shares = np.eye(3)[mask].astype(np.float16)
    for name in ("one", "two"):
        with open_writer(here / f"masks/probabilities/{name}.tif", shares.shape, np.float16) as file:
            file.write(shares)
    (here / "parameters.json").write_text(json.dumps({"data": {"classes": NAMES}}))
    return here


def test_sections_stand_only_where_they_were_asked_for(run, scored):
    plain = run("evaluate", "masks", "truth").out
    assert not any(word in plain for word in ("outlines", "objects", "ROC-AUC", "region"))
    told = run("evaluate", "masks", "truth", "--objects", "--overwrite").out
    before, averages = plain.split("\n\n", 1)
    assert told.startswith(before)
    assert told.endswith(averages)
    assert "objects" in told
    assert "outlines" not in told


def test_all_of_it_fits_into_80_columns(run, scored):
    asked = ("--boundary", "1", "--objects", "--certainty", "--region", "0,0,20,20")
    ended = run("evaluate", "masks", "truth", *asked)
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert max(map(len, lines)) <= 80
    cells = [line.split() for line in lines]
    assert ["thin", "line", "1.0000", "1", "0.5", "0.5", "0.25", "2/2"] in cells
    # 6 x 6 pixels a column off share 30 of 42; of two images.
    assert ["thin", "line", "2", "0", "0", "1.0000", "1.0000", "1.0000", "0.7143"] in cells
    assert "only inside the region: 800 pixels, 83.3 % of the images" in lines
    assert any(line.startswith("expected calibration error 0.0") for line in lines)


def test_json_is_one_document_with_all_of_it(run, scored):
    ended = run("evaluate", "masks", "truth", "--boundary", "1.5um", "--certainty", "--json")
    found = json.loads(ended.out)
    assert found["surface"]["tolerance"] == {"value": 1.5, "unit": "µm"}
    assert [item["name"] for item in found["certainty"]["classes"]] == NAMES


def test_a_unit_on_the_map_is_called_so(run, scored):
    ended = run("evaluate", "masks", "truth", "--boundary", "3map")
    assert ended.code == 3
    assert "masks/one.png: does not tell the size of its pixels in map units" in ended.error


@pytest.mark.parametrize("wrong", ["near", "-1", "2 miles", "1e9999"])
def test_what_is_no_distance_is_refused_by_its_flag(run, scored, wrong):
    ended = run("evaluate", "masks", "truth", f"--boundary={wrong}")
    assert ended.code == 2
    assert ended.error.startswith("--boundary should be a distance such as 2 (pixels)")


def test_missing_probabilities_say_how_to_get_them(run, scored):
    ended = run("evaluate", "masks", "truth", "--probabilities", "elsewhere")
    assert ended.code == 2
    assert ended.error.startswith("elsewhere: is no folder; expected the probabilities of the masks")
    assert not (scored / "masks/scores.json").exists()
