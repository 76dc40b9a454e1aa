"""What users wish of `infer` besides masks of whole images: parts, blank tiles, pixel sizes, doubts, proofs."""

import json
import re

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from patchseg.errors import SomeFailed, UsageError
from patchseg.imaging import Box, open_raw
from patchseg.inference.infer import FAILURES, infer
from patchseg.inference.tiling import Grid
from patchseg.parameters import InferParameters


def noise(*shape, seed=0):
    """Return soft noise without a value 0."""
    coarse = np.random.default_rng(seed).uniform(1, 255, (-(-shape[0] // 5), -(-shape[1] // 5)))
    return np.kron(coarse, np.ones((5, 5)))[: shape[0], : shape[1]].astype(np.uint8)


def read(path):
    with open_raw(path) as source:
        return source.read(Box(0, 0, *source.shape[:2]))


def mask(path):
    return read(path)[:, :, 0]


@pytest.fixture
def work(tmp_path, make):
    """Infer in a folder, into another one each time: `work("a.npy", checkpoint=..., **parameters)` returns it."""
    runs = []

    def work(*images, checkpoint=None, progress=None, **values):
        runs.append(tmp_path / f"masks {len(runs)}")
        (checkpoint or make()).save(tmp_path / "best.pt")
        usual = {"blend": "flat"} | ({"tile": 16} if values.get("blend") != "exact" else {})
        values = {"output": str(runs[-1]), "device": "cpu", "threads": 1} | usual | values
        return infer(
            [tmp_path / image for image in images], checkpoint=tmp_path / "best.pt",
            parameters=InferParameters(**values), progress=progress,
        )  # fmt: skip

    return work


@pytest.fixture
def predicted():
    """Count the tiles that reach a network; 0, which fills up batches, and 1, which measures memory, do not count."""
    count = []

    def look(module, given):
        if type(module).__name__ == "UNet":
            count.extend([1] * int((given[0] > 1).flatten(1).any(1).sum()))

    hook = torch.nn.modules.module.register_module_forward_pre_hook(look)
    yield count
    hook.remove()


SQUARE = [[30, 22], [61, 22], [61, 49], [30, 49], [30, 22]]  # across, down
TRIANGLE = [[70, 5], [95, 5], [70, 30], [70, 5]]


def draw(file):
    shapes = [
        {
            "type": "Feature",
            "properties": {"classification": {"name": name}},
            "geometry": {"type": "Polygon", "coordinates": [ring]},
        }
        for name, ring in (("tissue", SQUARE), ("other", TRIANGLE))
    ]
    file.write_text(json.dumps({"type": "FeatureCollection", "features": shapes}))


def drawn(shape):
    """Return the pixels of square and triangle, (H, W) bool: those whose centre is inside, or on the slanted edge."""
    rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
    square = (rows > 22) & (rows < 49) & (columns > 30) & (columns < 61)
    return square | ((rows > 5) & (columns > 70) & (rows - 5 + columns - 70 <= 25))


@pytest.mark.parametrize("scale", [1.0, 0.5, 1.7])
@pytest.mark.parametrize("values", [{}, {"blend": "gaussian"}, {"blend": "exact", "tile": 40}])
def test_inside_of_a_region_the_mask_is_that_of_the_whole_image_and_outside_it_is_ignored(
    tmp_path, work, make, scale, values
):
    np.save(tmp_path / "a.npy", noise(91, 107))
    draw(tmp_path / "region.geojson")
    checkpoint = make(classes=3, scale=scale)
    whole = work("a.npy", checkpoint=checkpoint, probabilities=True, **values)
    box = np.zeros((91, 107), bool)
    box[33:57, 41:101] = True
    for roi, inside in (("33,41,24,60", box), (str(tmp_path / "region.geojson"), drawn((91, 107)))):
        part = work("a.npy", checkpoint=checkpoint, probabilities=True, roi=roi, **values)
        np.testing.assert_array_equal(mask(part / "a.png")[inside], mask(whole / "a.png")[inside])
        assert (mask(part / "a.png")[~inside] == 255).all()
        shares = read(part / "probabilities/a.tif")
        np.testing.assert_array_equal(shares[inside], read(whole / "probabilities/a.tif")[inside])
        assert not shares[~inside].any()
    assert len(np.unique(mask(whole / "a.png")[box])) > 1


def test_tiles_outside_of_a_region_are_not_predicted(tmp_path, work, predicted):
    np.save(tmp_path / "a.npy", noise(91, 107))
    draw(tmp_path / "region.geojson")
    inside = drawn((91, 107))
    touched = sum(inside[box.slices].any() for box in Grid((91, 107), 16))
    work("a.npy")
    assert len(predicted) == len(Grid((91, 107), 16))
    predicted.clear()
    work("a.npy", roi=str(tmp_path / "region.geojson"))
    assert len(predicted) == touched < len(Grid((91, 107), 16)) / 2


def test_boxes_outside_of_images_are_all_told_before_anything_is_written(tmp_path, work):
    for name, shape in (("a", (20, 30)), ("b", (50, 30)), ("c", (30, 20))):
        np.save(tmp_path / f"{name}.npy", noise(*shape))
    with pytest.raises(UsageError) as told:
        work("?.npy", roi="30,0,10,10")
    lines = str(told.value).splitlines()
    assert [re.search(r"lies outside of \S*(\w)\.npy", line)[1] for line in lines] == ["a", "c"]
    assert not list(tmp_path.glob("masks*"))
    assert (mask(work("b.npy", roi="30,0,100,100") / "b.png") != 255).sum() == 20 * 30


def test_an_empty_region_is_a_mistake_and_not_the_whole_image(tmp_path, work):
    np.save(tmp_path / "a.npy", noise(20, 30))
    with pytest.raises(UsageError, match="is neither a box nor a file"):
        work("a.npy", roi="")


def positive(checkpoint):
    """Have the network find class 1 everywhere."""
    checkpoint.weights["head.bias"][1] = 50
    return checkpoint


def test_blank_tiles_are_background_unpredicted_and_change_nothing_where_they_do_not_reach(
    tmp_path, work, make, predicted
):
    pixels = noise(80, 120)
    pixels[:, 60:] = 200
    pixels[40:60, 70:90] = 199  # of one colour too, but with the other around it
    np.save(tmp_path / "a.npy", pixels)
    plain = mask(work("a.npy", checkpoint=positive(make())) / "a.png")
    assert (plain == 1).all()
    predicted.clear()
    found = mask(work("a.npy", checkpoint=positive(make()), skip_blank=True) / "a.png")
    blank, reached = np.zeros((2, 80, 120), bool)
    boxes = [box for box in Grid((80, 120), 16) if len(np.unique(pixels[box.slices])) == 1]
    others = np.zeros((80, 120), bool)
    for box in Grid((80, 120), 16):
        (reached if box in boxes else others)[box.slices] = True
    blank = reached & ~others
    assert blank.any()
    assert (found[blank] == 0).all()
    np.testing.assert_array_equal(found[~reached], plain[~reached])
    assert len(predicted) == len(Grid((80, 120), 16)) - len(boxes)


def write_tiff(path, pixels, micrometres):
    tifffile.imwrite(
        path, pixels, resolution=(10_000 / micrometres, 10_000 / micrometres), resolutionunit="CENTIMETER"
    )


def test_a_pixel_size_is_a_scale_by_what_the_file_says(tmp_path, work, make):
    pixels = noise(90, 110)
    write_tiff(tmp_path / "a.tif", pixels, 0.5)
    write_tiff(tmp_path / "b.tif", pixels, 1.0)
    half, whole = make(classes=3, scale=0.5), make(classes=3)
    scaled = read(work("a.tif", checkpoint=half, probabilities=True) / "probabilities/a.tif")
    plain = read(work("a.tif", checkpoint=whole, probabilities=True) / "probabilities/a.tif")
    assert np.abs(scaled - plain).max() > 0.01
    sized = work("?.tif", checkpoint=whole, probabilities=True, pixel_size=1.0) / "probabilities"
    np.testing.assert_array_equal(read(sized / "a.tif"), scaled)
    np.testing.assert_array_equal(read(sized / "b.tif"), plain)
    # What was trained at half the size of images of 0.5 µm works at half the size of such images.
    again = work("a.tif", checkpoint=half, probabilities=True, pixel_size=0.5)
    np.testing.assert_array_equal(read(again / "probabilities/a.tif"), scaled)


def test_an_image_without_a_pixel_size_is_named_and_the_others_are_done(tmp_path, work, hear):
    write_tiff(tmp_path / "a.tif", noise(30, 30), 0.5)
    Image.fromarray(noise(30, 200)).save(tmp_path / "b.png")  # the widest
    told = hear()
    with pytest.raises(SomeFailed, match=r"b\.png: does not say how large its pixels are") as caught:
        work("a.tif", "b.png", pixel_size=1.0, progress=told)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "masks 0/a.png").exists()
    (failure,) = json.loads((tmp_path / "masks 0" / FAILURES).read_text())["failures"]
    assert failure["image"] == str(tmp_path / "b.png")
    assert told.lines[0].startswith("2 images on CPU, 1 thread; at most ")


def test_what_does_not_fit_into_memory_leaves_no_folder(tmp_path, work):
    np.save(tmp_path / "a.npy", noise(20, 30))
    with pytest.raises(Exception, match="out of memory"):
        work("a.npy", max_memory=10_000)
    assert not list(tmp_path.glob("masks*"))


def test_where_one_tile_covers_a_pixel_nothing_disagrees(tmp_path, work):
    np.save(tmp_path / "a.npy", noise(48, 64))
    apart = work("a.npy", overlap=0.0, disagreement=True)
    assert read(apart / "disagreement/a.tif").max() < 1e-3
    beside = read(work("a.npy", disagreement=True) / "disagreement/a.tif")[:, :, 0]
    assert beside.max() > 1e-3
    corner = beside[:8, :8]  # of the first tile alone
    assert corner.max() < 1e-3


def test_two_tiles_disagree_by_the_entropy_that_they_do_not_share(tmp_path, work, make):
    pixels, checkpoint = noise(16, 24), make()
    checkpoint.weights["head.weight"].mul_(8)  # so that they differ by much
    np.save(tmp_path / "a.npy", pixels)
    found = read(work("a.npy", checkpoint=checkpoint, disagreement=True) / "disagreement/a.tif")[:, :, 0]
    shares = []
    for left in (0, 8):
        tile = torch.from_numpy(pixels[None, None, :, left : left + 16].astype(np.float32))
        with torch.no_grad():
            shares.append(checkpoint.network()(tile)[0].double().softmax(0).numpy())
    one, two = shares[0][:, :, 8:], shares[1][:, :, :8]

    def entropy(p):
        return -(p * np.log(p)).sum(0)

    expected = entropy((one + two) / 2) - (entropy(one) + entropy(two)) / 2
    assert expected.max() > 0.01
    np.testing.assert_allclose(found[:, 8:16], expected, atol=1e-3)
    assert found[:, :8].max() == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(("blend", "bounds"), [("exact", (0, 1e-5)), ("flat", (1e-3, 1))])
def test_verify_tells_the_difference_for_each_image(tmp_path, work, blend, bounds, hear):
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", noise(90, 110))
    told = hear()
    work("?.npy", blend=blend, tile=40, verify=True, progress=told)
    pattern = r"(\w)\.npy: differs from one big forward pass by (\S+) at most"
    found = [match.groups() for line in told.lines if (match := re.search(pattern, line))]
    assert [name for name, _ in found] == ["a", "b"]
    assert all(bounds[0] <= float(number) < bounds[1] for _, number in found)


def test_several_checkpoints_are_averaged_and_all_recorded(tmp_path, make):
    np.save(tmp_path / "a.npy", noise(40, 50))
    make(classes=3).save(tmp_path / "one.pt")
    make(classes=3, levels=3).save(tmp_path / "two.pt")
    found = []
    for files in (["one.pt"], ["two.pt"], ["one.pt", "two.pt"]):
        folder = infer(
            [tmp_path / "a.npy"], checkpoint=[tmp_path / file for file in files],
            parameters=InferParameters(
                output=str(tmp_path / f"masks {len(found)}"), probabilities=True, device="cpu", threads=1
            ),
        )  # fmt: skip
        found.append(read(folder / "probabilities/a.tif").astype(np.float32))
    assert np.abs(found[0] - found[1]).max() > 0.01
    np.testing.assert_allclose(found[2], (found[0] + found[1]) / 2, atol=1e-3)
    record = json.loads((folder / "parameters.effective.json").read_text())
    assert record["infer.checkpoint"]["value"] == f"{tmp_path / 'one.pt'},{tmp_path / 'two.pt'}"
    assert len(record["compute.checkpoint"]["value"].split(",")) == 2
