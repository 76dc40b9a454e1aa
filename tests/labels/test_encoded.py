from pathlib import Path

import numpy as np
import pytest

from patchseg.errors import DataError
from patchseg.labels.classes import Classes
from patchseg.labels.derive import Survey
from patchseg.labels.mapping import encoded as indices
from patchseg.labels.mapping import unknown

BY_VALUE = Classes(("a", "b"), (0, 7), ("#000000", "#ff0000"))
BY_COLOR = Classes(("a", "b"), (None, None), ("#000000", "#ff0000"))
PATH = Path("m.png")


@pytest.mark.parametrize(
    ("survey", "values", "classes", "expected"),
    [
        (Survey(PATH, "value", frozenset({0, 7, 255})), [255, 0, 7], BY_VALUE, [255, 0, 1]),
        (Survey(PATH, "value", frozenset({0.0, 7.0})), [7.0, 0.0], BY_VALUE, [1, 0]),
        (Survey(PATH, "color", frozenset({0, 0xFF0000})), [0xFF0000, 0], BY_COLOR, [1, 0]),
        (Survey(PATH, "palette", frozenset({0, 3}), ((0, 0), (3, 0xFF0000))), [3, 0], BY_COLOR, [1, 0]),
        (Survey(PATH, "palette", frozenset({0, 7}), ((0, 0), (7, 0x00FF00))), [7, 0], BY_VALUE, [1, 0]),
    ],
)
def test_values_become_indices_as_their_pixels_would(survey, values, classes, expected):
    found = indices(values, survey, classes)
    assert found.dtype == np.uint8
    assert found.tolist() == expected
    assert unknown(survey, classes) is None


@pytest.mark.parametrize(
    ("survey", "told"),
    [
        (Survey(PATH, "value", frozenset({0, 9})), "m.png: value 9 is no class"),
        (Survey(PATH, "color", frozenset({0, 0x0000FF})), "m.png: colour #0000ff is no class"),
        (Survey(PATH, "value", frozenset({0, 0.5})), "m.png: value 0.5 is no class"),
    ],
)
def test_what_is_no_class_is_told(survey, told):
    classes = BY_COLOR if survey.kind == "color" else BY_VALUE
    assert unknown(survey, classes).startswith(told)
    with pytest.raises(DataError, match=told.split(": ")[1]):
        indices(sorted(survey.values), survey, classes)
