"""Values of masks that are no classes: each fault is planted and must be named with its likely cause."""

import io

import numpy as np
import pytest
from PIL import Image

from patchseg.parameters import ClassParameters, DataParameters


@pytest.fixture
def remake(dataset, files):
    """Return a function that puts other pixels into the masks of some numbers, of all when none are named."""
    read, save = files

    def remake(make, *numbers, suffix=".png"):
        for number in numbers or dataset.numbers:
            file = dataset.mask(number)
            save(file.with_suffix(suffix), make(read(file)))

    return remake


def classes(*given):
    return DataParameters(classes=[ClassParameters(**one) for one in given])


def two_valued(mask, top=255):
    return ((mask > 0) * top).astype(np.uint8)


def after_jpeg(pixels, quality=75):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.array(Image.open(buffer))


def resized(pixels, by=0.5):
    """Return pixels after a journey through another size, with interpolation."""
    picture = Image.fromarray(pixels)
    size = int(picture.width * by), int(picture.height * by)
    return np.array(
        picture.resize(size, Image.Resampling.BILINEAR).resize(picture.size, Image.Resampling.BILINEAR)
    )


def numbered(count):
    """Return a mask of so many squares, each with a number of its own."""
    mask = np.zeros((128, 96), np.uint8)
    for number in range(count):
        row, column = divmod(number, 8)
        mask[row * 12 + 6 : row * 12 + 14, column * 11 + 6 : column * 11 + 14] = number + 1
    return mask


def test_masks_saved_as_jpeg_are_named(dataset, remake):
    remake(lambda mask: mask * np.uint8(100), suffix=".jpg")
    found = dataset.only("jpeg")
    assert found.severity == "error"
    assert len(found.files) == 10
    assert found.cause == "JPEG, which stores edges with noise"


@pytest.mark.parametrize("quality", [50, 75, 90, 95])
def test_noise_of_jpeg_is_known_in_a_png_too(dataset, remake, quality):
    remake(two_valued)
    remake(lambda mask: after_jpeg(mask, quality), 2, 5)
    assert [file.stem for file in dataset.only("jpeg").files] == ["0002", "0005"]


@pytest.mark.parametrize("by", [0.5, 0.8, 2.5])
def test_interpolated_masks_are_told_from_noisy_ones(dataset, remake, by):
    remake(two_valued)
    remake(lambda mask: resized(mask, by), 1, 4)
    found = dataset.only("interpolated")
    assert [file.stem for file in found.files] == ["0001", "0004"]
    assert "nearest neighbour" in found.cure


def test_soft_edges_of_colours_are_interpolated(dataset, remake):
    colors = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255]], np.uint8)
    remake(lambda mask: resized(colors[mask]))
    assert dataset.only("interpolated").found.endswith("colours")


def test_numbered_objects_are_told_from_classes(dataset, files):
    for number in dataset.numbers:
        files[1](dataset.mask(number), numbered(6 + number))
    assert dataset.found()["instances"].severity == "error"
    for number in dataset.numbers:  # more than may be classes
        files[1](dataset.mask(number), numbered(36 + number))
    assert dataset.found()["instances"].cause == "one number an object, not one a class"


def test_numbered_objects_in_some_masks_are_told_from_the_classes_of_the_others(dataset, remake, files):
    remake(lambda mask: two_valued(mask, 1))
    for number in (3, 8):
        files[1](dataset.mask(number), numbered(36 + number))
    assert dataset.only("instances").files == (dataset.mask(3), dataset.mask(8))


def test_many_classes_of_one_region_each_are_no_objects(dataset, files):
    for number in dataset.numbers:
        files[1](dataset.mask(number), np.roll(numbered(7), number, axis=1))
    assert "instances" not in dataset.found()


def test_a_dot_a_class_on_ignored_ground_is_no_object(dataset, files):
    for number in dataset.numbers:
        dots = numbered(6 + number % 3)
        files[1](dataset.mask(number), np.where(dots == 0, 255, dots).astype(np.uint8))
        mask = files[0](dataset.mask(number))
        mask[0, :9] = 0
        files[1](dataset.mask(number), mask)
    assert "instances" not in dataset.found()


@pytest.mark.parametrize(
    ("values", "cause"),
    [
        ([0, 1, 3], "a class that is in none of these masks"),
        ([0, 127, 255], "classes spread over the grays"),
        ([0, 85, 170], "classes spread over the grays"),
        ([1, 2, 3], "classes counted from 1"),
    ],
)
def test_a_gap_in_the_numbers_has_a_likely_cause(dataset, remake, values, cause):
    remake(lambda mask: np.array(values, np.uint8)[mask])
    found = dataset.only("gap")
    assert found.cause.startswith(cause)
    assert "parameters.json" in found.cure


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (lambda mask: (mask / 2).astype(np.float32), "classes divided by their greatest number"),
        (lambda mask: mask.astype(np.int16) - 1, "negative numbers for what is not labelled"),
    ],
)
def test_numbers_that_no_class_has_are_explained(dataset, remake, make, cause):
    remake(make, suffix=".tif")
    assert dataset.only("value").cause == cause


def test_0_and_255_beside_0_and_1_would_be_ignored(dataset, remake):
    remake(lambda mask: two_valued(mask, 1))
    remake(two_valued, 0, 7)
    found = dataset.only("two-valued")
    assert (found.severity, [file.stem for file in found.files]) == ("error", ["0000", "0007"])
    assert "so 255 would be ignored" in found.found


def test_of_masks_that_are_mostly_255_it_is_a_doubt_that_this_was_not_meant(dataset, remake):
    remake(lambda mask: two_valued(mask, 1))
    remake(lambda mask: np.where(np.arange(mask.size).reshape(mask.shape) < 40, 0, 255).astype(np.uint8), 7)
    found = dataset.only("two-valued")
    assert (found.severity, found.files) == ("warning", (dataset.mask(7),))
    assert found.cure.endswith("or leave it so where a part is all that is labelled")


def test_255_that_is_ignored_where_1_is_too_is_no_fault(dataset, remake, files):
    remake(lambda mask: two_valued(mask, 1))
    remake(two_valued, 0)
    mask = files[0](dataset.mask(3))
    mask[:5] = 255
    files[1](dataset.mask(3), mask)
    assert "two-valued" not in dataset.found()


def test_255_that_should_be_the_given_class_is_named(dataset, remake):
    remake(two_valued)
    given = [{"name": "ground"}, {"name": "road"}]
    found = dataset.only("two-valued", data=classes(*given))
    assert found.cure.startswith('give the class road "value": 255')
    given[1]["value"] = 255
    assert dataset.found(data=classes(*given)) == {}


def test_a_value_that_is_no_class_is_named_with_its_mask(dataset, remake):
    remake(lambda mask: np.where(mask == 2, 7, mask).astype(np.uint8), 3)
    found = dataset.only("value", data=classes({"name": "a"}, {"name": "b"}, {"name": "c"}))
    assert str(found) == (
        f"{dataset.mask(3)}: value 7 is no class (0 a, 1 b, 2 c); add it to data.classes or set it to 255"
    )


def test_given_classes_do_not_hide_what_spoilt_a_mask(dataset, remake):
    remake(two_valued)
    remake(after_jpeg, 4)
    found = dataset.only("jpeg", data=classes({"name": "a"}, {"name": "b", "value": 255}))
    assert found.files == (dataset.mask(4),)


def test_colours_where_classes_go_by_values_are_named(dataset, remake):
    remake(lambda mask: np.array([[0, 0, 0], [200, 30, 0], [0, 0, 255]], np.uint8)[mask])
    given = classes({"name": "a"}, {"name": "b"}, {"name": "c"})
    assert dataset.only("color", data=given).cause.startswith("a colour-coded mask")


@pytest.mark.parametrize("dark", [False, True])
def test_images_and_masks_the_wrong_way_round_are_named(dataset, files, dark):
    for number in dataset.numbers if dark else ():  # as in fluorescence, most of an image is black
        image = files[0](dataset.image(number))
        image[:, :70] = 0
        files[1](dataset.image(number), image)
    between = dataset.images.with_name("between")
    dataset.images.rename(between)
    dataset.masks.rename(dataset.images)
    between.rename(dataset.masks)
    found = dataset.found()
    assert next(iter(found)) == "swapped"
    assert len(found["swapped"].files) == 10


def painted(dataset, files, *colors):
    """Save all masks with one palette, 0004 with another."""
    for number in dataset.numbers:
        picture = Image.fromarray(files[0](dataset.mask(number)))
        picture.putpalette(np.array(colors[number == 4], np.uint8).tobytes())
        picture.save(dataset.mask(number))


BLACK, RED, BLUE = (0, 0, 0), (255, 0, 0), (0, 0, 255)


def test_palettes_that_differ_are_a_doubt_where_classes_are_derived(dataset, files):
    painted(dataset, files, (BLACK, RED, BLUE), (BLACK, BLUE, RED))
    found = dataset.only("palette")
    assert (found.severity, found.files) == ("warning", (dataset.mask(4),))
    assert "shows index 1 as #0000ff" in found.found


def test_palettes_that_differ_are_a_doubt_where_classes_go_by_value(dataset, files):
    painted(dataset, files, (BLACK, RED, BLUE), (BLACK, BLUE, RED))
    given = classes(*({"name": name, "value": value} for value, name in enumerate("abc")))
    found = dataset.only("palette", data=given)
    assert (found.severity, found.files) == ("warning", (dataset.mask(4),))
    by_color = classes(*({"name": color, "color": color} for color in ("#000000", "#ff0000", "#0000ff")))
    assert dataset.found(data=by_color) == {}


def test_what_is_wrong_with_one_mask_does_not_hide_the_classes_of_the_rest(dataset, remake):
    remake(two_valued)
    remake(after_jpeg, 2)
    report = dataset.check()
    assert [share.name for share in report.shares] == ["background", "foreground"]
    assert [share.images for share in report.shares] == [9, 9]
