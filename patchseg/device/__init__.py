"""Where and how torch computes: device, precision, threads, seeds, processes. The only module that names torch.cuda.

What decides the bytes of a result besides the data (device, precision, threads, tile batch) is chosen here, from
tables and never from a stopwatch, and is recorded by those who ask.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from patchseg.device.processes import (
    agreed,
    joined,
    leads,
    lost_processes,
    rank,
    ranks,
    share_statistics,
    shared,
    summed,
    told,
    unshared,
)
from patchseg.errors import PatchsegError, UsageError
from patchseg.parameters import Device, Precision
from patchseg.progress import counted

__all__ = [  # beside what is defined here
    "agreed", "joined", "leads", "lost_processes", "rank", "ranks", "share_statistics", "shared", "summed", "told",
    "unshared",
]  # fmt: skip

# Tiles a forward pass, and the side above which they become fewer, by device.
_TILE_BATCH = {"cpu": (4, 256), "mps": (8, 256), "cuda": (32, 256)}
OUT_OF_MEMORY = (MemoryError, torch.OutOfMemoryError, RuntimeError)
# What torch says in a plain RuntimeError: on the CPU, on MPS, and on a GPU that another process has filled.
_SAYING_SO = ("can't allocate memory", "out of memory")
_SEEDS = 2**63  # torch takes no more; a seed of 12 digits gives more with its steps


def choose(name: Device) -> torch.device:
    """Return the device of that name; "auto" takes CUDA, then MPS, then the CPU.

    Raises:
        UsageError: It is not there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    kind: str = name if name != "auto" else next(kind for kind, is_there in there.items() if is_there)
    if kind == "cuda" and there["cuda"] and ranks() > 1:
        return torch.device("cuda", torch.cuda.current_device())
    if not there[kind]:
        raise UsageError(
            f"--device {name}: is not to be had here; expected one of {', '.join(k for k in there if there[k])}"
        )
    return torch.device(kind)


def describe(device: torch.device) -> str:
    """Return the device in words, such as "CPU, 2 threads"."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return (
        f"CPU, {counted(torch.get_num_threads(), 'thread')}" if device.type == "cpu" else device.type.upper()
    )


def set_threads(threads: int | None) -> int:
    """Set the CPU's threads, by default as many as there are cores for this process, and return their number."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(threads or max(1, cores // ranks()))
    return torch.get_num_threads()


def set_deterministic(on: bool) -> None:
    """Ask CUDA for bit-exact kernels; on the CPU they are so already."""
    torch.backends.cudnn.benchmark = not on
    torch.backends.cudnn.deterministic = on
    if torch.cuda.is_available():
        if on:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(on)


def resolve_precision(name: Precision, device: torch.device) -> Precision:
    """Return "bf16", "fp16" or "fp32"; "auto" takes bf16 on a CUDA device that has it."""
    if name == "auto":
        return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    return name


def number_type(precision: Precision) -> torch.dtype:
    """Return the dtype of a precision.

    >>> number_type("bf16")
    torch.bfloat16
    """
    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[Any]:
    """Return the context in which a network runs at that precision."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, number_type(precision))


def scaler(device: torch.device, precision: Precision) -> Any:
    """Return what keeps small gradients from vanishing in fp16; it passes everything on in other precisions."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")


def tile_batch(device: torch.device, tile: int = 96) -> int:
    """Return the tiles of one forward pass, by their side in pixels.

    At least 2, and every batch is padded to it: some kernels round differently for a batch of one.

    >>> [tile_batch(torch.device("cpu"), tile) for tile in (96, 256, 512)]
    [4, 4, 2]
    """
    most, side = _TILE_BATCH.get(device.type, (4, 256))
    return max(2, int(most * min(1.0, (side / tile) ** 2)))


def taken() -> int:
    """Return the bytes of the host's memory that this process takes; 0 where that cannot be told."""
    return _status("VmRSS")


def workspace(device: torch.device, work: Callable[[], Any]) -> int:
    """Do some work, and return the bytes that it took at its peak beyond what was taken before, on the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        return torch.cuda.max_memory_allocated(device) - before
    with suppress(OSError):  # forgets the highest so far; not everywhere allowed
        Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    work()
    return max(0, _status("VmHWM") - before)


def _status(name: str) -> int:
    with suppress(OSError, StopIteration):  # no Linux
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
    return 0


def seed_step(seed: int, step: int, rank: int = 0) -> None:
    """Seed torch's global generator for one training step: dropout then depends on (seed, step, rank) alone."""
    number = ((seed * 1_000_003 + step) * 1_009 + rank) % _SEEDS
    # What torch.manual_seed does takes longer: it asks for every kind of device that there may be.
    torch.default_generator.manual_seed(number)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(number)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(number)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from a CPU generator of one's own inside the block, as the initialization of a model does."""
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would seed the GPU's generators too, which nothing gives back.
        torch.default_generator.manual_seed(seed % _SEEDS)
        yield


def normal(shape: torch.Size, number: float, device: torch.device) -> Tensor:
    """Draw normally distributed numbers from a generator of their own, seeded by a number from 0 to 1."""
    generator = torch.Generator(device)
    generator.manual_seed(int(number * 2**53))
    return torch.empty(shape, device=device).normal_(generator=generator)


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


def free_bytes(device: torch.device) -> tuple[int, int]:
    """Return the bytes that are free for this process on the device, and in the host's memory; the CPU's are the same."""
    host = _free_in_host() // ranks()
    return (torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else host), host


def _free_in_host() -> int:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):  # no Linux: half of all memory, where that can be told
        names = ("SC_PAGE_SIZE", "SC_PHYS_PAGES")
        known = hasattr(os, "sysconf") and set(names) <= set(os.sysconf_names)
        return os.sysconf(names[0]) * os.sysconf(names[1]) // 2 if known else 8 * 2**30


Two = tuple[Tensor, Tensor]


class Queue:
    """A queue of work on a CUDA device beside the main one; elsewhere work is just done.

    Args:
        device: Whose.
    """

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        if self._stream is not None:  # what the work needs may still be on its way there
            self._stream.wait_stream(torch.cuda.current_stream(device))

    def run(self, work: Callable[[], Two]) -> tuple[Two, Any]:
        """Do work that makes two tensors; return them, and on a GPU the mark after which they are ready."""
        if self._stream is None:
            return work(), None
        with torch.cuda.stream(self._stream):
            tensors = work()
        return tensors, self._stream.record_event()

    def taken(self, tensors: Two, mark: Any) -> Two:
        """Return the tensors to the main queue, which waits for the mark first."""
        if mark is not None:
            main = torch.cuda.current_stream(tensors[0].device)
            main.wait_event(mark)
            for tensor in tensors:
                tensor.record_stream(main)
        return tensors
