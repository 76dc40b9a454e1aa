import json

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from patchseg.errors import UsageError
from patchseg.evaluation.evaluate import evaluate
from patchseg.parameters import DataParameters, EvaluateParameters

DATA = DataParameters.model_validate({"classes": ["ground", "line"]})


@pytest.fixture
def write(tmp_path):
    """Write images of 20 x 28 and their masks, and return both folders and the pixels."""

    def write(images=1):
        generator = np.random.default_rng(0)
        truth = generator.integers(0, 2, (images, 20, 28), np.uint8)
        masks = np.where(generator.random(truth.shape) < 0.2, 1 - truth, truth).astype(np.uint8)
        for folder, pixels in (("truth", truth), ("masks", masks)):
            (tmp_path / folder).mkdir()
            for number, one in enumerate(pixels):
                Image.fromarray(one).save(tmp_path / folder / f"{number}.png")
        return tmp_path / "masks", tmp_path / "truth", masks, truth

    return write


def statistics(masks, truth, **settings):
    path = evaluate(masks, truth, data=DATA, parameters=EvaluateParameters(**settings))
    document = json.loads(path.read_text(encoding="utf-8"))
    return document["statistics"], document


def test_blocks_of_one_image_are_units_of_pooled_scores(write):
    *folders, masks, truth = write()
    found, document = statistics(*folders, blocks=8)
    right = (masks == truth)[0]
    # 3 x 4 blocks of 8 x 8 pixels, those at the border of 4 rows or 4 columns.
    blocks = [right[top : top + 8, left : left + 8] for top in range(0, 20, 8) for left in range(0, 28, 8)]
    assert (found["unit"], found["units"]) == ("block", 12)
    without = [(right.sum() - block.sum()) / (right.size - block.size) for block in blocks]
    half = stats.t.ppf(0.975, 11) * (11 / 12 * np.square(without - np.mean(without)).sum()) ** 0.5
    accuracy = found["pooled"]["pixel_accuracy"]
    assert accuracy["value"] == document["pixel_accuracy"] == right.mean()
    assert (accuracy["low"], accuracy["high"]) == pytest.approx((right.mean() - half, right.mean() + half))
    assert found["note"] == (
        "95 % intervals over 12 blocks of 1 image; approximate: fewer than 30; they tell how scores vary within, other images "
        "may differ more"
    )
    assert found["images"]["pixel_accuracy"]["low"] is None


def test_blocks_of_three_images_leave_the_mean_over_images_to_the_images(write):
    *folders, _, _ = write(3)
    found, _ = statistics(*folders, blocks=10)
    assert found["units"] == 3 * 2 * 3
    assert found["images"]["mean_iou"]["units"] == 3
    assert found["images"]["mean_iou"]["low"] is not None


def test_an_image_that_is_one_block_has_no_interval(write):
    *folders, _, _ = write()
    found, _ = statistics(*folders, blocks=28)
    assert found["units"] == 1
    assert found["note"].startswith("no intervals: one image is all there is")


def test_blocks_of_many_images_are_refused(write):
    *folders, _, _ = write(4)
    with pytest.raises(UsageError) as caught:
        statistics(*folders, blocks=8)
    assert str(caught.value) == (
        "evaluate.blocks: is for one to 3 images, here are 4, which are the units themselves; leave it out"
    )
    assert not (folders[0] / "scores.json").exists()


def test_blocks_and_a_region_are_refused_together(write):
    *folders, _, _ = write()
    with pytest.raises(
        UsageError, match=r"^evaluate.blocks: counts whole images, evaluate.region parts of them; leave out"
    ):
        statistics(*folders, blocks=8, region="0,0,8,8")
