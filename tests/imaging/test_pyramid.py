"""All sizes that a file holds, against numpy's slices."""

import numpy as np
import pytest
import tifffile

from patchseg.imaging import Box
from patchseg.imaging.beside import Beside
from patchseg.imaging.pyramid import open_sizes
from patchseg.imaging.source import ArraySource
from patchseg.imaging.tiff import TiffSource
from patchseg.imaging.write import open_writer


def noise(height: int, width: int, *channels: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, (height, width, *channels)).astype(np.uint8)


def whole(source) -> np.ndarray:
    return source.read(Box(0, 0, *source.shape[:2]))


@pytest.fixture
def opened():
    """Open sizes of a file, and close them at the end."""
    sources = []

    def open_(*arguments, **options):
        sizes = open_sizes(*arguments, **options)
        sources.extend(size.source for size in sizes)
        return sizes

    yield open_
    for source in sources:
        source.close()


@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
def test_the_pyramid_of_infer_is_found_and_exact(tmp_path, suffix, opened):
    if suffix == ".zarr":
        pytest.importorskip("zarr")
    mask = noise(1301, 1027)
    with open_writer(tmp_path / f"a{suffix}", mask.shape, beside=Beside(pyramid=True)) as writer:
        writer.write(mask)
    sizes = opened(tmp_path / f"a{suffix}", raw=True)
    assert [size.step for size in sizes] == ([1, 2, 4, 8] if suffix == ".tif" else [1, 2, 4])
    for size in sizes:
        np.testing.assert_array_equal(whole(size.source)[:, :, 0], mask[:: size.step, :: size.step])


def test_levels_in_the_subdirectories_of_ome_tiff_are_found(tmp_path, opened):
    image = noise(300, 200, 3)
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as file:
        options = {"tile": (64, 64), "photometric": "rgb", "compression": "deflate"}
        file.write(image, subifds=1, metadata={"axes": "YXS"}, **options)
        file.write(image[::4, ::4], subfiletype=1, **options)
    sizes = opened(tmp_path / "a.ome.tif")
    assert [(size.step, size.source.shape) for size in sizes] == [(1, (300, 200, 3)), (4, (75, 50, 3))]
    np.testing.assert_array_equal(whole(sizes[1].source), image[::4, ::4])


def test_a_size_that_is_no_half_or_quarter_is_left_out(tmp_path, opened):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for size, reduced in ((300, 0), (100, 1)):  # a third
            file.write(noise(size, size), tile=(64, 64), subfiletype=reduced, metadata=None)
    assert [size.step for size in opened(tmp_path / "a.tif")] == [1]


def test_palette_indices_stay_such_only_where_asked(tmp_path, opened):
    mask = noise(40, 40) % 2
    colors = np.array([[0, 0, 0], [10, 20, 30]], np.uint8)
    with open_writer(tmp_path / "a.tif", mask.shape, palette=colors) as writer:
        writer.write(mask)
    raw, shown = opened(tmp_path / "a.tif", raw=True), opened(tmp_path / "a.tif")
    np.testing.assert_array_equal(whole(raw[0].source)[:, :, 0], mask)
    np.testing.assert_array_equal(whole(shown[0].source), colors[mask])


@pytest.mark.parametrize("dtype", ["u1", ">u2", "<u2"])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_a_large_strip_without_compression_is_mapped(tmp_path, opened, dtype, channels):
    image = (noise(2100, 2100, *channels).astype(np.uint32) * 200).astype(dtype)
    order = ">" if dtype == ">u2" else "<"
    tifffile.imwrite(
        tmp_path / "a.tif",
        image,
        rowsperstrip=2100,
        byteorder=order,
        photometric="rgb" if channels else "minisblack",
    )
    (size,) = opened(tmp_path / "a.tif")
    assert isinstance(size.source, ArraySource)
    assert not size.wide
    np.testing.assert_array_equal(
        size.source.read(Box(2000, 7, 90, 31)), image.reshape(2100, 2100, -1)[2000:2090, 7:38]
    )


def test_an_inverted_or_small_or_compressed_strip_is_decoded(tmp_path, opened):
    image = noise(2100, 2100)
    for name, options in {
        "inverted": {"photometric": "miniswhite", "rowsperstrip": 2100},
        "small": {"rowsperstrip": 8},
        "compressed": {"rowsperstrip": 2100, "compression": "deflate"},
    }.items():
        tifffile.imwrite(tmp_path / f"{name}.tif", image, **options)
        (size,) = opened(tmp_path / f"{name}.tif")
        assert isinstance(size.source, TiffSource)
        assert size.wide
        found = size.source.read(Box(5, 0, 10, 2100))[:, :, 0]
        np.testing.assert_array_equal(found, 255 - image[5:15] if name == "inverted" else image[5:15])


def test_a_page_of_a_stack_has_no_other_sizes(tmp_path, opened):
    tifffile.imwrite(tmp_path / "a.tif", noise(3, 50, 40), photometric="minisblack")
    (size,) = opened(tmp_path / "a.tif:/2")
    np.testing.assert_array_equal(whole(size.source)[:, :, 0], noise(3, 50, 40)[1])
