"""Which channels are learned: chosen ones, gray that is stored as RGB; what is recorded of them, and their range."""

import json

import h5py
import numpy as np
import pytest
from PIL import Image

from patchseg.errors import DataError
from patchseg.imaging import Reading
from patchseg.parameters import DataParameters
from patchseg.progress import Progress


class Told(Progress):
    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


@pytest.fixture
def gray(tmp_path, write):
    """Write three images of gray noise, stored as RGB; return what is gray of them by name."""
    images, _ = write(tmp_path, dict.fromkeys("abc", (20, 24)))
    found = {}
    for seed, name in enumerate("abc"):
        found[name] = np.random.default_rng(seed).integers(10, 200, (20, 24)).astype(np.uint8)
        Image.fromarray(np.repeat(found[name][:, :, None], 3, axis=2)).save(images / f"{name}.png")
    return found


def record(made):
    return json.loads(made["@parameters"])


def test_gray_stored_as_rgb_is_recognised_said_and_recorded(tmp_path, gray, run, everything):
    told = Told()
    made = everything(run(tmp_path, progress=told))
    assert made["train/images"].shape[-1] == 1
    (line,) = [line for line in told.lines if "equal" in line]
    assert (
        line
        == "red, green and blue are equal in all images, so one channel (gray) is learned, and read by infer"
    )
    assert record(made)["data.channels"] == {"value": ["gray"], "source": "plan"}
    (channel,) = json.loads(made["@channels"])
    assert channel["name"] == "gray"
    assert Reading.of(record(made)).channels == ("gray",)


def test_one_image_in_colour_keeps_all_three_channels(tmp_path, gray, run, everything):
    pixels = np.repeat(gray["b"][:, :, None], 3, axis=2)
    pixels[19, 23, 1] += 1
    Image.fromarray(pixels).save(tmp_path / "images/b.png")
    made = everything(run(tmp_path))
    assert made["train/images"].shape[-1] == 3
    assert record(made)["data.channels"] == {"value": None, "source": "default"}


def test_gray_of_one_channel_and_of_three_go_together(tmp_path, gray, run, everything):
    plain = everything(run(tmp_path))
    Image.fromarray(gray["b"]).save(tmp_path / "images/b.png")
    mixed = everything(run(tmp_path, overwrite=True))
    np.testing.assert_array_equal(plain["train/images"], mixed["train/images"])
    for name in "ac":
        Image.fromarray(gray[name]).save(tmp_path / f"images/{name}.png")
    alone = everything(run(tmp_path, overwrite=True))
    np.testing.assert_array_equal(plain["train/images"], alone["train/images"])
    assert record(alone)["data.channels"]["value"] is None


def test_channels_that_are_chosen_are_learned_and_gray_is_left_alone(tmp_path, gray, run, everything):
    made = everything(run(tmp_path, data=DataParameters(channels=["blue", 0])))
    assert made["train/images"].shape[-1] == 2
    assert [channel["name"] for channel in json.loads(made["@channels"])] == ["blue", "red"]
    assert record(made)["data.channels"] == {"value": ["blue", 0], "source": "call"}


def test_a_channel_that_an_image_does_not_have_is_refused_for_each(tmp_path, gray, run):
    with pytest.raises(DataError) as caught:
        run(tmp_path, data=DataParameters(channels=[3]))
    *told, hint = str(caught.value).splitlines()
    assert [line.split(": ")[1][:17] for line in told] == ["has no channel 3;"] * 3
    assert "patchseg check" in hint


def test_channels_that_are_named_are_kept_though_they_are_equal(tmp_path, gray, run, everything):
    made = everything(run(tmp_path, data=DataParameters(channels=["red", "green", "blue"])))
    assert made["train/images"].shape[-1] == 3


def test_the_range_of_each_channel_is_that_of_its_labelled_training_pixels(tmp_path, write, run, everything):
    images, masks = write(tmp_path, dict.fromkeys("abc", (20, 24)))
    ranges = {"a": (60, 250), "b": (5, 90), "c": (20, 80)}
    for name, (low, high) in ranges.items():
        pixels = np.full((20, 24), low, np.uint8)
        pixels[10:, 5] = high
        pixels[0] = 255  # not labelled
        Image.fromarray(pixels).save(images / f"{name}.png")
        mask = np.array(Image.open(masks / f"{name}.png"))
        mask[0] = 255
        Image.fromarray(mask).save(masks / f"{name}.png")
    (channel,) = json.loads(everything(run(tmp_path, validation=0.0))["@channels"])
    assert (channel["min"], channel["max"]) == (5, 250)


def test_the_memory_that_was_allowed_leaves_no_trace(tmp_path, gray, run):
    for name, memory in (("a", None), ("b", 10**9)):
        run(tmp_path, output=str(tmp_path / f"{name}.h5"), data=DataParameters(max_memory=memory))
    with h5py.File(tmp_path / "a.h5") as one, h5py.File(tmp_path / "b.h5") as other:
        assert dict(one.attrs) == dict(other.attrs)


def test_pictures_beyond_the_memory_that_is_allowed_are_refused(tmp_path, gray, run):
    with pytest.raises(
        DataError, match=r"a\.png: is 20 x 24 pixels, .* more than the less than 1 MB of --max-memory"
    ):
        run(tmp_path, data=DataParameters(max_memory="1kB"))
