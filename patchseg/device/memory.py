"""How much memory there is and how much is taken, on the device and in the host, and what says that it has run out.

Linux tells what a process takes; elsewhere 0 stands for it, and half of all memory for what is free.
"""

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from patchseg.device.processes import ranks
from patchseg.errors import PatchsegError

OUT_OF_MEMORY = (MemoryError, torch.OutOfMemoryError, RuntimeError)
# What torch says in a plain RuntimeError: on the CPU, on MPS, and on a GPU that another process has filled.
_SAYING_SO = ("can't allocate memory", "out of memory")
# Of a group of processes with a limit of its own, such as a container or a job of a cluster: where Linux tells what, by version.
_GROUPS = {"": ("memory.max", "memory.current"), "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes")}
_NO_LIMIT = 2**60
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8  # of glibc's mallopt, as malloc.h numbers them


def keep_freed() -> None:
    """Have the host's memory that one batch frees kept for the next one, where the C library is glibc.

    It would be given back to the system, and each page of it be cleared again at its next use: a fifth to a third of the time
    that a network takes on the CPU (docs/results.md). Threads share what is kept, so that none keeps what another one takes anew.
    """
    with suppress(OSError, AttributeError, TypeError):  # no glibc
        library = ctypes.CDLL(None)
        library.mallopt(_ARENA_MAX, 1)
        library.mallopt(_MMAP_MAX, 0)
        library.mallopt(_TRIM_THRESHOLD, -1)  # to be never reached


def taken(device: torch.device) -> int:
    """Return the bytes that this process takes on the device, for the CPU in the host; 0 where that cannot be told."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    _give_back(device)
    return _status("VmRSS")


def workspace(device: torch.device, work: Callable[[], Any]) -> int:
    """Do some work, and return the bytes that it took at its peak beyond what was taken before, on the device."""
    _give_back(device)  # what is freed but kept would be used unseen
    if device.type == "cuda":
        before = torch.cuda.memory_reserved(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        most = torch.cuda.max_memory_reserved(device)
        _give_back(device)  # it would count as not free
        return most - before
    with suppress(OSError):  # forgets the highest so far; not everywhere allowed
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _status("VmRSS")
    work()
    return max(0, _status("VmHWM") - before)


def _give_back(device: torch.device) -> None:
    """Give back what is freed but kept for later."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
    with suppress(OSError, AttributeError, TypeError):  # no glibc
        ctypes.CDLL(None).malloc_trim(0)


def _status(name: str) -> int:
    with suppress(OSError, StopIteration):  # no Linux
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
    return 0


def free_bytes(device: torch.device) -> tuple[int, int]:
    """Return the bytes that are free for this process on the device, and in the host's memory; the CPU's are the same."""
    host = min(_free_in_host(), free_in_group()) // ranks()
    return (torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else host), host


def _free_in_host() -> int:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):  # no Linux: half of all memory, where that can be told
        names = ("SC_PAGE_SIZE", "SC_PHYS_PAGES")
        known = hasattr(os, "sysconf") and set(names) <= set(os.sysconf_names)
        return os.sysconf(names[0]) * os.sysconf(names[1]) // 2 if known else 8 * 2**30


def free_in_group(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int:
    """Return the bytes that the control groups of this process leave it, 2**60 where they set no limit.

    What they hold of files counts as free: it gives way.

    Args:
        root: Where the kernel shows its control groups.
        own: Which of them this process is in, a line "number:controllers:path" a hierarchy.
    """
    free = _NO_LIMIT
    with suppress(OSError):
        for line in own.read_text().splitlines():
            _, controller, path = line.split(":", 2)
            if controller in _GROUPS:
                group = root / controller / path.lstrip("/")
                # Inside a container the path may be that outside of it, and only the root is there.
                for folder in [group, *group.parents][: len(group.parts) - len(root.parts) + 1]:
                    free = min(free, _free_in_folder(folder, *_GROUPS[controller]))
    return free


def _free_in_folder(folder: Path, limit: str, usage: str) -> int:
    with suppress(OSError, ValueError):  # "max" is no number
        told = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        # The first version counts those of the groups inside apart.
        files = [told.get(f"total_{name}", told.get(name, 0)) for name in ("active_file", "inactive_file")]
        most, used = (int((folder / name).read_text()) for name in (limit, usage))
        return max(0, most - max(0, used - sum(map(int, files))))
    return _NO_LIMIT


@contextmanager
def memory_errors(cure: str) -> Iterator[None]:
    """Turn running out of memory, on the device or in the host, into a `PatchsegError` with a cure."""
    try:
        yield
    except OUT_OF_MEMORY as error:
        if not is_out_of_memory(error):
            raise
        said = (
            ""
            if type(error) is RuntimeError
            else f" ({str(error).splitlines()[0] if str(error) else 'host'})"
        )
        raise PatchsegError(f"out of memory{said}; {cure}") from error


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error, one of `OUT_OF_MEMORY`, says that memory has run out, on the device or in the host."""
    named = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return named or any(sign in str(error) for sign in _SAYING_SO)
