"""Finished rows of a large image on the disk, so that whatever ends a run, the next one goes on where it was.

A folder of its own holds a raw file a layer, as large as the image, and journals: what is finished, a box a line. A box
is written down only after its rows have reached the disk. Several processes may fill one stage; each has its own journal.

    OUTPUT/.patchseg/stages/NAME.stage/  image.json  mask.raw  float16.raw  1f0c9a.jsonl
"""

import contextlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Self

import numpy as np

from patchseg.errors import DataError, PatchsegError
from patchseg.imaging import Box
from patchseg.imaging.files import refusal, sync_folder, whole
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
        DataError: It was begun for another state of the image, or has lost what was finished.
        UsageError: The folder cannot be written to.
        PatchsegError: The disk is full.
    """

    def __init__(self, folder: Path, image: dict[str, Any], names: Sequence[str], classes: int) -> None:
        self.folder, self._classes = folder, classes
        self._height, self._width = map(int, image["shape"])
        self._pending: list[Box] = []
        self._last = time.monotonic()
        with ExitStack() as opened, self._told():
            folder.mkdir(parents=True, exist_ok=True)
            self._begin(image | {"layers": list(names), "classes": classes})
            self._require_rows(names, image["path"])
            self._files = {name: opened.enter_context(self._open(name)) for name in names}
            sync_folder(folder)  # a journal must not outlive the rows that it tells of
            # It stays open, so that what is late when another process takes the stage away troubles nobody.
            journal = folder / f"{secrets.token_hex(4)}.jsonl"
            self._journal = opened.enter_context(journal.open("ab", buffering=0))
            self._opened = opened.pop_all()

    def done(self) -> list[Box]:
        """Return the boxes that are finished, by all who have worked on it."""
        return finished(self.folder)

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
                # Each line ends the one before it, which may be torn.
                _write(
                    self._journal,
                    memoryview("".join(f"\n{json.dumps(box)}" for box in self._pending).encode()),
                )
                os.fsync(self._journal.fileno())
        self._pending, self._last = [], time.monotonic()

    def rows(self, most: int) -> Iterator[Rows]:
        """Yield all rows from top to bottom, as many at a time as `most` bytes hold, one at least."""
        height = max(1, most // (self._width * sum(map(self._pixel, self._files))))
        for top in range(0, self._height, height):
            count = min(height, self._height - top)
            yield {name: self._take(name, top, count) for name in self._files}

    def close(self) -> None:
        """Let go of the files."""
        self._opened.close()

    def remove(self) -> None:
        """Let go of the files, and take them away."""
        self.close()
        remove(self.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with contextlib.suppress(PatchsegError):  # of a disk that is full; what ended the work is told
            self.commit()
        self.close()

    def _begin(self, image: dict[str, Any]) -> None:
        """Say what the stage is of; where something is finished, it must be of the same."""
        about = self.folder / "image.json"
        if _read(about) == image:
            return
        if self.done():
            raise DataError(
                f"{image['path']}: is not as it was when its segmentation began; remove {self.folder}, and it begins anew"
            )
        # Others may do so at the same moment: each writes a file of its own, and they say the same.
        own = self.folder / f"{secrets.token_hex(4)}.json"
        with whole(own) as part:
            part.write_text(json.dumps(image))
        own.replace(about)

    def _require_rows(self, names: Sequence[str], image: str) -> None:
        """Refuse to go on where files that journals tell of are gone: their rows would be taken for class 0."""
        if not self.done():
            return
        for name in names:
            file = self.folder / f"{name}.raw"
            if not file.exists() or file.stat().st_size < self._size(name):
                raise DataError(
                    f"{file}: lacks rows that were finished; remove {self.folder}, and the image begins anew"
                )

    def _open(self, name: str) -> IO[bytes]:
        path = self.folder / f"{name}.raw"
        path.touch()
        file = path.open("r+b", buffering=0)
        try:
            file.truncate(self._size(name))
        except OSError:
            file.close()
            raise
        return file

    def _size(self, name: str) -> int:
        return self._height * self._width * self._pixel(name)

    def _pixel(self, name: str) -> int:
        return LAYERS[name].bytes(self._classes)

    def _put(self, name: str, box: Box, part: Any) -> None:
        pixel = self._pixel(name)
        if box.width == self._width:
            self._files[name].seek(box.top * self._width * pixel)
            _write(self._files[name], part.data.cast("B"))
            return
        for row, line in enumerate(part, box.top):
            self._files[name].seek((row * self._width + box.left) * pixel)
            _write(self._files[name], line.data.cast("B"))

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


def finished(folder: Path) -> list[Box]:
    """Return the boxes that the journals of a stage, if it is there, tell of."""
    boxes = []
    for journal in sorted(folder.glob("*.jsonl")):
        with contextlib.suppress(FileNotFoundError):  # taken away by who has finished the image
            for line in journal.read_bytes().splitlines():
                with contextlib.suppress(ValueError, TypeError):  # the power may fail within a line
                    boxes.append(Box(*json.loads(line)))
    return boxes


def remove(folder: Path) -> None:
    """Take a stage away, if it is there: its journals first, since half a stage must not pass for finished."""
    for journal in folder.glob("*.jsonl"):
        journal.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def _write(file: IO[bytes], data: memoryview) -> None:
    while data:
        data = data[file.write(data) :]
