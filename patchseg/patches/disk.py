"""The file beneath an HDF5 file that is written: what a disk refuses is noted, and told when HDF5 can be closed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Disk:
    """The file that HDF5 writes to: it notes what a disk refuses, and lets HDF5 believe that all is well.

    After a write that failed, HDF5 can neither go on nor close its file, and takes the process down with it.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b", buffering=0)
        self._refused: OSError | None = None
        self.seek, self.tell, self.flush = self._file.seek, self._file.tell, self._file.flush
        self.read, self.readinto, self.close = self._file.read, self._file.readinto, self._file.close

    def write(self, data: memoryview) -> None:
        """Write all of the data, since HDF5 asks once only."""
        with self._noted():
            while data:
                data = data[self._file.write(data) :]

    def truncate(self, size: int) -> None:
        """Make the file longer or shorter."""
        with self._noted():
            self._file.truncate(size)

    @contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._refused = self._refused or error

    def check(self) -> None:
        """Raise the `OSError` of the first write that failed."""
        if self._refused:
            raise self._refused
