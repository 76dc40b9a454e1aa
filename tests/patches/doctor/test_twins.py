"""The same image or mask twice, above all on both sides of the split."""

import io
import shutil

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def sides(dataset):
    """Return two numbers on the training side, and one on the validation side."""
    samples = dataset.check().samples
    train = [number for number in dataset.numbers if samples[number].side == "train"]
    val = [number for number in dataset.numbers if samples[number].side == "val"]
    return train[0], train[1], val[0]


@pytest.fixture
def copy(dataset, files):
    """Return a function that puts a changed image, and its mask, in the place of another."""
    read, save = files

    def copy(source, target, change=np.asarray, mask_too=np.asarray):
        save(dataset.image(target), change(read(dataset.image(source))))
        save(dataset.mask(target), mask_too(read(dataset.mask(source))))

    return copy


def recompressed(image):
    buffer = io.BytesIO()
    Image.fromarray(np.clip(image * 0.8 + 10, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=85)
    return np.array(Image.open(buffer))


def half(image):
    return np.rint(
        (image[::2, ::2] * 1.0 + image[1::2, ::2] + image[::2, 1::2] + image[1::2, 1::2]) / 4
    ).astype(np.uint8)


def test_the_same_pixels_on_both_sides_are_an_error(dataset, sides, copy):
    copy(sides[0], sides[2])
    found = dataset.only("twins")
    assert found.severity == "error"
    assert "holds the same pixels" in found.found
    assert "on the other side of the split" in found.found
    assert "--group" in found.cure


def test_the_same_pixels_on_one_side_are_a_doubt(dataset, sides, copy):
    copy(sides[0], sides[1])
    assert dataset.only("twins").severity == "warning"


def test_the_same_image_with_another_mask_says_so(dataset, sides):
    shutil.copy(dataset.image(sides[0]), dataset.image(sides[1]))
    assert "with another mask" in dataset.found()["twins"].found


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ((recompressed, np.asarray), "recompressed, resized or brightened"),
        ((half, lambda mask: mask[::2, ::2]), "recompressed, resized or brightened"),
        ((np.fliplr, np.fliplr), "flipped left-right"),
        ((lambda image: image[::-1, ::-1], lambda mask: mask[::-1, ::-1]), "turned by 180 degrees"),
        ((np.transpose, np.transpose), "transposed"),
        ((np.rot90, np.rot90), "turned by 90 degrees"),
    ],
)
def test_near_twins_on_both_sides_are_an_error(dataset, sides, copy, change, told):
    copy(sides[0], sides[2], *change)
    found = dataset.only("twins")
    assert found.severity == "error"
    assert told in found.found


def test_a_mask_that_was_copied_is_named(dataset):
    shutil.copy(dataset.mask(2), dataset.mask(6))
    found = dataset.found()["copied"]
    assert (found.severity, found.files) == ("warning", (dataset.mask(6),))
    assert str(dataset.mask(2)) in found.found


def test_empty_masks_are_no_copies(dataset, files):
    for number in (1, 2):
        files[1](dataset.mask(number), np.zeros((128, 96), np.uint8))
    assert list(dataset.found()) == ["empty"]


def test_images_without_content_are_no_near_twins(dataset, files):
    for number in (1, 2):  # twice the value leaves twice the traces of rounding
        files[1](dataset.image(number), np.full((128, 96), 51 * number, np.uint8))
    assert list(dataset.found()) == ["constant"]
