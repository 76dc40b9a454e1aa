"""Files that appear whole or not at all, and the words for what a disk refuses."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from patchseg.errors import PatchsegError, UsageError

_FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota is used up",
    errno.EFBIG: "a size limit is reached",
}


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; sync and rename it at the end, remove it on failure.

    Raises:
        UsageError: The folder cannot be written to.
        PatchsegError: The disk is full.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException as error:
        _remove(part)
        told = refusal(path, error)
        if told is error:
            raise
        raise told from error


def sync_folder(folder: Path) -> None:
    """Let the names of the files in a folder reach the disk, where the system does so on request."""
    with suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def refusal(path: Path, error: BaseException) -> BaseException:
    """Turn what the system says of a failed write into a sentence; pass on what is no such failure."""
    text = str(error)
    number = error.errno if isinstance(error, OSError) else None
    for code, reason in _FULL.items():
        # HDF5 wraps the system's error in its own, which only its text gives away.
        if isinstance(error, OSError | RuntimeError) and (number == code or os.strerror(code) in text):
            return PatchsegError(f"{path}: cannot be written, {reason}; make room or choose another place")
    refused = isinstance(error, PermissionError | NotADirectoryError | FileExistsError | IsADirectoryError)
    if refused or number == errno.EROFS:
        why = os.strerror(number).lower() if number else text
        return UsageError(f"{path}: cannot be written ({why}); choose a folder that you may write to")
    return error


def refuse_existing(paths: list[Path], *, overwrite: bool) -> None:
    """Raise a `UsageError` when an output is there already and may not be replaced."""
    there = [path for path in paths if path.exists()]
    if there and not overwrite:
        more = f" (and {len(there) - 1} more)" if len(there) > 1 else ""
        raise UsageError(f"{there[0]}{more}: exists already; choose another output or give --overwrite")


def _remove(part: Path) -> None:
    # The first error is the one to tell.
    try:
        part.unlink(missing_ok=True)
    except OSError:
        return
