"""Which pages of a TIFF are read: stacks, pyramids, slides, and files of several images."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from patchseg.errors import DataError
from patchseg.imaging import Box, Reading, open_image

RANDOM = np.random.default_rng(0)
HEIGHT, WIDTH = 75, 90
EVERYTHING = Box(0, 0, HEIGHT, WIDTH)
STACK = RANDOM.integers(0, 2**16, (4, HEIGHT, WIDTH)).astype(np.uint16)
COLOR = RANDOM.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
TILES = {"tile": (32, 16)}


def read(file, pages=None):
    with open_image(file, Reading(pages=pages)) as source:
        return source.read(Box(0, 0, *source.shape[:2]))


def write_pages(file, **options):
    with tifffile.TiffWriter(file) as writer:
        for page in STACK:
            writer.write(page, metadata=None, contiguous=False, **options)


def number_of_directories(file):
    with tifffile.TiffFile(file) as opened:
        return len(opened.pages)


def tile_stack(file):
    write_pages(file, compression="deflate", **TILES)


def strip_stack(file):
    write_pages(file, rowsperstrip=7, compression="lzw")


def shaped(file):
    tifffile.imwrite(file, STACK, photometric="minisblack")


def truncated(file):
    # One directory for all pages, as ImageJ writes what exceeds 4 GB.
    tifffile.imwrite(file, STACK, photometric="minisblack", truncate=True)
    assert number_of_directories(file) == 1


def imagej(file):
    tifffile.imwrite(file, STACK, imagej=True, metadata={"axes": "ZYX"})


def imagej_huge(file):
    tifffile.imwrite(file, STACK, imagej=True, metadata={"axes": "ZYX"}, truncate=True)
    assert number_of_directories(file) == 1


def ome_channels(file):
    tifffile.imwrite(file, STACK, ome=True, photometric="minisblack", metadata={"axes": "CYX"}, **TILES)


def ome_pyramid(file):
    with tifffile.TiffWriter(file, ome=True) as writer:
        writer.write(STACK, photometric="minisblack", metadata={"axes": "CYX"}, subifds=1, **TILES)
        writer.write(STACK[:, ::2, ::2], photometric="minisblack", subfiletype=1, **TILES)


WRITERS = {
    write.__name__: write
    for write in (tile_stack, strip_stack, shaped, truncated, imagej, imagej_huge, ome_channels, ome_pyramid)
}


@pytest.mark.parametrize("kind", WRITERS)
def test_one_page_or_all_as_channels_are_read_and_by_default_none(tmp_path, kind):
    file = tmp_path / "a.tif"
    WRITERS[kind](file)
    for number in (1, 2, 4):
        np.testing.assert_array_equal(read(file, number)[:, :, 0], STACK[number - 1])
    np.testing.assert_array_equal(read(file, "channels"), np.moveaxis(STACK, 0, 2))
    with pytest.raises(DataError, match=r"a\.tif: is a stack of 4 pages; .* data\.pages"):
        read(file)
    with pytest.raises(DataError, match=r"a\.tif: has 4 pages, data\.pages asks for page 5; choose 1 to 4"):
        read(file, 5)


def test_windows_of_pages_as_channels(tmp_path):
    tile_stack(tmp_path / "a.tif")
    with open_image(tmp_path / "a.tif", Reading(pages="channels")) as source:
        assert source.shape == (HEIGHT, WIDTH, 4)
        for box in (Box(31, 15, 2, 2), Box(0, 89, 75, 1), Box(40, 0, 5, 90)):
            np.testing.assert_array_equal(source.read(box), np.moveaxis(STACK, 0, 2)[box.slices])


def test_pages_of_colours_are_channels_in_their_order(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.stack([COLOR, 255 - COLOR]), photometric="rgb", metadata=None)
    np.testing.assert_array_equal(read(tmp_path / "a.tif", "channels"), np.dstack([COLOR, 255 - COLOR]))


@pytest.mark.parametrize("pages", [None, 1, 3, "channels"])
def test_a_file_of_one_page_needs_no_choice(tmp_path, pages):
    tifffile.imwrite(tmp_path / "a.tif", COLOR, photometric="rgb")
    np.testing.assert_array_equal(read(tmp_path / "a.tif", pages), COLOR)


def test_pages_with_transparency_are_no_channels(tmp_path):
    pixels = np.stack([np.dstack([COLOR, COLOR[:, :, 0]])] * 2)
    options = {"photometric": "rgb", "extrasamples": ["unassalpha"], "metadata": None}
    tifffile.imwrite(tmp_path / "a.tif", pixels, **options)
    with pytest.raises(DataError, match="has pages with transparency, which cannot be channels; save"):
        read(tmp_path / "a.tif", "channels")


def test_pages_of_another_size_are_told_and_not_read(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(COLOR, photometric="rgb", metadata=None)
        writer.write(COLOR[:20, :31], photometric="rgb", metadata=None)
    told = []
    with open_image(tmp_path / "a.tif", Reading(tell=told.append)) as source:
        np.testing.assert_array_equal(source.read(EVERYTHING), COLOR)
    assert told == [
        f"{tmp_path / 'a.tif'}: holds 1 image of another size or kind too, not read; save them apart"
    ]


# Pyramids and slides


def test_a_slide_with_its_levels_in_the_chain_is_read_in_full(tmp_path):
    description = (
        "Aperio Image Library v11.2.1\r\n180x150 [0,0 180x150] (64x64) JPEG/RGB Q=90|AppMag = 20|MPP = 0.5"
    )
    waves = 120 + 60 * np.sin(np.add.outer(np.arange(600) / 40, np.arange(720) / 90))
    slide = np.stack([waves, waves.T[:600, :600].repeat(2, 1)[:, :720], 255 - waves], axis=2).astype(np.uint8)
    jpeg = {"compression": "jpeg", "compressionargs": {"level": 95}, "photometric": "rgb", "metadata": None}
    with tifffile.TiffWriter(tmp_path / "a.svs") as writer:
        writer.write(slide, tile=(64, 64), description=description, **jpeg)
        writer.write(slide[::8, ::8], description=description + " thumbnail", rowsperstrip=16, **jpeg)
        writer.write(slide[::4, ::4], tile=(64, 64), description=description, **jpeg)
        writer.write(COLOR[:40, :40], subfiletype=1, description="Aperio\rlabel 40x40", compression="lzw",
                     photometric="rgb", metadata=None)  # fmt: skip
        writer.write(COLOR[:40, :60], subfiletype=9, description="Aperio\rmacro 40x60", **jpeg)
    told = []
    with open_image(tmp_path / "a.svs", Reading(tell=told.append)) as source:
        assert source.shape == slide.shape
        pixels = source.read(Box(100, 60, 300, 500)).astype(int)
    assert np.abs(pixels - slide[100:400, 60:560]).max() < 12
    assert not told


def test_a_geotiff_with_overviews_is_read_in_full(tmp_path):
    tags = [
        (33550, 12, 3, (0.5, 0.5, 0.0), True),
        (33922, 12, 6, (0.0, 0.0, 0.0, 440720.0, 3751320.0, 0.0), True),
        (34735, 3, 4, (1, 1, 0, 0), True),
        (42113, 2, 0, "-9999", True),
    ]
    bands = STACK.astype(np.int16)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        options = {
            "photometric": "minisblack",
            "planarconfig": "separate",
            "metadata": None,
            "predictor": True,
        }
        writer.write(bands, extratags=tags, compression="deflate", **TILES, **options)
        writer.write(bands[:, ::2, ::2], subfiletype=1, compression="deflate", **TILES, **options)
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), np.moveaxis(bands, 0, 2))


def test_a_description_that_names_other_files_opens_none(tmp_path):
    ome = tmp_path / "first.ome.tif"
    tifffile.imwrite(ome, STACK[0], ome=True, metadata={"axes": "YX"})
    with tifffile.TiffFile(ome, mode="r+") as opened:
        text = opened.pages[0].description
        plane = '<TiffData IFD="0" PlaneCount="1"'
        assert plane in text
        named = text.replace(
            f"{plane}/>", f'{plane}><UUID FileName="../other.tif">urn:uuid:1</UUID></TiffData>'
        )
        assert named != text
        opened.pages[0].tags["ImageDescription"].overwrite(named)
    # Were it opened, as another reader would, its pixels would be the ones that are read.
    tifffile.imwrite(tmp_path.parent / "other.tif", STACK[1])
    np.testing.assert_array_equal(read(ome)[:, :, 0], STACK[0])


# Other programs' files


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_deflate", "packbits", "zstd"])
def test_what_pillow_writes_is_what_pillow_reads(tmp_path, compression):
    Image.fromarray(COLOR).save(tmp_path / "a.tif", compression=None if compression == "raw" else compression)
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), COLOR)


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
def test_faxes_are_0_and_1(tmp_path, compression):
    bits = np.kron(COLOR[:15, :18, 0] > 99, np.ones((5, 5), bool))
    Image.fromarray(bits).save(tmp_path / "a.tif", compression=compression)
    np.testing.assert_array_equal(read(tmp_path / "a.tif")[:, :, 0], bits)


def test_a_palette_of_8_bits_where_16_are_asked_for_keeps_its_colours(tmp_path):
    colors = np.zeros((3, 256), np.uint16)
    colors[:, 1] = (255, 0, 18)
    tifffile.imwrite(tmp_path / "a.tif", np.ones((4, 4), np.uint8), photometric="palette", colormap=colors)
    assert read(tmp_path / "a.tif")[0, 0].tolist() == [255, 0, 18]
