"""Which files are found, what a pixel is told to be, and what is refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from patchseg.errors import DataError
from patchseg.parameters import DataParameters
from patchseg.progress import Progress
from patchseg.view.opening import open_shown


@pytest.fixture
def shown():
    """Open files as `view` does, and close them at the end."""
    opened = []

    def open_(image: Path, mask: Path | None = None, **data: object):
        opened.append(open_shown(image, mask, DataParameters(**data), Progress()))
        return opened[-1]

    yield open_
    for one in opened:
        one.close()


def test_what_infer_has_laid_beside_the_mask_is_found(job, shown):
    found = shown(job.image, job.mask)
    assert [layer.id for layer in found.layers] == [
        "image", "mask", "confidence", "disagreement", "probability-0", "probability-1", "probability-2",
    ]  # fmt: skip
    assert [layer.id for layer in found.layers if layer.on] == ["image", "mask"]
    assert found.layers[-1].title == "Probability of ellipse"


def test_layers_are_found_for_a_mask_in_a_folder_below_the_record(job, shown):
    masks = job.mask.parent
    for file in [job.mask, *masks.glob("*/a.tif")]:
        below = file.parent / "slides"
        below.mkdir()
        shutil.move(file, below / file.name)
    assert len(shown(job.image, masks / "slides/a.png").layers) == 7


def test_an_image_alone_is_looked_at_too(job, shown):
    found = shown(job.image)
    assert [layer.id for layer in found.layers] == ["image"]
    assert found.describe()["classes"] == []
    assert found.pixel(3, 4) == {"row": 3, "column": 4, "image": job.pixels[3, 4].tolist()}


def test_an_image_on_a_map_has_no_scale_in_micrometres(tmp_path, shown):
    scale = (33550, 12, 3, (2.0, 3.0, 0.0), True)  # and a density, which is that of a print
    pixels = np.zeros((20, 30), np.uint8)
    tifffile.imwrite(
        tmp_path / "map.tif",
        pixels,
        metadata=None,
        extratags=[scale],
        resolution=(5000, 5000),
        resolutionunit=3,
    )
    assert shown(tmp_path / "map.tif").describe()["pixel_size"] is None


def test_the_page_is_told_sizes_channels_and_the_size_of_a_pixel(job, shown):
    told = shown(job.image, job.mask).describe()
    assert (told["height"], told["width"], told["first"], told["last"]) == (300, 400, 8, 9)
    assert told["channels"] == ("red", "green", "blue")
    assert told["pixel_size"] == pytest.approx((0.5, 0.5))
    assert [entry["place"] for entry in told["classes"]] == [0, 1, 2]


def test_a_pixel_is_told_in_all_layers(job, shown):
    found = shown(job.image, job.mask).pixel(220, 120)
    assert found["image"] == job.pixels[220, 120].tolist()
    assert found["mask"] == {"value": 2, "index": 2, "name": "ellipse"}
    assert found["probabilities"] == pytest.approx([0.1, 0.1, 0.8], abs=1e-3)
    assert (found["confidence"], found["disagreement"]) == (0.75, 0.25)


def test_without_its_file_confidence_is_the_lead_of_the_first_probability(job, shown):
    (job.mask.parent / "confidence/a.tif").unlink()
    assert shown(job.image, job.mask).pixel(220, 120)["confidence"] == pytest.approx(0.7, abs=1e-3)


def test_probabilities_in_bytes_are_told_as_shares(job, shown):
    tifffile.imwrite(
        job.mask.parent / "probabilities/a.tif", np.full((300, 400, 2), 51, np.uint8), planarconfig="contig"
    )
    assert shown(job.image, job.mask).pixel(0, 0)["probabilities"] == pytest.approx([0.2, 0.2])


@pytest.mark.parametrize("place", [(300, 0), (0, 400), (-1, 0)])
def test_there_are_no_pixels_beside_the_image(job, shown, place):
    assert shown(job.image, job.mask).pixel(*place) is None


def test_numbers_of_16_bits_are_shown_between_their_percentiles(tmp_path, shown):
    ramp = np.linspace(1000, 3000, 10_000).astype(np.uint16).reshape(100, 100)
    tifffile.imwrite(tmp_path / "a.tif", ramp)
    found = shown(tmp_path / "a.tif")
    low, high = found.about["contrast"]
    assert (low, high) == pytest.approx((1020, 2980), abs=15)
    tile, _ = found.layers[0].scene.tile(7, 0, 0)
    assert (tile[0, 0, 0], tile[99, 99, 0]) == (0, 255)
    assert abs(int(tile[50, 0, 0]) - 128) <= 2


def test_the_page_of_a_stack_is_chosen_as_elsewhere(tmp_path, shown):
    stack = np.arange(3 * 20 * 30, dtype=np.uint16).reshape(3, 20, 30)
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
    assert shown(tmp_path / "a.tif", pages=2).pixel(1, 2)["image"] == [stack[1, 1, 2]]
    with pytest.raises(DataError, match="is a stack of 3 pages"):
        shown(tmp_path / "a.tif")


def test_a_mask_or_layer_of_another_size_is_refused(job, tmp_path, shown):
    Image.new("L", (400, 299)).save(tmp_path / "small.png")
    with pytest.raises(
        DataError, match=r"small.png: its mask is 299 x 400 pixels, the image .+ is 300 x 400; rows x columns"
    ):
        shown(job.image, tmp_path / "small.png")
    tifffile.imwrite(job.mask.parent / "confidence/a.tif", np.zeros((10, 10), np.float16))
    with pytest.raises(DataError, match="its confidence is 10 x 10 pixels"):
        shown(job.image, job.mask)


def test_files_that_are_missing_or_no_images_are_told(job, tmp_path, shown):
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(DataError, match=r"none\.tif: cannot be read \(no such file or directory\)"):
        shown(tmp_path / "none.tif")
    with pytest.raises(DataError, match=r"text\.png: is no image of a known format"):
        shown(job.image, tmp_path / "text.png")
