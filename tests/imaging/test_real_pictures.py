"""Pictures of real data sets, held against what Pillow decodes of them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from patchseg.imaging import Box, open_image

DATA = Path(__file__).parents[3] / "shared/data"


@pytest.mark.skipif(not DATA.is_dir(), reason="the data sets in ../shared/data are not there")
@pytest.mark.parametrize(
    ("folder", "pattern"),
    [
        ("robosat_parking", "*.webp"),
        ("robosat_parking", "*.png"),
        ("kudzu_via", "*.jpg"),
        ("coco_shapes", "*.png"),
    ],
)
def test_real_pictures_are_what_viewers_show(folder, pattern):
    files = sorted((DATA / folder).rglob(pattern))[:3]
    assert files
    for file in files:
        with Image.open(file) as image:
            expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        with open_image(file) as source:
            found = source.read(Box(0, 0, *source.shape[:2]))
        np.testing.assert_array_equal(np.broadcast_to(found, expected.shape), expected)
