"""Images: constant, saturated, of other kinds, ranges and pixel sizes."""

import numpy as np
import pytest


@pytest.fixture
def remake(dataset, files):
    """Return a function that puts other pixels into the images of some numbers, of all when none are named."""
    read, save = files

    def remake(make, *numbers, suffix=".png", **options):
        for number in numbers or dataset.numbers:
            file = dataset.image(number)
            save(file.with_suffix(suffix), make(read(file)), **options)

    return remake


def test_a_constant_image_is_named(dataset, remake):
    remake(lambda image: np.full_like(image, 7), 2)
    found = dataset.only("constant")
    assert (found.severity, found.files) == ("warning", (dataset.image(2),))
    assert found.found == "has the value 7 everywhere"


def test_a_constant_channel_is_named_with_its_number(dataset, remake):
    remake(lambda image: np.stack([image, image * 0, image], axis=2))
    assert dataset.only("constant").found == "has the value 0 everywhere in channel 1"


def test_a_saturated_image_is_named(dataset, remake):
    remake(lambda image: np.minimum(image.astype(int) * 1.4, 255).astype(np.uint8), 2)
    found = dataset.only("saturated")
    assert found.files == (dataset.image(2),)
    assert "at 255" in found.found


def test_white_that_is_in_every_image_is_no_fault(dataset, remake):
    remake(lambda image: np.where(image > 180, 255, image).astype(np.uint8))
    assert dataset.found() == {}


@pytest.mark.parametrize(
    "make",
    [lambda image: np.stack([image, image, image // 2], axis=2), lambda image: image.astype(np.uint16)],
)
def test_channels_and_dtypes_that_differ_are_an_error(dataset, remake, make):
    remake(make, 3)
    found = dataset.only("mixed")
    assert (found.severity, found.files) == ("error", (dataset.image(3),))


def test_gray_that_is_stored_as_rgb_here_and_there_is_no_fault(dataset, remake):
    remake(lambda image: np.repeat(image[:, :, None], 3, axis=2), 3)
    assert dataset.found() == {}


def test_ranges_that_differ_are_named(dataset, remake):
    remake(lambda image: image.astype(np.uint16) * 200, suffix=".tif")
    assert dataset.found() == {}
    for number in (0, 1):
        file = dataset.images / f"000{number}.tif"
        from tifffile import imread, imwrite

        imwrite(file, imread(file) // 200)
    found = dataset.only("range")
    assert [file.stem for file in found.files] == ["0000", "0001"]
    assert "other bits or another scale" in found.cause


def test_real_numbers_cut_to_0_and_1_are_named(dataset, remake):
    remake(lambda image: (image > 200).astype(np.uint8), 5)
    assert dataset.only("range").cause == "real numbers cut to whole ones"


def test_pixel_sizes_that_differ_are_named(dataset, remake):
    remake(np.asarray, suffix=".tif", resolution=(20000, 20000), resolutionunit=3)
    assert dataset.found() == {}
    from tifffile import imread, imwrite

    file = dataset.images / "0004.tif"
    imwrite(file, imread(file), resolution=(10000, 10000), resolutionunit=3)
    found = dataset.only("pixel-size")
    assert found.files == (file,)
    assert "1 x 1 µm, the median image of 0.5 x 0.5 µm" in found.found


def test_dots_an_inch_that_programs_write_by_themselves_say_nothing(dataset, remake):
    remake(np.asarray, 0, 1, 2, dpi=(72, 72))
    remake(np.asarray, 3, 4, dpi=(300, 300))
    assert dataset.found() == {}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_are_an_error(dataset, remake, files, bad):
    remake(lambda image: image.astype(np.float32), suffix=".tif")
    assert dataset.found() == {}
    from tifffile import imread, imwrite

    file = dataset.images / "0004.tif"
    pixels = imread(file)
    pixels[5, 6] = bad
    imwrite(file, pixels)
    found = dataset.only("finite")
    assert (found.severity, found.files) == ("error", (file,))
    assert "row 5, column 6" in found.found
