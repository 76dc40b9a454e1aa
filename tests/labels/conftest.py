import json

import numpy as np
import pytest

from patchseg.imaging import Box
from patchseg.labels.annotations import read_annotation_file
from patchseg.labels.rasterize import cover


@pytest.fixture
def read(tmp_path):
    """Write annotations, JSON unless they are text, and read them: `read({...})`."""

    def read(content, name="a.json", attribute=None):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return read_annotation_file(path, attribute=attribute)

    return read


@pytest.fixture
def pixels():
    """Return the pixels of a shape in an image of 8 x 10, as a set of (row, column)."""

    def pixels(shape):
        found = set()
        for part in shape.parts:
            box, inside = cover(part, Box(0, 0, 8, 10))
            found |= {(int(r) + box.top, int(c) + box.left) for r, c in np.argwhere(inside)}
        return found

    return pixels


@pytest.fixture
def block():
    """Return the pixels of some rows and columns: `block(range(2), range(3))`."""
    return lambda rows, columns: {(row, column) for row in rows for column in columns}
