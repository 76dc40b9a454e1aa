import numpy as np
import pytest
from PIL import Image

from patchseg.errors import DataError
from patchseg.imaging import ArraySource, Box, Reading
from patchseg.inference.infer import infer
from patchseg.inference.kinship import Watched, as_learned, require_kin
from patchseg.parameters import DataParameters, InferParameters


@pytest.fixture
def work(tmp_path, make, hear):
    """Infer one array of uint8 and return its mask and the lines: `work(pixels, channels=..., data=...)`."""

    def work(pixels, *, channels=None, data=DataParameters(), **ranges):
        checkpoint = make(channels=1 if channels == ["gray"] or pixels.ndim == 2 else pixels.shape[2])
        checkpoint.parameters = {"data.channels": {"value": channels, "source": "plan"}}
        for channel in checkpoint.channels:
            channel.update(ranges)
        checkpoint.save(tmp_path / "best.pt")
        Image.fromarray(pixels).save(tmp_path / "a.png")
        told = hear()
        infer(
            [tmp_path / "a.png"], checkpoint=tmp_path / "best.pt", data=data, overwrite=True, progress=told,
            parameters=InferParameters(output=str(tmp_path / "masks"), device="cpu", threads=1),
        )  # fmt: skip
        return np.asarray(Image.open(tmp_path / "masks/a.png")), told.lines

    return work


NOISE = np.random.default_rng(0).integers(0, 256, (20, 21)).astype(np.uint8)


def test_gray_stored_as_rgb_is_read_as_it_was_learned(work):
    one, _ = work(NOISE, channels=["gray"])
    three, _ = work(np.repeat(NOISE[:, :, None], 3, axis=2), channels=["gray"])
    np.testing.assert_array_equal(one, three)
    with pytest.raises(DataError, match=r"a\.png: is in colour, first at row 0, column 0; expected gray"):
        work(np.stack([NOISE, NOISE, NOISE ^ 1], axis=-1), channels=["gray"])


def test_a_model_of_plain_gray_reads_gray_stored_as_rgb_too(make):
    checkpoint = make()
    assert as_learned(checkpoint, print).channels is None
    checkpoint.channels[0]["name"] = "gray"
    assert as_learned(checkpoint, print) == Reading(channels=("gray",), tell=print)
    checkpoint.parameters = {"data.channels": {"value": [0], "source": "flag"}}
    assert as_learned(checkpoint, print).channels == (0,)


def test_other_channels_are_refused_by_name(work):
    with pytest.raises(DataError, match=r"a\.png: has no channel 5; it has 1 \(0 gray\)"):
        work(NOISE, channels=[5])


def test_the_memory_that_pictures_may_take_is_asked_of_the_caller(work):
    with pytest.raises(DataError, match=r"more than the less than 1 MB of --max-memory"):
        work(NOISE, data=DataParameters(max_memory=100))


class Named(ArraySource):
    channel_names = ("nuclei", "actin")


def test_channels_in_another_order_are_refused_and_other_names_are_not(tmp_path, make):
    source, checkpoint = Named(np.zeros((4, 4, 2), np.uint8)), make(channels=2)
    require_kin(tmp_path, source, checkpoint)
    for channel, name in zip(checkpoint.channels, ("nuclei", "actin"), strict=True):
        channel["name"] = name
    require_kin(tmp_path, source, checkpoint)
    checkpoint.channels.reverse()
    with pytest.raises(
        DataError, match=r"has the channels nuclei, actin, the model has learned actin, nuclei;"
    ):
        require_kin(tmp_path, source, checkpoint)


@pytest.mark.parametrize(
    ("learned", "highest", "doubtful"),
    [
        ((0, 255), 255, False), ((0, 4095), 65535, True), ((0, 4095), 255, True), ((0, 1), 255, True), ((0, 255), 1, True),
        ((100, 300), 900, False), ((100, 300), 901, True), ((-1, 1), -0.9, True), ((-1, 1), -0.5, False), ((7, 7), 7, False),
    ],
)  # fmt: skip
def test_values_far_off_the_range_that_was_learned_are_doubted(tmp_path, make, learned, highest, doubtful):
    checkpoint = make(dtype="float32")
    checkpoint.channels[0].update(min=learned[0], max=learned[1])
    pixels = np.full((6, 5), learned[0], np.float32)
    pixels[2, 3] = highest
    watched = Watched(ArraySource(pixels), tmp_path / "a.tif")
    for top in range(6):
        watched.read(Box(top, 0, 1, 5))
    found = watched.doubt(checkpoint)
    assert bool(found) == doubtful
    if found:
        assert found.startswith(
            f"{tmp_path}/a.tif: its values reach {highest:g}, those of the training images {learned[1]:g}; if"
        )


def test_a_doubt_is_told_once_the_mask_is_there_and_old_models_have_none(work):
    _, lines = work(NOISE // 20, min=0, max=250)
    assert sum("its values reach 12, those of the training images 250" in line for line in lines) == 1
    _, lines = work(NOISE, min=0, max=250)
    assert not any("values reach" in line for line in lines)
    _, lines = work(NOISE // 20)
    assert not any("values reach" in line for line in lines)
