import threading

import h5py
import numpy as np
import pytest
import torch

from patchseg.errors import UsageError
from patchseg.patches.store import PatchFile
from patchseg.training.keeping import Ahead, fetching, place_for

torch.set_num_threads(1)

CPU = torch.device("cpu")
GB = 10**9


@pytest.mark.parametrize(
    ("keep", "size", "on_device", "in_memory", "expected"),
    [
        ("auto", 4 * GB, 10 * GB, 10 * GB, "device"),  # just two fifths
        ("auto", 4 * GB + 1, 10 * GB, 11 * GB, "memory"),
        ("auto", 4 * GB + 1, 10 * GB, 10 * GB, "file"),
        ("auto", 0, 0, 0, "device"),
        ("auto", 1, 0, 0, "file"),
        ("device", 90 * GB, 10 * GB, 10 * GB, "device"),
        ("memory", 90 * GB, 10 * GB, 10 * GB, "memory"),
        ("memory", 1, 10 * GB, 10 * GB, "memory"),
        ("file", 1, 10 * GB, 10 * GB, "file"),
    ],
)
def test_patches_are_kept_where_they_fit_or_where_they_are_wanted(keep, size, on_device, in_memory, expected):
    assert place_for(keep, size, on_device, in_memory).keep == expected


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        (2 * GB, "2.0 GB of 8.0 GB free"),
        (6 * GB, "6.0 GB of 20.0 GB free"),
        (9 * GB, "9.0 GB, of which memory holds one batch and the next"),
    ],
)
def test_the_reason_tells_sizes(size, reason):
    assert place_for("auto", size, 8 * GB, 20 * GB).reason == reason


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("keep", ["device", "memory", "file"])
def test_patches_are_the_stored_ones_wherever_they_are_kept(tmp_path, noise, write_patches, dtype, keep):
    images, masks = noise(7, channels=2, dtype=dtype)
    with PatchFile(write_patches(tmp_path / "p.h5", images, masks)) as file:
        fetch = fetching(file, keep, CPU)
        for numbers in ([3], [6, 0, 2], [5, 5, 1, 5], list(range(7)), [0] * 9):
            got_images, got_masks = fetch(np.array(numbers))
            assert got_images.numpy().dtype == dtype
            np.testing.assert_array_equal(got_images, images[numbers])
            np.testing.assert_array_equal(got_masks, masks[numbers])


@pytest.mark.parametrize("keep", ["device", "memory", "file"])
def test_what_is_done_to_a_batch_leaves_the_kept_patches_alone(tmp_path, noise, write_patches, keep):
    images, masks = noise(3)
    with PatchFile(write_patches(tmp_path / "p.h5", images, masks)) as file:
        fetch = fetching(file, keep, CPU)
        for tensor in fetch(np.array([0, 1, 2])):
            tensor.zero_()
        again = fetch(np.array([0, 1, 2]))
    np.testing.assert_array_equal(again[0], images)
    np.testing.assert_array_equal(again[1], masks)


@pytest.mark.parametrize("keep", ["device", "memory"])
def test_what_does_not_fit_is_one_sentence_with_a_cure(tmp_path, noise, write_patches, keep):
    path = write_patches(tmp_path / "p.h5", *noise(1))
    with h5py.File(path, "a") as file:
        for name in ("images", "masks"):
            file["train"][name].resize(2**44, axis=0)  # a pebibyte, of which HDF5 stores the first patch only
    with PatchFile(path) as file, pytest.raises(UsageError) as raised:
        fetching(file, keep, CPU)
    assert str(raised.value) == f"--keep {keep}: {path} does not fit (2251799.8 GB); give --keep file"


def of_step(step):
    return torch.tensor([step]), torch.tensor([-step])


@pytest.fixture
def ahead():
    """Return what makes batches ahead, closed in the end."""
    made = []

    def make(function):
        made.append(Ahead(function, CPU))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize("steps", [range(6), [5, 6, 0, 0, 1, 9, 8, 9, 10], [3], [2, 2, 2]])
def test_batches_are_those_of_the_steps_asked_for(ahead, steps):
    fetch = ahead(of_step)
    for step in steps:
        images, masks = fetch(step)
        assert (int(images), int(masks)) == (step, -step)


def test_the_next_batch_is_begun_before_it_is_asked_for_and_made_once(ahead):
    made, begun = [], threading.Event()

    def make(step):
        made.append((step, threading.current_thread().name))
        if step == 1:
            begun.set()
        return of_step(step)

    fetch = ahead(make)
    fetch(0)
    assert begun.wait(10)
    fetch(1)
    fetch(2)
    steps = [step for step, _ in made]
    assert steps == list(range(len(steps)))  # and perhaps the one after
    assert len(steps) in (3, 4)
    assert {name for _, name in made} == {"batches_0"}


def test_an_exception_reaches_the_caller_when_its_step_is_asked_for(ahead):
    def make(step):
        if step == 2:
            raise OSError("p.h5: is gone")
        return of_step(step)

    fetch = ahead(make)
    assert [int(fetch(step)[0]) for step in (0, 1)] == [0, 1]
    with pytest.raises(OSError, match=r"^p\.h5: is gone$"):
        fetch(2)
    assert int(fetch(3)[0]) == 3


def test_closing_ends_the_thread_and_what_it_has_begun_is_finished():
    begun, finished = threading.Event(), threading.Event()

    def make(step):
        if step == 1:
            begun.set()
            finished.wait(10)
        return of_step(step)

    before = threading.active_count()
    fetch = Ahead(make, CPU)
    fetch(0)
    assert begun.wait(10)
    threading.Timer(0.05, finished.set).start()
    fetch.close()
    assert finished.is_set()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]
    fetch.close()
    with pytest.raises(RuntimeError):
        fetch(1)
    assert threading.active_count() <= before + 1  # that of the timer may be ending
