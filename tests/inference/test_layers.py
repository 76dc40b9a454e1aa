import math

import numpy as np
import pytest
import torch

from patchseg.inference.layers import LAYERS, disagreement, layers, lead, widened

# Two rows of two pixels, three classes; below them the mean entropy of what was averaged.
ROWS = torch.tensor(
    [
        [[0.5, 1.0], [0.2, 0.0]],
        [[0.25, 0.0], [0.2, 0.0]],
        [[0.25, 0.0], [0.6, 0.0]],
        [[0.0, 0.0], [0.5, 0.0]],
    ]
)  # fmt: skip


def test_each_layer_is_what_its_definition_says_worked_by_hand():
    found = layers(ROWS, 3, LAYERS)
    assert found["mask"].tolist() == [[0, 0], [2, 0]]
    np.testing.assert_allclose(found["float16"][1, 0], [0.2, 0.2, 0.6], atol=2**-11)
    assert found["uint8"].tolist() == [[[128, 64, 64], [255, 0, 0]], [[51, 51, 153], [0, 0, 0]]]
    np.testing.assert_allclose(found["confidence"], [[0.25, 1], [0.4, 0]], atol=2**-11)
    entropies = [[1.5 * math.log(2), 0], [-0.4 * math.log(0.2) - 0.6 * math.log(0.6) - 0.5, 0]]
    np.testing.assert_allclose(found["disagreement"], entropies, atol=2**-10)


def test_a_layer_has_the_dtype_and_shape_that_it_announces():
    for name, rows in layers(ROWS, 3, LAYERS).items():
        assert rows.dtype == LAYERS[name].dtype
        assert rows.shape == LAYERS[name].shape(2, 2, 3)


def test_the_mean_entropy_is_no_class():
    rows = torch.tensor([[[0.4]], [[0.6]], [[0.65]]])  # the entropy is the largest of the numbers
    assert layers(rows, 2, ["mask"])["mask"].tolist() == [[1]]
    assert lead(rows, 2).item() == pytest.approx(0.2, abs=1e-3)


def test_the_lead_is_that_of_a_sort_however_the_classes_are_ordered():
    rows = torch.rand((6, 20, 30), generator=torch.Generator().manual_seed(0)).softmax(0)
    second, first = rows.sort(dim=0).values[-2:]
    assert torch.equal(lead(rows, 6), (first - second).half())


def test_rounding_never_makes_disagreement_negative():
    rows = torch.tensor([[[1.0]], [[0.0]], [[1e-7]]])
    assert disagreement(rows, 2).item() == 0


def test_a_part_lies_at_its_columns_in_every_layer():
    part = layers(ROWS, 3, ["mask", "float16"])
    wide = widened(part, 3, 7)
    for name, rows in part.items():
        assert wide[name].dtype == rows.dtype
        np.testing.assert_array_equal(wide[name][:, 3:5], rows)
        assert not wide[name][:, [0, 1, 2, 5, 6]].any()
