"""One at a time: locks between processes, which end with the process, however it ends."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from patchseg.imaging.files import refusal


@contextmanager
def lock(path: Path, *, wait: bool) -> Iterator[bool]:
    """Tell inside the block whether this process is the only one in such a block; the file is gone afterwards.

    Where files cannot be locked, on Windows and on some file systems of clusters, each is told that it is.

    Args:
        path: Of the lock, in a folder that is there; where that is gone, nobody is the only one.
        wait: Whether to wait until it is so.

    Raises:
        UsageError: The folder cannot be written to.
    """
    try:
        import fcntl
    except ImportError:
        yield True
        return
    how = fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB
    while True:
        try:
            file = path.open("w")
        except FileNotFoundError:
            yield False
            return
        except OSError as error:
            told = refusal(path.parent, error)
            raise told from None
        with file:
            try:
                fcntl.flock(file, how)
            except (BlockingIOError, PermissionError):
                yield False
                return
            except OSError:
                is_held = True
            else:  # who has held it before has taken the file away, and others may hold a new one
                is_held = _is_same(path, file.fileno())
            if is_held or not wait:
                try:
                    yield is_held
                finally:
                    if is_held:
                        path.unlink(missing_ok=True)
                return


def _is_same(path: Path, number: int) -> bool:
    """Tell whether a path still leads to an open file."""
    with suppress(FileNotFoundError):
        return path.stat().st_ino == os.fstat(number).st_ino
    return False
