"""A video -> a video of its masks, frame by frame, and on request one of its overlays; one frame is held at a time."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from patchseg.errors import UsageError
from patchseg.imaging import picture
from patchseg.imaging.video import frames, video_writer
from patchseg.progress import Progress

Pixels = NDArray[np.uint8]


def video_outputs(name: Path | str, folder: Path, *, overlay: bool) -> list[Path]:
    """Return the files that come of a video: its masks and, if wanted, its overlays.

    Args:
        name: Of the video relative to where it was found, without its suffix.
        folder: Where masks go.
        overlay: Whether overlays are wanted.

    >>> [path.as_posix() for path in video_outputs("day 1/clip", Path("masks"), overlay=True)]
    ['masks/day 1/clip.mkv', 'masks/overlays/day 1/clip.mp4']
    """
    masks = folder / f"{name}.mkv"
    return [masks, folder / "overlays" / f"{name}.mp4"] if overlay else [masks]


def segment_video(
    path: Path,
    predict: Callable[[Pixels], Pixels],
    folder: Path,
    *,
    name: Path | str | None = None,
    colors: Pixels | None = None,
    progress: Progress | None = None,
    label: str = "",
) -> list[Path]:
    """Segment a video frame by frame; its times are kept.

    Args:
        path: The video.
        predict: From a frame, (H, W, 3) uint8, to its class indices, (H, W) uint8.
        folder: Where masks go, see `video_outputs`.
        name: Of the outputs; the stem of the video's by default.
        colors: (K, 3) uint8 of the classes, where overlays are wanted.
        progress: Told frame by frame.
        label: Of the work; the video's name by default.

    Returns:
        The files that were written, which appear whole or not at all.

    Raises:
        DataError: The video is damaged or none.
        UsageError: An output would replace the video or cannot be written, or the package av is not installed.
        PatchsegError: The disk is full.
    """
    progress = progress or Progress()
    outputs = video_outputs(name or path.stem, folder, overlay=colors is not None)
    if path.resolve() in [output.resolve() for output in outputs]:
        raise UsageError(f"{path}: would be replaced by its masks; choose another folder for them")
    with frames(path) as video, ExitStack() as files:
        progress.start(label or path.name, video.count or 0)
        shapes = (video.shape[:2], video.shape)
        writers = [
            files.enter_context(video_writer(output, shape, rate=video.rate, time_base=video.time_base))
            for output, shape in zip(outputs, shapes, strict=False)
        ]
        for frame in video:
            indices = predict(frame.pixels)
            writers[0].write(indices, frame.time)
            if colors is not None:
                writers[1].write(picture.overlay(frame.pixels, indices, colors), frame.time)
            progress.step()
    progress.stop()
    return outputs
