import numpy as np
import pytest
import torch
from PIL import Image

from patchseg.errors import DataError, UsageError
from patchseg.parameters import AugmentParameters
from patchseg.progress import Progress
from patchseg.training.sheet import augment

torch.set_num_threads(1)


class Said(Progress):
    """Keeps what it is told."""

    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)


@pytest.fixture(autouse=True)
def one_thread():
    """A verb takes all cores; those after it do not expect that."""
    yield
    torch.set_num_threads(1)


@pytest.fixture
def shown(tmp_path, write_patches):
    """Return the cells of the picture of patches: images and masks, both (rows, times, S, S, 3)."""

    def show(images, masks, *, seed=0, progress=None, **switches):
        path, side = write_patches(tmp_path / "p.h5", images, masks), masks.shape[1]
        output = augment(
            path, parameters=AugmentParameters(**{"strength": "none"} | switches), output=tmp_path / "sheets/sheet.png", seed=seed,
            overwrite=True, progress=progress,
        )  # fmt: skip
        with Image.open(output) as image:
            assert image.mode == "RGB"
            sheet = np.asarray(image)
        step = side + 2
        rows, times = len(sheet) // step, sheet.shape[1] // step
        assert sheet.shape == (rows * step + 2, times * step + 2, 3)
        cells = sheet[2:, 2:].reshape(rows, step, times, step, 3).swapaxes(1, 2)
        for gap in (sheet[:2], sheet[:, :2], cells[:, :, side:], cells[:, :, :, side:]):
            assert (gap == 255).all()
        cells = cells[:, :, :side, :side]
        return cells[::2], cells[1::2]

    return show


def test_a_row_is_a_patch_and_its_first_cell_what_is_stored(noise, shown):
    # By mean and deviation of the file, 100 +- 50, -50 is black and 250 is white.
    images, masks = noise(9, channels=3)
    cells, painted = shown(images, masks, strength="strong")
    assert cells.shape == painted.shape == (6, 9, 8, 8, 3)
    expected = np.clip((images.astype(float) + 50) / 300 * 255, 0, 255)
    rows = [abs(expected - cell).max(axis=(1, 2, 3)).argmin() for cell in cells[:, 0]]
    assert rows == sorted(set(rows))
    assert abs(cells[:, 0] - expected[rows]).max() < 1.01
    colors = masks[rows][..., None].repeat(3, axis=-1)  # class k is (k, k, k) here
    np.testing.assert_array_equal(painted[:, 0], np.where(colors == 255, 128, colors))


def test_at_strength_none_all_cells_of_a_row_are_alike(noise, shown):
    cells, painted = shown(*noise(6))
    for row in (cells, painted):
        np.testing.assert_array_equal(row, row[:, :1].repeat(9, axis=1))


def test_a_variation_that_is_switched_on_is_seen_in_all_cells_but_the_first(noise, shown):
    plain, masks = shown(*noise(6))
    noisy, same = shown(*noise(6), noise=1)
    differs = (plain != noisy).any(axis=(2, 3, 4))
    assert not differs[:, 0].any()
    assert differs[:, 1:].all()
    np.testing.assert_array_equal(masks, same)
    for row in noisy:
        assert len(np.unique(row.reshape(9, -1), axis=0)) == 9


def test_masks_follow_their_images(shown):
    # A square of class 1, light on dark, off the middle.
    masks = np.zeros((6, 16, 16), np.uint8)
    masks[:, 2:7, 3:12] = 1
    cells, painted = shown(masks[..., None] * np.uint8(200), masks, flips="both", turns=True)
    np.testing.assert_array_equal(cells[..., 0] > 100, painted[..., 0] == 1)
    assert len(np.unique(painted.reshape(54, -1), axis=0)) == 8  # flips and quarter turns


def test_rectangles_come_from_other_patches(shown):
    masks = np.repeat(np.array([0, 1, 2], np.uint8), 64).reshape(3, 8, 8)
    cells, painted = shown(masks[..., None] * np.uint8(80), masks, cutmix=1)
    for row in range(3):
        assert (painted[row, 0] == row).all()
        assert all(set(np.unique(cell)) == {row, (row + 1) % 3} for cell in painted[row, 1:])
        lights = [set(np.unique(cell)) for cell in cells[row, 1:]]
        assert all(len(light) == 2 for light in lights)


def test_the_seed_decides_patches_and_variations(noise, shown):
    one, again, other = (shown(*noise(40), seed=seed, strength="standard")[0] for seed in (0, 0, 2**40))
    np.testing.assert_array_equal(one, again)
    assert (one[:, 0] != other[:, 0]).any()


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("strength", ["none", "strong"])
def test_patches_of_any_kind_are_shown(noise, shown, dtype, channels, strength):
    images, masks = noise(2, dtype=dtype, channels=channels)
    images = (images / (240 if dtype == np.uint16 else 1)).astype(dtype)  # the file says 100 +- 50
    cells, _ = shown(images, masks, strength=strength)
    assert cells.shape == (2, 9, 8, 8, 3)
    assert len(np.unique(cells[:, 0])) > 2
    assert (channels > 2) == (cells[:, 0, ..., 0] != cells[:, 0, ..., 1]).any()


def test_what_is_seen_is_said(noise, shown):
    progress = Said()
    shown(*noise(1), strength="light", progress=progress)
    assert progress.lines == [
        "1 patch, a row each: as stored, then 8 times at strength light; masks below, ignored pixels gray"
    ]


def test_a_file_without_patches_is_refused(tmp_path, noise, write_patches):
    path = write_patches(tmp_path / "p.h5", *noise(0))
    with pytest.raises(DataError, match=r"p\.h5: holds no training patch; make it again"):
        augment(path, output=tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()


@pytest.mark.parametrize("name", ["a", "a.jpg", "a.PNG", "png"])
def test_a_picture_is_a_png(tmp_path, noise, write_patches, name):
    with pytest.raises(UsageError, match=f"{name}: is no name of a PNG; give one that ends in .png"):
        augment(write_patches(tmp_path / "p.h5", *noise(1)), output=tmp_path / name)
    assert not (tmp_path / name).exists()


def test_an_existing_picture_stays(tmp_path, noise, write_patches):
    path, output = write_patches(tmp_path / "p.h5", *noise(1)), tmp_path / "a.png"
    output.write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"a\.png: exists already"):
        augment(path, output=output)
    assert output.read_bytes() == b"mine"
    augment(path, output=output, overwrite=True)
    assert output.read_bytes()[1:4] == b"PNG"


def test_where_no_strength_is_set_standard_is_shown(tmp_path, write_patches, noise):
    told = Said()
    path = write_patches(tmp_path / "p.h5", *noise(6))
    sheets = [
        augment(path, parameters=parameters, output=tmp_path / f"{name}.png", progress=told).read_bytes()
        for name, parameters in (("a", AugmentParameters()), ("b", AugmentParameters(strength="standard")))
    ]
    assert sheets[0] == sheets[1]
    assert "at strength standard" in told.lines[0]
