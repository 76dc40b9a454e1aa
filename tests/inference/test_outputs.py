import json
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from patchseg.errors import UsageError
from patchseg.imaging import ArraySource, Box, open_image, open_raw
from patchseg.inference.jobs import Job, plan_jobs
from patchseg.inference.layers import layers
from patchseg.inference.outputs import Outputs
from patchseg.labels.region import Regions
from patchseg.parameters import InferParameters


def noise(*shape, dtype=np.uint8, high=256):
    return np.random.default_rng(0).integers(0, high, shape).astype(dtype)


def read(path, *, raw=True):
    with (open_raw if raw else open_image)(path) as source:
        return source.read(Box(0, 0, *source.shape[:2]))


def plan(images, folder="masks", **values):
    """Plan the jobs of images, each found beside the folder that it is named by."""
    found = [(Path(image), Path(Path(image).name)) for image in images]
    return plan_jobs(found, Path(folder), InferParameters(**values))


def probabilities_of(indices, classes=2):
    """Return probabilities (K, H, W) float32 whose highest are those of the indices."""
    others = 0.3 / (classes - 1)
    planes = [np.where(indices == index, 0.7, others) for index in range(classes)]
    return torch.from_numpy(np.stack(planes).astype(np.float32))


def rows_of(probabilities, *more):
    return layers(probabilities, len(probabilities), ["mask", "float16", *more])


def write(job, source, checkpoint, probabilities, *, rows=7, **settings):
    with Outputs(job, source, checkpoint, **settings) as outputs:
        for top in range(0, probabilities.shape[1], rows):
            outputs.write(rows_of(probabilities[:, top : top + rows]))


def test_a_job_names_its_files_by_the_stem_beside_the_folder_it_was_found_in():
    found = [(Path("in/plate 1/a.b.tif"), Path("plate 1/a.b.tif"))]
    (job,) = plan_jobs(found, Path("out"), InferParameters(probabilities=True, overlay=True, format="png"))
    assert job == Job(
        Path("in/plate 1/a.b.tif"), "plate 1/a.b", Path("out"), (0, 0), Path("out/plate 1/a.b.png"),
        {"probabilities": Path("out/probabilities/plate 1/a.b.tif")}, Path("out/overlays/plate 1/a.b.png"),
    )  # fmt: skip
    assert job.outputs == [job.mask, job.layers["probabilities"], job.overlay]


def test_every_output_has_a_folder_of_its_own():
    wanted = dict.fromkeys(
        ("probabilities", "confidence", "disagreement", "overlay", "polygons", "areas"), True
    )
    (job,) = plan(["in/a.png"], "out", **wanted)
    assert [path.as_posix() for path in job.outputs] == [
        "out/a.png", "out/probabilities/a.tif", "out/confidence/a.tif", "out/disagreement/a.tif", "out/overlays/a.png",
        "out/polygons/a.geojson", "out/.patchseg/areas/a.json",
    ]  # fmt: skip


@pytest.mark.parametrize(("older", "finished"), [("mask", False), ("image", True)])
def test_a_mask_is_finished_unless_the_image_has_changed_since(tmp_path, older, finished):
    (tmp_path / "out").mkdir()
    Image.fromarray(noise(4, 4)).save(tmp_path / "a.png")
    (job,) = plan([tmp_path / "a.png"], tmp_path / "out", overlay=True)
    assert not job.is_finished(0)
    job.mask.write_text("mask")
    assert not job.is_finished(0)
    job.overlay.parent.mkdir()
    job.overlay.write_text("overlay")
    os.utime(getattr(job, older), (1, 1))
    assert job.is_finished(0) is finished


def test_what_is_not_asked_for_is_not_written():
    (job,) = plan(["a.png"], "out")
    assert job.outputs == [Path("out/a.png")]


@pytest.mark.parametrize(("format", "suffix"), [("png", ".png"), ("tiff", ".tif")])
def test_the_format_of_a_mask_can_be_chosen(format, suffix):
    (job,) = plan(["a.jpg"], "out", format=format, overlay=True)
    assert [path.suffix for path in job.outputs] == [suffix, suffix]


@pytest.mark.parametrize(("rows", "suffix"), [(4000, ".png"), (4001, ".tif")])
def test_above_16_megapixels_a_mask_is_a_tiff(tmp_path, rows, suffix):
    tiles = (np.zeros((256, 256), np.uint8) for _ in range(16 * 16))
    tifffile.imwrite(
        tmp_path / "a.tif", tiles, shape=(rows, 4000), dtype=np.uint8, tile=(256, 256), compression="deflate"
    )
    (job,) = plan([tmp_path / "a.tif"], "out")
    assert job.mask == Path(f"out/a{suffix}")
    assert job.shape == (rows, 4000)
    assert job.is_large is (suffix == ".tif")


def test_equal_stems_are_refused():
    with pytest.raises(UsageError, match=r"two/a\.tif: would have the same mask masks/a as one/a\.png"):
        plan(["one/a.png", "b.png", "two/a.tif"])


def test_equal_names_in_different_folders_are_no_trouble():
    found = [(Path("in/one/a.png"), Path("one/a.png")), (Path("in/two/a.png"), Path("two/a.png"))]
    jobs = plan_jobs(found, Path("out"), InferParameters())
    assert [job.mask for job in jobs] == [Path("out/one/a.png"), Path("out/two/a.png")]


def test_an_image_is_never_replaced_by_its_mask(tmp_path):
    Image.fromarray(noise(4, 4)).save(tmp_path / "a.png")
    (tmp_path / "there").mkdir()
    with pytest.raises(
        UsageError, match=r"a\.png: is one of the images and would be replaced; choose another"
    ):
        plan([tmp_path / "a.png"], tmp_path / "there" / "..")
    assert plan([tmp_path / "a.png"], tmp_path, format="tiff")[0].mask == tmp_path / "a.tif"


@pytest.mark.parametrize("format", ["png", "tiff"])
def test_a_mask_holds_the_most_probable_classes_in_their_colours(tmp_path, make, format):
    indices = noise(20, 15, high=3)
    (job,) = plan(["a.png"], tmp_path, format=format)
    write(job, ArraySource(noise(20, 15)), make(classes=3), probabilities_of(indices, 3))
    np.testing.assert_array_equal(read(job.mask)[:, :, 0], indices)
    colors = np.array([[0, 0, 0], [230, 159, 0], [86, 180, 233]])
    np.testing.assert_array_equal(read(job.mask, raw=False), colors[indices])


def test_probabilities_are_float16_a_channel_a_class_and_sum_to_1(tmp_path, make):
    probabilities = torch.randn(3, 30, 11, generator=torch.Generator().manual_seed(0)).softmax(0)
    (job,) = plan(["a.png"], tmp_path, probabilities=True)
    write(job, ArraySource(noise(30, 11)), make(classes=3), probabilities)
    stored = read(job.layers["probabilities"])
    assert stored.dtype == np.float16
    np.testing.assert_array_equal(stored, probabilities.permute(1, 2, 0).half())
    # Half of a float16's last digit below 1, for each of three.
    np.testing.assert_allclose(stored.astype(np.float32).sum(2), 1, atol=3 * 2**-12)


def test_transparent_pixels_are_ignored_in_the_mask_only(tmp_path, make):
    alpha = np.ones((20, 9), np.uint8)
    alpha[3:9, 4:] = 0
    indices = noise(20, 9, high=2)
    (job,) = plan(["a.png"], tmp_path, probabilities=True)
    write(job, ArraySource(noise(20, 9), alpha=alpha), make(), probabilities_of(indices))
    np.testing.assert_array_equal(read(job.mask)[:, :, 0], np.where(alpha, indices, 255))
    assert np.isfinite(read(job.layers["probabilities"])).all()


def test_an_overlay_shows_the_image_where_the_background_is_and_mixes_in_the_colour_elsewhere(tmp_path, make):
    pixels, indices = noise(20, 9, 3), noise(20, 9, high=2)
    (job,) = plan(["a.png"], tmp_path, overlay=True)
    write(job, ArraySource(pixels), make(channels=3), probabilities_of(indices))
    shown = read(job.overlay).astype(int)
    assert shown.shape == (20, 9, 3)
    np.testing.assert_array_equal(shown[indices == 0], pixels[indices == 0])
    mixed = (pixels[indices == 1] + np.array([230.0, 159, 0])) / 2
    np.testing.assert_allclose(shown[indices == 1], mixed, atol=0.5)


@pytest.mark.parametrize(("channels", "dtype"), [(1, np.uint16), (2, np.float32), (5, np.uint16)])
def test_an_overlay_shows_other_images_within_two_deviations_of_their_mean(tmp_path, make, channels, dtype):
    # The checkpoint says 30000 and 15000: black is 0, white 60000.
    pixels = np.zeros((4, 4, channels), dtype)
    pixels[1], pixels[2] = 30000, 60000
    (job,) = plan(["a.png"], tmp_path, overlay=True)
    checkpoint = make(channels, dtype=np.dtype(dtype).name)
    write(job, ArraySource(pixels), checkpoint, probabilities_of(np.zeros((4, 4))), rows=1)
    assert read(job.overlay)[:, 0].tolist() == [[0] * 3, [127] * 3, [255] * 3, [0] * 3]


@pytest.mark.parametrize("format", ["png", "tiff"])
def test_nothing_is_left_of_an_image_that_fails_half_way(tmp_path, make, format):
    (job,) = plan(["a.png"], tmp_path / "out", format=format, probabilities=True, overlay=True)

    def fail_half_way():
        with Outputs(job, ArraySource(noise(20, 9)), make()) as outputs:
            outputs.write(rows_of(probabilities_of(np.zeros((10, 9)))))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_half_way()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("taken", ["probabilities", "overlays"])
def test_nothing_is_left_where_a_later_file_cannot_be_opened(tmp_path, make, taken):
    (tmp_path / taken).touch()  # a file where the folder should be
    (job,) = plan(["a.png"], tmp_path, format="tiff", probabilities=True, overlay=True)
    with pytest.raises(UsageError, match="cannot be written"):
        write(job, ArraySource(noise(20, 9)), make(), probabilities_of(np.zeros((20, 9))))
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [taken]


def test_outputs_carry_place_pixel_size_and_classes(tmp_path, make):
    image = tmp_path / "in/a.tif"
    image.parent.mkdir()
    place = [(33550, 12, 3, (2.0, 2.0, 0.0), True), (33922, 12, 6, (0.0, 0.0, 0.0, 10.0, 20.0, 0.0), True)]
    tifffile.imwrite(
        image, noise(20, 30), extratags=place, metadata=None, resolution=(5000, 5000), resolutionunit=3
    )
    (job,) = plan_jobs(
        [(image, Path("a.tif"))],
        tmp_path / "out",
        InferParameters(probabilities=True, overlay=True, pyramid=True),
    )
    assert (job.mask.suffix, job.pyramid) == (".tif", True)
    with open_image(image) as source:
        write(job, source, make(), probabilities_of(noise(20, 30, high=2)))
    for path in job.outputs:
        with tifffile.TiffFile(path) as file:
            tags = file.pages[0].tags
            assert tags[33922].value == (0.0, 0.0, 0.0, 10.0, 20.0, 0.0)
            assert tags["XResolution"].value == (5000, 1)
    with tifffile.TiffFile(job.mask) as file:
        described = json.loads(file.pages[0].description)["classes"]
    assert [(item["name"], item["value"]) for item in described] == [("class 0", 0), ("class 1", 1)]


def test_a_mask_can_be_ome_zarr_and_its_overlay_is_a_picture_still():
    (job,) = plan(["a.tif"], "out", format="zarr", overlay=True)
    assert job.outputs == [Path("out/a.zarr"), Path("out/overlays/a.png")]


def test_outside_of_a_region_a_mask_has_no_class(tmp_path, make):
    Image.fromarray(noise(20, 9)).save(tmp_path / "a.png")
    (job,) = plan([tmp_path / "a.png"], tmp_path / "out")
    region = Regions.parse("5,2,10,4", [(job.image, Path("a.png"))]).on(job.image, (20, 9))
    indices = noise(20, 9, high=2)
    write(job, ArraySource(noise(20, 9)), make(), probabilities_of(indices), region=region)
    inside = np.zeros((20, 9), bool)
    inside[5:15, 2:6] = True
    np.testing.assert_array_equal(read(job.mask)[:, :, 0], np.where(inside, indices, 255))


def test_outlines_and_areas_say_what_the_mask_says(tmp_path, make):
    Image.fromarray(noise(20, 9)).save(tmp_path / "a.png")
    (job,) = plan([tmp_path / "a.png"], tmp_path / "out", polygons=True, areas=True)
    indices = np.zeros((20, 9), np.uint8)
    indices[2:6, 1:4], indices[9:18, 5:8], indices[12, 6] = 1, 2, 0
    settings = {"parameters": InferParameters(smallest=13)}
    write(job, ArraySource(noise(20, 9)), make(classes=3), probabilities_of(indices, 3), **settings)
    (feature,) = json.loads(job.polygons.read_text())["features"]
    assert feature["properties"]["classification"]["name"] == "class 2"
    assert [len(ring) for ring in feature["geometry"]["coordinates"]] == [5, 5]
    assert json.loads(job.areas.read_text())["pixels"] == {
        "class 0": 180 - 12 - 26,
        "class 1": 12,
        "class 2": 26,
    }


def test_layers_of_numbers_are_stored_as_they_are(tmp_path, make):
    Image.fromarray(noise(20, 9)).save(tmp_path / "a.png")
    probabilities = torch.randn(3, 20, 9, generator=torch.Generator().manual_seed(0)).softmax(0)
    settings = InferParameters(probabilities=True, probability_type="uint8", confidence=True)
    (job,) = plan_jobs([(tmp_path / "a.png", Path("a.png"))], tmp_path / "out", settings)
    with Outputs(job, ArraySource(noise(20, 9)), make(classes=3), parameters=settings) as outputs:
        outputs.write(layers(probabilities, 3, ["mask", "uint8", "confidence"]))
    np.testing.assert_allclose(
        read(job.layers["probabilities"]) / 255, probabilities.permute(1, 2, 0), atol=0.5 / 255 + 1e-6
    )
    ordered = probabilities.sort(0, descending=True).values
    np.testing.assert_array_equal(read(job.layers["confidence"])[..., 0], (ordered[0] - ordered[1]).half())
