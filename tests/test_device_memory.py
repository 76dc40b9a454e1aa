import pytest
import torch

from patchseg.device.memory import free_in_group

CPU = torch.device("cpu")
MIB = 2**20
linux = pytest.mark.skipif("not __import__('pathlib').Path('/proc/self/clear_refs').exists()")


MEASURED = """
import ctypes
import torch
from patchseg import device as devices
CPU, MIB = torch.device("cpu"), 2**20
torch.set_num_threads(1)
def megabytes(count):  # of ones, in float32
    return torch.ones(count, MIB // 4)
"""


@pytest.fixture
def measured(run_python):
    """Run code in a process of its own, where no other test has left memory to be used unseen; return the numbers it prints."""

    def measured(code):
        ended = run_python(MEASURED + code)
        assert ended.returncode == 0, ended.stderr
        return [int(word) for word in ended.stdout.split()]

    return measured


@linux
def test_the_workspace_is_what_work_takes_at_its_peak_not_what_it_leaves(measured):
    code = """
kept = []
def work():
    kept.append(megabytes(10))
    megabytes(50)
print(devices.workspace(CPU, work))
"""
    assert measured(code) == [pytest.approx(60 * MIB, abs=4 * MIB)]


@linux
def test_memory_that_is_freed_and_kept_for_later_does_not_hide_what_work_takes(measured):
    code = """
ctypes.CDLL(None).mallopt(-3, 32 * MIB)  # M_MMAP_THRESHOLD: as it grows to be in a long run
for _ in range(3):
    blocks = [megabytes(8) for _ in range(8)]
    last = blocks[-1]
    del blocks  # below the last they stay with the process
    print(devices.workspace(CPU, lambda: [megabytes(8) for _ in range(5)]))
    assert last.all()
"""
    assert measured(code) == [pytest.approx(40 * MIB, abs=4 * MIB)] * 3


@linux
def test_what_is_taken_counts_no_memory_that_was_freed(measured):
    code = """
before = devices.taken(CPU)
block = megabytes(40)
print(devices.taken(CPU) - before)
del block
print(devices.taken(CPU) - before)
"""
    assert measured(code) == [pytest.approx(40 * MIB, abs=4 * MIB), pytest.approx(0, abs=4 * MIB)]


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"memory.{name}").write_text(f"{text}\n")


def test_a_container_leaves_its_limit_less_what_is_used_but_files_give_way(tmp_path):
    (tmp_path / "own").write_text("0::/\n")
    write(tmp_path, max=4000, current=3000, stat="anon 900\ninactive_file 1500\nactive_file 600")
    assert free_in_group(tmp_path, tmp_path / "own") == 4000 - (3000 - 2100)


def test_the_narrowest_of_nested_groups_counts(tmp_path):
    (tmp_path / "own").write_text("0::/job/step\n")
    write(tmp_path / "job", max=500, current=100, stat="inactive_file 0")
    write(tmp_path / "job/step", max="max", current=100, stat="inactive_file 0")
    assert free_in_group(tmp_path, tmp_path / "own") == 400


def test_groups_of_the_first_version_are_known_by_their_controller(tmp_path):
    (tmp_path / "own").write_text("5:cpu:/x\n4:memory:/job\n0::/\n")
    stat = "inactive_file 1\nactive_file 1\ntotal_inactive_file 50\ntotal_active_file 0"
    write(tmp_path / "memory/job", limit_in_bytes=1000, usage_in_bytes=300, stat=stat)
    write(tmp_path / "memory", limit_in_bytes=2**63 - 4096, usage_in_bytes=10**9, stat=stat)
    assert free_in_group(tmp_path, tmp_path / "own") == 1000 - 250


@pytest.mark.parametrize("own", [None, "", "0::/\n", "4:memory:/elsewhere\n"])
def test_without_groups_there_is_no_limit(tmp_path, own):
    if own is not None:
        (tmp_path / "own").write_text(own)
    assert free_in_group(tmp_path, tmp_path / "own") == 2**60


@linux
def test_memory_that_is_kept_needs_no_clearing_when_it_is_used_again(run_python):
    code = """
import resource, sys, torch
from patchseg import device
if sys.argv[1] == "keep":
    device.keep_freed()
for _ in range(20):  # glibc finds its way with the first ones
    torch.ones(10_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    torch.ones(10_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    faults = {how: int(run_python(code, how).stdout) for how in ("keep", "give back")}
    assert faults["keep"] < 100
    assert faults["give back"] > 5 * 9000  # pages of 4 KiB: 40 MB are 9766
