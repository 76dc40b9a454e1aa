"""Video files <-> frames through PyAV: pictures come in upright, one at a time, masks and pictures go out with their times.

The package av (`pip install 'patchseg[video]'`) is imported when it is needed. Times are whole ticks of the source's clock;
Matroska, where masks go, keeps them to the millisecond.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchseg.errors import DataError, UsageError
from patchseg.imaging.files import whole
from patchseg.imaging.promise import missing_bytes

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

SUFFIXES = (".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v")
# A playlist that is named like a video would have other files and addresses opened.
_READ = {"format_whitelist": "mov,matroska,avi", "protocol_whitelist": "file"}
_ENCODERS = ("libx264", "libopenh264")
_BT709 = 1  # in the numbering of H.273


def is_video(path: Path) -> bool:
    """Tell by its name whether a file is a video.

    >>> is_video(Path("a.MP4")), is_video(Path("a.tif"))
    (True, False)
    """
    return path.suffix.lower() in SUFFIXES


class Frame(NamedTuple):
    """A picture of a video.

    Attributes:
        number: Of the frame, from 0.
        time: When it is shown, in ticks of the video's clock; rises from frame to frame.
        pixels: (H, W, 3) uint8, upright.
    """

    number: int
    time: int
    pixels: NDArray[np.uint8]


class Video:
    """An open video, iterated once; holds one frame. A context manager, see `frames`.

    Attributes:
        shape: (H, W, 3), upright.
        count: The number of frames, as far as the file tells; an estimate, or None.
        rate: Frames a second, the mean where they come unevenly.
        time_base: The seconds of a tick.

    Raises:
        DataError: No frame can be read.
    """

    def __init__(self, path: Path, container: "InputContainer", stream: "VideoStream") -> None:
        self._path, self._container, self._stream = path, container, stream
        self.rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
        self.time_base = Fraction(stream.time_base or 1 / self.rate)
        self.count = _estimate(container, stream, self.rate)
        self._rest = self._decode()
        # Metadata may turn the frames, so that only a frame tells the shape.
        self._first = [next(self._rest)]
        self.shape = self._first[0].pixels.shape

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames in the order of time.

        Raises:
            DataError: The file is damaged, or frames differ in size.
        """
        while self._first:
            yield self._first.pop()
        for frame in self._rest:
            if frame.pixels.shape != self.shape:
                (height, width), (high, wide) = frame.pixels.shape[:2], self.shape[:2]
                raise DataError(
                    f"{self._path}: frame {frame.number + 1} is {height} x {width} pixels; expected {high} x {wide} "
                    "as before, so cut the video in two there"
                )
            yield frame

    def close(self) -> None:
        """Let go of the file."""
        self._container.close()

    def __enter__(self) -> "Video":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _decode(self) -> Iterator[Frame]:
        import av

        number, time = 0, None
        try:
            packets = self._container.demux(self._stream)
            if missing := missing_bytes(self._path):
                # Now, not after hours of work; most decoders would stop there and say nothing.
                left = sum(packet.size > 0 and not packet.is_corrupt for packet in packets)
                raise self._broken(left, f"{missing} bytes are missing")
            for packet in packets:
                if packet.is_corrupt:
                    raise self._broken(number, "its data end early")
                for frame in packet.decode():
                    if frame.is_corrupt:
                        raise self._broken(number, "the next is damaged")
                    time = self._time(frame.pts, time)
                    yield Frame(number, time, _upright(frame))
                    number += 1
        except av.FFmpegError as error:
            raise self._broken(number, error.strerror) from None
        if not number:
            raise self._broken(number, "it ends before the first")

    def _time(self, told: int | None, last: int | None) -> int:
        """Return when a frame is shown: as the file tells it, where that lies behind the frame before."""
        if last is None:
            return told or 0
        step = round(1 / (self.rate * self.time_base))
        return max(last + 1, last + step if told is None else told)

    def _broken(self, number: int, why: str | None) -> DataError:
        of = f" of about {self.count}" if self.count else ""
        what = f"cannot be read beyond frame {number}{of}" if number else "holds no frame that can be read"
        return DataError(f"{self._path}: {what} ({why}); replace it by a whole copy")


def frames(path: Path) -> Video:
    """Open a video file.

    Raises:
        DataError: The file is missing, truncated, damaged or no video.
        UsageError: The package av is not installed.
    """
    _require_av(path)
    import av

    try:
        container = av.open(f"file:{path}", options=_READ, metadata_errors="ignore")
    except av.FFmpegError as error:
        raise DataError(
            f"{path}: cannot be read as a video ({error.strerror}); replace it by a whole copy, as MP4, Matroska or AVI"
        ) from None
    try:
        stream = container.streams.best("video")
        if not isinstance(stream, av.VideoStream):
            raise DataError(f"{path}: holds no pictures; expected a video")
        return Video(path, container, stream)
    except BaseException:
        container.close()
        raise


class VideoWriter:
    """Takes the frames of a video in the order of time, see `video_writer`."""

    def __init__(
        self, container: "OutputContainer", stream: "VideoStream", shape: tuple[int, ...], time_base: Fraction
    ) -> None:
        self._container, self._stream = container, stream
        self._shape, self._time_base = shape, time_base

    def write(self, pixels: NDArray[np.uint8], time: int) -> None:
        """Append a frame.

        Args:
            pixels: (H, W) or (H, W, 3) uint8.
            time: When it is shown, in ticks.
        """
        assert pixels.shape == self._shape, f"{pixels.shape} in a video of {self._shape}"
        frame = _picture(pixels) if pixels.ndim == 3 else _indices(pixels)
        frame.pts, frame.time_base = time, self._time_base
        self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Write what the encoder still holds."""
        self._container.mux(self._stream.encode())


@contextmanager
def video_writer(
    path: Path, shape: tuple[int, ...], *, rate: Fraction, time_base: Fraction
) -> Iterator[VideoWriter]:
    """Write a video, which appears whole or not at all: class indices lossless as FFV1 in Matroska, pictures as H.264 in MP4.

    Args:
        path: Where the file shall appear.
        shape: (H, W) of class indices or (H, W, 3) of pictures; of these an odd row or column is repeated in the file.
        rate: Frames a second.
        time_base: The seconds of a tick.

    Raises:
        UsageError: The package av is not installed or cannot write H.264, or the folder cannot be written to.
        PatchsegError: The disk is full.
    """
    _require_av(path)
    import av

    pictures = len(shape) == 3
    with (
        whole(path) as part,
        # Without dates and random numbers, so that equal masks are equal files. The part's name tells no format.
        av.open(
            f"file:{part}", "w", format="mp4" if pictures else "matroska", options={"fflags": "+bitexact"}
        ) as container,
    ):
        stream = _picture_stream(path, container, rate) if pictures else _index_stream(container, rate)
        even = 2 if pictures else 1  # H.264 halves the colours' rows and columns
        stream.height, stream.width = (-(-side // even) * even for side in shape[:2])
        stream.time_base = stream.codec_context.time_base = time_base
        writer = VideoWriter(container, stream, shape, time_base)
        yield writer
        writer.finish()


def _index_stream(container: "OutputContainer", rate: Fraction) -> "VideoStream":
    stream = container.add_stream("ffv1", rate=rate, options={"level": "3"})
    stream.pix_fmt = "gray"
    return stream


def _picture_stream(path: Path, container: "OutputContainer", rate: Fraction) -> "VideoStream":
    from av import VideoStream
    from av.codec import codecs_available

    encoder = next((name for name in _ENCODERS if name in codecs_available), None)
    if encoder is None:
        raise UsageError(
            f"{path}: the installed av cannot write H.264; `pip install 'patchseg[video]'` afresh"
        )
    # No frames in advance, which would be held in memory.
    options = {"preset": "veryfast", "tune": "zerolatency", "crf": "18"} if encoder == "libx264" else {}
    stream = container.add_stream(encoder, rate=rate, options=options)
    assert isinstance(stream, VideoStream)
    stream.pix_fmt = "yuv420p"
    stream.codec_context.colorspace = _BT709
    return stream


def _indices(pixels: NDArray[np.uint8]) -> "VideoFrame":
    from av import VideoFrame

    return VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "gray")


def _picture(pixels: NDArray[np.uint8]) -> "VideoFrame":
    from av import VideoFrame

    height, width = pixels.shape[:2]
    even = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
    return VideoFrame.from_ndarray(even, "rgb24").reformat(format="yuv420p", dst_colorspace="ITU709")


def _upright(frame: "VideoFrame") -> NDArray[np.uint8]:
    """Return the pixels of a frame as a player shows them, (H, W, 3) uint8."""
    pixels = frame.to_ndarray(format="rgb24")
    # Degrees against the clock, as numpy turns.
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)), np.uint8)


def _estimate(container: "InputContainer", stream: "VideoStream", rate: Fraction) -> int | None:
    """Return how many frames a video seems to have; None where nothing tells."""
    if stream.frames:
        return stream.frames
    return round(Fraction(container.duration or 0, 10**6) * rate) or None


def _require_av(path: Path) -> None:
    try:
        import av  # noqa: F401 - those who need it import it
    except ImportError:
        raise UsageError(
            f"{path}: is a video, and the package that reads and writes it is not installed; `pip install 'patchseg[video]'`"
        ) from None
