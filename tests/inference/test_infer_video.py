from fractions import Fraction

import numpy as np
import pytest
import torch

from patchseg.errors import DataError, SomeFailed, UsageError
from patchseg.imaging import ArraySource
from patchseg.imaging.video import frames, video_writer
from patchseg.inference.engine import Engine
from patchseg.inference.infer import infer
from patchseg.inference.jobs import Job
from patchseg.inference.predictor import most_probable
from patchseg.labels.classes import IGNORE
from patchseg.parameters import InferParameters

pytest.importorskip("av")
SHAPE = (28, 36)


def write(path, *, seed=0, gray=False, count=3):
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 7, 9, 1 if gray else 3)).astype(np.uint8)
    fine = np.kron(coarse, np.ones((1, 4, 4, 1), np.uint8))
    with video_writer(path, (*SHAPE, 3), rate=Fraction(5), time_base=Fraction(1, 100)) as writer:
        for number, pixels in enumerate(fine):
            writer.write(np.broadcast_to(pixels, (*SHAPE, 3)), 20 * number)


def pixels(path):
    with frames(path) as video:
        return [frame.pixels for frame in video]


def masks(path):
    """Return the class indices of a video of masks, which is gray."""
    return [frame[:, :, 0] for frame in pixels(path)]


@pytest.fixture
def work(tmp_path, make):
    """Infer in a folder with a checkpoint of colours: `work("a.mp4", **parameters)`."""

    def work(*wanted, checkpoint=None, **values):
        (checkpoint or make(3)).save(tmp_path / "best.pt")
        values = {"output": str(tmp_path / "masks"), "device": "cpu", "threads": 1} | values
        return infer(
            [tmp_path / name for name in wanted], checkpoint=tmp_path / "best.pt", parameters=InferParameters(**values)
        )  # fmt: skip

    return work


def expected(checkpoint, frame, **values):
    engine = Engine.of([checkpoint], InferParameters(threads=1, **values), torch.device("cpu"))
    return most_probable(torch.cat(list(engine.rows(ArraySource(frame))), dim=1)).numpy()


def gray(checkpoint):
    checkpoint.channels[0]["name"] = "gray"
    return checkpoint


def test_a_frame_is_segmented_as_if_it_were_an_image(tmp_path, work, make):
    write(tmp_path / "a.mp4")
    work("a.mp4", overlay=True)
    found, shown = masks(tmp_path / "masks/a.mkv"), pixels(tmp_path / "masks/overlays/a.mp4")
    assert len(found) == len(shown) == 3
    assert len(np.unique(found)) == 2
    for mask, frame in zip(found, pixels(tmp_path / "a.mp4"), strict=True):
        np.testing.assert_array_equal(mask, expected(make(3), frame))


def test_videos_beside_images_and_in_folders_of_their_own_are_found(tmp_path, work):
    (tmp_path / "clips").mkdir()
    write(tmp_path / "clips/b10.mp4")
    write(tmp_path / "clips/b9.MP4")
    np.save(tmp_path / "image.npy", np.zeros((20, 20, 3), np.uint8))
    work("clips", "image.npy")
    there = sorted(path.name for path in (tmp_path / "masks").iterdir())
    assert there == ["b10.mkv", "b9.mkv", "image.png", "parameters.effective.json"]


def test_in_a_folder_of_images_videos_are_passed_over(tmp_path, work):
    (tmp_path / "in").mkdir()
    write(tmp_path / "in/b.mp4")
    np.save(tmp_path / "in/image.npy", np.zeros((20, 20, 3), np.uint8))
    work("in")
    assert not (tmp_path / "masks/b.mkv").exists()
    work("in/*", output=str(tmp_path / "all"))
    assert (tmp_path / "all/b.mkv").exists()


def test_what_is_finished_stays_and_what_is_missing_is_made(tmp_path, work):
    write(tmp_path / "a.mp4")
    work("a.mp4", overlay=True)
    mask, shown = tmp_path / "masks/a.mkv", tmp_path / "masks/overlays/a.mp4"
    before = [path.stat().st_mtime_ns for path in (mask, shown)]
    work("a.mp4", overlay=True)
    assert [path.stat().st_mtime_ns for path in (mask, shown)] == before
    shown.unlink()
    work("a.mp4", overlay=True)
    assert len(pixels(shown)) == 3


def test_gray_videos_are_read_as_gray(tmp_path, work, make):
    write(tmp_path / "a.mp4", gray=True)
    checkpoint = gray(make(1))
    work("a.mp4", checkpoint=checkpoint)
    for mask, frame in zip(masks(tmp_path / "masks/a.mkv"), pixels(tmp_path / "a.mp4"), strict=True):
        np.testing.assert_array_equal(mask, expected(checkpoint, frame[:, :, :1]))


def test_a_video_in_colour_is_refused_by_a_network_of_gray_images(tmp_path, work, make):
    write(tmp_path / "a.mp4")
    with pytest.raises(DataError, match=r"a\.mp4: is in colour, first at row \d+, column \d+; expected gray"):
        work("a.mp4", checkpoint=gray(make(1)))
    assert not (tmp_path / "masks/a.mkv").exists()


def test_outside_of_a_region_frames_have_no_class(tmp_path, work, make):
    write(tmp_path / "a.mp4")
    work("a.mp4", roi="3,20,10,8")
    inside = np.zeros(SHAPE, bool)
    inside[3:13, 20:28] = True
    for mask, frame in zip(masks(tmp_path / "masks/a.mkv"), pixels(tmp_path / "a.mp4"), strict=True):
        np.testing.assert_array_equal(mask == IGNORE, ~inside)
        np.testing.assert_array_equal(mask[inside], expected(make(3), frame)[inside])


@pytest.mark.parametrize(
    ("values", "flags"),
    [
        ({"probabilities": True}, "--probabilities"),
        ({"polygons": True, "original_values": True}, "--polygons, --original-values"),
        ({"format": "tiff"}, "--format"),
        ({"verify": True, "pyramid": True}, "--pyramid, --verify"),
    ],
)
def test_what_becomes_no_video_is_refused_before_anything_is_written(tmp_path, work, values, flags):
    write(tmp_path / "a.mp4")
    with pytest.raises(UsageError, match=rf"a\.mp4: is a video, .* leave out {flags}, or infer it apart"):
        work("a.mp4", **values)
    assert not (tmp_path / "masks").exists()


def test_a_broken_video_is_named_and_the_others_are_done(tmp_path, work):
    write(tmp_path / "a.mp4")
    write(tmp_path / "c.mp4")
    (tmp_path / "b.mp4").write_bytes((tmp_path / "a.mp4").read_bytes()[:600])
    with pytest.raises(SomeFailed, match=r"b\.mp4: cannot be read as a video"):
        work("?.mp4")
    assert sorted(path.name for path in (tmp_path / "masks").glob("*.mkv")) == ["a.mkv", "c.mkv"]


def test_videos_are_dealt_whole_by_all_their_pixels(tmp_path, work):
    # The longest to the one, the two shorter ones to the other.
    for name, count in (("a", 2), ("b", 5), ("c", 2)):
        write(tmp_path / f"{name}.mp4", count=count)
    for index, expected_ in ((1, ["b"]), (2, ["a", "b", "c"])):
        work("a.mp4", "b.mp4", "c.mp4", shard=f"{index}/2")
        assert sorted(path.stem for path in (tmp_path / "masks").glob("*.mkv")) == expected_


def test_a_video_is_dealt_as_a_whole_however_large_it_is(tmp_path):
    job = Job(tmp_path / "a.mp4", "a", tmp_path, (9000, 9000), tmp_path / "a.mkv", {}, frames=10)
    assert not job.is_large
    assert job._replace(frames=None).is_large
