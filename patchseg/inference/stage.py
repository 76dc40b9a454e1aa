"""Finished rows of a large image on the disk, so that whatever ends a run, the next one goes on where it was.

A folder of its own holds a raw file a layer, as large as the image, and journals: what is finished, a box a line. A box
is written down only after its rows have reached the disk. Several processes may fill one stage; each has its own journal.

    OUTPUT/.patchseg/stages/NAME/  image.json  mask.raw  float16.raw  1f0c9a.jsonl
"""

import contextlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Self

import numpy as np

from patchseg.errors import DataError, PatchsegError
from patchseg.imaging import Box
from patchseg.imaging.files import refusal, whole
from patchseg.inference.coverage import uncovered
from patchseg.inference.layers import LAYERS, Rows

_EVERY = 2.0  # seconds after which what was finished is written down: the most that a kill costs


class Stage:
    """What is finished of one image.

    Args:
        folder: The stage's own; it is made where it is not there.
        image: What the image is known by: {path, bytes, modified, shape}.
        names: The layers that are kept.
        classes: Number of classes K.

    Raises:
        DataError: It was begun for another state of the image.
        UsageError: The folder cannot be written to.
        PatchsegError: The disk is full.
    """

    def __init__(self, folder: Path, image: dict[str, Any], names: Sequence[str], classes: int) -> None:
        self.folder, self._classes = folder, classes
        self._height, self._width = image["shape"]
        self._begin(image | {"layers": list(names), "classes": classes})
        self._files: dict[str, IO[bytes]] = {}
        for name in names:
            (folder / f"{name}.raw").touch()
            file = self._files[name] = (folder / f"{name}.raw").open("r+b", buffering=0)
            file.truncate(self._height * self._width * self._pixel(name))
        self._journal = folder / f"{secrets.token_hex(4)}.jsonl"
        self._pending: list[Box] = []
        self._last = time.monotonic()

    def done(self) -> list[Box]:
        """Return the boxes that are finished, by all who have worked on it."""
        boxes = []
        for journal in sorted(self.folder.glob("*.jsonl")):
            for line in journal.read_text().splitlines():
                with contextlib.suppress(ValueError, TypeError):  # the power may fail within the last line
                    boxes.append(Box(*json.loads(line)))
        return boxes

    def is_complete(self, area: Box) -> bool:
        """Tell whether all of an area is finished."""
        return not uncovered(area, self.done())

    def write(self, box: Box, rows: Rows) -> None:
        """Keep the rows of a box, each layer (h, w) or (h, w, K).

        Raises:
            PatchsegError: The disk is full.
        """
        with self._told():
            for name, part in rows.items():
                self._put(name, box, np.ascontiguousarray(part))
        above = self._pending[-1] if self._pending else None
        if above and (above.left, above.width, above.bottom) == (box.left, box.width, box.top):
            self._pending[-1] = above._replace(height=above.height + box.height)
        else:
            self._pending.append(box)
        if time.monotonic() - self._last > _EVERY:
            self.commit()

    def commit(self) -> None:
        """Let what was written reach the disk, and write down that it is finished."""
        if self._pending:
            with self._told():
                for file in self._files.values():
                    os.fsync(file.fileno())
                with self._journal.open("a") as journal:
                    journal.writelines(f"{json.dumps(box)}\n" for box in self._pending)
                    journal.flush()
                    os.fsync(journal.fileno())
        self._pending, self._last = [], time.monotonic()

    def rows(self, height: int) -> Iterator[Rows]:
        """Yield all rows from top to bottom, `height` at a time."""
        for top in range(0, self._height, height):
            count = min(height, self._height - top)
            yield {name: self._take(name, top, count) for name in self._files}

    def close(self) -> None:
        """Let go of the files."""
        for file in self._files.values():
            file.close()
        self._files = {}

    def remove(self) -> None:
        """Let go of the files, and take them away."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with contextlib.suppress(PatchsegError):  # of a disk that is full; what ended the work is told
            if self._files:
                self.commit()
        self.close()

    def _begin(self, image: dict[str, Any]) -> None:
        """Say what the stage is of, or compare it with what was said."""
        about = self.folder / "image.json"
        if not about.exists():
            with whole(about) as part:
                part.write_text(json.dumps(image))
        elif json.loads(about.read_text()) != image:
            raise DataError(
                f"{image['path']}: is not as it was when its segmentation began; remove {self.folder}, and it begins anew"
            )

    def _pixel(self, name: str) -> int:
        layer = LAYERS[name]
        return np.dtype(layer.dtype).itemsize * (self._classes if layer.each else 1)

    def _put(self, name: str, box: Box, part: Any) -> None:
        pixel = self._pixel(name)
        if box.width == self._width:
            _write(self._files[name], part.data.cast("B"), box.top * self._width * pixel)
            return
        for row, line in enumerate(part, box.top):
            _write(self._files[name], line.data.cast("B"), (row * self._width + box.left) * pixel)

    def _take(self, name: str, top: int, count: int) -> Any:
        layer, pixel = LAYERS[name], self._pixel(name)
        self._files[name].seek(top * self._width * pixel)
        data = bytearray(self._files[name].read(count * self._width * pixel))
        return np.frombuffer(data, layer.dtype).reshape(layer.shape(count, self._width, self._classes))

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            told = refusal(self.folder, error)
            raise told from None


def _write(file: IO[bytes], data: memoryview, place: int) -> None:
    file.seek(place)
    while data:
        data = data[file.write(data) :]


@contextmanager
def alone(folder: Path) -> Iterator[bool]:
    """Tell inside the block whether this process is the only one in such a block with the same folder."""
    try:
        import fcntl
    except ImportError:  # Windows: there one process a folder is all that works
        yield True
        return
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True
