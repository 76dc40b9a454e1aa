"""Where the training patches are while a network learns from them: on its device, in memory, or in their file.

All three give the same patches for the same numbers, on the device, as they are stored. What is not on the device already
is fetched ahead, in a thread, while the network learns from the batch before.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from patchseg import device as devices
from patchseg.errors import UsageError
from patchseg.parameters import Keep
from patchseg.patches.layout import Part
from patchseg.patches.store import PatchFile
from patchseg.progress import megabytes
from patchseg.training.batch import Batch, tensors

Pair = tuple[Tensor, Tensor]  # images and masks
Fetch = Callable[[NDArray[np.int64]], Pair]

_SHARE = 0.4  # of what is free, for patches: the network and its gradients need the rest


class Place(NamedTuple):
    """Where patches are kept.

    Attributes:
        keep: "device", "memory" or "file".
        reason: Why, in words.
    """

    keep: Keep
    reason: str


def place_for(keep: Keep, size: int, on_device: int, in_memory: int) -> Place:
    """Choose where patches are kept, from sizes alone; what was asked for is followed.

    Args:
        keep: What was asked for.
        size: Bytes of the patches.
        on_device: Bytes that are free on the device.
        in_memory: Bytes that are free in memory.

    >>> place_for("auto", 10**9, 10**10, 10**10)
    Place(keep='device', reason='1.0 GB of 10.0 GB free')
    >>> place_for("auto", 10**10, 10**10, 10**11).keep
    'memory'
    """
    free = {"device": on_device, "memory": in_memory}
    if keep == "auto":
        # They pass through memory on their way to the device.
        there = size <= _SHARE * on_device and size <= 2 * _SHARE * in_memory
        keep = "device" if there else "memory" if size <= _SHARE * in_memory else "file"
    if keep == "file":
        return Place(keep, f"{megabytes(size)}, of which memory holds one batch and the next")
    return Place(keep, f"{megabytes(size)} of {megabytes(free[keep])} free")


def fetching(file: PatchFile, keep: Keep, device: torch.device, part: Part = "train") -> Fetch:
    """Return what gets patches by their numbers: images (n, T, T, C) and masks (n, T, T), as stored, on the device.

    Raises:
        UsageError: They do not fit where they are asked for.
    """
    if keep == "file":
        return lambda numbers: _sent(*_from_file(file, numbers, part), device)
    try:
        images, masks = (torch.from_numpy(array) for array in file.read(part))
        if keep == "device":
            images, masks = images.to(device), masks.to(device)
    except devices.OUT_OF_MEMORY as error:
        if not devices.is_out_of_memory(error):
            raise
        raise UsageError(
            f"--keep {keep}: {file.path} does not fit ({megabytes(file.nbytes)}); give --keep file"
        ) from error

    def fetch(numbers: NDArray[np.int64]) -> Pair:
        index = torch.from_numpy(numbers)
        if keep == "device":
            index = index.to(device)
        # Whole patches are copied; by brackets, torch would look up each pixel.
        taken = _selected(images, index), masks.index_select(0, index)
        return taken if keep == "device" else _sent(*taken, device)

    return fetch


class Ahead:
    """Makes the next batch in a thread, on a queue of the device's own, while the last one is learned from.

    Args:
        make: The batch of a step.
        device: Where it goes.
    """

    def __init__(self, make: Callable[[int], Batch], device: torch.device) -> None:
        self._make, self._queue = make, devices.Queue(device)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._next: dict[int, Future[tuple[Batch, Any]]] = {}

    def __call__(self, step: int) -> Batch:
        """Return the batch of a step, and begin that of the step after it."""
        now = self._next.pop(step, None) or self._begin(step)
        self._next = {step + 1: self._begin(step + 1)}
        batch, mark = now.result()
        self._queue.take(tensors(batch), mark)
        return batch

    def close(self) -> None:
        """End the thread; what it has begun is finished first."""
        self._thread.shutdown(cancel_futures=True)

    def _begin(self, step: int) -> Future[tuple[Batch, Any]]:
        return self._thread.submit(lambda: self._queue.run(lambda: self._make(step)))


def _selected(images: Tensor, index: Tensor) -> Tensor:
    # Of unsigned 16 bits torch knows little, but it can copy them.
    plain = images.view(torch.int16) if images.dtype == torch.uint16 else images
    return plain.index_select(0, index).view(images.dtype)


def _from_file(file: PatchFile, numbers: NDArray[np.int64], part: Part) -> Pair:
    # HDF5 reads ascending, distinct numbers only.
    unique, back = np.unique(numbers, return_inverse=True)
    images, masks = (torch.from_numpy(array[back]) for array in file.read(part, unique))
    return images, masks


def _sent(images: Tensor, masks: Tensor, device: torch.device) -> Pair:
    if device.type == "cuda":  # page-locked memory is copied while the device computes
        images, masks = images.pin_memory(), masks.pin_memory()
    return images.to(device, non_blocking=True), masks.to(device, non_blocking=True)
