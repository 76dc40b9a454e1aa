"""Real annotations, from the raw file to a scored model: VIA's JSON of tiny insects on leaves."""

import json
from pathlib import Path

import numpy as np
import pytest

import patchseg
from patchseg.imaging import Box, open_raw
from patchseg.labels.annotations import read_annotations

KUDZU = Path(patchseg.__file__).parents[1] / "../shared/data/kudzu_via"
pytestmark = pytest.mark.skipif(not KUDZU.exists(), reason="../shared/data/kudzu_via is absent")
TRAIN, VAL = (KUDZU / "annotations" / side / "via_region_data.json" for side in ("train", "val"))


def area(ring):
    """Return the area of a polygon (n, 2) by Gauss's formula."""
    x, y = ring.T
    return abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def test_every_region_of_the_files_is_read():
    (train,), (val,) = read_annotations(TRAIN), read_annotations(VAL)
    counts = [sum(len(drawing.shapes) for drawing in file.drawings) for file in (train, val)]
    assert [len(train.drawings), len(val.drawings)] == [24, 16]
    assert counts == [520, 349]
    # The training file has two attributes that always agree, that of the validation has none.
    assert (train.names, val.names) == (("kudzu",), ())


def test_a_polygon_has_as_many_pixels_as_its_area(here, run):
    ended = run("import", TRAIN, "--images", KUDZU / "images/train", "-o", "masks", "--json")
    assert ended.code == 0
    assert [item["name"] for item in json.loads(ended.out)["classes"]] == ["background", "kudzu"]
    alone = [drawing for drawing in read_annotations(TRAIN)[0].drawings if len(drawing.shapes) == 1]
    assert len(alone) == 7
    for drawing in alone:
        with open_raw(here / "masks" / f"{Path(drawing.image).stem}.png") as mask:
            pixels = int((mask.read(Box(0, 0, *mask.shape[:2])) == 1).sum())
        assert pixels == pytest.approx(area(drawing.shapes[0].parts[0].rings[0]), rel=0.02)


@pytest.mark.slow
def test_raw_annotations_become_a_trained_and_scored_model(here, run):
    images, truth = KUDZU / "images", VAL
    prepared = run(
        "prepare",
        images / "train",
        TRAIN,
        "--val-images",
        images / "val",
        "--val-masks",
        truth,
        "--per-image",
        5,
    )
    assert prepared.code == 0, prepared.err
    assert "classes (of the annotations): 0 background, 1 kudzu" in prepared.err
    assert "its shapes name no class, so all are kudzu" in prepared.err
    trained = run("train", "--steps", 20, "--epoch-steps", 20, "--threads", 1, "--width", 4, "--levels", 3)
    assert trained.code == 0, trained.err
    assert run("infer", images / "val", "-m", "checkpoints/patches/best.pt", "--threads", 1).code == 0
    scored = run("evaluate", "masks", truth, "--json")
    assert scored.code == 0, scored.err
    scores = json.loads(scored.out)
    assert [item["name"] for item in scores["classes"]] == ["background", "kudzu"]
    # A few insects sit on others, so their pixels are a little fewer than their areas together.
    areas = [area(shape.parts[0].rings[0]) for d in read_annotations(VAL)[0].drawings for shape in d.shapes]
    assert 0.97 * sum(areas) < np.sum(scores["confusion"][1]) < sum(areas)
    assert run("report", "masks/scores.json").code == 0
