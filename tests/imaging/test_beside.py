import json

import numpy as np
import pytest
import tifffile
from PIL import Image

from patchseg.imaging import Box, open_raw, picture
from patchseg.imaging.beside import Beside
from patchseg.imaging.resolution import pixel_size
from patchseg.imaging.write import open_writer

PIXELS = np.arange(48, dtype=np.uint8).reshape(6, 8)
BAND = '  <Item name="STATISTICS_MAXIMUM" sample="0">254</Item>\n'
GDAL = '<GDALMetadata>\n  <Item name="AREA_OR_POINT">Area</Item>\n{}</GDALMetadata>'
# Metres of UTM zone 32 north: 0.5 m a pixel from its corner, as a GeoTIFF writer puts it.
GEO = {
    33550: (12, 3, (0.5, 0.5, 0.0)),
    33922: (12, 6, (0.0, 0.0, 0.0, 500000.0, 5400000.0, 0.0)),
    34735: (3, 16, (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32632)),
    34736: (12, 1, (6378137.0,)),
    34737: (2, 0, "WGS 84 / UTM zone 32N|"),
    42112: (2, 0, GDAL.format(BAND)),
    42113: (2, 0, "-9999"),
}


def geotiff(path, **options):
    tags = [(code, kind, count, value, True) for code, (kind, count, value) in GEO.items()]
    tifffile.imwrite(path, PIXELS, extratags=tags, metadata=None, **options)
    return path


def written(path, beside, pixels=PIXELS, **options):
    with open_writer(path, pixels.shape, pixels.dtype, beside=beside, **options) as writer:
        writer.write(pixels)
    return path


def tags(path):
    with tifffile.TiffFile(path) as file:
        return {tag.code: tag.value for tag in file.pages[0].tags}


def test_a_mask_lies_where_its_image_lies(tmp_path):
    beside = Beside.of_image(geotiff(tmp_path / "a.tif"))
    found, expected = tags(written(tmp_path / "b.tif", beside)), tags(tmp_path / "a.tif")
    for code in (33550, 33922, 34735, 34736, 34737):
        assert found[code] == expected[code], code
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert file.geotiff_metadata["ProjectedCSTypeGeoKey"] == 32632


def test_what_holds_for_the_bands_of_an_image_is_not_said_of_its_mask(tmp_path):
    found = tags(written(tmp_path / "b.tif", Beside.of_image(geotiff(tmp_path / "a.tif"))))
    assert found[42112] == GDAL.format("")
    assert found[42113] == "255"


def test_the_place_of_an_image_that_is_stored_turned_is_not_that_of_its_mask(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", PIXELS, metadata=None, resolution=(20_000, 10_000), resolutionunit=3,
        extratags=[(274, 3, 1, 6, True), (33550, 12, 3, (1.0, 1.0, 0.0), True)],
    )  # fmt: skip
    beside = Beside.of_image(tmp_path / "a.tif")
    assert beside.tags == ()
    assert beside.density == (10_000, 20_000)


@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_a_mask_has_the_pixel_size_of_its_image(tmp_path, suffix):
    ome = {
        "axes": "YX",
        "PhysicalSizeX": 0.25,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": 500,
        "PhysicalSizeYUnit": "nm",
    }
    tifffile.imwrite(tmp_path / "a.ome.tif", PIXELS, metadata=ome)
    mask = written(tmp_path / f"b{suffix}", Beside.of_image(tmp_path / "a.ome.tif"))
    assert pixel_size(mask) == pytest.approx((0.5, 0.25), rel=1e-3)


@pytest.mark.parametrize("suffix", [".npy", ".png", ".tif", ".txt"])
def test_what_says_nothing_is_taken_for_nothing(tmp_path, suffix):
    file = tmp_path / f"a{suffix}"
    {".npy": lambda: np.save(file, PIXELS), ".png": lambda: Image.fromarray(PIXELS).save(file),
     ".tif": lambda: tifffile.imwrite(file, PIXELS), ".txt": lambda: file.write_text("II*\0")}[suffix]()  # fmt: skip
    assert Beside.of_image(file) == Beside()
    assert Beside.of_image(tmp_path / "none.h5:/image") == Beside()


def test_the_classes_stand_in_the_description(tmp_path):
    classes = [{"name": "Körper", "value": 0, "color": "#000000"}]
    mask = written(tmp_path / "b.tif", Beside().describing(classes))
    description = tags(mask)[270]
    assert description.isascii()
    assert json.loads(description) == {"classes": classes}
    assert tags(mask)[305] == "patchseg"


@pytest.mark.parametrize("shape", [(700, 1100), (513, 255), (256, 256), (1025, 3)])
def test_a_pyramid_halves_down_to_one_tile_and_is_read_at_its_full_size(tmp_path, shape):
    pixels = np.random.default_rng(0).integers(0, 3, shape).astype(np.uint8)
    with open_writer(
        tmp_path / "a.tif", shape, palette=picture.palette(3), beside=Beside(pyramid=True)
    ) as writer:
        for top in range(0, shape[0], 100):
            writer.write(pixels[top : top + 100])
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        levels = [page.asarray() for page in file.pages]
        assert [bool(page.is_reduced) for page in file.pages] == [False] + [True] * (len(levels) - 1)
        assert all(page.photometric == 3 and page.tilewidth == 256 for page in file.pages)
    expected = [pixels]
    while max(expected[-1].shape) > 256:
        expected.append(expected[-1][::2, ::2])
    assert len(levels) == len(expected)
    for level, wanted in zip(levels, expected, strict=True):
        np.testing.assert_array_equal(level, wanted)
    with open_raw(tmp_path / "a.tif") as source:
        np.testing.assert_array_equal(source.read(Box(0, 0, *shape))[:, :, 0], pixels)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


def test_a_pyramid_that_is_given_up_leaves_nothing(tmp_path):
    def give_up():
        with open_writer(tmp_path / "a.tif", (600, 600), beside=Beside(pyramid=True)) as writer:
            writer.write(np.zeros((300, 600), np.uint8))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        give_up()
    assert not list(tmp_path.iterdir())
