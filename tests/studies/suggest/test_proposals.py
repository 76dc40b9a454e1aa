import numpy as np
import torch

from patchseg.studies.proposals import propose, without_specks

NAMES = ("background", "line", "ellipse")


def rows(*pixels):
    """Return rows (K + 1, 9, n) of columns of pixels that are given as probabilities, all opinions alike."""
    table = torch.tensor(pixels).T[:, None].expand(-1, 9, -1)
    entropy = torch.special.entr(table).sum(0)
    return torch.cat([table, entropy[None]])


def test_what_is_sure_is_filled_in_and_the_rest_left_open():
    found = propose(rows([0.95, 0.05, 0.0], [0.2, 0.7, 0.1], [0.1, 0.0, 0.9]), NAMES, 0.9)
    assert found.predicted.tolist() == [[0, 1, 2]] * 9
    assert found.mask.tolist() == [[0, 255, 2]] * 9
    assert found.unsure == np.float64(1 / 3)
    assert found.why == "line or background"


def test_no_data_is_left_open_but_is_no_doubt():
    found = propose(rows([1.0, 0.0, 0.0], [0.5, 0.5, 0.0]), NAMES, 0.9, np.zeros((9, 2), bool))
    assert found.mask.tolist() == [[255, 255]] * 9
    assert (found.unsure, found.why) == (0, "sure everywhere")


def test_specks_amid_what_is_open_are_open_too_but_not_small_things_elsewhere():
    mask = np.zeros((20, 20), np.uint8)
    mask[10:] = 255
    mask[13:15, 4:8] = 1  # 8 pixels
    mask[16:19, 4:7] = 2  # 9
    mask[2, 2] = 1
    found = without_specks(mask)
    expected = mask.copy()
    expected[13:15, 4:8] = 255
    np.testing.assert_array_equal(found, expected)


def test_the_pair_that_most_pixels_are_unsure_between_is_named():
    unsure = [[0.1, 0.5, 0.4], [0.1, 0.4, 0.5], [0.1, 0.4, 0.5], [0.5, 0.1, 0.4], [0.5, 0.1, 0.4]]
    assert propose(rows(*unsure), NAMES, 0.9).why == "ellipse or line"


def test_opinions_that_are_alike_do_not_disagree_and_split_ones_by_the_log_of_two():
    assert not propose(rows([0.5, 0.5, 0.0]), NAMES, 0.9).disagreement.any()
    split = torch.tensor([0.5, 0.5, 0.0, 0.0])[:, None, None]
    np.testing.assert_allclose(propose(split, NAMES, 0.9).disagreement, np.log(2), rtol=1e-3)
