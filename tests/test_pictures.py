"""The pictures of the README, made from a small stand-in for a finished demo."""

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import patchseg
from patchseg.imaging import picture
from patchseg.imaging.picture import palette
from patchseg.patches.store import PatchFile

ROOT = Path(patchseg.__file__).parents[1]
COLORS = palette(3)


@pytest.fixture(scope="module")
def pictures():
    spec = importlib.util.spec_from_file_location("pictures", ROOT / "docs/pictures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Make what a demo leaves, with a perfect prediction."""
    folder = tmp_path_factory.mktemp("demo")
    data = patchseg.synth(
        folder / "data", parameters=patchseg.SynthParameters(train=6, test=3, height=64, width=48)
    )
    patchseg.prepare(
        data / "train/images",
        data / "train/masks",
        parameters=patchseg.PrepareParameters(output=str(folder / "patches.h5"), patch=32, per_image=4),
    )
    shutil.copytree(data / "test/masks", folder / "masks")
    (folder / "report.html").write_text(
        "<title>r</title><body style='background: #0072b2'>", encoding="utf-8"
    )
    return folder


def reloaded(pixels: np.ndarray, path: Path) -> np.ndarray:
    with Image.open(path) as image:
        shown = np.asarray(image.convert("RGB"))
    assert shown.shape == pixels.shape
    return shown


def test_the_result_shows_three_images_with_truth_and_prediction_pixel_by_pixel(pictures, demo):
    shown = pictures.result(demo)
    # Three groups of three panels of 48, gaps of 4 inside and 24 between; a caption of 22 above 64 rows.
    assert shown.shape == (22 + 64, 3 * (3 * 48 + 2 * 4) + 2 * 24, 3)
    truth, prediction = shown[22:, 52:100], shown[22:, 104:152]
    with Image.open(demo / "masks/0006.png") as mask:
        np.testing.assert_array_equal(truth, COLORS[np.asarray(mask)])
    np.testing.assert_array_equal(truth, prediction)
    with Image.open(demo / "data/test/images/0008.png") as image:
        np.testing.assert_array_equal(shown[22:, -152:-104, 0], np.asarray(image))
    assert (shown[22:, 48:52] == 255).all()
    for left in (0, 52, 104):
        assert (shown[:22, left : left + 48] < 128).any()  # its caption


def test_the_patches_are_shown_in_rows_of_four_flips_beside_their_masks(pictures, demo):
    shown = pictures.patches(demo)
    # Three rows of 32 with gaps of 12; four pairs of 2 x 32 + 4 columns with gaps of 12.
    assert shown.shape == (22 + 3 * 32 + 2 * 12, 4 * (2 * 32 + 4) + 3 * 12, 3)
    last = shown[-32:]
    image, mask = last[:, :32], last[:, 36:68]
    for column, flipped in enumerate((slice(None), np.s_[:, ::-1], np.s_[::-1], np.s_[::-1, ::-1])):
        left = column * (68 + 12)
        np.testing.assert_array_equal(last[:, left : left + 32], image[flipped])
        np.testing.assert_array_equal(last[:, left + 36 : left + 68], mask[flipped])
    # The middle one of three parts: something of every class.
    assert len(np.unique(shown[66:98, 36:68].reshape(-1, 3), axis=0)) == 3


def test_the_varied_patches_stand_right_of_the_stored_ones(pictures, demo):
    shown = pictures.augmented(demo)
    # Three patches of 32 above their masks, gaps of 2; nine across, white at both sides.
    assert shown.shape == (6 * 32 + 5 * 2, 9 * 32 + 10 * 2, 3)
    with PatchFile(demo / "patches.h5") as file:
        masks, colors = file.read("train")[1], file.head.classes.palette
    for top in (34, 102, 170):
        assert any((shown[top : top + 32, 2:34] == picture.colorize(mask, colors)).all() for mask in masks)
    assert (shown[:32, 2:34] != shown[:32, 36:68]).any()


def test_a_saved_picture_keeps_the_colours_of_classes_and_nearly_every_gray(pictures, tmp_path):
    pixels = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    pixels = np.concatenate([pixels, np.repeat(COLORS[[1, 2]], 128, axis=0)[None]])
    pictures.save(pixels, tmp_path / "new/a.png")
    shown = reloaded(pixels, tmp_path / "new/a.png")
    np.testing.assert_array_equal(shown[1], pixels[1])
    assert abs(shown[0].astype(int) - pixels[0]).max() == 1
    assert shown[0, 0].tolist() == [0, 0, 0]
    assert shown[0, 255].tolist() == [255, 255, 255]


def test_a_picture_of_many_colours_is_saved_with_all_of_them(pictures, tmp_path):
    rows, columns = np.mgrid[:32, :32].astype(np.uint8) * 8
    pixels = np.stack([rows, columns, np.full_like(rows, 100)], axis=2)
    pictures.save(pixels, tmp_path / "a.png")
    np.testing.assert_array_equal(reloaded(pixels, tmp_path / "a.png"), pixels)


@pytest.mark.browser
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium on the PATH")
def test_the_report_is_shot_at_its_width(pictures, demo):
    shown = pictures.report(demo)
    assert shown.shape == (1500, 1200, 3)
    assert shown[700, 600].tolist() == [0, 0x72, 0xB2]
