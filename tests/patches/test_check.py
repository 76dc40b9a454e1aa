import numpy as np
import pytest
import tifffile
from PIL import Image

from patchseg.errors import DataError
from patchseg.labels.classes import Classes
from patchseg.patches.check import inspect, require_finite
from patchseg.patches.pairs import find_pairs
from patchseg.progress import Progress

LINE = Classes(("background", "line"), (0, 1), ("#000000", "#e69f00"))
RED = Classes(("background", "red"), (None, None), ("#000000", "#ff0000"))
PLAIN = np.zeros((20, 30), np.uint8)
INDICES = (np.arange(600).reshape(20, 30) % 2).astype(np.uint8)


@pytest.fixture
def folders(tmp_path):
    """Two good pairs, gray of 20 x 30 pixels with classes 0 and 1, and their folders."""
    images, masks = tmp_path / "images", tmp_path / "masks"
    images.mkdir()
    masks.mkdir()
    for name in "ab":
        Image.fromarray(PLAIN).save(images / f"{name}.png")
        Image.fromarray(INDICES).save(masks / f"{name}.png")
    return images, masks


def save(path, pixels, **options):
    if path.suffix == ".npy":
        np.save(path, pixels)
    elif path.suffix == ".tif":
        tifffile.imwrite(path, pixels, **options)
    else:
        Image.fromarray(pixels).save(path, **options)
    return path


def lines(folders, classes=None, **known):
    """Return what is found wrong, a line each."""
    with pytest.raises(DataError) as caught:
        inspect(find_pairs(*folders), classes, Progress(), **known)
    return str(caught.value).splitlines()


def test_a_good_data_set_is_described(folders):
    save(folders[0] / "c.tif", np.zeros((5, 7), np.uint8))
    save(folders[1] / "c.png", np.full((5, 7), 255, np.uint8))
    found = inspect(find_pairs(*folders), None, Progress())
    assert (found.shapes, found.channels, found.dtype) == ([(20, 30), (20, 30), (5, 7)], 1, np.uint8)
    assert found.classes.values == (0, 1)
    assert inspect(find_pairs(*folders), LINE, Progress()).classes is LINE


def test_another_size_is_told_with_both_files_and_sizes(folders):
    mask = save(folders[1] / "b.png", INDICES[:, :29])
    image = folders[0] / "b.png"
    assert lines(folders) == [
        f"{mask}: is 20 x 29 pixels, its image {image} is 20 x 30 (likely off by one: cropped or padded by a program that "
        "rounds); rows x columns must be equal, so save the mask at the image's size"
    ]


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def test_an_image_that_exif_turns_away_from_its_mask_names_exif(folders):
    save(folders[0] / "b.png", PLAIN, exif=turned(6))
    (line,) = lines(folders)
    assert "is 20 x 30 pixels" in line
    assert "is 30 x 20 once turned upright by its EXIF orientation; save the mask upright" in line


def test_exif_is_not_blamed_where_it_is_not_the_cause(folders):
    save(folders[0] / "a.png", PLAIN, exif=turned(3))
    save(folders[1] / "a.png", INDICES.T)
    save(folders[0] / "b.png", PLAIN, exif=turned(6))
    save(folders[1] / "b.png", INDICES[:7])
    assert [("EXIF" in line, "must be equal" in line) for line in lines(folders)] == [(False, True)] * 2


def test_an_image_turned_upright_fits_an_upright_mask(folders):
    save(folders[0] / "b.png", PLAIN, exif=turned(6))
    save(folders[1] / "b.png", INDICES.T)
    assert inspect(find_pairs(*folders), None, Progress()).shapes == [(20, 30), (30, 20)]


def test_a_value_that_is_no_class_names_its_mask_and_the_classes(folders):
    mask = save(folders[1] / "b.png", INDICES * 7)
    assert lines(folders, LINE) == [
        f"{mask}: value 7 is no class (0 background, 1 line); add it to data.classes or set it to 255"
    ]


def test_a_colour_that_is_no_class_names_its_mask_and_the_classes(folders):
    for name, color in [("a", (255, 0, 0)), ("b", (0, 255, 0))]:
        save(folders[1] / f"{name}.png", INDICES[:, :, None] * np.array(color, np.uint8))
    (line,) = lines(folders, RED)
    assert line.startswith(
        f"{folders[1] / 'b.png'}: colour #00ff00 is no class (#000000 background, #ff0000 red)"
    )


def test_palettes_are_read_by_colour_where_classes_are_given_by_colour(folders):
    for name, color in [("a", [255, 0, 0]), ("b", [0, 0, 255])]:
        image = Image.fromarray(INDICES)
        image.putpalette([0, 0, 0, *color])
        image.save(folders[1] / f"{name}.png")
    (line,) = lines(folders, RED)
    assert line.startswith(f"{folders[1] / 'b.png'}: colour #0000ff is no class")


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy"])
def test_a_file_cut_short_is_found_before_anything_is_cut(folders, side, suffix):
    (folders[side] / "b.png").unlink()
    noise = np.random.default_rng(0).integers(0, 2, (20, 30), dtype=np.uint8)
    file = save(folders[side] / f"b{suffix}", noise)
    file.write_bytes(file.read_bytes()[:-40])
    (line,) = lines(folders)
    assert line.startswith(f"{file}: is ")
    assert "damaged" in line


@pytest.mark.parametrize(
    ("bad", "row", "column"), [(np.nan, 17, 4), (np.inf, 0, 29), (-np.inf, 19, 0)], ids=str
)
def test_nan_and_infinity_are_told_with_row_and_column(folders, bad, row, column):
    for name in "ab":
        (folders[0] / f"{name}.png").unlink()
        pixels = np.ones((20, 30, 2), np.float32)
        if name == "b":
            pixels[row, column, 1] = pixels[19, 29, 0] = bad
        file = save(folders[0] / f"{name}.npy", pixels)
    assert lines(folders) == [
        f"{file}: holds NaN or infinity, first at row {row}, column {column}; expected finite numbers, so fill them in"
    ]


def test_rows_of_a_band_are_counted_from_the_top_of_the_image(tmp_path):
    band = np.array([[[1], [2]], [[3], [np.nan]]])
    with pytest.raises(DataError, match="first at row 41, column 1;"):
        require_finite(band, tmp_path / "a.npy", top=40)
    require_finite(band[:1], tmp_path / "a.npy")
    require_finite(np.array([[[1]]]), tmp_path / "a.npy")


def test_an_image_of_several_bands_is_read_to_its_end(folders):
    tall = np.zeros((2100, 2000), np.float16)
    tall[2099, 3] = np.nan
    for side in folders:
        for file in side.iterdir():
            file.unlink()
    save(folders[0] / "a.npy", tall)
    save(folders[1] / "a.npy", np.eye(2100, 2000, dtype=np.uint8))
    (line,) = lines(folders)
    assert "first at row 2099, column 3;" in line


def test_mixed_channels_and_dtypes_are_held_against_the_first_image(folders):
    one = save(folders[0] / "b.png", np.full((20, 30, 3), [1, 2, 3], np.uint8))
    two = save(folders[0] / "c.png", np.zeros((20, 30), np.uint16))
    save(folders[1] / "c.png", INDICES)
    of_first = f"{folders[0] / 'a.png'} has 1 of uint8; expected all alike, so convert one kind to the other"
    assert lines(folders) == [
        f"{one}: has 3 channels of uint8, {of_first}",
        f"{two}: has 1 channels of uint16, {of_first}",
    ]


def test_masks_of_two_channels_or_deep_colours_are_refused(folders):
    save(folders[0] / "c.png", PLAIN)
    save(folders[1] / "c.npy", np.zeros((20, 30, 2), np.uint8))
    (folders[1] / "a.png").unlink()
    save(folders[1] / "a.npy", np.zeros((20, 30, 3), np.uint16))
    one, two = lines(folders)
    assert "a.npy: holds colours of uint16; expected 8 bits" in one
    assert "c.npy: has 2 channels; expected 1 (indices) or 3 (colours)" in two


def test_everything_wrong_is_listed_at_once(folders):
    images, masks = folders
    for name in "cdef":
        save(images / f"{name}.png", PLAIN)
        save(masks / f"{name}.png", INDICES)
    save(masks / "b.png", INDICES[:9])
    save(images / "c.png", np.full((20, 30, 3), [1, 2, 3], np.uint8))
    save(masks / "c.png", INDICES * 9)
    (images / "d.png").write_bytes(b"")
    (masks / "d.png").write_text("nothing")
    save(masks / "e.png", INDICES * 8)
    found = lines(folders, LINE, mistakes=["z.png: has no mask"])
    expected = [
        "z.png: has no mask", "b.png: is 9 x 30 pixels", "d.png: is empty (0 bytes)", "d.png: is no image of a known",
        "c.png: has 3 channels", "c.png: value 9", "e.png: value 8",
    ]  # fmt: skip
    assert len(found) == len(expected)
    for part, line in zip(expected, found, strict=True):
        assert part in line


def test_progress_moves_once_a_pair_even_past_a_bad_one(folders):
    (folders[0] / "a.png").write_bytes(b"")
    moves = []

    class Told(Progress):
        def start(self, label, total):
            moves.append((label, total))

        def step(self, count=1, note=""):
            moves.append(count)

        def stop(self):
            moves.append("stop")

    with pytest.raises(DataError):
        inspect(find_pairs(*folders), None, Told())
    assert moves == [("checking", 2), 1, 1, "stop"]
