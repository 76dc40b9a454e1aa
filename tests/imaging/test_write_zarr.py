import json

import numpy as np
import pytest

from patchseg.errors import UsageError
from patchseg.imaging import Box, open_raw, picture, write_zarr
from patchseg.imaging.beside import Beside
from patchseg.imaging.write import open_writer
from patchseg.imaging.zarr import pixel_size

zarr = pytest.importorskip("zarr")
RANDOM = np.random.default_rng(0)


def written(path, pixels, *, step=100, **options):
    with open_writer(path, pixels.shape, pixels.dtype, **options) as writer:
        for top in range(0, len(pixels), step):
            writer.write(pixels[top : top + step])
    return path


@pytest.mark.parametrize("shape", [(1, 1), (512, 512), (513, 30), (1400, 700)])
@pytest.mark.parametrize("step", [1, 100, 512, 2000])
def test_rows_come_back_as_they_were_given(tmp_path, shape, step):
    pixels = RANDOM.integers(0, 4, shape).astype(np.uint8)
    written(tmp_path / "a.zarr", pixels, step=step)
    with open_raw(tmp_path / "a.zarr") as source:
        np.testing.assert_array_equal(source.read(Box(0, 0, *shape))[:, :, 0], pixels)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


# With chunks so small, a step of the smallest size spans several rows of them, as in images of 300,000 rows.
@pytest.mark.parametrize(
    ("shape", "step", "chunk"),
    [((1400, 700), 77, 512), ((1400, 700), 600, 512), ((512, 512), 600, 512), ((200, 3), 24, 8)],
)
def test_smaller_sizes_keep_every_second_row_and_column(tmp_path, monkeypatch, shape, step, chunk):
    monkeypatch.setattr(write_zarr, "CHUNK", chunk)
    pixels = RANDOM.integers(0, 4, shape).astype(np.uint8)
    beside = Beside(density=(20_000, 10_000), pyramid=True)
    group = zarr.open_group(str(written(tmp_path / "a.zarr", pixels, step=step, beside=beside)), mode="r")
    expected = [pixels]
    while max(expected[-1].shape) > chunk:
        expected.append(expected[-1][::2, ::2])
    (scales,) = group.attrs["ome"]["multiscales"]
    assert [dataset["path"] for dataset in scales["datasets"]] == [str(n) for n in range(len(expected))]
    for level, wanted in enumerate(expected):
        np.testing.assert_array_equal(group[str(level)][:], wanted)
        (step_of,) = scales["datasets"][level]["coordinateTransformations"]
        assert step_of["scale"] == [1.0 * 2**level, 0.5 * 2**level]


def test_masks_in_colours_and_of_wide_values_come_back_too(tmp_path):
    beside = Beside(density=(20_000, 10_000), pyramid=True)
    for name, shape, dtype in (("a", (600, 530, 3), np.uint8), ("b", (30, 40), np.int32)):
        pixels = RANDOM.integers(0, 256, shape).astype(dtype) - (dtype is np.int32)
        written(tmp_path / f"{name}.zarr", pixels.astype(dtype), beside=beside)
        size = pixel_size(tmp_path / f"{name}.zarr")
        assert size == (1.0, 0.5)
        with open_raw(tmp_path / f"{name}.zarr") as source:
            found = source.read(Box(0, 0, *shape[:2]))
        np.testing.assert_array_equal(found, pixels.reshape(found.shape))
        assert found.dtype == dtype
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="r")
    assert [array.shape for _, array in sorted(group.arrays())] == [(600, 530, 3), (300, 265, 3)]


def test_pixel_size_colours_and_classes_stand_beside(tmp_path):
    classes = [{"name": "background", "value": 0, "color": "#000000"}]
    beside = Beside(density=(20_000, 10_000)).describing(classes)
    written(tmp_path / "a.zarr", np.zeros((3, 4), np.uint8), beside=beside, palette=picture.palette(2))
    assert pixel_size(tmp_path / "a.zarr") == (1.0, 0.5)
    about = json.loads((tmp_path / "a.zarr/zarr.json").read_text())["attributes"]
    assert about["patchseg"] == {"classes": classes}
    assert about["ome"]["image-label"]["colors"][1] == {"label-value": 1, "rgba": [230, 159, 0, 255]}
    written(tmp_path / "b.zarr", np.zeros((3, 4), np.uint8))
    assert pixel_size(tmp_path / "b.zarr") is None


@pytest.mark.parametrize("rows", [0, 3, 20])
def test_an_error_between_rows_leaves_no_folder_and_the_old_one(tmp_path, rows):
    def write_some():
        with open_writer(tmp_path / "a.zarr", (3000, 10)) as writer:
            for _ in range(rows):
                writer.write(np.zeros((100, 10), np.uint8))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_some()
    assert not list(tmp_path.iterdir())
    old = np.ones((5, 6), np.uint8)
    written(tmp_path / "a.zarr", old)
    with pytest.raises(ZeroDivisionError):
        write_some()
    with open_raw(tmp_path / "a.zarr") as source:
        np.testing.assert_array_equal(source.read(Box(0, 0, 5, 6))[:, :, 0], old)
    written(tmp_path / "a.zarr", old * 2)
    with open_raw(tmp_path / "a.zarr") as source:
        assert source.read(Box(0, 0, 1, 1)) == 2


def test_too_few_rows_are_an_error_and_no_folder(tmp_path):
    with pytest.raises(AssertionError), open_writer(tmp_path / "a.zarr", (600, 10)) as writer:
        writer.write(np.zeros((300, 10), np.uint8))
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_to_is_a_usage_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"a\.zarr: cannot be written"):
        written(tmp_path / "file/a.zarr", np.zeros((3, 4), np.uint8))
