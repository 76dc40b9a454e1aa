from fractions import Fraction

import numpy as np
import pytest

from patchseg.errors import DataError, UsageError
from patchseg.imaging import picture
from patchseg.imaging.video import frames, video_writer
from patchseg.inference.video import segment_video, video_outputs
from patchseg.progress import Progress

av = pytest.importorskip("av")
TIMES = [0, 600, 700, 1900, 2000]
RATE, CLOCK = Fraction(30), Fraction(1, 600)


@pytest.fixture
def clip(tmp_path):
    """A video of dark frames with a bright bar that moves to the right, 36 x 50."""
    with video_writer(tmp_path / "clip.mp4", (36, 50, 3), rate=RATE, time_base=CLOCK) as writer:
        for number, time in enumerate(TIMES):
            pixels = np.full((36, 50, 3), 20, np.uint8)
            pixels[:, 8 * number : 8 * number + 8] = 230
            writer.write(pixels, time)
    return tmp_path / "clip.mp4"


def bright(pixels):
    """Return class 1 where a frame is bright, (H, W) uint8."""
    assert pixels.shape == (36, 50, 3)
    return (pixels[:, :, 1] > 128).astype(np.uint8)


class Heard(Progress):
    def __init__(self):
        self.calls = []

    def start(self, label, total):
        self.calls.append((label, total))

    def step(self, count=1, note=""):
        self.calls.append(count)

    def stop(self):
        self.calls.append("stop")


def stored(path, kind):
    with av.open(str(path)) as container:
        return [
            (frame.pts * frame.time_base, frame.to_ndarray(format=kind))
            for frame in container.decode(video=0)
        ]


def test_each_frame_has_its_mask_at_its_time(clip, tmp_path):
    heard = Heard()
    assert segment_video(clip, bright, tmp_path / "masks", progress=heard) == [
        tmp_path / "masks" / "clip.mkv"
    ]
    assert heard.calls == [("clip.mp4", 5), 1, 1, 1, 1, 1, "stop"]
    masks = stored(tmp_path / "masks" / "clip.mkv", "gray")
    assert [time for time, _ in masks] == pytest.approx([time / 600 for time in TIMES], abs=5e-4)
    for number, (_, mask) in enumerate(masks):
        assert (mask == np.isin(np.arange(50), range(8 * number, 8 * number + 8))).all()
    assert [file.name for file in (tmp_path / "masks").rglob("*")] == ["clip.mkv"]


def test_overlays_show_the_frames_with_the_classes_over_them(clip, tmp_path):
    colors = picture.palette(2)
    written = segment_video(clip, bright, tmp_path / "masks", name="day 1/b.c", colors=colors)
    assert written == [tmp_path / "masks/day 1/b.c.mkv", tmp_path / "masks/overlays/day 1/b.c.mp4"]
    overlays = stored(written[1], "rgb24")
    assert [time for time, _ in overlays] == [Fraction(time, 600) for time in TIMES]
    with frames(clip) as video:
        for frame, (_, shown) in zip(video, overlays, strict=True):
            expected = picture.overlay(frame.pixels, bright(frame.pixels), colors)
            # Inside of the bar and far from it: the colours of H.264 have half the columns.
            at = [8 * frame.number + 3, 8 * frame.number + 4, 48]
            np.testing.assert_allclose(shown[8:28, at], expected[8:28, at], atol=8)


def test_a_turned_video_of_odd_size_has_masks_and_overlays_as_it_is_seen(tmp_path):
    if not hasattr(av.VideoStream, "set_display_rotation"):
        pytest.skip("this av cannot write a rotation")
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = 37, 51, "bgr0"
        stream.set_display_rotation(90)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((37, 51, 3), np.uint8), "rgb24")))
        container.mux(stream.encode())

    def rows(pixels):
        return np.repeat(np.arange(len(pixels), dtype=np.uint8)[:, None], pixels.shape[1], axis=1)

    masks, overlays = segment_video(tmp_path / "a.mkv", rows, tmp_path / "masks", colors=picture.palette(60))
    ((_, mask),), ((_, shown),) = stored(masks, "gray"), stored(overlays, "rgb24")
    assert shown.shape == (52, 38, 3)
    assert mask.shape == (51, 37)
    assert mask[:, 5].tolist() == list(range(51))


def test_a_video_that_is_damaged_in_the_middle_leaves_no_masks(tmp_path):
    file = tmp_path / "a.avi"
    with av.open(str(file), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = 36, 50, "yuv420p"
        for pixels in np.random.default_rng(0).integers(0, 256, (6, 36, 50, 3)).astype(np.uint8):
            packets = stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24"))
            last = bytes(packets[0])
            container.mux(packets)
    file.write_bytes(file.read_bytes().replace(last, b"\xff" * len(last)))
    done = []

    def counting(pixels):
        done.append(pixels)
        return bright(pixels)

    with pytest.raises(DataError, match=r"a\.avi: cannot be read beyond frame 5 of about 6"):
        segment_video(file, counting, tmp_path / "masks", colors=picture.palette(2))
    assert len(done) == 5
    assert not [file for file in (tmp_path / "masks").rglob("*") if file.is_file()]


def test_a_video_is_never_replaced_by_its_masks(clip, tmp_path):
    mine = clip.rename(tmp_path / "clip.mkv")
    before = mine.read_bytes()
    away = tmp_path / "masks" / ".."
    for video, folder in ((mine, away), (away / "clip.mkv", tmp_path)):
        with pytest.raises(
            UsageError, match=r"clip\.mkv: would be replaced by its masks; choose another folder"
        ):
            segment_video(video, bright, folder)
    assert mine.read_bytes() == before


def test_an_error_of_the_network_leaves_no_masks(clip, tmp_path):
    calls = []

    def fail_at_the_third(pixels):
        calls.append(pixels)
        if len(calls) == 3:
            raise MemoryError
        return bright(pixels)

    with pytest.raises(MemoryError):
        segment_video(clip, fail_at_the_third, tmp_path / "masks", colors=picture.palette(2))
    assert not [file for file in (tmp_path / "masks").rglob("*") if file.is_file()]


def test_names_with_dots_keep_them(tmp_path):
    assert video_outputs("a.b", tmp_path, overlay=False) == [tmp_path / "a.b.mkv"]
