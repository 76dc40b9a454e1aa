import re

import numpy as np
import pytest
import tifffile
from PIL import Image

PREPARE = ["prepare", "images", "masks", "--patch", 16, "--per-image", 1]
CLASSES = [{"name": "background"}, {"name": "line"}, {"name": "ellipse"}]
COLORED = [{"name": "background", "color": "#000000"}, {"name": "line", "color": "#ff0000"}]


def pixels(file):
    with Image.open(file) as image:
        return np.array(image)


HINT = "\n       likely causes, and doubts besides: patchseg check images masks"


def save(file, array):
    Image.fromarray(array).save(file)


def test_the_folder_is_good_before_it_is_spoiled(folder, run):
    assert run(*PREPARE, "--overwrite").code == 0


def missing_mask(folder):
    (folder / "masks/0001.png").unlink()


def size_mismatch(folder):
    save(folder / "masks/0001.png", np.zeros((10, 12), np.uint8))


def jpeg_masks(folder):
    for file in (folder / "masks").glob("*.png"):
        Image.fromarray(pixels(file) * 100).save(file.with_suffix(".jpg"))
        file.unlink()


def truncated_image(folder):
    file = folder / "images/0002.png"
    file.write_bytes(file.read_bytes()[:500])


def truncated_mask(folder):
    file = folder / "masks/0002.png"
    file.write_bytes(file.read_bytes()[:80])


def no_image(folder):
    (folder / "images/0002.png").write_text("a table\n")


def empty_folder(folder):
    for file in (folder / "images").iterdir():
        file.unlink()


def folder_above(folder):
    for name in ("images", "masks"):
        (folder / name).rename(folder / f"{name}.away")
        (folder / name / name).mkdir(parents=True)


def typo(folder):
    for name in ("images", "masks"):
        (folder / name).rename(folder / f"{name}_1")


def swapped(folder):
    (folder / "images").rename(folder / "mine")
    (folder / "masks").rename(folder / "images")
    (folder / "mine").rename(folder / "masks")


def nan(folder):
    for file in (folder / "images").iterdir():
        values = pixels(file).astype(np.float32)
        if file.stem == "0002":
            values[5, 6] = np.nan
        tifffile.imwrite(file.with_suffix(".tif"), values)
        file.unlink()


def two_kinds(folder):
    save(folder / "images/0003.png", np.full((40, 32, 3), [1, 2, 3], np.uint8))


def all_ignored(folder):
    for file in (folder / "masks").iterdir():
        save(file, np.full((40, 32), 255, np.uint8))


@pytest.mark.parametrize(
    ("spoil", "code", "told"),
    [
        (
            missing_mask,
            3,
            r"images/0001\.png: has no mask in masks; expected 0001\.\*, or give .+ as --unlabelled",
        ),
        (
            size_mismatch,
            3,
            r"masks/0001\.png: is 10 x 12 pixels, its image images/0001\.png is 40 x 32; rows x columns must be equal, so .+",
        ),
        (jpeg_masks, 3, r"masks: the masks hold \d+ values; expected one a class, .*JPEG noise.*"),
        (truncated_image, 3, r"images/0002\.png: is truncated or damaged \(.+\); replace it by a whole copy"),
        (truncated_mask, 3, r"masks/0002\.png: is truncated or damaged \(.+\); replace it by a whole copy"),
        (no_image, 3, r"images/0002\.png: is no image of a known format; expected one of tiff, .+"),
        (empty_folder, 2, r"images: holds no image; expected files ending in \.tif .+"),
        (folder_above, 2, r"images: holds no image, only folders \(images\); name one of them"),
        (typo, 2, r'images: is no folder; expected one with images .+; did you mean "images_1"\?'),
        (swapped, 3, r"masks: the masks hold \d+ values; .*are images and masks the wrong way round\?\)"),
        (
            nan,
            3,
            r"images/0002\.tif: holds NaN or infinity, first at row 5, column 6; expected finite numbers, .+",
        ),
        (two_kinds, 3, r"images/0003\.png: has 3 channels of uint8, images/0000\.png has 1 of uint8; .+"),
        (all_ignored, 3, r"masks: the masks hold only the value 255; expected at least two classes, .+"),
    ],
)
def test_bad_data_is_refused_by_prepare(spoil, code, told, folder, run):
    before = (folder / "patches.h5").read_bytes()
    spoil(folder)
    ended = run(*PREPARE, "--overwrite")
    assert ended.code == code
    assert ended.out == ""
    assert re.fullmatch(told, ended.error.removesuffix(HINT))
    assert ended.error.endswith(HINT) == (code == 3)
    assert (folder / "patches.h5").read_bytes() == before
    assert not list(folder.glob(".*"))


def test_a_value_that_is_no_class_is_named_with_the_classes(folder, run, write_parameters):
    write_parameters(data={"classes": CLASSES})
    mask = pixels(folder / "masks/0001.png")
    mask[3, 3] = 7
    save(folder / "masks/0001.png", mask)
    ended = run(*PREPARE, "-o", "new.h5")
    assert ended.code == 3
    assert ended.error == (
        "masks/0001.png: value 7 is no class (0 background, 1 line, 2 ellipse); add it to data.classes or set it to 255"
        + HINT
    )


def test_a_colour_that_is_no_class_is_named_with_the_classes(folder, run, write_parameters):
    write_parameters(data={"classes": COLORED})
    for file in (folder / "masks").iterdir():
        mask = np.zeros((40, 32, 3), np.uint8)
        mask[:20, :, 0] = 255
        mask[0, 0] = (255, 1, 0) if file.stem == "0002" else 0
        save(file, mask)
    ended = run(*PREPARE, "-o", "new.h5")
    assert ended.code == 3
    assert ended.error == (
        "masks/0002.png: colour #ff0100 is no class (#000000 background, #ff0000 line); "
        "add it to data.classes or repaint it (or, for soft edges and JPEG, give --mask-tolerance)" + HINT
    )


def test_masks_that_ignore_every_pixel_are_refused_with_given_classes_too(folder, run, write_parameters):
    write_parameters(data={"classes": CLASSES})
    all_ignored(folder)
    ended = run(*PREPARE, "-o", "new.h5")
    assert ended.code == 3
    assert ended.error.endswith("every training pixel is ignored, as in all other masks; label some")
    assert not (folder / "new.h5").exists()


def test_a_patch_larger_than_every_image_is_refused_with_the_largest_that_fits(folder, run):
    ended = run(*PREPARE, "--patch", 64, "-o", "new.h5")
    assert ended.code == 2
    assert ended.error == (
        "prepare.patch: 64 is larger than every image (the largest is 40 x 32); choose 40 or less"
    )
