from pathlib import Path, PureWindowsPath

import pytest

from patchseg.imaging.address import Address, files_of, is_there, is_zarr, plain_name


@pytest.mark.parametrize(
    ("path", "file", "inside"),
    [
        ("a.h5:/image", "a.h5", "image"),
        ("a.h5:image", "a.h5", "image"),
        ("some where/a.HDF5:/raw/image 1", "some where/a.HDF5", "raw/image 1"),
        ("C:/data/a.h5", "C:/data/a.h5", None),
        ("C:/data/a.h5:/image", "C:/data/a.h5", "image"),
        (str(PureWindowsPath("C:/data/a.h5:/raw/image")), r"C:\data\a.h5", "raw/image"),
        ("a.png:/image", "a.png:/image", None),
        ("a.h5", "a.h5", None),
        ("a.h5:/b.h5:/c", "a.h5", "b.h5:/c"),
    ],
)
def test_a_dataset_is_named_after_its_file_and_a_drive_is_no_file(path, file, inside):
    assert Address.of(Path(path)) == (Path(file), inside)


def test_a_file_that_is_really_called_so_is_a_file(tmp_path):
    file = tmp_path / "a.h5:image"
    file.touch()
    assert Address.of(file) == (file, None)


def test_datasets_are_there_with_their_file_and_have_names_of_their_own(tmp_path):
    (tmp_path / "a.h5").touch()
    assert is_there(tmp_path / "a.h5:/x/1")
    assert not is_there(tmp_path / "b.h5:/x/1")
    assert not is_there(tmp_path)
    names = [plain_name(tmp_path / name).stem for name in ("a.h5", "a.h5:/x/1", "a.h5:/x/2", "b.h5:/x/1")]
    assert names == ["a", "a_x_1", "a_x_2", "b_x_1"]
    assert list(files_of(tmp_path / "a.h5:/x/1")) == [tmp_path / "a.h5"]


@pytest.mark.parametrize("mark", ["zarr.json", ".zgroup", ".zarray"])
def test_a_folder_of_zarr_is_told_by_what_lies_in_it(tmp_path, mark):
    store = tmp_path / "a.zarr"
    (store / "0").mkdir(parents=True)
    assert not is_zarr(store)
    for name in (mark, "0/2", "0/1"):
        (store / name).touch()
    assert is_zarr(store)
    assert is_there(store)
    assert list(files_of(store)) == sorted([store / mark, store / "0/1", store / "0/2"])
