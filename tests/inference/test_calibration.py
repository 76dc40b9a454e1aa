"""Calibrated probabilities: by hand, by the logits that they come from, and what must not change with them."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given
from hypothesis import strategies as st

import patchseg
from patchseg.errors import UsageError
from patchseg.inference.calibration import Calibration, agreed
from patchseg.inference.layers import LAYERS, layers
from patchseg.parameters import InferParameters
from patchseg.patches.pairs import RECORD

FOUND = {"temperature": 2.0, "thresholds": None}


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_a_temperature_of_two_takes_square_roots_worked_by_hand():
    averaged = torch.tensor([[[0.64, 0.25]], [[0.36, 0.75]]])
    expected = [[[4 / 7, 1 / (1 + 3**0.5)]], [[3 / 7, 3**0.5 / (1 + 3**0.5)]]]
    np.testing.assert_allclose(Calibration(2.0).probabilities(averaged), expected, rtol=1e-6)
    assert averaged[0, 0, 0] == torch.tensor(0.64)  # what comes in stays as it is


@given(st.floats(0.05, 20), st.integers(2, 6), st.integers(0, 99))
def test_it_is_the_softmax_of_logits_over_the_temperature(temperature, classes, seed):
    logits = 3 * random(classes, 4, 5, seed=seed).double()
    found = Calibration(temperature).probabilities(logits.softmax(0))
    torch.testing.assert_close(found, (logits / temperature).softmax(0), rtol=1e-9, atol=1e-12)


def test_a_temperature_of_one_changes_nothing_but_rounding():
    averaged = random(4, 30, 31).softmax(0)
    torch.testing.assert_close(Calibration(1.0).probabilities(averaged), averaged, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("temperature", [0.05, 0.5, 1.0, 3.0, 20.0])
def test_nothing_stays_nothing_and_certainty_stays_certain(temperature):
    rows = torch.tensor([[0.0, 1.0, 0.0, 0.5, 1e-45], [0.0, 0.0, 1.0, 0.5, 1.0], [0.0, 0.0, 0.0, 0.0, 0.0]])
    found = Calibration(temperature).probabilities(rows)
    assert found[:, :4].tolist() == rows[:, :4].tolist()
    assert found.isfinite().all()
    np.testing.assert_allclose(found.sum(dim=0)[1:], 1, rtol=1e-6)


def test_even_with_254_equal_classes_no_number_is_lost():
    averaged = torch.full((254, 1), 1 / 254)
    torch.testing.assert_close(Calibration(0.05).probabilities(averaged), averaged)


def test_a_pixel_has_the_same_bytes_whatever_lies_around_it():
    averaged = (4 * random(3, 40, 101)).softmax(0)
    calibration = Calibration(1.37)
    whole = calibration.probabilities(averaged)
    for top, bottom, left, right in ((0, 1, 0, 101), (3, 7, 1, 2), (5, 40, 13, 64), (0, 40, 7, 90)):
        part = averaged[:, top:bottom, left:right]
        for rows in (part, part.contiguous()):
            assert torch.equal(calibration.probabilities(rows), whole[:, top:bottom, left:right])


def test_a_temperature_changes_probabilities_and_confidence_and_neither_mask_nor_disagreement():
    rows = torch.cat([random(3, 20, 30).softmax(0), torch.full((1, 20, 30), 0.2)])
    before, after = layers(rows, 3, LAYERS), layers(rows, 3, LAYERS, Calibration(3.0))
    for name in ("mask", "disagreement"):
        np.testing.assert_array_equal(after[name], before[name])
    assert (after["confidence"] <= before["confidence"]).all()
    assert (after["confidence"] < before["confidence"]).mean() > 0.9
    expected = Calibration(3.0).probabilities(rows[:3]).permute(1, 2, 0)
    np.testing.assert_array_equal(after["float16"], expected.half())
    np.testing.assert_array_equal(after["uint8"], (expected * 255).round().byte())


def test_a_temperature_changes_no_mask_where_rounding_makes_equals_of_two_classes():
    nearly = torch.tensor([0.5, torch.nextafter(torch.tensor(0.5), torch.tensor(1.0))]).view(2, 1, 1)
    calibrated = Calibration(20.0).probabilities(nearly)
    assert calibrated[0] == calibrated[1]
    assert layers(nearly, 2, ["mask"], Calibration(20.0))["mask"].tolist() == [[1]]


def test_thresholds_change_masks_as_worked_by_hand():
    rows = torch.tensor([[[0.7, 0.85]], [[0.3, 0.15]]])
    # 0.7 / 0.8 < 0.3 / 0.2, but 0.85 / 0.8 > 0.15 / 0.2: class 1 from 0.2 on.
    found = layers(rows, 2, ["mask", "float16"], Calibration(1.0, (0.8, 0.2)))
    assert found["mask"].tolist() == [[1, 0]]
    np.testing.assert_allclose(found["float16"][..., 1], [[0.3, 0.15]], rtol=1e-3)


def test_thresholds_hold_for_what_the_temperature_has_made_of_probabilities():
    rows = torch.tensor([[[0.9]], [[0.1]]])  # square roots have shares of 3/4 and 1/4
    for threshold, index in ((0.2, 1), (0.3, 0)):
        calibration = Calibration(2.0, (1 - threshold, threshold))
        assert layers(rows, 2, ["mask"], calibration)["mask"].tolist() == [[index]]


def test_checkpoints_of_an_ensemble_must_agree(make, tmp_path):
    plain = make()
    known = replace(plain, calibration=FOUND)
    other = replace(plain, calibration=FOUND | {"temperature": 1.5})
    paths = [tmp_path / "a.pt", tmp_path / "b.pt"]
    assert agreed(paths, [known, replace(known, calibration=FOUND | {"pixels": 7})]) == Calibration(2.0)
    with pytest.raises(UsageError, match=r"b\.pt: has no calibration, .* `patchseg calibrate .*b\.pt`"):
        agreed(paths, [known, plain])
    with pytest.raises(UsageError, match=r"b\.pt: is calibrated otherwise than .*a\.pt, .* --masks DIR"):
        agreed(paths, [known, other])


def settings(tmp_path, name, **values):
    return InferParameters(output=str(tmp_path / name), device="cpu", threads=1, tile=32, **values)


def test_infer_writes_calibrated_probabilities_and_the_same_mask_and_says_so(make, tmp_path):
    replace(make(classes=3), calibration=FOUND).save(tmp_path / "best.pt")
    tifffile.imwrite(tmp_path / "a.tif", (np.arange(60 * 47) % 251).reshape(60, 47).astype(np.uint8))

    def infer(name, **values):
        patchseg.infer(
            [tmp_path / "a.tif"], checkpoint=tmp_path / "best.pt",
            parameters=settings(tmp_path, name, probabilities=True, format="tiff", **values),
        )  # fmt: skip
        return [tifffile.imread(tmp_path / name / part) for part in ("a.tif", "probabilities/a.tif")]

    (mask, averaged), (same, calibrated) = infer("plain"), infer("calibrated", calibrated=True)
    np.testing.assert_array_equal(same, mask)
    expected = Calibration(2.0).probabilities(torch.from_numpy(averaged).permute(2, 0, 1).float())
    np.testing.assert_allclose(calibrated, expected.permute(1, 2, 0), atol=1e-3)
    assert np.abs(calibrated - averaged).max() > 1e-3
    record = json.loads((tmp_path / "calibrated" / RECORD).read_text())
    assert record["infer.calibration"]["value"] == FOUND
    assert record["infer.calibrated"]["value"] is True
    assert "infer.calibration" not in json.loads((tmp_path / "plain" / RECORD).read_text())
    infer("calibrated", calibrated=True)  # the same goes on
    with pytest.raises(UsageError, match=r"infer\.calibrated true, now false"):
        infer("calibrated")


def test_outside_of_a_region_calibrated_probabilities_are_0_and_the_mask_is_255(make, tmp_path):
    replace(make(), calibration=FOUND | {"thresholds": [0.3, 0.7]}).save(tmp_path / "best.pt")
    tifffile.imwrite(tmp_path / "a.tif", (np.arange(100 * 90) % 251).reshape(100, 90).astype(np.uint8))
    patchseg.infer(
        [tmp_path / "a.tif"], checkpoint=tmp_path / "best.pt",
        parameters=settings(
            tmp_path, "masks", roi="5,4,20,30", calibrated=True, probabilities=True, format="tiff"
        ),
    )  # fmt: skip
    mask, shares = (tifffile.imread(tmp_path / "masks" / name) for name in ("a.tif", "probabilities/a.tif"))
    inside = np.zeros((100, 90), bool)
    inside[5:25, 4:34] = True
    assert ((mask != 255) == inside).all()
    assert not shares[~inside].any()
    np.testing.assert_allclose(shares[inside].sum(axis=1), 1, atol=2e-3)


def test_predict_and_its_rows_are_calibrated_too(make, tmp_path):
    known = FOUND | {"thresholds": [0.495, 0.505]}  # of a network that is hardly sure of anything
    replace(make(), calibration=known).save(tmp_path / "best.pt")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50), dtype=np.uint8)
    values = {"device": "cpu", "threads": 1, "tile": 32}
    plain = patchseg.engine_of(tmp_path / "best.pt", InferParameters(**values))
    engine = patchseg.engine_of(tmp_path / "best.pt", InferParameters(**values, calibrated=True))
    averaged, calibrated = (
        np.concatenate(list(patchseg.predict_rows(pixels, one)), axis=1) for one in (plain, engine)
    )
    expected = Calibration(2.0).probabilities(torch.from_numpy(averaged))
    np.testing.assert_array_equal(calibrated, expected)
    mask = patchseg.predict(pixels, engine)
    np.testing.assert_array_equal(mask, calibrated[1] / np.float32(0.505) > calibrated[0] / np.float32(0.495))
    assert (mask != patchseg.predict(pixels, plain)).any()


def test_what_is_not_calibrated_is_refused_before_anything_is_written(make, tmp_path):
    make().save(tmp_path / "best.pt")
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((20, 20), np.uint8))
    with pytest.raises(UsageError, match=r"best\.pt: has no calibration, which --calibrated asks for"):
        patchseg.infer(
            [tmp_path / "a.tif"], checkpoint=tmp_path / "best.pt",
            parameters=settings(tmp_path, "masks", calibrated=True),
        )  # fmt: skip
    assert not (tmp_path / "masks").exists()
