import cmath
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from patchseg.errors import UsageError
from patchseg.imaging.picture import palette
from patchseg.parameters import SynthParameters
from patchseg.progress import Progress
from patchseg.synth import CLASSES, ELLIPSE, LINE, Shape, draw, draw_band, noise_levels, paint, synth

SMALL = SynthParameters(train=3, test=2, height=64, width=48, seed=5)


class Counting(Progress):
    def __init__(self) -> None:
        self.total = self.done = self.stopped = 0
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    def start(self, label: str, total: int) -> None:
        self.total = total

    def step(self, count: int = 1, note: str = "") -> None:
        self.done += count

    def stop(self) -> None:
        self.stopped += 1


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def contents(directory: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(directory)): file.read_bytes() for file in directory.rglob("*") if file.is_file()
    }


def canvas(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full((height, width), 200, np.uint8), np.zeros((height, width), np.uint8)


def test_an_ellipse_is_the_one_drawn_by_hand() -> None:
    image, mask = canvas(5, 7)
    paint(image, mask, [Shape(ELLIPSE, 9, row=2, column=3, along=3, across=1.5, angle=0)])
    # (c/3)^2 + (r/1.5)^2 <= 1: one row away 2.2 columns fit, two rows away none.
    expected = ["0000000", "0111110", "1111111", "0111110", "0000000"]
    assert ["".join(str(value // ELLIPSE) for value in row) for row in mask] == expected
    assert (image[mask == ELLIPSE] == 9).all()
    assert (image[mask == 0] == 200).all()


def test_a_line_rises_with_its_angle_from_columns_to_rows() -> None:
    image, mask = canvas(5, 5)
    paint(image, mask, [Shape(LINE, 9, row=2, column=2, along=3, across=0.5, angle=math.pi / 4)])
    np.testing.assert_array_equal(mask, np.eye(5))
    paint(image, mask, [Shape(LINE, 9, row=2, column=2, along=2, across=0.4, angle=math.pi / 2)])
    assert mask[:, 2].tolist() == [1] * 5


def test_later_shapes_cover_earlier_ones_in_image_and_mask() -> None:
    image, mask = canvas(3, 3)
    shapes = [Shape(kind, 10 * kind, row=1, column=1, along=1, across=1, angle=0) for kind in (LINE, ELLIPSE)]
    paint(image, mask, shapes)
    assert mask.tolist() == [[1, 2, 1], [2, 2, 2], [1, 2, 1]]
    assert image[1, 1] == 20
    assert image[0, 0] == 10


@settings(max_examples=60)
@given(
    kind=st.sampled_from([LINE, ELLIPSE]),
    place=st.tuples(st.floats(-8, 24), st.floats(-8, 24)),
    sizes=st.tuples(st.floats(0.5, 20), st.floats(0.5, 6)),
    angle=st.floats(0, math.pi),
    top=st.integers(0, 12),
)
def test_painting_equals_asking_every_pixel(
    kind: int, place: tuple[float, float], sizes: tuple[float, float], angle: float, top: int
) -> None:
    image, mask = canvas(12, 16)
    paint(image, mask, [Shape(kind, 9, *place, *sizes, angle)], top=top)
    for (row, column), found in np.ndenumerate(mask):
        turned = complex(column - place[1], row + top - place[0]) * cmath.exp(-1j * angle)
        u, v = turned.real / sizes[0], turned.imag / sizes[1]
        reach = max(abs(u), abs(v)) if kind == LINE else abs(complex(u, v))
        if abs(reach - 1) > 1e-9:  # on the very edge, rounding decides
            assert (found == kind) == (reach < 1), (row, column)


def test_noise_is_a_gaussian_cut_at_two_sigma() -> None:
    levels = noise_levels(204.0)  # 153 and 255 are two sigma of 25.5 away
    assert len(levels) == 65536
    assert levels.mean() == pytest.approx(203.5, abs=0.01)  # symmetric; values are rounded down
    # The variance of a normal cut at +-2 is 1 - 4 phi(2) / 0.9545 = 0.7737.
    assert levels.std() == pytest.approx(25.5 * math.sqrt(0.7737), abs=0.05)
    assert (np.diff(levels.astype(int)) >= 0).all()


def test_drawing_repeats_and_leaves_the_global_random_state_alone() -> None:
    np.random.seed(1)  # noqa: NPY002 - the global state is what must not matter
    first = draw(3, 4, 80, 60)
    draw(3, 5, 80, 60)
    after = np.random.random()  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    assert np.random.random() == after  # noqa: NPY002
    for one, other in zip(first, draw(3, 4, 80, 60), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("seed", "index"), [(1, 0), (0, 1), (2**40, 0)])
def test_other_seeds_and_indices_give_other_noise_and_other_shapes(seed: int, index: int) -> None:
    image, mask = draw(0, 0, 200, 200)
    other_image, other_mask = draw(seed, index, 200, 200)
    assert (mask != other_mask).mean() > 0.01
    noise = (mask == 0) & (other_mask == 0)
    correlation = np.corrcoef(image[noise], other_image[noise])[0, 1]
    assert abs(correlation) < 0.03


def test_seeds_beyond_64_bits_draw_too() -> None:
    np.testing.assert_array_equal(draw(2**64 + 7, 0, 16, 16)[0], draw(7, 0, 16, 16)[0])


@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 31), (400, 200)])
def test_images_are_gray_bytes_of_the_asked_size(height: int, width: int) -> None:
    for array in draw(0, 0, height, width):
        assert array.shape == (height, width)
        assert array.dtype == np.uint8


def test_masks_name_what_the_image_shows() -> None:
    images, masks = (
        np.stack(arrays) for arrays in zip(*(draw(1, i, 400, 200) for i in range(20)), strict=True)
    )
    assert images[masks == 0].min() >= 153
    assert images[masks == 0].max() < 255
    # No noise reaches below 153, so whatever is darker is a shape.
    assert (masks[images < 153] > 0).all()
    background = images[masks == 0].mean()
    for kind in (LINE, ELLIPSE):
        assert all((mask == kind).any() for mask in masks)
        assert images[masks == kind].max() < 179
        assert images[masks == kind].mean() < background - 60


def test_noise_and_shapes_are_those_of_the_seed_set_on_average() -> None:
    images, masks = (
        np.stack(arrays) for arrays in zip(*(draw(2, i, 400, 200) for i in range(60)), strict=True)
    )
    # Measured there over 100 images: noise of 202.6, from 185 to 222; lines 2.2 %, ellipses 4.0 %.
    means = [image[mask == 0].mean() for image, mask in zip(images, masks, strict=True)]
    assert np.mean(means) == pytest.approx(202.6, abs=4)
    assert (min(means), max(means)) == pytest.approx((185, 222), abs=3)
    assert (masks == LINE).mean() == pytest.approx(0.022, abs=0.006)
    assert (masks == ELLIPSE).mean() == pytest.approx(0.040, abs=0.010)


def test_a_set_holds_the_asked_numbers_with_masks_of_the_same_names(tmp_path: Path) -> None:
    progress = Counting()
    assert synth(tmp_path / "new" / "set", parameters=SMALL, progress=progress) == tmp_path / "new" / "set"
    for side, names in (("train", ["0000", "0001", "0002"]), ("test", ["0003", "0004"])):
        for what in ("images", "masks"):
            folder = tmp_path / "new" / "set" / side / what
            assert sorted(file.name for file in folder.iterdir()) == [f"{name}.png" for name in names]
    assert (progress.total, progress.done, progress.stopped) == (5, 5, 1)


def test_files_hold_what_draw_returns_and_masks_carry_their_colours(tmp_path: Path) -> None:
    synth(tmp_path, parameters=SMALL)
    image, mask = draw(5, 3, 64, 48)
    np.testing.assert_array_equal(read(tmp_path / "test/images/0003.png"), image)
    with Image.open(tmp_path / "test/masks/0003.png") as stored:
        assert stored.mode == "P"
        np.testing.assert_array_equal(np.array(stored), mask)
        np.testing.assert_array_equal(np.array(stored.convert("RGB")), palette(3)[mask])


def test_colour_coded_masks_decode_to_the_same_indices(tmp_path: Path) -> None:
    synth(tmp_path / "index", parameters=SMALL)
    synth(tmp_path / "rgb", parameters=SMALL.model_copy(update={"mask_style": "rgb"}))
    for file in sorted((tmp_path / "rgb").glob("*/masks/*.png")):
        colors = read(file)
        assert colors.shape == (64, 48, 3)
        matches = (colors[:, :, None, :] == palette(len(CLASSES))).all(axis=3)  # (H, W, K)
        assert (matches.sum(axis=2) == 1).all()
        indices = read(tmp_path / "index" / file.relative_to(tmp_path / "rgb"))
        np.testing.assert_array_equal(matches.argmax(axis=2), indices)


def test_equal_parameters_give_equal_files_and_record_them(tmp_path: Path) -> None:
    synth(tmp_path / "one", parameters=SMALL)
    synth(tmp_path / "two", parameters=SMALL)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    record = json.loads((tmp_path / "one" / "parameters.effective.json").read_text())
    assert record["synth.seed"] == {"value": 5, "source": "call"}


def test_a_directory_with_anything_in_it_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not empty; choose another directory or give --overwrite"):
        synth(tmp_path, parameters=SMALL)
    assert contents(tmp_path) == {"thesis.txt": b"mine"}


def test_a_file_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        synth(tmp_path / "file", parameters=SMALL)


def test_overwriting_with_a_smaller_set_leaves_no_image_of_the_larger_one(tmp_path: Path) -> None:
    smaller = SMALL.model_copy(update={"train": 1, "test": 1})
    synth(tmp_path / "again", parameters=SMALL.model_copy(update={"large": 256}))
    synth(tmp_path / "again", parameters=SMALL, overwrite=True)
    (tmp_path / "again" / "notes.txt").write_text("mine")
    synth(tmp_path / "again", parameters=smaller, overwrite=True)
    synth(tmp_path / "fresh", parameters=smaller)
    images = [
        {name for name in contents(tmp_path / each) if "json" not in name} for each in ("again", "fresh")
    ]
    assert images[0] == images[1] | {"notes.txt"}


def test_overwriting_removes_nothing_from_a_directory_that_synth_did_not_make(tmp_path: Path) -> None:
    (tmp_path / "train/images").mkdir(parents=True)
    (tmp_path / "train/images/0900.png").write_text("mine")
    synth(tmp_path, parameters=SMALL, overwrite=True)
    assert (tmp_path / "train/images/0900.png").read_text() == "mine"


@pytest.mark.parametrize("height", [100, 256, 512])
def test_bands_of_any_height_make_the_same_large_image(height: int) -> None:
    size = 1100  # more than two cells, and no multiple of anything
    bands = [draw_band(0, size, top, height) for top in range(0, size, height)]
    for parts, complete in zip(zip(*bands, strict=True), draw_band(0, size, 0, size), strict=True):
        np.testing.assert_array_equal(np.concatenate(parts), complete)


def test_the_large_image_repeats_no_noise_and_has_no_empty_or_crowded_places() -> None:
    image, mask = draw_band(0, 2048, 0, 2048)
    assert abs(np.corrcoef(image[0, mask[0] == 0], image[1, mask[0] == 0])[0, 1]) < 0.1
    quarters = mask.reshape(2, 1024, 2, 1024).transpose(0, 2, 1, 3).reshape(4, -1)
    for kind, share in ((LINE, 0.022), (ELLIPSE, 0.040)):
        found = (quarters == kind).mean(axis=1)
        assert (share / 2 < found).all()
        assert (found < share * 2).all()


@pytest.mark.parametrize("style", ["index", "rgb"])
def test_large_files_are_tiled_and_deflated_and_hold_the_bands(tmp_path: Path, style: str) -> None:
    progress = Counting()
    synth(tmp_path, parameters=SynthParameters(large=600, mask_style=style), progress=progress)
    image, mask = draw_band(0, 600, 0, 600)
    for name, expected in (("large", image), ("large_mask", palette(3)[mask] if style == "rgb" else mask)):
        with tifffile.TiffFile(tmp_path / f"{name}.tif") as file:
            page = file.pages[0]
            assert page.is_tiled
            assert page.compression in (8, 32946)
            np.testing.assert_array_equal(page.asarray(), expected)
            if name == "large_mask" and style == "index":
                np.testing.assert_array_equal(page.colormap[:, :3].T // 257, palette(3))
    assert not (tmp_path / "train").exists()
    assert (progress.total, progress.done, progress.stopped) == (3, 3, 1)
    assert "600 x 600" in progress.lines[0]


@pytest.mark.slow
def test_a_large_image_needs_no_more_memory_than_its_bands(tmp_path: Path) -> None:
    code = (
        "import resource, sys; from pathlib import Path; from patchseg.synth import synth;"
        "from patchseg.parameters import SynthParameters;"
        "synth(Path(sys.argv[1]), parameters=SynthParameters(large=int(sys.argv[2])));"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    peaks = []
    for size in (4096, 8192):
        command = [sys.executable, "-c", code, str(tmp_path / str(size)), str(size)]
        # The threads of a machine with more cores must not gather tiles either.
        environment = os.environ | {"TIFFFILE_NUM_THREADS": "4"}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        peaks.append(int(done.stdout) / 1024)
    # Four times the pixels: an image more held would be 48 MB.
    assert peaks[1] - peaks[0] < 30, peaks
