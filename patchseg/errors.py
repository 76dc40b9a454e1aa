"""What goes wrong, in one sentence each, with the exit code that the command line gives it.

    PatchsegError          1   the machine: disk full, out of memory, unexpected
    ├── UsageError         2   parameters, flags, paths
    ├── DataError          3   an image, a mask, an HDF5 file or a checkpoint
    ├── SomeFailed         4   some images of many failed; the rest is done
    └── Interrupted      130   stopped by the user, after saving

A message names the file, what was found, what was expected and what to do about it.
"""

import difflib
from collections.abc import Iterable


class PatchsegError(Exception):
    """A failure that is told to the user in one sentence, without a traceback."""

    exit_code = 1


class UsageError(PatchsegError):
    """Parameters, flags or paths that cannot be followed."""

    exit_code = 2


class DataError(PatchsegError):
    """An image, mask, HDF5 file or checkpoint that cannot be used."""

    exit_code = 3


class SomeFailed(PatchsegError):
    """Some images of many failed; they are listed and the others are done."""

    exit_code = 4


class Interrupted(PatchsegError):
    """The user stopped the work; what was done is saved."""

    exit_code = 130


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a hint at the known word nearest to a mistyped one, or an empty string.

    >>> did_you_mean("optimiser", ["optimizer", "rate"])
    '; did you mean "optimizer"?'
    >>> did_you_mean("zebra", ["optimizer", "rate"])
    ''
    """
    near = difflib.get_close_matches(word, list(known), n=1)
    return f'; did you mean "{near[0]}"?' if near else ""


def listing(findings: list[str], *, most: int = 20) -> str:
    r"""Join findings, one a line; beyond `most` of them only their number is told.

    >>> listing(["a", "b", "c"], most=2)
    'a\nb\n... and 1 more'
    """
    shown = findings[:most]
    return "\n".join(shown + ([f"... and {len(findings) - most} more"] if len(findings) > most else []))


def first_line(error: Exception) -> str:
    r"""Return the first line of what an error says, 120 characters at most.

    >>> first_line(ValueError("\n one\n two")), first_line(KeyError())
    ('one', 'KeyError')
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
