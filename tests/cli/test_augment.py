import numpy as np
import pytest
import torch
from PIL import Image

import patchseg

SIZE = (6 * 2 * 18 + 2, 9 * 18 + 2)  # 6 patches of 16, and as many masks, by 9 times, with gaps of 2


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A patches file of 16 x 16."""
    folder = tmp_path_factory.mktemp("stored")
    images = patchseg.SynthParameters(train=3, test=0, height=40, width=32)
    data = patchseg.synth(folder / "data", parameters=images)
    settings = patchseg.PrepareParameters(output=str(folder / "patches.h5"), patch=16, per_image=2)
    return patchseg.prepare(data / "train/images", data / "train/masks", parameters=settings)


@pytest.fixture(autouse=True)
def one_thread_again():
    """The command takes all cores; what comes after it does not expect that."""
    yield
    torch.set_num_threads(1)


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_a_picture_is_written_and_told(here, run, stored):
    ended = run("augment", stored, "--strength", "strong", "-o", "new/sheet.png")
    assert ended.code == 0
    assert ended.out == "new/sheet.png\n"
    assert ended.err.splitlines() == [
        "6 patches, a row each: as stored, then 8 times at strength strong; masks below, ignored pixels gray"
    ]
    assert pixels("new/sheet.png").shape == (*SIZE, 3)


def test_patches_and_strength_are_found_in_the_parameters(here, run, stored, write_parameters):
    write_parameters(prepare={"output": str(stored)}, augment={"strength": "light"})
    ended = run("augment")
    assert ended.code == 0
    assert ended.out == "augment.png\n"
    assert "strength light" in ended.err
    assert pixels("augment.png").shape == (*SIZE, 3)


def test_switches_and_seed_are_those_of_the_function(here, run, stored):
    words = ["--strength", "none", "--noise", 1, "--flips", "up-down", "--degrees", 15, "--no-turns"]
    assert run("augment", stored, "-o", "a.png", "--seed", 5, *words).code == 0
    switches = patchseg.AugmentParameters(strength="none", noise=1, flips="up-down", degrees=15, turns=False)
    patchseg.augment(stored, parameters=switches, output="b.png", seed=5)
    patchseg.augment(stored, output="c.png", seed=5)
    assert (pixels("a.png") == pixels("b.png")).all()
    assert (pixels("a.png") != pixels("c.png")).any()


def test_turns_are_switched_on_and_off(here, run, stored):
    assert run("augment", stored, "-o", "on.png", "--turns").code == 0
    assert run("augment", stored, "-o", "off.png", "--strength", "light", "--no-turns").code == 0
    for name, switches in [
        ("on.png", patchseg.AugmentParameters(turns=True)),
        ("off.png", patchseg.AugmentParameters(strength="light", turns=False)),
    ]:
        patchseg.augment(stored, parameters=switches, output=f"expected_{name}")
        assert (pixels(name) == pixels(f"expected_{name}")).all()


def test_an_existing_picture_needs_overwrite(here, run, stored):
    (here / "a.png").write_bytes(b"mine")
    ended = run("augment", stored, "-o", "a.png")
    assert ended.code == 2
    assert ended.error == "a.png: exists already; choose another output or give --overwrite"
    assert (here / "a.png").read_bytes() == b"mine"
    assert run("augment", stored, "-o", "a.png", "--overwrite").code == 0
    assert pixels("a.png").shape == (*SIZE, 3)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["none.h5"], "none.h5: is no file; make it with `patchseg prepare`"),
        ([], "patches.h5: is no file; make it with `patchseg prepare`"),
        (["none.h5", "-o", "a.jpg"], "a.jpg: is no name of a PNG; give one that ends in .png"),
        (["none.h5", "--noise", 2], "--noise should be less than or equal to 1 (got 2.0)"),
        (["none.h5", "--degrees", 181], "--degrees should be less than or equal to 180 (got 181.0)"),
    ],
)
def test_what_cannot_be_is_one_sentence(here, run, words, told):
    ended = run("augment", *words)
    assert ended.code == 2
    assert ended.error.startswith(told)
    assert not list(here.iterdir())


@pytest.mark.parametrize(
    "words", [["--seed", -1], ["--seed", "one"], ["--strength", "wild"], ["--flips", "some"]]
)
def test_flags_that_are_no_values_are_usage_errors(here, run, words):
    ended = run("augment", "none.h5", *words)
    assert ended.code == 2
    assert f"Invalid value for '{words[0]}'" in ended.err


def test_a_file_that_holds_no_patches_is_a_bad_file(here, run):
    (here / "a.h5").write_bytes(b"text")
    ended = run("augment", "a.h5")
    assert ended.code == 3
    assert ended.error.startswith("a.h5: is no HDF5 file, or a damaged one")
    assert not (here / "augment.png").exists()
