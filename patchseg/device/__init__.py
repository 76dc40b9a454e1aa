"""Where and how torch computes: device, precision, threads, seeds, processes. The only module that names torch.cuda.

What decides the bytes of a result besides the data (device, precision, threads, tile batch) is chosen here, from
tables and never from a stopwatch, and is recorded by those who ask.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor

from patchseg.device.memory import (
    OUT_OF_MEMORY,
    free_bytes,
    is_out_of_memory,
    keep_freed,
    memory_errors,
    taken,
    workspace,
)
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
from patchseg.errors import UsageError
from patchseg.parameters import Device, Precision
from patchseg.progress import counted

__all__ = [  # beside what is defined here
    "OUT_OF_MEMORY", "agreed", "free_bytes", "is_out_of_memory", "joined", "keep_freed", "leads", "lost_processes", "memory_errors", "rank",
    "ranks", "share_statistics", "shared", "summed", "taken", "told", "unshared", "workspace",
]  # fmt: skip

# Tiles a forward pass, and the side above which they become fewer, by device.
_TILE_BATCH = {"cpu": (4, 256), "mps": (8, 256), "cuda": (32, 256)}
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


Made = TypeVar("Made")


class Queue:
    """A queue of work on a CUDA device beside the main one; elsewhere work is just done.

    Args:
        device: Whose.
    """

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        if self._stream is not None:  # what the work needs may still be on its way there
            self._stream.wait_stream(torch.cuda.current_stream(device))

    def run(self, work: Callable[[], Made]) -> tuple[Made, Any]:
        """Do work that makes tensors; return them, and on a GPU the mark after which they are ready."""
        if self._stream is None:
            return work(), None
        with torch.cuda.stream(self._stream):
            made = work()
        return made, self._stream.record_event()

    def take(self, tensors: Iterable[Tensor], mark: Any) -> None:
        """Give the tensors to the main queue, which waits for the mark first."""
        if self._stream is not None:
            main = torch.cuda.current_stream(self._stream.device)
            main.wait_event(mark)
            for tensor in tensors:
                tensor.record_stream(main)
