from pathlib import Path

import numpy as np
import pytest

from patchseg.errors import DataError
from patchseg.imaging import ArraySource
from patchseg.labels.classes import Classes, MaskReading
from patchseg.labels.derive import survey
from patchseg.labels.mapping import Mapped, counted, indices, mapping, pulled, sentences

LINES = Classes(("background", "line"), (0, 1), ("#000000", "#e69f00"))
WHITE = Classes(("background", "line"), (0, 255), ("#000000", "#e69f00"), MaskReading(tolerance=9))
RED = Classes(("background", "red"), (None, None), ("#000000", "#ff0000"))
PALETTE = np.array([[255, 0, 0], [0, 0, 0]], np.uint8)


def of(pixels, palette=None):
    return survey(ArraySource(np.array(pixels, np.uint8), palette=palette), Path("a.png"))


def test_values_are_counted_over_all_masks_by_what_they_mean():
    masks = [of([[0, 0, 1], [255, 1, 0]]), of([[1, 1]])]
    assert mapping(masks, LINES) == [(0, 0, 3), (1, 1, 4), (255, 255, 1)]
    assert [counted(mask, LINES).tolist() for mask in masks] == [[3, 2], [0, 2]]


def test_colours_and_palettes_are_told_as_colours():
    masks = [of([[0, 0, 1]], PALETTE), of([[[0, 0, 0], [255, 0, 0]]])]
    assert mapping(masks, RED) == [("#000000", 0, 2), ("#ff0000", 1, 3)]
    assert counted(masks[0], RED).tolist() == [1, 2]
    assert mapping(masks[:1], LINES) == [(0, 0, 2), (1, 1, 1)], "by index where classes are values"


def test_pixels_that_were_pulled_are_counted_by_class():
    entries = mapping([of([[0, 3, 3, 255, 250]])], WHITE)
    assert entries == [(3, 0, 2), (0, 0, 1), (250, 1, 1), (255, 1, 1)]
    assert pulled(entries, WHITE) == {0: 2, 1: 1}
    assert sentences(entries, WHITE) == ["  3 pixels pulled within 9: 2 to background, 1 to line"]
    assert sentences(entries, WHITE, soft=4)[0].endswith("1 to line, 4 to an object or the background")
    assert pulled(mapping([of([[[0, 0, 0], [255, 255, 255]]])], WHITE), WHITE) == {}, (
        "gray stored as RGB is plain"
    )


def test_numbered_objects_are_not_pulled_but_their_soft_edges_are():
    objects = Classes(LINES.names, LINES.values, LINES.colors, MaskReading(tolerance=5, binary=True))
    entries = mapping([of([[0, 4, 6, 7, 7]])], objects)
    assert pulled(entries, objects) == {0: 1}
    assert sentences(entries, objects)[1] == "  2 values but 0 are all class 1, line"


def test_ignored_pixels_are_told():
    spared = Classes(LINES.names, LINES.values, LINES.colors, MaskReading(ignore=9))
    assert sentences(mapping([of([[0, 9, 9, 255]])], spared), spared) == ["  3 pixels ignored (9 or 255)"]
    assert sentences(mapping([of([[0, 1, 255]])], LINES), LINES) == []


def test_more_values_than_can_be_told_are_summed_by_class():
    objects = Classes(LINES.names, LINES.values, LINES.colors, MaskReading(binary=True))
    many = survey(ArraySource(np.repeat(np.arange(400, dtype=np.uint16)[None], 2, axis=0)), Path("a.png"))
    entries = mapping([many], objects)
    assert entries[-1] == Mapped(None, 1, 2 * 144)
    assert len(entries) == 257
    assert sum(entry.pixels for entry in entries) == 800


def test_a_value_that_is_no_class_is_refused():
    with pytest.raises(DataError, match="value 7 is no class"):
        indices(of([[0, 7]]), LINES)
