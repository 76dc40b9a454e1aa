import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from patchseg.errors import DataError, SomeFailed, UsageError
from patchseg.imaging import Box, open_raw
from patchseg.inference.infer import FAILURES, infer
from patchseg.inference.tiling import Grid
from patchseg.parameters import InferParameters
from patchseg.patches.pairs import RECORD

TILES = {"tile": (16, 16), "metadata": None}


def noise(*shape, seed=0, dtype=np.uint8):
    """Return soft noise, in which neighbours are alike and a network finds both classes."""
    coarse = np.random.default_rng(seed).uniform(0, 255, (-(-shape[0] // 5), -(-shape[1] // 5), *shape[2:]))
    return np.kron(coarse, np.ones((5, 5, *[1] * (len(shape) - 2))))[: shape[0], : shape[1]].astype(dtype)


def read(path):
    with open_raw(path) as source:
        return source.read(Box(0, 0, *source.shape[:2]))


def mask(path):
    return read(path)[:, :, 0]


def files(folder):
    """Return the relative paths of all files below a folder, hidden ones included."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def threshold(checkpoint):
    """Set the weights so that the logit of class 1 is (pixel - 128) / 16 and that of class 0 is 0."""
    for name, weight in checkpoint.weights.items():
        weight.zero_()
        if weight.ndim == 4 and name.startswith("down"):
            weight[0, 0, 1, 1] = 1
    checkpoint.weights["std"][:] = 16
    checkpoint.weights["head.weight"][1, 0] = 1
    checkpoint.weights["head.bias"][1] = -8
    return checkpoint


@pytest.fixture
def work(tmp_path, make):
    """Infer in a folder: `work(images, checkpoint=..., **parameters)`; images are named within the folder."""

    def work(*images, checkpoint=None, overwrite=False, progress=None, **values):
        (checkpoint or make()).save(tmp_path / "best.pt")
        # Small images have many tiles so.
        usual = {"tile": (checkpoint or make()).patch, "blend": "flat"}
        values = {"output": str(tmp_path / "masks"), "device": "cpu", "threads": 1} | usual | values
        return infer(
            [tmp_path / image for image in images], checkpoint=tmp_path / "best.pt",
            parameters=InferParameters(**values), overwrite=overwrite, progress=progress,
        )  # fmt: skip

    return work


@pytest.fixture
def images(tmp_path):
    """Write good images: in/a.png (40 x 33), in/b.tif (20 x 50) and in/c.npy (5 x 6), all gray."""
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(noise(40, 33)).save(folder / "a.png")
    tifffile.imwrite(folder / "b.tif", noise(20, 50, seed=1), **TILES)
    np.save(folder / "c.npy", noise(5, 6, seed=2))
    return folder


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_mask_is_the_argmax_of_the_average_of_all_tiles(tmp_path, work, make, naive, dtype):
    pixels = noise(61, 45, 3, dtype=dtype) * (1 if dtype == np.uint8 else 230)
    np.save(tmp_path / "a.npy", pixels.astype(dtype))
    checkpoint = make(channels=3, classes=3, dtype=np.dtype(dtype).name)
    work("a.npy", checkpoint=checkpoint, probabilities=True)
    expected = naive(pixels, checkpoint.network(), Grid((61, 45), 16))
    stored = read(tmp_path / "masks/probabilities/a.tif")
    np.testing.assert_allclose(stored, expected.transpose(1, 2, 0), atol=1e-3)
    second, first = np.sort(expected, axis=0)[-2:]
    clear = first - second > 1e-4
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(mask(tmp_path / "masks/a.png")[clear], expected.argmax(0)[clear])
    assert len(np.unique(expected.argmax(0))) == 3


def test_tile_overlap_and_blend_are_followed(tmp_path, work, make, images, naive):
    work("in/a.png", tile=24, overlap=0.25, blend="flat", probabilities=True)
    stored = read(tmp_path / "masks/probabilities/a.tif").transpose(2, 0, 1)
    expected = naive(noise(40, 33)[:, :, None], make().network(), Grid((40, 33), 24, 0.25))
    np.testing.assert_allclose(stored, expected, atol=1e-3)
    work("in/a.png", tile=24, overlap=0.25, blend="gaussian", probabilities=True, overwrite=True)
    assert np.abs(read(tmp_path / "masks/probabilities/a.tif").transpose(2, 0, 1) - expected).max() > 0.01


def test_which_images_belonged_together_is_recorded_for_evaluate(tmp_path, work, make, images):
    checkpoint = make()
    checkpoint.parameters["prepare.group"] = {"value": r"patient\d", "source": "flag"}
    work("in/c.npy", checkpoint=checkpoint)
    record = json.loads((tmp_path / "masks/parameters.effective.json").read_text(encoding="utf-8"))
    assert record["prepare.group"]["value"] == r"patient\d"


def test_containers_of_images_and_masks_make_no_difference(tmp_path, work, make):
    pixels = noise(70, 52)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "b.tif", pixels, compression="deflate", **TILES)
    tifffile.imwrite(tmp_path / "c.tif", pixels, rowsperstrip=3, byteorder=">")
    np.save(tmp_path / "d.npy", pixels)
    work("a.png", "b.tif", "c.tif", "d.npy", checkpoint=threshold(make(levels=1)))
    work("a.png", output=str(tmp_path / "tiffs"), format="tiff", checkpoint=threshold(make(levels=1)))
    expected = mask(tmp_path / "masks/a.png")
    assert set(np.unique(expected)) == {0, 1}
    for path in ("masks/b.png", "masks/c.png", "masks/d.png", "tiffs/a.tif"):
        np.testing.assert_array_equal(mask(tmp_path / path), expected)


@pytest.mark.parametrize(
    "wanted", [["in"], ["in/a.png", "in/b.tif", "in/c.npy"], ["in/*"], ["*/*.*"], ["in", "in/?.png"]]
)
def test_files_folders_and_globs_are_found(tmp_path, work, images, wanted):
    assert work(*wanted) == tmp_path / "masks"
    below = "in/" if wanted == ["*/*.*"] else ""
    assert files(tmp_path / "masks") == sorted([f"{below}{name}.png" for name in "abc"] + [RECORD])
    for name, shape in (("a", (40, 33)), ("b", (20, 50)), ("c", (5, 6))):
        assert mask(tmp_path / "masks" / f"{below}{name}.png").shape == shape


def test_a_path_that_leads_nowhere_is_refused(work):
    with pytest.raises(UsageError, match=r"none/\*\.tif: is no file, folder or glob that matches"):
        work("none/*.tif")


def test_equal_stems_are_refused_before_anything_is_written(tmp_path, work, images):
    np.save(images / "a.npy", noise(5, 6))
    with pytest.raises(UsageError, match=r"would have the same mask"):
        work("in")
    assert not (tmp_path / "masks").exists()


@pytest.mark.parametrize("there", ["a.png", "probabilities/a.tif", "overlays/a.png", RECORD])
def test_what_exists_is_only_replaced_on_request(tmp_path, work, images, there):
    path = tmp_path / "masks" / there
    path.parent.mkdir(parents=True)
    path.write_text("precious")
    with pytest.raises(UsageError, match=r"exists already; choose another output or give --overwrite"):
        work("in", probabilities=True, overlay=True)
    assert files(tmp_path / "masks") == [there]
    assert path.read_text() == "precious"
    (tmp_path / "masks" / RECORD).touch()
    work("in", probabilities=True, overlay=True, overwrite=True)
    assert path.read_bytes() != b"precious"


@pytest.mark.parametrize("there", ["a.png", "overlays/a.png"])
def test_masks_that_infer_has_not_written_are_never_replaced(tmp_path, work, images, there):
    path = tmp_path / "masks" / there
    path.parent.mkdir(parents=True)
    path.write_text("drawn by hand")
    with pytest.raises(
        UsageError, match=r"a\.png: was not written by infer \(no .+\), so --overwrite does not"
    ):
        work("in", overlay=True, overwrite=True)
    assert files(tmp_path / "masks") == [there]
    assert path.read_text() == "drawn by hand"


def test_what_exists_and_is_no_output_stays(tmp_path, work, images):
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks/notes.txt").write_text("precious")
    work("in/a.png")
    assert (tmp_path / "masks/notes.txt").read_text() == "precious"


def test_an_image_is_not_replaced_by_its_mask_even_on_request(tmp_path, work, images):
    before = (images / "a.png").read_bytes()
    with pytest.raises(UsageError, match="is one of the images and would be replaced"):
        work("in/*.png", output=str(images), overwrite=True)
    assert (images / "a.png").read_bytes() == before
    assert files(images) == ["a.png", "b.tif", "c.npy"]


def test_the_record_says_what_was_done_and_where_it_came_from(tmp_path, work, make, images):
    work("in", overlap=0.25, tile=None, blend="gaussian")
    record = json.loads((tmp_path / "masks" / RECORD).read_text())
    assert record["infer.tile"] == {"value": 256, "source": "plan"}
    assert record["infer.overlap"] == {"value": 0.25, "source": "call"}
    assert record["infer.blend"] == {"value": "gaussian", "source": "call"}
    assert record["infer.images"]["value"] == [str(images.resolve())]
    assert record["infer.checkpoint"]["value"] == str(tmp_path / "best.pt")
    assert record["data.classes"]["value"] == make().classes.to_json()
    computed = {key: entry["value"] for key, entry in record.items() if key.startswith("compute.")}
    digest = hashlib.sha256((tmp_path / "best.pt").read_bytes()).hexdigest()
    assert computed.pop("compute.checkpoint") == digest
    assert computed == {
        "compute.device": "CPU, 1 thread", "compute.threads": 1, "compute.precision": "fp32", "compute.tile_batch": 4,
    }  # fmt: skip
    assert all(entry.keys() == {"value", "source"} for entry in record.values())


def test_overlays_and_probabilities_have_the_size_of_the_image(tmp_path, work, make, images):
    work("in", probabilities=True, overlay=True, checkpoint=make(classes=3))
    for name, shape in (("a", (40, 33)), ("b", (20, 50)), ("c", (5, 6))):
        assert read(tmp_path / f"masks/overlays/{name}.png").shape == (*shape, 3)
        stored = read(tmp_path / f"masks/probabilities/{name}.tif")
        assert stored.shape == (*shape, 3)
        np.testing.assert_allclose(stored.astype(np.float32).sum(2), 1, atol=3 * 2**-12)


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_transparent_pixels_have_no_class(tmp_path, work, make, scale):
    pixels = np.concatenate([noise(30, 22, 3), np.full((30, 22, 1), 255, np.uint8)], axis=2)
    pixels[4:12, 7:, 3] = 0
    Image.fromarray(pixels).save(tmp_path / "a.png")
    work("a.png", checkpoint=make(channels=3, scale=scale))
    np.testing.assert_array_equal(mask(tmp_path / "masks/a.png") == 255, pixels[:, :, 3] == 0)


@pytest.mark.parametrize("scale", [0.5, 0.37, 2.0])
def test_a_scale_is_undone_in_the_mask(tmp_path, work, make, scale):
    rows, columns = np.ogrid[:101, :83]
    radius = np.hypot(rows - 48, columns - 44)
    pixels = np.where(radius < 30, 200, 50).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    work("a.png", checkpoint=threshold(make(scale=scale, levels=1)), overlay=True, probabilities=True)
    found = mask(tmp_path / "masks/a.png")
    assert found.shape == (101, 83)
    clear = np.abs(radius - 30) > 1 / min(scale, 1)
    np.testing.assert_array_equal(found[clear], (radius < 30)[clear])
    assert (found == (radius < 30)).mean() > 0.98
    stored = read(tmp_path / "masks/probabilities/a.tif").astype(np.float32)
    np.testing.assert_allclose(stored.sum(2), 1, atol=2 * 2**-12)


def test_the_network_sees_the_image_at_its_scale(tmp_path, work, make):
    # Stripes of a column each, dark and bright; at half the size they melt into one gray above the threshold.
    pixels = np.tile(np.array([60, 240], np.uint8), (60, 30))
    Image.fromarray(pixels).save(tmp_path / "a.png")
    for scale, expected in ((1.0, pixels > 128), (0.5, np.ones((60, 60)))):
        work("a.png", checkpoint=threshold(make(scale=scale, levels=1)), overwrite=True)
        np.testing.assert_array_equal(mask(tmp_path / "masks/a.png"), expected)


def write_truncated(path):
    """Write a tiled TIFF whose first rows of tiles are there and whose last are not."""
    tifffile.imwrite(path, noise(400, 300), compression="deflate", **TILES)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def write_cut_png(path):
    Image.fromarray(noise(100, 100)).save(path.with_suffix(".png"))
    cut = path.with_suffix(".png").read_bytes()[:-40]
    path.with_suffix(".png").unlink()
    path.write_bytes(cut)


BAD = {
    "three channels": (lambda path: tifffile.imwrite(path, noise(20, 20, 3)), "has 3 channels, the model expects 1"),
    "16 bits": (lambda path: tifffile.imwrite(path, noise(20, 20, dtype=np.uint16)), "holds uint16, the model has learned uint8"),
    "truncated": (write_truncated, "is truncated or damaged"),
    "cut": (write_cut_png, "is truncated or damaged"),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "text": (lambda path: path.write_text("no image"), "is no image of a known format"),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_image_among_good_ones_is_named_and_the_others_are_done(tmp_path, work, images, bad):
    spoil, sentence = BAD[bad]
    spoil(images / "b.tif")
    with pytest.raises(SomeFailed) as caught:
        work("in", probabilities=True, overlay=True)
    assert caught.value.exit_code == 4
    assert str(caught.value).startswith(f"{images / 'b.tif'}: {sentence}")
    assert "\n" not in str(caught.value)
    expected = [f"{folder}{name}.png" for folder in ("", "overlays/") for name in "ac"]
    expected += [f"probabilities/{name}.tif" for name in "ac"]
    assert files(tmp_path / "masks") == sorted([*expected, RECORD, FAILURES])
    (failure,) = json.loads((tmp_path / "masks" / FAILURES).read_text())["failures"]
    assert failure == {"image": str(images / "b.tif"), "error": str(caught.value)}


def test_a_number_that_is_none_is_named_by_its_place(tmp_path, work, make):
    pixels = noise(90, 20, dtype=np.float32)
    np.save(tmp_path / "good.npy", pixels)
    pixels[71, 3] = np.nan
    np.save(tmp_path / "bad.npy", pixels)
    with pytest.raises(SomeFailed, match=r"bad\.npy: holds NaN or infinity, first at row 71, column 3"):
        work("bad.npy", "good.npy", checkpoint=make(dtype="float32"))
    assert files(tmp_path / "masks") == [FAILURES, "good.png", RECORD]


def test_where_all_images_are_bad_all_are_named(tmp_path, work, images):
    for name, bad in (("a.png", "cut"), ("b.tif", "16 bits"), ("c.npy", "text")):
        BAD[bad][0](images / name)
    with pytest.raises(DataError) as caught:
        work("in")
    assert caught.value.exit_code == 3
    assert [Path(line.split(": ")[0]).name for line in str(caught.value).splitlines()] == [
        "a.png",
        "b.tif",
        "c.npy",
    ]
    assert files(tmp_path / "masks") == []  # nothing stands in the way of the next try


def test_each_page_of_a_stack_is_an_image_though_the_network_has_learned_from_single_ones(tmp_path, work):
    pages = np.stack([noise(40, 33, seed=seed) for seed in range(3)])
    tifffile.imwrite(tmp_path / "stack.tif", pages, metadata=None, photometric="minisblack", tile=(16, 16))
    write_truncated(tmp_path / "cut.tif")
    for number, page in enumerate(pages, 1):
        tifffile.imwrite(tmp_path / f"single_{number}.tif", page, metadata=None)
    with pytest.raises(SomeFailed, match=r"cut\.tif: is truncated or damaged"):
        work("*.tif", probabilities=True)
    for number in (1, 2, 3):
        for name in (f"single_{number}.png", f"stack_{number}.png"):
            assert (tmp_path / "masks" / name).exists()
        one, other = (tmp_path / f"masks/probabilities/{kind}_{number}.tif" for kind in ("single", "stack"))
        np.testing.assert_array_equal(read(one), read(other))


def test_a_damaged_checkpoint_is_refused_before_anything_is_written(tmp_path, images):
    (tmp_path / "best.pt").write_text("no checkpoint")
    with pytest.raises(DataError, match=r"best\.pt: is damaged or no checkpoint"):
        infer(
            [images],
            checkpoint=str(tmp_path / "best.pt"),
            parameters=InferParameters(output=str(tmp_path / "masks")),
        )
    assert not (tmp_path / "masks").exists()


def test_it_says_first_what_it_takes_and_counts_the_rows_of_each_image(work, images, hear):
    told = hear()
    work("in", progress=told)
    (line,) = told.lines
    assert re.fullmatch(
        r"3 images on CPU, 1 thread; at most [\d.]+ [MG]B \(process [\d.]+ [MG]B, (network .+, )?sums less than 1 MB, "
        r"finished rows less than 1 MB, source less than 1 MB, decoding less than 1 MB, writing less than 1 MB, "
        r"gaps less than 1 MB\)",
        line,
    )
    assert told.bars == [["1/3 a.png", 40, 40], ["2/3 b.tif", 20, 20], ["3/3 c.npy", 5, 5]]


def test_the_memory_it_announces_grows_with_the_width_and_not_with_the_height(tmp_path, work, make, hear):
    announced = []
    for shape in ((200, 100_000), (20_000, 1000), (200, 1000)):
        np.save(tmp_path / "a.npy", np.zeros(shape, np.uint8))
        told = hear()
        work("a.npy", checkpoint=make(width=1, levels=1, patch=100), progress=told, overwrite=True)
        announced.append([int(text) for text in re.findall(r"(?:sums|rows|source) (\d+) MB", told.lines[0])])
    # 1e5 columns, 2 classes of 4 bytes: 100 rows of sums; 100 finished ones, and 16 bytes for each of their pixels; of the
    # source, and 200 columns beside, 200 rows and three times 50 of a byte.
    assert announced == [[80, 240, 35], [2], [2]]


def test_the_global_generator_of_torch_stays_as_it_was(work, images):
    before = torch.get_rng_state()
    work("in/c.npy")
    assert torch.equal(torch.get_rng_state(), before)
