"""Masks of which scribbles, points or a part are labelled, and all else is 255."""

import numpy as np
import pytest
from PIL import Image

from patchseg.patches.sampling import sample_boxes
from patchseg.patches.split import random
from patchseg.progress import Progress


class Lines(Progress):
    """Keeps what is said."""

    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


def scribbled():
    """Return a mask of 200 x 240 with a scribble of class 0, one of class 1, and a point of class 2."""
    mask = np.full((200, 240), 255, np.uint8)
    mask[20, 30:70] = 0
    mask[150:180, 200] = 1
    mask[100, 120] = 2
    return mask


@pytest.fixture
def sparse(tmp_path, write):
    """Two images with scribbles; a folder for `run`."""
    _, masks = write(tmp_path, dict.fromkeys("ab", (200, 240)))
    for name in "ab":
        Image.fromarray(scribbled()).save(masks / f"{name}.png")
    return tmp_path


@pytest.mark.parametrize("margin", [0, 20])
def test_every_patch_of_scribbles_and_a_point_holds_a_labelled_pixel(sparse, run, everything, margin):
    made = everything(run(sparse, per_image=60, margin=margin))
    middle = slice(margin, margin + 16)
    for side in ("train", "val"):
        inner = made[f"{side}/masks"][:, middle, middle]
        assert (inner != 255).any(axis=(1, 2)).all()
    # Of 60 patches 20 are centred on class 1 or 2, evenly; each has four flips.
    for value in (1, 2):
        assert (made["train/masks"][:, middle, middle] == value).any(axis=(1, 2)).sum() >= 4


def test_a_class_of_a_few_points_is_drawn_as_often_as_any_other():
    mask = scribbled()
    mask[5, 5] = mask[190, 230] = 2
    boxes = sample_boxes(mask, 16, 2000, foreground=0.5, random=random(4))
    centres = [int(mask[box.top + 8, box.left + 8]) for box in boxes[1000:]]
    # The points in the corners are moved off the centre.
    assert abs(centres.count(1) - 500) < 64  # 4 standard deviations of 16
    held = [(mask[box.slices] == 2).any() for box in boxes[1000:]]
    assert abs(sum(held) - 500) < 64


def test_patches_that_are_not_centred_fall_evenly_on_whatever_is_labelled():
    mask = np.full((30, 30), 255, np.uint8)
    mask[:, 20:] = 0
    boxes = sample_boxes(mask, 8, 4000, foreground=0, random=random(6))
    lefts = np.bincount([box.left for box in boxes], minlength=23)
    assert lefts[:13].sum() == 0  # they would end before column 20
    assert np.abs(lefts[13:] - 400).max() < 80  # 4 standard deviations of 19


def test_it_is_said_how_little_is_labelled(sparse, run):
    told = Lines()
    run(sparse, progress=told)
    assert (
        "  0.15 % of the masks' pixels are labelled: patches lie where some are, the rest is ignored"
        in told.lines
    )  # 71 of 48000
    for name, rows in (("a", 200), ("b", 1)):  # 201 of 400 rows
        mask = scribbled()
        mask[:rows][mask[:rows] == 255] = 0
        Image.fromarray(mask).save(sparse / f"masks/{name}.png")
    told = Lines()
    run(sparse, progress=told, overwrite=True)
    assert not any("labelled" in line for line in told.lines)
