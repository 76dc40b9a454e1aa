import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from PIL import Image

from patchseg.errors import DataError, UsageError
from patchseg.evaluation.evaluate import evaluate
from patchseg.evaluation.report import report
from patchseg.imaging import Box, open_raw
from patchseg.inference.infer import infer
from patchseg.labels.classes import Classes, MaskReading
from patchseg.parameters import DataParameters, EvaluateParameters, InferParameters


@pytest.fixture
def written(tmp_path, make):
    """Infer noise with two classes of some values, as indices and as the user's values; return both and the folder."""

    def written(values, ignore=None, **parameters):
        colors = ("#000000", "#ff0000")
        classes = Classes(("ground", "car"), values, colors, MaskReading(ignore=ignore))
        replace(make(channels=3), classes=classes).save(tmp_path / "best.pt")
        (tmp_path / "in" / "deep").mkdir(parents=True)
        pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 4), dtype=np.uint8)
        pixels[:, :, 3] = 255
        pixels[:5, :, 3] = 0
        Image.fromarray(pixels).save(tmp_path / "in" / "deep" / "a.png")
        found = []
        for name, original in (("indices", False), ("values", True)):
            how = InferParameters(
                output=str(tmp_path / name), original_values=original, threads=1, **parameters
            )
            infer([tmp_path / "in"], checkpoint=tmp_path / "best.pt", parameters=how)
            (file,) = (tmp_path / name / "deep").iterdir()
            with open_raw(file) as mask:
                found.append(mask.read(Box(0, 0, 30, 40)))
        return (*found, tmp_path)

    return written


@pytest.mark.parametrize(
    ("values", "ignore", "expected", "suffix"),
    [
        ((0, 255), None, [0, 255, 1], ".png"),
        ((7, 3), 0, [7, 3, 0], ".png"),
        ((0, 1000), 65535, [0, 1000, 65535], ".png"),
        ((0, 1), -1, [0, 1, -1], ".tif"),
        ((None, None), "#ffffff", [(0, 0, 0), (255, 0, 0), (255, 255, 255)], ".png"),
    ],
)
def test_masks_hold_the_users_own_values(written, values, ignore, expected, suffix):
    indices, own, folder = written(values, ignore)
    assert set(np.unique(indices)) == {0, 1, 255}
    table = dict(zip((0, 1, 255), expected, strict=True))
    assert (
        own == np.array([[table[i] for i in row] for row in indices[:, :, 0].tolist()]).reshape(own.shape)
    ).all()
    assert (folder / "values" / "deep" / f"a{suffix}").exists()
    # And they are scored as the indices are.
    truth = folder / "truth" / "deep"
    truth.mkdir(parents=True)
    labelled = np.where(own == 1, 0, own) if values == (0, 255) else own  # of these, none can say ignore
    tifffile.imwrite(truth / "a.tif", labelled, photometric="rgb" if own.shape[2] == 3 else "minisblack")
    scores = [
        json.loads(evaluate(folder / name, folder / "truth").read_text()) for name in ("indices", "values")
    ]
    assert scores[0]["confusion"] == scores[1]["confusion"]
    assert scores[0]["pixel_accuracy"] == 1
    assert sum(map(sum, scores[0]["confusion"])) == 25 * 40
    assert scores[0]["images"][0]["image"] == "../in/deep/a.png"
    pages = [
        report(folder / name / "scores.json", output=folder / f"{name}.html").read_text()
        for name in ("indices", "values")
    ]
    assert len(set(pages)) == 2
    assert all("no errors" in page for page in pages)


def test_values_that_png_does_not_hold_need_tiff(written):
    with pytest.raises(UsageError, match="--format png holds no values below 0 or above 65535"):
        written((0, -5), format="png")


def test_palettes_follow_the_values(written):
    _, own, folder = written((7, 3))
    with open_raw(folder / "values" / "deep" / "a.png") as mask:
        assert mask.palette[[7, 3, 255]].tolist() == [[0, 0, 0], [255, 0, 0], [128, 128, 128]]
    assert set(np.unique(own)) == {3, 7, 255}


def test_a_record_that_does_not_say_how_masks_are_read_is_refused(written):
    _, _, folder = written((0, 1))
    (folder / "truth").mkdir()
    path = folder / "indices" / "parameters.effective.json"
    content = json.loads(path.read_text())
    content["data.reading"] = 5
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="is no record of `infer`"):
        evaluate(folder / "indices", folder / "truth")


def predicted(folder, values=(0, 1), ignore=None, names=("ground", "car")):
    """Write a mask as infer leaves it: 4 pixels, the last two of the second class."""
    folder.mkdir()
    Image.fromarray(np.array([[0, 0, 1, 1]], np.uint8)).save(folder / "a.png")
    classes = Classes(names, values, ("#000000", "#ff0000"), MaskReading(ignore=ignore))
    content = {
        "data.classes": {"value": classes.to_json()},
        "data.reading": {"value": classes.reading.to_json()},
        "infer.images": {"value": ["nowhere"]},
    }
    (folder / "parameters.effective.json").write_text(json.dumps(content))
    return folder


def confusion(masks, truth, **how):
    data = DataParameters(**how.pop("data", {}))
    return json.loads(evaluate(masks, truth, data=data, overwrite=True, **how).read_text())["confusion"]


def test_truth_is_read_as_the_training_masks_were_unless_it_is_said_otherwise(tmp_path):
    masks, truth = predicted(tmp_path / "masks", (0, 255), 9), tmp_path / "truth"
    truth.mkdir()
    Image.fromarray(np.array([[0, 9, 255, 0]], np.uint8)).save(truth / "a.png")
    assert confusion(masks, truth) == [[1, 1], [0, 1]]
    assert confusion(masks, truth, data={"binary": True}) == [[1, 1], [0, 1]]
    assert confusion(masks, truth, data={"binary": True, "ignore": None}) == [[1, 1], [1, 1]]
    with pytest.raises(DataError, match="value 9 is no class"):
        confusion(masks, truth, data={"ignore": 7})
    with pytest.raises(UsageError, match=r"data\.ignore: 255 is a class"):
        confusion(masks, truth, data={"ignore": 255})
    Image.fromarray(np.array([[3, 9, 250, 0]], np.uint8)).save(truth / "a.png")
    assert confusion(masks, truth, data={"mask_tolerance": 5}) == [[1, 1], [0, 1]]


@pytest.mark.parametrize(
    ("values", "suffix"), [((0, 255), ".png"), ((0, 1000), ".tif"), ((None, None), ".png")]
)
def test_the_truth_may_be_a_file_an_object(tmp_path, values, suffix):
    masks, truth = predicted(tmp_path / "masks", values), tmp_path / "objects"
    truth.mkdir()
    for name, pixels in {"a_car_0": [[0, 1, 0, 0]], "a_car_1": [[0, 0, 1, 0]]}.items():
        Image.fromarray(np.array(pixels, np.uint8)).save(truth / f"{name}.png")
    how = {"data": {"mask_pattern": r"(?P<image>.)_(?P<class>[a-z]+)_(?P<object>\d)"}}
    assert confusion(masks, truth, **how) == [[1, 1], [1, 1]]
    assert (masks / "truth" / f"a{suffix}").exists()
    assert "25.00 % missed" in report(masks / "scores.json", output=tmp_path / "r.html").read_text()
    # And once more, though what was painted now lies among the masks.
    assert confusion(masks, truth, **how) == [[1, 1], [1, 1]]
    other = tmp_path / "other" / "truth"
    other.mkdir(parents=True)
    (other / f"a{suffix}").write_text("precious")
    with pytest.raises(UsageError, match=r"truth/a\....: exists already; .*--overwrite"):
        evaluate(
            masks,
            truth,
            data=DataParameters(**how["data"]),
            parameters=EvaluateParameters(output=str(other.parent)),
        )
    assert (other / f"a{suffix}").read_text() == "precious"
