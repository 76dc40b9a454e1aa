"""Small videos of PyAV's making; what is lost by H.264 is bounded by flat colours."""

import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from patchseg.errors import DataError, UsageError
from patchseg.imaging.video import SUFFIXES, frames, video_writer

av = pytest.importorskip("av")
NTSC, CLOCK = Fraction(30000, 1001), Fraction(1, 30000)
EVEN = [0, 1001, 2002, 3003]
UNEVEN = [0, 1001, 5005, 6006]
QUADRANTS = np.array([[(200, 30, 40), (20, 180, 60)], [(40, 50, 210), (128, 128, 128)]], np.uint8)


def noise(*shape, high=256):
    return np.random.default_rng(0).integers(0, high, shape).astype(np.uint8)


def quadrants(height=38, width=50):
    """Return a picture whose quarters have a colour each, (H, W, 3)."""
    return QUADRANTS[np.arange(height) * 2 // height][:, np.arange(width) * 2 // width]


def film(
    path, pictures, *, codec="libx264", pixels="yuv420p", times=None, matrix=None, clock=CLOCK, options=None
):
    """Write a video with PyAV alone, of pictures (H, W, 3)."""
    step = 1001 if clock == CLOCK else 1
    format = "mp4" if path.suffix == ".m4v" else None
    with av.open(str(path), "w", format=format, options=options or {}) as container:
        stream = container.add_stream(codec, rate=1 / (step * clock))
        stream.height, stream.width, stream.pix_fmt = *pictures[0].shape[:2], pixels
        stream.codec_context.time_base = clock
        if matrix:
            stream.set_display_matrix(matrix)
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = times[number] if times else number * step, clock
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write(path, pictures, times, *, rate=NTSC, clock=CLOCK):
    with video_writer(path, pictures[0].shape, rate=rate, time_base=clock) as writer:
        for picture, time in zip(pictures, times, strict=True):
            writer.write(picture, time)
    return path


def indices(path):
    """Return the stored bytes of a video of masks, (N, H, W)."""
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "ffv1"
        assert container.streams.video[0].codec_context.pix_fmt == "gray"
        return np.stack([frame.to_ndarray() for frame in container.decode(video=0)])


def seconds(path):
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


@pytest.mark.parametrize("size", [(38, 50), (37, 51), (1, 1)])
def test_class_indices_come_back_byte_for_byte(tmp_path, size):
    masks = [*noise(3, *size), np.full(size, 255, np.uint8), *noise(2, *size, high=2)]
    write(tmp_path / "a.mkv", masks, range(0, 6006, 1001))
    np.testing.assert_array_equal(indices(tmp_path / "a.mkv"), masks)


def test_equal_masks_are_equal_files(tmp_path):
    masks = noise(4, 37, 51, high=3)
    written = [write(tmp_path / name, masks, EVEN).read_bytes() for name in ("a.mkv", "b.mkv")]
    assert written[0] == written[1]


@pytest.mark.parametrize("times", [EVEN, UNEVEN, [90090, 91091, 99099, 99100]])
def test_times_are_kept_by_pictures_to_the_tick_and_by_masks_to_the_millisecond(tmp_path, times):
    told = [time * CLOCK for time in times]
    assert seconds(write(tmp_path / "a.mp4", noise(4, 38, 50, 3), times)) == told
    rounded = seconds(write(tmp_path / "a.mkv", noise(4, 38, 50), times))
    assert rounded == pytest.approx(told, abs=0.0005)
    assert rounded == [round(time * 1000) / Fraction(1000) for time in told]


def test_more_frames_than_a_millisecond_has_are_all_kept(tmp_path):
    masks = noise(12, 8, 8)
    write(tmp_path / "a.mkv", masks, range(12), rate=Fraction(10000), clock=Fraction(1, 10000))
    np.testing.assert_array_equal(indices(tmp_path / "a.mkv"), masks)
    with frames(tmp_path / "a.mkv") as video:
        # Five frames have the time 0, and so on: each is one tick behind the last at least.
        assert [frame.time for frame in video] == list(range(12))


@pytest.mark.parametrize("times", [EVEN, UNEVEN])
def test_a_video_tells_its_shape_and_clock_and_gives_numbered_frames(tmp_path, times):
    pictures = [quadrants() // (1 + number) for number in range(4)]
    film(tmp_path / "a.mp4", pictures, times=times)
    with frames(tmp_path / "a.mp4") as video:
        assert video.shape == (38, 50, 3)
        assert video.count == 4
        assert video.time_base == CLOCK
        if times == EVEN:
            assert video.rate == NTSC
        seen = list(video)
        assert not list(video)
    assert [frame.number for frame in seen] == [0, 1, 2, 3]
    assert [frame.time for frame in seen] == times
    for frame, picture in zip(seen, pictures, strict=True):
        assert frame.pixels.dtype == np.uint8
        assert frame.pixels.flags.c_contiguous
        assert frame.pixels.flags.writeable  # torch warns of others
        # Away from the edges between the colours.
        np.testing.assert_allclose(frame.pixels[4:14, 4:20], picture[4:14, 4:20], atol=12)


@pytest.mark.parametrize(
    ("suffix", "codec", "pixels"),
    [
        (".mkv", "ffv1", "bgr0"),
        (".avi", "mjpeg", "yuvj420p"),
        (".avi", "mpeg4", "yuv420p"),
        (".mov", "libx264", "yuv444p"),
        (".webm", "libvpx-vp9", "yuv420p"),
        (".m4v", "libx264", "yuv420p"),
    ],
)
def test_every_suffix_is_read(tmp_path, suffix, codec, pixels):
    if codec not in av.codecs_available:
        pytest.skip(f"this av has no {codec}")
    file = film(
        tmp_path / f"a{suffix}", [quadrants()] * 5, codec=codec, pixels=pixels, clock=Fraction(1, 25),
    )  # fmt: skip
    assert suffix in SUFFIXES
    with frames(file) as video:
        assert (video.shape, video.rate, video.count) == ((38, 50, 3), 25, 5)
        seen = list(video)
    assert [frame.time * video.time_base for frame in seen] == pytest.approx(
        [n / 25 for n in range(5)], abs=5e-4
    )
    np.testing.assert_allclose(seen[4].pixels[4:14, 4:20], quadrants()[4:14, 4:20], atol=12)


# QuickTime's matrix (a b u, c d v, x y w): a stored column x and row y are shown at the column ax + cy and the row bx + dy.
ONE, LAST = 1 << 16, 1 << 30
TURNED = {
    # Shown at the column -y and the row x: what is stored at the top left stands at the top right.
    "with the clock": ([0, ONE, 0, -ONE, 0, 0, 0, 0, LAST], [[2, 0], [3, 1]]),
    "against the clock": ([0, -ONE, 0, ONE, 0, 0, 0, 0, LAST], [[1, 3], [0, 2]]),
    "upside down": ([-ONE, 0, 0, 0, -ONE, 0, 0, 0, LAST], [[3, 2], [1, 0]]),
    "not": ([ONE, 0, 0, 0, ONE, 0, 0, 0, LAST], [[0, 1], [2, 3]]),
}


@pytest.mark.parametrize("turned", TURNED)
def test_frames_are_upright(tmp_path, turned):
    if not hasattr(av.VideoStream, "set_display_matrix"):
        pytest.skip("this av cannot write a rotation")
    matrix, expected = TURNED[turned]
    film(tmp_path / "a.mp4", [quadrants()] * 2, matrix=matrix)
    with frames(tmp_path / "a.mp4") as video:
        height, width = video.shape[:2]
        assert (height, width) == ((50, 38) if turned.endswith("the clock") else (38, 50))
        for frame in video:
            corners = frame.pixels[[height // 4, -height // 4]][:, [width // 4, -width // 4]]
            np.testing.assert_allclose(corners, QUADRANTS.reshape(4, 3)[expected], atol=12)


@pytest.mark.parametrize("size", [(38, 50), (37, 51)])
def test_pictures_are_h264_that_every_player_shows_in_their_colours(tmp_path, size):
    write(tmp_path / "a.mp4", [quadrants(*size)] * 4, EVEN)
    with av.open(str(tmp_path / "a.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt, context.colorspace) == ("h264", "yuv420p", 1)
    with frames(tmp_path / "a.mp4") as video:
        # An odd row or column is there twice.
        assert video.shape == (38, 50 if size[1] == 50 else 52, 3)
        pixels = next(iter(video)).pixels
    for row, column in ((8, 10), (8, -10), (-8, 10), (-8, -10)):
        np.testing.assert_allclose(pixels[row, column], quadrants(*size)[row, column], atol=4)


def packets(file):
    """Return where the pictures of a video lie in its file: (start, end) each."""
    content = file.read_bytes()
    with av.open(str(file)) as container:
        stored = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    starts = [content.index(packet) for packet in stored]
    return [(start, start + len(packet)) for start, packet in zip(starts, stored, strict=True)]


@pytest.mark.parametrize(
    ("suffix", "codec", "pixels"),
    [(".mp4", "mpeg4", "yuv420p"), (".mkv", "ffv1", "bgr0"), (".avi", "mpeg4", "yuv420p")],
)
@pytest.mark.parametrize("left", [1, 4, 7])
def test_a_video_that_was_cut_off_is_refused_at_once_and_its_last_whole_frame_named(
    tmp_path, suffix, codec, pixels, left
):
    clock = Fraction(1, 25)
    file = film(
        tmp_path / f"a{suffix}", list(noise(8, 38, 50, 3)), codec=codec, pixels=pixels, clock=clock,
        options={"movflags": "faststart"} if suffix == ".mp4" else {},
    )  # fmt: skip
    content, places = file.read_bytes(), packets(file)
    size = sum(places[left]) // 2
    file.write_bytes(content[:size])
    with pytest.raises(DataError) as caught:
        frames(file)
    # RIFF may count its head or not.
    missing = len(content) - size - (8 if suffix == ".avi" else 0)
    assert str(caught.value) == (
        f"{file}: cannot be read beyond frame {left} of about 8 ({missing} bytes are missing); replace it by a whole copy"
    )


def test_a_video_without_its_end_where_the_table_of_frames_stands_is_refused(tmp_path):
    file = film(tmp_path / "a.mp4", [quadrants()] * 4)
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"a\.mp4: .+; replace it by a whole copy"):
        frames(file)


def test_a_damaged_frame_is_named(tmp_path):
    file = film(tmp_path / "a.avi", list(noise(8, 38, 50, 3)), codec="mpeg4", clock=Fraction(1, 25))
    start, end = packets(file)[4]
    content = bytearray(file.read_bytes())
    content[start + 200 : end] = bytes(end - start - 200)
    file.write_bytes(content)
    with frames(file) as video:
        seen = []
        with pytest.raises(
            DataError, match=r"a\.avi: cannot be read beyond frame 4 of about 8 \(the next is damaged\)"
        ):
            seen.extend(video)
        assert len(seen) == 4


def test_a_frame_that_cannot_be_decoded_at_all_is_named(tmp_path):
    file = film(tmp_path / "a.avi", list(noise(8, 38, 50, 3)), codec="mpeg4", clock=Fraction(1, 25))
    start, end = packets(file)[5]
    content = bytearray(file.read_bytes())
    content[start:end] = b"\xff" * (end - start)
    file.write_bytes(content)
    with (
        frames(file) as video,
        pytest.raises(DataError, match=r"a\.avi: cannot be read beyond frame 5 of about 8 \("),
    ):
        list(video)


def test_frames_of_different_sizes_are_refused(tmp_path):
    with av.open(str(tmp_path / "a.avi"), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.height, stream.width, stream.pix_fmt = 38, 50, "yuvj420p"
        for number, size in enumerate([(38, 50), (38, 50), (20, 30)]):
            encoder = av.CodecContext.create("mjpeg", "w")
            encoder.height, encoder.width, encoder.pix_fmt, encoder.time_base = (
                *size,
                "yuvj420p",
                Fraction(1, 25),
            )
            frame = av.VideoFrame.from_ndarray(quadrants(*size), "rgb24")
            frame.pts = number
            for packet in [*encoder.encode(frame), *encoder.encode()]:
                packet.stream, packet.time_base = stream, Fraction(1, 25)
                container.mux(packet)
    with frames(tmp_path / "a.avi") as video, pytest.raises(DataError) as caught:
        list(video)
    assert str(caught.value) == (
        f"{tmp_path / 'a.avi'}: frame 3 is 20 x 30 pixels; expected 38 x 50 as before, so cut the video in two there"
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no video, but\nlines of text\n" * 40,
        bytes(5000),
        b"\0\0\0\x20ftypisom",
        b"ffconcat version 1.0\nfile real.mp4\n",
    ],
    ids=["empty", "text", "zeros", "head", "playlist"],
)
def test_what_is_no_video_is_told_in_a_sentence(tmp_path, content):
    film(tmp_path / "real.mp4", [quadrants()] * 2)
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(
        DataError, match=r"a\.mp4: cannot be read as a video \(.+\); replace it by a whole copy"
    ):
        frames(tmp_path / "a.mp4")


def test_a_video_that_is_not_there_is_told_in_a_sentence(tmp_path):
    with pytest.raises(DataError, match=r"a\.mp4: cannot be read as a video \(No such file or directory\)"):
        frames(tmp_path / "a.mp4")


def test_sound_alone_is_no_video(tmp_path):
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        frame.sample_rate = 8000
        container.mux([*stream.encode(frame), *stream.encode()])
    with pytest.raises(DataError, match=r"a\.mkv: holds no pictures; expected a video"):
        frames(tmp_path / "a.mkv")


def test_without_a_frame_a_video_is_refused(tmp_path):
    file = film(tmp_path / "a.avi", [quadrants()] * 2, codec="mpeg4", clock=Fraction(1, 25))
    file.write_bytes(file.read_bytes().replace(b"00dc", b"JUNK"))
    with pytest.raises(
        DataError, match=r"a\.avi: (holds no frame that can be read|cannot be read as a video)"
    ):
        frames(file)


@pytest.mark.parametrize("name", ["a:b.mp4", "concat:a.mp4", "%03d.mp4", "ä b.mp4"])
def test_a_name_is_a_name_whatever_it_looks_like(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    path = Path(name)
    write(path, [quadrants()] * 2, [0, 1001])
    assert [file.name for file in tmp_path.iterdir()] == [name]
    with frames(path) as video:
        assert len(list(video)) == 2


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
@pytest.mark.parametrize("written", [0, 1, 4])
def test_an_error_between_frames_leaves_no_file(tmp_path, suffix, error, written):
    pixels = noise(38, 50) if suffix == ".mkv" else noise(38, 50, 3)

    def write_some():
        with video_writer(tmp_path / f"a{suffix}", pixels.shape, rate=NTSC, time_base=CLOCK) as writer:
            for number in range(written):
                writer.write(pixels, 1001 * number)
            raise error

    with pytest.raises(type(error)) as caught:
        write_some()
    assert caught.value is error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shape", ["(600, 300)", "(600, 300, 3)"])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, run_python, shape):
    pytest.importorskip("resource")
    code = f"""
import resource, sys
from fractions import Fraction
from pathlib import Path
import numpy as np
from patchseg.errors import PatchsegError
from patchseg.imaging.video import video_writer
noise = np.random.default_rng(0).integers(0, 256, {shape}).astype(np.uint8)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    with video_writer(Path(sys.argv[1]), {shape}, rate=Fraction(25), time_base=Fraction(1, 25)) as writer:
        for number in range(3):
            writer.write(noise, number)
except PatchsegError as error:
    print(error)
    sys.exit(error.exit_code)
"""
    done = run_python(code, tmp_path / "a.mkv")
    assert done.stdout == (
        f"{tmp_path / 'a.mkv'}: cannot be written, a size limit is reached; make room or choose another place\n"
    ), done.stderr
    assert done.returncode == 1
    assert not list(tmp_path.iterdir())


def test_without_the_package_it_is_told_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    cure = r"a\.mp4: is a video, and the package .+ is not installed; `pip install 'patchseg\[video\]'`"
    with pytest.raises(UsageError, match=cure):
        frames(tmp_path / "a.mp4")
    with pytest.raises(UsageError, match=cure):
        write(tmp_path / "a.mp4", [quadrants()], [0])
    assert not list(tmp_path.iterdir())


def test_an_av_that_writes_no_h264_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("patchseg.imaging.video._ENCODERS", ("none",))
    with pytest.raises(UsageError, match=r"a\.mp4: the installed av cannot write H\.264"):
        write(tmp_path / "a.mp4", [quadrants()], [0])
    assert not list(tmp_path.iterdir())
