import shutil

import numpy as np
import pytest
from PIL import Image

from patchseg.patches.store import PatchFile


@pytest.fixture
def more(folder):
    """A folder `more` of two images without masks, beside `images` and `masks`."""
    (folder / "more").mkdir()
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 32), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"more/{number}.png")
    return folder / "more"


def test_images_without_masks_are_prepared_and_checked(folder, more, run):
    shutil.copy(folder / "images/0001.png", more / "copy.png")
    ended = run("prepare", "images", "masks", "--unlabelled", "more", "--patch", 16, "-o", "p.h5")
    assert (ended.code, ended.out) == (0, "p.h5\n"), ended.err
    assert "1 of 3 unlabelled images left out: their pixels are those of labelled images\n" in ended.err
    assert " and 40 of 2 unlabelled images; p.h5 takes" in ended.err
    with PatchFile(folder / "p.h5") as file:
        assert file.counts["unlabelled"] == 40
    assert run("check", "images", "masks", "--unlabelled", "more", "--patch", 16).code == 0


def test_the_parameter_stands_in_the_file_too(folder, more, run, write_parameters):
    write_parameters(
        data={"images": "images", "masks": "masks"},
        prepare={"unlabelled": "more", "patch": 16, "output": "p.h5"},
    )
    assert run("prepare").code == 0
    with PatchFile(folder / "p.h5") as file:
        assert file.head.parameters["prepare.unlabelled"]["value"] == "more"


def test_an_image_that_cannot_be_read_is_told_with_the_cure_and_where_to_look(folder, more, run):
    (more / "0.png").write_bytes(b"")
    ended = run("prepare", "images", "masks", "--unlabelled", "more", "-o", "p.h5")
    assert ended.code == 3
    assert ended.error.splitlines()[0].startswith("more/0.png: is empty (0 bytes)")
    assert ended.error.splitlines()[1].endswith("patchseg check images masks --unlabelled more")
    ended = run("check", "images", "masks", "--unlabelled", "more", "--patch", 16)
    assert ended.code == 3
    assert "more/0.png: is empty (0 bytes)" in ended.out + ended.err


def test_strays_are_told_where_images_without_masks_can_go(folder, run):
    for number in (1, 2):
        (folder / f"masks/000{number}.png").unlink()
    ended = run("prepare", "images", "masks", "-o", "p.h5")
    assert ended.code == 3
    lines = ended.error.splitlines()
    assert lines[0] == (
        "images/0001.png: has no mask in masks; expected 0001.*, or give images without masks in a folder of their own as "
        "--unlabelled"
    )
    assert lines[1].strip() == "images/0002.png: has no mask in masks; expected 0002.*"
    ended = run("evaluate", "masks", "images")  # which knows nothing of them
    assert "--unlabelled" not in ended.err


def test_the_flag_that_is_spelled_alike_is_told_apart(folder, run):
    ended = run("prepare", "images", "masks", "--unlabelled", "background", "-o", "p.h5")
    assert ended.code == 2
    assert ended.error == (
        "--unlabelled background: expected a folder of images without masks; what annotations leave blank is --unlabeled "
        "background"
    )
