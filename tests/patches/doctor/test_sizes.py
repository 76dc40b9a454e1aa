"""Sizes that do not fit, with the likelier cause."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from patchseg.patches.doctor.sizes import likely


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        (lambda mask: mask.T, "transposed: rows and columns changed places"),
        (lambda mask: mask[::2, ::2], "resized to 50 %"),
        (lambda mask: np.kron(mask, np.ones((3, 3), np.uint8)), "resized to 300 %"),
        (lambda mask: mask[:-1], "off by one: cropped or padded by a program that rounds"),
        (lambda mask: np.pad(mask, 1), "off by one: cropped or padded by a program that rounds"),
        (lambda mask: mask[::2, ::2].T, "transposed and resized to 50 %"),
        (lambda mask: mask[:70], ""),
    ],
)
def test_a_mask_of_another_size_is_named_with_its_likely_cause(dataset, files, spoil, cause):
    read, save = files
    save(dataset.mask(3), spoil(read(dataset.mask(3))))
    found = dataset.only("size")
    assert (found.files, found.cause, found.severity) == ((dataset.mask(3),), cause, "error")


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def test_a_mask_drawn_on_what_exif_turns_names_exif(dataset, files):
    read, save = files
    save(dataset.image(3), read(dataset.image(3)), exif=turned(6))
    found = dataset.only("size")
    assert "once turned upright by its EXIF orientation" in found.found
    assert "without EXIF" in found.cure


def test_an_image_that_exif_turns_and_that_fits_either_way_is_a_doubt(dataset, files):
    read, save = files
    save(dataset.image(3), read(dataset.image(3))[::-1, ::-1], exif=turned(3))
    found = dataset.only("exif")
    assert (found.severity, found.files) == ("warning", (dataset.image(3),))
    save(dataset.mask(3), read(dataset.mask(3))[::-1, ::-1], exif=turned(3))
    assert dataset.found() == {}


def test_images_smaller_than_the_patch_are_named(dataset, files):
    read, save = files
    for folder in (dataset.images, dataset.masks):
        save(folder / "0006.png", read(folder / "0006.png")[:, :60])
    found = dataset.only("small", patch=64)
    assert found.files == (dataset.image(6),)
    assert "--patch 56 or less" in found.cure
    assert dataset.found(patch=56) == {}
    assert len(dataset.only("small", patch=64, scale=0.5).files) == 10


def test_a_patch_larger_than_every_image_is_an_error(dataset):
    assert dataset.only("split", patch=200).severity == "error"


@given(st.integers(40, 3000), st.integers(40, 3000), st.floats(0.1, 4))
def test_a_resized_mask_is_known_at_any_scale(height, width, scale):
    size = round(height * scale), round(width * scale)
    if min(size) >= 24 and abs(scale - 1) > 0.1:
        assert "resized to" in likely((height, width), size) or size == (width, height)
