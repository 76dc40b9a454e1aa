"""Images that are datasets of HDF5 files, or Zarr folders: in lists, as arguments, and through prepare."""

import h5py
import numpy as np
import pytest
from PIL import Image

from patchseg.parameters import PrepareParameters
from patchseg.patches.lists import read_list
from patchseg.patches.pairs import Unpaired, find_images, find_pairs, image_files
from patchseg.patches.prepare import prepare


@pytest.fixture
def scans(tmp_path):
    """Three files with an image and a mask each: scans/0.h5 to 2.h5, and what is in them."""
    (tmp_path / "scans").mkdir()
    draw, found = np.random.default_rng(0), {}
    for number in range(3):
        image = draw.integers(0, 256, (30, 34, 2)).astype(np.uint16)
        mask = draw.integers(0, 2, (30, 34)).astype(np.uint8)
        with h5py.File(tmp_path / f"scans/{number}.h5", "w") as file:
            file["raw/image"], file["mask"] = image, mask
        found[f"{number}_raw_image"] = image, mask
    return found


def listed(folder, lines):
    (folder / "list.txt").write_text("\n".join(lines))
    return folder / "list.txt"


LINES = [f"scans/{number}.h5:/raw/image scans/{number}.h5:/mask" for number in range(3)]


def test_lists_name_datasets(tmp_path, scans):
    pairs = read_list(listed(tmp_path, LINES))
    assert [pair.name for pair in pairs] == list(scans)
    assert [str(pair.image) for pair in pairs] == [f"{tmp_path}/scans/{n}.h5:/raw/image" for n in range(3)]


def test_a_list_tells_files_that_are_not_there_and_datasets_that_stand_twice(tmp_path, scans):
    with pytest.raises(Unpaired) as caught:
        read_list(listed(tmp_path, [LINES[0], LINES[0], LINES[1].replace("1.h5:/m", "7.h5:/m")]))
    missing, twice = caught.value.findings
    assert missing.endswith("7.h5:/mask is no file; mend the path")
    assert twice.endswith("0.h5:/raw/image: stands twice; remove one of its lines")


def test_datasets_are_prepared_as_files_are(tmp_path, scans, everything):
    settings = PrepareParameters(
        output=str(tmp_path / "a.h5"), patch=16, per_image=3, validation=0.3, scale=1.0
    )
    one = everything(prepare(listed(tmp_path, LINES), parameters=settings))
    plain = []
    for name, (image, mask) in scans.items():
        np.save(tmp_path / f"{name}.npy", image)
        Image.fromarray(mask).save(tmp_path / f"{name}.png")
        plain.append(f"{name}.npy {name}.png")
    other = everything(prepare(listed(tmp_path, plain), parameters=settings, overwrite=True))
    for key in (
        "train/images",
        "train/masks",
        "regions/0/image",
        "regions/0/mask",
        "@channels",
        "sources/side",
    ):
        np.testing.assert_array_equal(one[key], other[key])
    assert [path.decode() for path in one["sources/path"]] == [f"scans/{n}.h5:/raw/image" for n in range(3)]
    assert len(set(one["sources/sha256"])) == 3


def test_datasets_are_found_as_images_to_infer(tmp_path, scans):
    path = tmp_path / "scans/1.h5:/raw/image"
    ((found, relative),) = find_images([path])
    assert found == path
    assert relative.stem == "1_raw_image"


def test_a_folder_of_hdf5_files_pairs_with_its_masks_and_patches_are_left_out(tmp_path, scans):
    (tmp_path / "masks").mkdir()
    for number in range(3):
        Image.fromarray(np.zeros((30, 34), np.uint8)).save(tmp_path / f"masks/{number}.png")
    with h5py.File(tmp_path / "scans/patches.h5", "w") as file:
        file.attrs["patchseg_format"] = 1
    assert [file.name for file in image_files(tmp_path / "scans")] == ["0.h5", "1.h5", "2.h5"]
    assert [pair.mask.name for pair in find_pairs(tmp_path / "scans", tmp_path / "masks")] == [
        "0.png",
        "1.png",
        "2.png",
    ]


def test_folders_of_zarr_are_images_in_a_folder_and_are_prepared(tmp_path, everything):
    zarr = pytest.importorskip("zarr")
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 2)).astype(np.uint8)
    for number in range(3):
        zarr.create_array(store=str(tmp_path / f"images/{number}.zarr"), data=np.roll(pixels, number, axis=0))
        np.save(tmp_path / f"masks/{number}.npy", pixels[:, :, 0] // 128)
    assert [path.name for path in image_files(tmp_path / "images")] == ["0.zarr", "1.zarr", "2.zarr"]
    one = tmp_path / "images/1.zarr"
    assert [relative.stem for _, relative in find_images([one, tmp_path / "images/*.zarr"])] == [
        "1",
        "0",
        "2",
    ]
    settings = PrepareParameters(output=str(tmp_path / "patches.h5"), patch=16, per_image=2, validation=0.3)
    made = everything(prepare(tmp_path / "images", tmp_path / "masks", parameters=settings))
    assert made["train/images"].shape[1:] == (16, 16, 2)
    assert len(set(made["sources/sha256"])) == 3
