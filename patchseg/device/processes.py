"""The processes of one run, begun by torchrun: who they are, what they share, and what happens when one is gone."""

import gc
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, distributed, nn

from patchseg.errors import Interrupted, PatchsegError, UsageError

_LOST = ("connection", "peer", "nccl", "gloo", "timed out", "socket")


def rank() -> int:
    """Return the number of this process among those of a run, from 0 on; the first one writes."""
    return distributed.get_rank() if ranks() > 1 else 0


def ranks() -> int:
    """Return how many processes a run has."""
    there = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if there else 1


def leads() -> bool:
    """Tell whether this process is the first of those that torchrun has started, or the only one; it need not have joined."""
    return int(os.environ.get("RANK", "0")) == 0


@contextmanager
def joined() -> Iterator[None]:
    """Join the other processes of a run inside the block, where torchrun has started several."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or ranks() > 1:
        yield
        return
    gpus, local = torch.cuda.device_count(), int(os.environ["LOCAL_RANK"])
    if gpus and int(os.environ.get("LOCAL_WORLD_SIZE", "1")) > gpus:
        raise UsageError(
            f"torchrun has started {os.environ['LOCAL_WORLD_SIZE']} processes, but there are {gpus} GPUs; "
            f"give --nproc-per-node {gpus}"
        )
    if gpus:
        torch.cuda.set_device(local)
    distributed.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo")
    try:
        yield
    except Interrupted:
        _part()
        raise
    _part()  # but not after an error: others may be gone, and what went wrong must be told first


def _part() -> None:
    distributed.barrier()
    gc.collect()  # what still holds on to the group, such as a shared network
    distributed.destroy_process_group()


def shared(network: nn.Module, device: torch.device, *, idle: bool = False) -> nn.Module:
    """Return the network so that its gradients are averaged over all processes.

    Args:
        network: In training.
        device: Where it is.
        idle: Whether it may have parameters that no output depends on, which are then looked for at each step.
    """
    if ranks() == 1:
        return network
    return nn.parallel.DistributedDataParallel(
        network, device_ids=[device] if device.type == "cuda" else None, find_unused_parameters=idle
    )


def unshared(network: nn.Module, *, until: bool) -> AbstractContextManager[Any]:
    """Return the context in which gradients stay in this process, unless `until`: the last part of a batch shares them."""
    if until or not isinstance(network, nn.parallel.DistributedDataParallel):
        return nullcontext()
    return network.no_sync()


def share_statistics(network: nn.Module) -> None:
    """Give all processes the statistics that batch norm has gathered in the first one, which are those that are saved."""
    if ranks() > 1:
        for buffer in network.buffers():
            distributed.broadcast(buffer, 0)


def summed(tensor: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes."""
    if ranks() > 1:
        tensor = tensor.clone()
        distributed.all_reduce(tensor)
    return tensor


def agreed(device: torch.device, *flags: bool) -> list[bool]:
    """Tell of each flag whether any process has raised it."""
    if ranks() == 1:
        return list(flags)
    counts = summed(torch.tensor(flags, dtype=torch.int32, device=device))
    return [bool(count) for count in counts.tolist()]


def told(value: Any) -> Any:
    """Return what the first process has for a value, such as a number that it measured."""
    if ranks() == 1:
        return value
    box = [value]
    distributed.broadcast_object_list(box)
    return box[0]


@contextmanager
def lost_processes(cure: str) -> Iterator[None]:
    """Turn what is raised when another process of a run is gone into a `PatchsegError` with a cure."""
    try:
        yield
    except RuntimeError as error:  # as gloo and NCCL raise
        text = str(error).lower()
        if ranks() == 1 or not any(sign in text for sign in _LOST):
            raise
        first = (str(error).splitlines() or [type(error).__name__])[0][:100]
        raise PatchsegError(f"another process of the run is gone ({first}); {cure}") from error
