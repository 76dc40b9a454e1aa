"""What pretrain learns from: patches of images without masks, or of a patches file, with their regions for masks."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from tifffile import imwrite

from patchseg.errors import DataError, UsageError
from patchseg.imaging import Box
from patchseg.parameters import DataParameters, PrepareParameters
from patchseg.patches.regions import regions_of
from patchseg.patches.regions_file import REGIONS, cut_regions, is_of_regions
from patchseg.patches.sampling import cut
from patchseg.patches.store import PatchFile
from patchseg.progress import Progress


class Lines(Progress):
    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


def cutting(images, output, *, data=None, progress=None, **values):
    return cut_regions(
        Path(images), output, prepare=PrepareParameters(**{"patch": 16, "per_image": 5} | values),
        data=data or DataParameters(), progress=progress or Progress(),
    )  # fmt: skip


def blocks(side, seed, channels=()):
    """Return an image of blocks of 8 pixels, of a shade each, and some noise."""
    draw = np.random.default_rng(seed)
    shades = draw.integers(20, 230, (-(-side // 8), -(-side // 8), *channels), dtype=np.uint8)
    image = shades.repeat(8, 0).repeat(8, 1)[:side, :side]
    return image + draw.integers(0, 3, image.shape, dtype=np.uint8)


@pytest.fixture
def images(tmp_path):
    """A folder of three gray images of 40 pixels, in a folder of their own."""
    (tmp_path / "images/deep").mkdir(parents=True)
    for number, name in enumerate(["b", "a", "c"]):
        Image.fromarray(blocks(40, number)).save(tmp_path / f"images/deep/{name}.png")
    return tmp_path / "images"


def test_each_patch_is_a_piece_of_its_image_with_the_regions_of_that_piece(images, tmp_path):
    with PatchFile(cutting(images, tmp_path / "p.h5", margin=3)) as file, h5py.File(tmp_path / "p.h5") as raw:
        assert file.counts == {"train": 15, "val": 0, "unlabelled": 0}
        assert (file.head.patch, file.head.margin, file.region_names()) == (16, 3, [])
        pixels, masks = file.read("train")
        boxes, sources = raw["train/box"][()], raw["train/source"][()]
        for patch, mask, box, source in zip(pixels, masks, boxes, sources, strict=True):
            whole = np.asarray(Image.open(file.unlabelled_sources[source]))[..., None]
            assert (patch == cut(whole, Box(*map(int, box)))).all()
            assert (mask == regions_of(patch)).all()
            assert len(np.unique(mask)) > 2
        assert is_of_regions(file.head)
        assert not any(raw["train/flip"])
        assert [path.name for path in file.unlabelled_sources] == ["a.png", "b.png", "c.png"]
        everything = np.stack([np.asarray(Image.open(path)) for path in file.unlabelled_sources])
        (channel,) = file.head.channels
        assert channel["name"] == "gray"
        assert channel["mean"] == pytest.approx(everything.mean())
        assert channel["std"] == pytest.approx(everything.std())


def test_the_same_images_give_the_same_file_and_a_seed_another(images, tmp_path):
    digests = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        with PatchFile(cutting(images, tmp_path / f"{name}.h5", seed=seed)) as file:
            digests.append(file.head.sha256)
    assert digests[0] == digests[1] != digests[2]


def test_a_file_that_is_there_stays_unless_it_is_of_something_else(images, tmp_path):
    output = cutting(images, tmp_path / "p.h5")
    before = output.stat().st_mtime_ns
    assert cutting(images, output).stat().st_mtime_ns == before
    assert cutting(images, output, per_image=6).stat().st_mtime_ns > before
    with PatchFile(output) as file:
        assert file.counts["train"] == 18


def test_the_side_of_a_patch_is_planned_and_told(images, tmp_path):
    told = Lines()
    with PatchFile(cutting(images, tmp_path / "p.h5", patch=None, progress=told)) as file:
        assert file.head.patch == 32
    assert told.lines == [
        "patch 32: the largest multiple of 16 that fits into the images (their shorter sides: 40 px in the median)"
    ]


def test_gray_that_is_stored_as_rgb_is_one_channel_unless_one_image_is_in_colour(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(2):
        Image.fromarray(blocks(40, number)).convert("RGB").save(folder / f"{number}.png")
    with PatchFile(cutting(folder, tmp_path / "p.h5")) as file:
        assert [channel["name"] for channel in file.head.channels] == ["gray"]
    Image.fromarray(blocks(40, 5, (3,))).save(folder / "2.png")
    with PatchFile(cutting(folder, tmp_path / "q.h5")) as file:
        assert [channel["name"] for channel in file.head.channels] == ["red", "green", "blue"]


def test_all_that_is_wrong_with_images_is_told_at_once(images, tmp_path):
    (images / "deep/d.png").write_bytes(b"no image")
    imwrite(images / "deep/e.tif", np.zeros((30, 30), np.uint16))
    with pytest.raises(DataError) as told:
        cutting(images, tmp_path / "p.h5")
    lines = str(told.value).splitlines()
    assert len(lines) == 2
    assert "d.png: " in lines[0]
    assert "e.tif: has 1 channels of uint16" in lines[1]
    assert not (tmp_path / "p.h5").exists()


def test_what_is_no_folder_and_no_patches_file_is_told(tmp_path):
    with pytest.raises(UsageError, match=r"nothing: is no folder; expected one with images"):
        cutting(tmp_path / "nothing", tmp_path / "p.h5")
    (tmp_path / "list.txt").write_text("a.png b.png")
    with pytest.raises(DataError, match=r"list\.txt: is no HDF5 file"):
        cutting(tmp_path / "list.txt", tmp_path / "p.h5")


def test_images_of_which_no_pixel_is_there_are_told(tmp_path):
    (tmp_path / "images").mkdir()
    Image.fromarray(np.zeros((30, 30, 4), np.uint8)).save(tmp_path / "images/a.png")
    with pytest.raises(DataError, match=r"a\.png: is transparent everywhere"):
        cutting(tmp_path / "images", tmp_path / "p.h5")


@pytest.fixture
def some_patches(tmp_path, write, run):
    """A patches file of three labelled images, one of them to validate, and of three without masks."""
    write(tmp_path / "labelled", dict.fromkeys("abc", (40, 40)))
    write(tmp_path / "more", dict.fromkeys("def", (40, 40)), seed=1)
    return run(tmp_path / "labelled", margin=2, per_image=4, unlabelled=str(tmp_path / "more/images"))


def test_of_a_patches_file_all_is_taken_but_flips_and_what_is_for_validation(tmp_path, some_patches):
    told = Lines()
    with (
        PatchFile(some_patches) as file,
        PatchFile(cutting(some_patches, tmp_path / "p.h5", progress=told)) as made,
    ):
        assert file.counts["val"] > 0 < len(file.region_names())
        assert made.counts == {"train": 2 * 4 + 3 * 4, "val": 0, "unlabelled": 0}
        assert made.region_names() == []
        labelled, spare = file.read("train")[0][::4], file.read("unlabelled")[0]
        images, masks = made.read("train")
        assert (images == np.concatenate([labelled, spare])).all()
        assert (masks == np.stack([regions_of(image) for image in images])).all()
        assert (made.head.patch, made.head.margin) == (file.head.patch, file.head.margin) == (16, 2)
        assert made.head.channels == file.head.channels
        assert made.head.classes == REGIONS
    assert told.lines == [
        f"20 patches of {some_patches}, those with labels too; nothing for validation is among them"
    ]
