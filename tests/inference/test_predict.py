import numpy as np
import pytest
import tifffile
from PIL import Image

import patchseg
from patchseg.errors import DataError, UsageError
from patchseg.inference.tiling import Grid
from patchseg.parameters import InferParameters

CPU = InferParameters(device="cpu", threads=1, tile=16, blend="flat")


def noise(*shape, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, 256, shape).astype(dtype)


@pytest.fixture
def best(tmp_path, make):
    make(channels=3, classes=3).save(tmp_path / "best.pt")
    return tmp_path / "best.pt"


def test_the_mask_of_an_array_is_that_of_its_file_and_of_infer(tmp_path, best):
    pixels = noise(50, 39, 3)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    settings = CPU.model_copy(update={"output": str(tmp_path / "masks")})
    patchseg.infer([tmp_path / "a.png"], checkpoint=best, parameters=settings)
    expected = np.asarray(Image.open(tmp_path / "masks/a.png"))
    engine = patchseg.engine_of(best, CPU)
    assert len(np.unique(expected)) > 1
    for image in (pixels, pixels[:, ::-1][:, ::-1], tmp_path / "a.png", str(tmp_path / "a.png")):
        mask = patchseg.predict(image, engine)
        assert mask.dtype == np.uint8
        np.testing.assert_array_equal(mask, expected)


def test_a_checkpoint_can_be_a_path(tmp_path, best):
    pixels = noise(20, 20, 3)
    expected = patchseg.predict(pixels, patchseg.engine_of(best, InferParameters(device="cpu", threads=1)))
    assert (patchseg.predict(pixels, str(best)) != expected).mean() < 0.01


def test_rows_of_probabilities_come_from_top_to_bottom_and_are_the_average_of_all_tiles(make, best, naive):
    pixels = noise(61, 45, 3)
    bands = list(patchseg.predict_rows(pixels, patchseg.engine_of(best, CPU)))
    assert len(bands) > 3
    expected = naive(pixels, make(channels=3, classes=3).network(), Grid((61, 45), 16))
    np.testing.assert_allclose(np.concatenate(bands, axis=1), expected, atol=1e-5)


def test_the_parameters_of_the_engine_are_followed(best):
    pixels = noise(61, 45, 3)
    exact = InferParameters(device="cpu", threads=1, blend="exact", tile=32)
    plain, other = (
        np.concatenate(list(patchseg.predict_rows(pixels, patchseg.engine_of(best, parameters))), axis=1)
        for parameters in (CPU, exact)
    )
    assert plain.shape == other.shape
    assert np.abs(plain - other).max() > 1e-3


def test_transparent_pixels_of_a_file_have_no_class(tmp_path, best):
    pixels = np.concatenate([noise(20, 12, 3), np.full((20, 12, 1), 255, np.uint8)], axis=2)
    pixels[4:9, :5, 3] = 0
    Image.fromarray(pixels).save(tmp_path / "a.png")
    mask = patchseg.predict(tmp_path / "a.png", best)
    np.testing.assert_array_equal(mask == 255, pixels[:, :, 3] == 0)


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (noise(20, 20), r"array: has 1 channels, the model expects 3"),
        (noise(20, 20, 3, dtype=np.uint16), r"array: holds uint16, the model has learned uint8"),
        (noise(20), r"array: holds uint8 of shape \(20,\); expected numbers of shape"),
        ("none.png", r"none\.png: cannot be read"),
    ],
)
def test_an_image_of_another_kind_is_refused_in_a_sentence(best, image, sentence):
    for predict in (patchseg.predict, lambda *given: next(patchseg.predict_rows(*given))):
        with pytest.raises(DataError, match=sentence):
            predict(image, best)


def test_a_file_that_is_refused_is_closed(tmp_path, best):
    tifffile.imwrite(tmp_path / "gray.tif", noise(20, 20))
    with pytest.raises(DataError, match=r"gray\.tif: has 1 channels"):  # an open file would be a warning
        patchseg.predict(tmp_path / "gray.tif", best)


def test_a_checkpoint_that_is_not_there_is_refused():
    with pytest.raises(UsageError, match=r"none\.pt: is no file"):
        patchseg.predict(noise(20, 20, 3), "none.pt")
