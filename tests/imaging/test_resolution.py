import numpy as np
import pytest
import tifffile
from PIL import Image

from patchseg.imaging.resolution import pixel_size

PIXELS = np.zeros((20, 30), np.uint8)


@pytest.mark.parametrize(
    ("options", "size"),
    [
        (
            {"resolution": (20000, 10000), "resolutionunit": 3},
            (1.0, 0.5),
        ),  # pixels a centimetre, across and down
        ({"resolution": (25400, 25400), "resolutionunit": 2}, (1.0, 1.0)),
        ({"resolution": (300, 300), "resolutionunit": 2}, None),
        ({"resolution": (1, 1), "resolutionunit": 1}, None),
        ({"resolution": (2, 2), "imagej": True, "metadata": {"unit": "um"}}, (0.5, 0.5)),
        ({"resolution": (0.5, 0.5), "imagej": True, "metadata": {"unit": "nm"}}, (0.002, 0.002)),
        ({"ome": True, "metadata": {"PhysicalSizeX": 0.3, "PhysicalSizeY": 0.4}}, (0.4, 0.3)),
        (
            {
                "ome": True,
                "metadata": {"PhysicalSizeX": 300, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.4},
            },
            (0.4, 0.3),
        ),
        ({"ome": True}, None),
        ({}, None),
    ],
)
def test_the_size_of_a_pixel_is_told_by_tiff(tmp_path, options, size):
    tifffile.imwrite(tmp_path / "a.tif", PIXELS, **options)
    assert pixel_size(tmp_path / "a.tif") == (pytest.approx(size) if size else None)


@pytest.mark.parametrize(("dpi", "size"), [(2540, (10, 10)), (72, None), (300, None)])
def test_the_size_of_a_pixel_is_told_by_png(tmp_path, dpi, size):
    Image.fromarray(PIXELS).save(tmp_path / "a.png", dpi=(dpi, dpi))
    assert pixel_size(tmp_path / "a.png") == (pytest.approx(size, rel=1e-3) if size else None)


def test_what_is_no_picture_tells_nothing(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"II*\0" + b"\xff" * 20)
    (tmp_path / "b.png").write_bytes(b"nothing")
    np.save(tmp_path / "c.npy", PIXELS)
    assert [pixel_size(tmp_path / name) for name in ("a.tif", "b.png", "c.npy", "d.png")] == [None] * 4
