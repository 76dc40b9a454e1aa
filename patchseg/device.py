"""Where and how torch computes: device, precision, threads, seeds. The only module that names torch.cuda.

What decides the bytes of a result besides the data (device, precision, threads, tile batch) is chosen here, from
tables and never from a stopwatch, and is recorded by those who ask.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

from patchseg.errors import PatchsegError, UsageError
from patchseg.parameters import Device, Precision
from patchseg.progress import counted

# Tiles a forward pass, by device. At least 2, and every batch is padded to it: some kernels round differently
# for a batch of one.
_TILE_BATCH = {"cpu": 4, "mps": 8, "cuda": 32}
# What torch says in a plain RuntimeError: on the CPU, on MPS, and on a GPU that another process has filled.
_OUT_OF_MEMORY = ("can't allocate memory", "out of memory")
_SEEDS = 2**63  # torch takes no more; a seed of 12 digits gives more with its steps


def choose(name: Device) -> torch.device:
    """Return the device of that name; "auto" takes CUDA, then MPS, then the CPU.

    Raises:
        UsageError: It is not there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, is_there in there.items() if is_there))
    if not there[name]:
        raise UsageError(
            f"--device {name}: is not to be had here; expected one of {', '.join(k for k in there if there[k])}"
        )
    return torch.device(name)


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
    torch.set_num_threads(threads or cores)
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
    """Return "bf16" or "fp32"; "auto" takes bf16 on a CUDA device that has it."""
    if name == "auto":
        return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    return name


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[Any]:
    """Return the context in which a network runs at that precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def tile_batch(device: torch.device) -> int:
    """Return the tiles of one forward pass."""
    return _TILE_BATCH.get(device.type, 4)


def seed_step(seed: int, step: int, rank: int = 0) -> None:
    """Seed torch's global generator for one training step: dropout then depends on (seed, step, rank) alone."""
    torch.manual_seed(((seed * 1_000_003 + step) * 1_009 + rank) % _SEEDS)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from a CPU generator of one's own inside the block, as the initialization of a model does."""
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would seed the GPU's generators too, which nothing gives back.
        torch.default_generator.manual_seed(seed % _SEEDS)
        yield


@contextmanager
def memory_errors(cure: str) -> Iterator[None]:
    """Turn running out of memory, on the device or in the host, into a `PatchsegError` with a cure."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise PatchsegError(
            f"out of memory ({str(error).splitlines()[0] if str(error) else 'host'}); {cure}"
        ) from error
    except RuntimeError as error:
        if not any(sign in str(error) for sign in _OUT_OF_MEMORY):
            raise
        raise PatchsegError(f"out of memory; {cure}") from error
