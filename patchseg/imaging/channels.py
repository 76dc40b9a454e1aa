"""The channels of an image: their names, some of them by index or name, and gray that is stored as RGB."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchseg.errors import DataError, did_you_mean
from patchseg.imaging.box import Box
from patchseg.imaging.source import Array, ImageSource

GRAY = "gray"
_NAMES = {1: (GRAY,), 3: ("red", "green", "blue")}


def channel_names(source: ImageSource) -> tuple[str, ...]:
    """Return the names of the channels: the file's own where it has them, else by their number."""
    count = source.shape[2]
    own: tuple[str, ...] | None = getattr(source, "channel_names", None)
    return own or _NAMES.get(count) or tuple(f"channel_{index}" for index in range(count))


def choose(source: ImageSource, channels: Sequence[int | str], path: Path) -> ImageSource:
    """Return a source of some channels, in the order that is asked for; it takes over the one that is given.

    The only channel "gray" of an image in red, green and blue stands for all three, which must be equal; of an image of
    one channel it is that one, whatever its name.

    Args:
        source: The image.
        channels: Indices from 0 on, or names.
        path: Its file, for the errors.

    Raises:
        DataError: It has no such channel.
    """
    names = channel_names(source)
    if tuple(channels) == (GRAY,) and (len(names) == 1 or names == _NAMES[3]):
        return source if len(names) == 1 else GraySource(source, path)
    chosen = []
    for channel in channels:
        index = names.index(channel) if channel in names else channel
        if not isinstance(index, int) or not 0 <= index < len(names):
            hint = did_you_mean(channel, names) if isinstance(channel, str) else ""
            raise DataError(
                f"{path}: has no channel {channel}; it has {len(names)} (0 {names[0]}"
                + "".join(f", {number} {name}" for number, name in enumerate(names[1:8], 1))
                + f"{', ...' if len(names) > 8 else ''}), so mend data.channels{hint}"
            )
        chosen.append(index)
    return source if chosen == list(range(len(names))) else ChannelSource(source, chosen)


def are_gray(pixels: Array) -> bool:
    """Tell whether three channels (h, w, 3) are equal everywhere.

    >>> are_gray(np.full((2, 2, 3), 7)), are_gray(np.array([[[1, 2, 1]]]))
    (True, False)
    """
    first = pixels[:, :, 0]
    return bool(np.array_equal(first, pixels[:, :, 1]) and np.array_equal(first, pixels[:, :, 2]))


class ChannelSource:
    """Some channels of an image; see `ImageSource`."""

    def __init__(self, source: ImageSource, channels: list[int]) -> None:
        self._source, self._channels = source, channels
        self.shape = (*source.shape[:2], len(channels))
        self.dtype: np.dtype[Any] = source.dtype
        self.palette, self.held = source.palette, source.held
        names = channel_names(source)
        self.channel_names = tuple(names[index] for index in channels)

    def read(self, box: Box) -> Array:
        """Return the pixels of a box in the chosen channels, (h, w, C)."""
        return np.ascontiguousarray(self._source.read(box)[:, :, self._channels])

    def valid(self, box: Box) -> NDArray[np.bool_] | None:
        """Return where the box holds data, (h, w) bool, or None where all of it does."""
        return self._source.valid(box)

    def close(self) -> None:
        """Let go of the file."""
        self._source.close()

    def __enter__(self) -> "ChannelSource":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class GraySource(ChannelSource):
    """One channel in place of three equal ones; colour is told where it is read."""

    def __init__(self, source: ImageSource, path: Path) -> None:
        super().__init__(source, [0])
        self._path = path
        self.channel_names = (GRAY,)

    def read(self, box: Box) -> Array:
        """Return the gray of a box, (h, w, 1).

        Raises:
            DataError: The three channels differ.
        """
        pixels = self._source.read(box)
        if not are_gray(pixels):
            row, column = np.argwhere((pixels != pixels[:, :, :1]).any(axis=2))[0]
            raise DataError(
                f"{self._path}: is in colour, first at row {box.top + row}, column {box.left + column}; expected gray (three "
                "equal channels), as data.channels says, so convert the image"
            )
        return np.ascontiguousarray(pixels[:, :, :1])
