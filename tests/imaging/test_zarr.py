import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchseg.errors import DataError
from patchseg.imaging import Box, Reading, open_image
from patchseg.imaging.beside import Beside
from patchseg.imaging.channels import channel_names
from patchseg.imaging.zarr import pixel_size

zarr = pytest.importorskip("zarr")
IMAGE = np.random.default_rng(0).integers(0, 2**16, (45, 37, 3)).astype(np.uint16)
FORMATS = {"0.4": 2, "0.5": 3}


def ome(path, planes, axes, *, version="0.5", chunks=None, labels=None, levels=2):
    """Write an OME-Zarr of `planes`, whose axes have the letters of `axes`, and smaller levels of it."""
    group = zarr.create_group(store=str(path), zarr_format=FORMATS[version])
    for level in range(levels):
        small = planes[tuple(slice(None, None, 2**level if axis in "yx" else 1) for axis in axes)]
        group.create_array(str(level), data=np.ascontiguousarray(small), chunks=chunks or planes.shape)
    kinds = {"c": "channel", "t": "time"}
    about = {"multiscales": [{
        "axes": [{"name": axis, "type": kinds.get(axis, "space")} for axis in axes],
        "datasets": [{"path": str(level)} for level in range(levels)],
    }]}  # fmt: skip
    if labels:
        about["omero"] = {"channels": [{"label": label} for label in labels]}
    if version == "0.5":
        group.attrs["ome"] = {"version": "0.5"} | about
    else:
        group.attrs.update(about)
    return path


def arranged(axes):
    """Return the image with its axes in an order such as "tczyx"; those that it has not are of length 1."""
    order = [axis for axis in axes if axis in "yxc"]
    planes = IMAGE.transpose(["yxc".index(axis) for axis in order])
    for place, axis in enumerate(axes):
        if axis not in "yxc":
            planes = np.expand_dims(planes, place)
    return planes


@pytest.mark.parametrize("version", FORMATS)
@pytest.mark.parametrize("axes", ["cyx", "yxc", "tczyx", "czyx"])
def test_windows_of_the_full_resolution_are_read_whatever_the_order_of_the_axes(tmp_path, version, axes):
    planes = arranged(axes)
    chunks = tuple({"y": 16, "x": 10, "c": 2}.get(axis, 1) for axis in axes)
    ome(tmp_path / "a.zarr", planes, axes, version=version, chunks=chunks)
    with open_image(tmp_path / "a.zarr") as source:
        assert source.shape == IMAGE.shape
        assert source.dtype == np.uint16
        for box in (Box(0, 0, 45, 37), Box(15, 9, 2, 2), Box(44, 36, 1, 1), Box(3, 0, 40, 37)):
            np.testing.assert_array_equal(source.read(box), IMAGE[box.slices])
        assert source.valid(Box(0, 0, 2, 2)) is None


def test_an_image_without_channels_and_a_plain_array_are_images(tmp_path):
    ome(tmp_path / "a.zarr", IMAGE[:, :, 0], "yx")
    for number, pixels in enumerate((IMAGE[:, :, 0], IMAGE)):
        zarr.create_array(store=str(tmp_path / f"{number}.zarr"), data=pixels)
    for name, expected in (("a", IMAGE[:, :, :1]), ("0", IMAGE[:, :, :1]), ("1", IMAGE)):
        with open_image(tmp_path / f"{name}.zarr") as source:
            np.testing.assert_array_equal(source.read(Box(0, 0, 45, 37)), expected)


def test_channels_have_the_names_that_the_microscope_gave_them(tmp_path):
    ome(tmp_path / "a.zarr", arranged("cyx"), "cyx", labels=["DAPI", "GFP", "RFP"])
    with open_image(tmp_path / "a.zarr") as source:
        assert channel_names(source) == ("DAPI", "GFP", "RFP")
    with open_image(tmp_path / "a.zarr", Reading(channels=("RFP", "DAPI"))) as source:
        np.testing.assert_array_equal(source.read(Box(0, 0, 45, 37)), IMAGE[:, :, [2, 0]])


@pytest.mark.parametrize("version", FORMATS)
def test_the_pixel_size_is_that_of_the_full_resolution_and_passes_to_masks(tmp_path, version):
    ome(tmp_path / "a.zarr", arranged("cyx"), "cyx", version=version)
    assert pixel_size(tmp_path / "a.zarr") is None
    name = "zarr.json" if version == "0.5" else ".zattrs"
    content = json.loads((tmp_path / "a.zarr" / name).read_text())
    (scales,) = (content["attributes"]["ome"] if version == "0.5" else content)["multiscales"]
    for axis, unit in zip(scales["axes"], (None, "nanometer", "micrometer"), strict=True):
        axis.update({} if unit is None else {"unit": unit})
    for level, dataset in enumerate(scales["datasets"]):
        scale = [1, 250 * 2**level, 0.5 * 2**level]
        dataset["coordinateTransformations"] = [{"type": "scale", "scale": scale}]
    scales["coordinateTransformations"] = [{"type": "scale", "scale": [1, 2, 2]}]
    (tmp_path / "a.zarr" / name).write_text(json.dumps(content))
    assert pixel_size(tmp_path / "a.zarr") == (0.5, 1.0)
    assert Beside.of_image(tmp_path / "a.zarr") == Beside(density=(10_000, 20_000))


def test_a_row_of_chunks_is_decoded_once(tmp_path):
    ome(tmp_path / "a.zarr", IMAGE, "yxc", chunks=(16, 10, 3))
    with open_image(tmp_path / "a.zarr") as source:
        source.read(Box(0, 0, 8, 37))
        for chunk in (tmp_path / "a.zarr/0/c").rglob("*"):
            if chunk.is_file():
                chunk.write_bytes(b"broken")
        np.testing.assert_array_equal(source.read(Box(8, 0, 8, 37)), IMAGE[8:16])
        with pytest.raises(DataError, match=r"a\.zarr: is truncated or damaged"):
            source.read(Box(8, 0, 9, 37))


@settings(max_examples=10)
@given(st.data())
def test_the_cache_holds_one_row_of_chunks_and_no_more(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "cache.zarr"
    if not path.exists():
        zarr.create_array(store=str(path), data=IMAGE, chunks=(7, 5, 3))
    with open_image(path) as source:
        source._capacity = 7 * 37 * 3 * 2
        for _ in range(5):
            top, left = data.draw(st.integers(0, 44)), data.draw(st.integers(0, 36))
            box = Box(top, left, data.draw(st.integers(1, 45 - top)), data.draw(st.integers(1, 37 - left)))
            np.testing.assert_array_equal(source.read(box), IMAGE[box.slices])
            assert sum(block.nbytes for block in source._cache.values()) == source._taken <= source._capacity


def told(path):
    with pytest.raises(DataError) as caught:
        open_image(path)
    return str(caught.value).replace(f"{path.parent}/", "")


def test_stacks_are_refused_with_their_depth(tmp_path):
    ome(tmp_path / "a.zarr", np.zeros((2, 1, 5, 9, 8), np.uint8), "tczyx", levels=1)
    assert told(tmp_path / "a.zarr") == (
        "a.zarr: is 2 t x 5 z deep; expected one plane, so store each plane as an image of its own"
    )


def test_what_is_no_image_is_told_with_what_it_holds(tmp_path):
    group = zarr.create_group(store=str(tmp_path / "a.zarr"))
    assert "a.zarr: is no image of OME-Zarr (it is empty)" in told(tmp_path / "a.zarr")
    ome(tmp_path / "a.zarr/well", IMAGE, "yxc")
    group.create_array("numbers", data=np.zeros(5))
    assert "(it holds numbers, well); expected the folder of one, so name that" in told(tmp_path / "a.zarr")
    assert "holds float64 of shape (5,)" in told(tmp_path / "a.zarr/numbers")
    with open_image(tmp_path / "a.zarr/well") as source:
        assert source.shape == IMAGE.shape


def test_the_only_image_of_bio_formats_is_that_image(tmp_path):
    group = zarr.create_group(
        store=str(tmp_path / "a.zarr"), zarr_format=2, attributes={"bioformats2raw.layout": 3}
    )
    ome(tmp_path / "a.zarr/0", arranged("cyx"), "cyx", version="0.4")
    with open_image(tmp_path / "a.zarr") as source:
        np.testing.assert_array_equal(source.read(Box(0, 0, 45, 37)), IMAGE)
    group.create_group("1")
    assert "is no image of OME-Zarr (it holds 0, 1)" in told(tmp_path / "a.zarr")


@pytest.mark.parametrize("length", [0, 1, 10, 100])
def test_chunks_and_metadata_that_are_cut_short_are_one_sentence(tmp_path, length):
    ome(tmp_path / "a.zarr", IMAGE, "yxc", levels=1)
    chunk = tmp_path / "a.zarr/0/c/0/0/0"
    chunk.write_bytes(chunk.read_bytes()[:length])
    with (
        open_image(tmp_path / "a.zarr") as source,
        pytest.raises(DataError, match=r"a\.zarr: is truncated or damaged"),
    ):
        source.read(Box(0, 0, 1, 1))
    for name in ("a.zarr/0/zarr.json", "a.zarr/zarr.json"):
        text = (tmp_path / name).read_text()
        (tmp_path / name).write_text(text[:length])
        assert "a.zarr: is truncated or damaged" in told(tmp_path / "a.zarr")
        (tmp_path / name).write_text(text)


@pytest.mark.parametrize(
    "multiscales",
    [[], [{}], [{"axes": ["y"], "datasets": [{"path": "0"}]}], [{"axes": "yxc", "datasets": []}], "yes", [5]],
)
def test_metadata_that_makes_no_sense_is_one_sentence(tmp_path, multiscales):
    ome(tmp_path / "a.zarr", IMAGE, "yxc", levels=1)
    content = json.loads((tmp_path / "a.zarr/zarr.json").read_text())
    content["attributes"]["ome"]["multiscales"] = multiscales
    (tmp_path / "a.zarr/zarr.json").write_text(json.dumps(content))
    assert told(tmp_path / "a.zarr").startswith("a.zarr: ")


def test_without_the_package_the_extra_is_named(tmp_path, run_python):
    zarr.create_group(store=str(tmp_path / "a.zarr"))
    code = (
        "import sys; sys.modules['zarr'] = None; from pathlib import Path; from patchseg.imaging import open_image\n"
        "try: open_image(Path(sys.argv[1]))\nexcept Exception as error: print(type(error).__name__, error)"
    )
    assert run_python(code, tmp_path / "a.zarr").stdout.strip() == (
        f"UsageError {tmp_path}/a.zarr: is a Zarr folder, and the package that reads it is not installed; "
        "`pip install patchseg[zarr]`"
    )
