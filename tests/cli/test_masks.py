import json

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def numbered(here):
    """Write four images, and masks of 20 x 20 whose objects are numbered from 7 on."""
    for kind in ("images", "masks"):
        (here / kind / "day").mkdir(parents=True)
        for number in range(4):
            pixels = np.zeros((20, 20), np.uint8)
            pixels[5:, :10], pixels[:, 15:] = 7 + number, 254
            Image.fromarray(pixels).save(here / kind / "day" / f"{number}.png")
    return here


def test_the_flags_of_masks_and_splits_reach_prepare(run, numbered):
    refused = run("prepare", "images", "masks", "--patch", 16)
    assert refused.code == 3
    assert "without a gap" in refused.error
    ran = run("prepare", "images", "masks", "--patch", 16, "--binary", "--ignore", 254, "--fold", "4/all")
    assert (ran.code, ran.out) == (0, "patches.h5\n")
    assert "  4 values but 0 are all class 1, foreground" in ran.err.splitlines()
    assert "  400 pixels ignored (254)" in ran.err.splitlines()
    assert "3 images to train on, 1 to validate (fold 4 of all)" in ran.err.splitlines()


def test_masks_go_back_to_the_users_values_and_are_scored(run, folder):
    words = ("infer", "images", "-m", "best.pt", "--threads", 1, "--original-values", "-o", "out")
    assert run(*words).code == 0
    ran = run("evaluate", "out", "masks", "--json")
    assert ran.code == 0
    assert json.loads(ran.out)["masks"]["values"] == [0, 1, 2]
