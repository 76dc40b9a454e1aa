"""Images without masks beside a data set, given by --unlabelled."""

import shutil

import numpy as np
import pytest
import tifffile


@pytest.fixture
def more(dataset, files, tmp_path):
    """A folder of two images that the data set does not hold."""
    folder = tmp_path / "more"
    folder.mkdir()
    draw = np.random.default_rng(8)
    for name in ("s1_u", "s9_u"):
        files[1](folder / f"{name}.png", draw.integers(0, 256, (128, 96), dtype=np.uint8))
    return folder


def sides(dataset):
    """Return a number of an image on each side."""
    found = {sample.side: int(sample.pair.name) for sample in dataset.check().samples}
    return found["train"], found["val"]


def test_good_ones_are_no_finding_and_neither_are_copies_which_prepare_leaves_out(dataset, more):
    for number in sides(dataset):
        shutil.copy(dataset.image(number), more / f"{number}.png")
    assert dataset.found(unlabelled=str(more)) == {}


def test_what_shows_a_validation_image_is_an_error(dataset, more, files):
    read, save = files
    train, val = sides(dataset)
    save(more / "u.png", read(dataset.image(val))[:, ::-1])
    found = dataset.only("twins", unlabelled=str(more))
    assert (found.severity, found.files) == ("error", (more / "u.png",))
    assert (
        found.found
        == f"shows the same as {dataset.image(val)}, flipped left-right, on the other side of the split"
    )
    save(more / "u.png", read(dataset.image(train))[:, ::-1])
    found = dataset.only("twins", unlabelled=str(more))
    assert found.severity == "warning"


def test_members_of_a_group_that_is_validated_are_left_out_here_too(dataset, more, files):
    read, save = files
    _, val = sides(dataset)
    (more / "s1_u.png").rename(more / "u1.png")
    (more / "s9_u.png").rename(more / "u2.png")
    name = dataset.image(val).stem
    save(more / f"{name}_b.png", read(dataset.image(val))[:, ::-1])
    assert dataset.found(unlabelled=str(more), group=r"^u|^\d+", fold=f"{val + 1}/all") == {}


def test_what_prepare_would_refuse_is_found(dataset, more):
    (more / "s1_u.png").write_bytes((more / "s1_u.png").read_bytes()[:500])
    tifffile.imwrite(more / "deep.tif", np.full((40, 40), 200, np.uint16))
    tifffile.imwrite(more / "nan.tif", np.full((40, 40), np.nan, np.float32))
    found = dataset.found(unlabelled=str(more))
    assert {kind: finding.files for kind, finding in found.items()} == {
        "unreadable": (more / "s1_u.png",),
        "mixed": (more / "deep.tif",),
        "finite": (more / "nan.tif",),
    }
    assert found["mixed"].found == f"has 1 channels of uint16, {dataset.image(0)} has 1 of uint8"


def test_gray_stored_as_rgb_is_gray(dataset, more, files):
    read, save = files
    save(more / "s9_u.png", np.stack([read(more / "s9_u.png")] * 3, axis=2))
    assert dataset.found(unlabelled=str(more)) == {}
    colour = read(more / "s9_u.png").copy()
    colour[5, 7, 1] ^= 1
    save(more / "s9_u.png", colour)
    assert "is in colour, first at row 5, column 7" in dataset.only("unreadable", unlabelled=str(more)).found


def test_other_ranges_than_those_of_the_labelled_images_are_doubted(dataset, more, files):
    read, save = files
    for number in dataset.numbers:
        save(dataset.image(number).with_suffix(".tif"), read(dataset.image(number)).astype(np.uint16) * 100)
    for name in ("s1_u", "s9_u"):
        save(more / f"{name}.tif", read(more / f"{name}.png").astype(np.uint16))
    found = dataset.only("range", unlabelled=str(more))
    assert (found.severity, len(found.files)) == ("warning", 2)
    assert found.found.startswith("reaches up to 255, the median image up to 25")
