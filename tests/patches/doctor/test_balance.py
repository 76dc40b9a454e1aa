"""Classes over images: rare, nowhere, on one side; masks that are empty, full or transparent."""

import numpy as np
import pytest

from patchseg.parameters import ClassParameters, DataParameters


@pytest.fixture
def remake(dataset, files):
    """Return a function that puts other pixels into the masks of some numbers, of all when none are named."""
    read, save = files

    def remake(make, *numbers):
        for number in numbers or dataset.numbers:
            save(dataset.mask(number), make(read(dataset.mask(number))))

    return remake


def without(mask, value):
    return np.where(mask == value, 0, mask).astype(np.uint8)


@pytest.mark.parametrize(
    ("value", "kind", "told"),
    [
        (0, "empty", "nothing but background"),
        (1, "full", "nothing but class_1"),
        (255, "empty", "ignored everywhere"),
    ],
)
def test_masks_of_one_value_are_named(dataset, remake, value, kind, told):
    remake(lambda mask: np.full_like(mask, value), 4)
    found = dataset.only(kind)
    assert (found.severity, found.files) == ("warning", (dataset.mask(4),))
    assert told in found.found


@pytest.mark.parametrize("value", [0, 1])
def test_a_class_that_is_all_that_is_labelled_of_a_mask_is_no_fault_where_most_is_ignored(
    dataset, remake, value
):
    def scribble(mask, rows):
        return np.where(np.arange(len(mask))[:, None] < rows, value, np.full_like(mask, 255)).astype(np.uint8)

    remake(lambda mask: scribble(mask, 63), 4)  # of 128
    assert dataset.found() == {}
    remake(lambda mask: scribble(mask, 65), 4)
    assert list(dataset.found()) == ["full" if value else "two-valued"]


def hold_out(dataset, *numbers):
    """Move pairs into folders of their own; return the parameters by which they are validated with."""
    folders = []
    for folder in (dataset.images, dataset.masks):
        folders.append(folder.with_name(f"held_out_{folder.name}"))
        folders[-1].mkdir()
        for number in numbers:
            (folder / f"{number:04}.png").rename(folders[-1] / f"{number:04}.png")
    return {"val_images": str(folders[0]), "val_masks": str(folders[1])}


def test_a_class_in_two_images_is_rare(dataset, remake):
    sides = {sample.pair.image.name: sample.side for sample in dataset.check().samples}
    kept = [number for number in dataset.numbers if sides[f"{number:04}.png"] == "train"][:2]
    remake(lambda mask: without(mask, 1), *(number for number in dataset.numbers if number not in kept))
    found = dataset.only("rare")
    assert found.files == tuple(dataset.mask(number) for number in kept)
    assert found.found == "class class_1 is in 2 of 10 images only"


def test_a_class_of_few_pixels_is_rare(dataset, remake):
    def two(mask):
        mask = np.minimum(mask, 1)
        mask[5, 5:12] = 2
        return mask

    remake(two)
    found = dataset.only("rare")
    assert found.files == ()
    assert found.found == "class class_2 covers 0.057 % of the labelled pixels"  # 7 of 128 * 96


def test_a_class_that_is_validated_only_is_an_error(dataset, remake):
    remake(lambda mask: without(mask, 1), *range(7))
    found = dataset.only("missing", **hold_out(dataset, 7, 8, 9))
    assert found.severity == "error"
    assert "never be learned" in found.found


def test_a_class_that_is_not_validated_is_a_doubt(dataset, remake):
    remake(lambda mask: without(mask, 1), 8, 9)
    assert "in no validation image" in dataset.only("rare", **hold_out(dataset, 8, 9)).found


def test_a_given_class_that_is_nowhere_is_named(dataset):
    names = ["ground", "line", "ellipse", "dragon"]
    found = dataset.only("missing", data=DataParameters(classes=[ClassParameters(name=n) for n in names]))
    assert (found.severity, found.found) == ("warning", "class dragon is in none of the 10 masks")


def test_masks_on_a_transparent_layer_leave_no_background(dataset, remake):
    def layer(mask):
        return np.stack([(mask == 1) * 255, mask * 0, (mask == 2) * 255, (mask > 0) * 255], axis=2).astype(
            np.uint8
        )

    remake(layer)
    found = dataset.found()
    assert found["alpha"].severity == "error"
    assert found["alpha"].cause == "a mask painted on a transparent layer"


def test_a_transparent_corner_is_a_doubt(dataset, remake):
    def corner(mask):
        alpha = np.full_like(mask, 255)
        alpha[:64, :48] = 0
        return np.stack([(mask == 1) * 255, mask * 0, (mask == 2) * 255, alpha], axis=2).astype(np.uint8)

    remake(corner)
    found = dataset.only("alpha")
    assert found.severity == "warning"
    assert "transparent in 25 % of its pixels" in found.found


@pytest.mark.parametrize(
    ("rows", "columns", "chance"),
    [
        (128, 24, 24 / 65),  # of the 65 columns that a patch of 32 may start in, 24 lie in the class
        (32, 96, 32 / 97),  # of the 97 rows, 32
    ],
)
def test_shares_images_and_chances_are_those_of_a_set_drawn_by_hand(dataset, remake, rows, columns, chance):
    quarter = np.zeros((128, 96), np.uint8)
    quarter[:rows, :columns] = 1
    remake(lambda _: quarter.copy())
    remake(np.zeros_like, 0, 1)
    background, class_1 = dataset.check(patch=32).shares
    assert class_1.share == pytest.approx(0.25 * 8 / 10)
    assert (class_1.images, background.images) == (8, 10)
    assert class_1.chance == pytest.approx(8 / 10 * chance, abs=0.05)
    assert background.chance == pytest.approx(1.0, abs=0.02)
    whole = dataset.check(patch=128).shares
    assert [share.chance for share in whole] == [1.0, 0.8]
