import os

import pytest
import torch

from patchseg import device as devices
from patchseg.errors import PatchsegError, UsageError

CPU = torch.device("cpu")
no_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")


@pytest.fixture(autouse=True)
def as_before():
    """Leave threads, flags and the global generator as they were."""
    threads, flags = (
        torch.get_num_threads(),
        (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
    )
    with torch.random.fork_rng():
        yield
    torch.set_num_threads(threads)
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = flags


@no_cuda
def test_a_device_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(UsageError, match=r"--device cuda: is not to be had here; expected one of .*cpu$"):
        devices.choose("cuda")


def test_the_cpu_is_always_there_and_auto_takes_what_is():
    assert devices.choose("cpu") == CPU
    best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert devices.choose("auto").type == best


def test_the_cpu_is_told_with_its_threads():
    devices.set_threads(1)
    assert devices.describe(CPU) == "CPU, 1 thread"


def test_threads_are_those_asked_for():
    assert devices.set_threads(3) == torch.get_num_threads() == 3


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system knows no affinity")
def test_threads_are_the_cores_of_this_process_by_default():
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})  # fewer than the machine has, where it has more than one
    try:
        assert devices.set_threads(None) == 1
    finally:
        os.sched_setaffinity(0, cores)
    assert devices.set_threads(None) == len(cores)


def test_threads_are_those_asked_for_where_the_system_knows_no_affinity_too(monkeypatch):
    # As on macOS and Windows.
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert devices.set_threads(3) == 3
    assert devices.set_threads(None) == os.cpu_count()


def test_deterministic_kernels_are_asked_for_and_given_up_again():
    devices.set_deterministic(True)
    assert torch.backends.cudnn.deterministic
    assert not torch.backends.cudnn.benchmark
    devices.set_deterministic(False)
    assert not torch.backends.cudnn.deterministic
    assert torch.backends.cudnn.benchmark
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_precision_of_the_cpu_is_fp32_unless_asked_otherwise():
    assert devices.resolve_precision("auto", CPU) == "fp32"
    assert devices.resolve_precision("bf16", CPU) == "bf16"
    assert devices.resolve_precision("fp32", torch.device("cuda")) == "fp32"


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_a_network_runs_at_the_precision(precision, dtype):
    with devices.autocast(CPU, precision):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


@pytest.mark.parametrize("kind", ["cpu", "cuda", "mps", "xpu"])
def test_a_batch_of_tiles_is_never_a_single_one(kind):
    assert devices.tile_batch(torch.device(kind)) >= 2


def test_a_step_draws_the_same_whatever_was_drawn_before():
    draws = []
    for noise in (0, 5):
        torch.rand(noise)
        devices.seed_step(7, 3)
        draws.append(torch.rand(4))
    assert torch.equal(*draws)


def test_another_seed_step_or_rank_draws_otherwise():
    first_draws = set()
    for place in [(seed, step, rank) for seed in (0, 1) for step in (0, 1, 2) for rank in (0, 1)]:
        devices.seed_step(*place)
        first_draws.add(torch.rand(1).item())
    assert len(first_draws) == 12


def test_a_seed_may_be_as_long_as_anyone_likes():
    for seed in (20240229123456, 2**63, 2**200):
        devices.seed_step(seed, 10**6)
        with devices.seeded(seed):
            assert 0 <= torch.rand(1).item() < 1


def test_a_block_of_its_own_seed_leaves_the_global_generator_untouched():
    torch.manual_seed(1)
    expected = torch.rand(6)
    torch.manual_seed(1)
    halves = [torch.rand(3)]
    with devices.seeded(9):
        inside = torch.rand(3)
    halves.append(torch.rand(3))
    assert torch.equal(torch.cat(halves), expected)
    with devices.seeded(9):
        assert torch.equal(torch.rand(3), inside)


def test_a_block_of_its_own_seed_gives_the_generator_back_after_an_error_too():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    with pytest.raises(ZeroDivisionError), devices.seeded(9):
        raise ZeroDivisionError
    assert torch.equal(torch.rand(3), expected)


def allocate_in_torch():
    torch.empty(2**60, dtype=torch.uint8)


def allocate_in_python():
    bytes(2**62)


def ask_a_full_gpu():
    raise RuntimeError("CUDA error: out of memory")


def outgrow_the_gpu():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nGPU 0 has ...")


@pytest.mark.parametrize("work", [allocate_in_torch, allocate_in_python, ask_a_full_gpu, outgrow_the_gpu])
def test_running_out_of_memory_is_told_in_a_line_with_its_cure(work):
    with (
        pytest.raises(PatchsegError, match=r"^out of memory.*; choose less$") as caught,
        devices.memory_errors("choose less"),
    ):
        work()
    assert caught.value.exit_code == 1
    assert "\n" not in str(caught.value)


def test_any_other_error_stays_what_it_is():
    with pytest.raises(RuntimeError, match="shape"), devices.memory_errors("choose less"):
        raise RuntimeError("shape '[3]' is invalid")


def test_an_error_that_only_descends_from_one_of_memory_is_not_taken_for_it():
    class NoCompiler(RuntimeError):
        pass

    assert not devices.is_out_of_memory(NoCompiler("cc1plus is missing"))
    assert devices.is_out_of_memory(NoCompiler("CUDA error: out of memory"))
    assert devices.is_out_of_memory(MemoryError())


def test_free_memory_is_some_and_less_than_there_is():
    on_device, in_host = devices.free_bytes(CPU)
    assert on_device == pytest.approx(in_host, rel=0.2)
    assert 2**20 < in_host < 2**50


def test_free_memory_is_guessed_where_the_system_does_not_tell_it(monkeypatch):
    def no_file(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr("pathlib.Path.read_text", no_file)
    assert 2**20 < devices.free_bytes(CPU)[1] < 2**50


def test_numbers_drawn_for_a_sample_depend_on_its_own_number_alone():
    one = devices.normal(torch.Size([2, 300, 300]), 0.3, CPU)
    torch.manual_seed(5)
    assert torch.equal(devices.normal(torch.Size([2, 300, 300]), 0.3, CPU), one)
    assert not torch.equal(devices.normal(torch.Size([2, 300, 300]), 0.31, CPU), one)
    assert one.mean().abs() < 0.02
    assert one.std() == pytest.approx(1, abs=0.02)


def test_a_process_of_its_own_agrees_with_itself():
    assert (devices.rank(), devices.ranks(), devices.leads()) == (0, 1, True)
    assert devices.agreed(CPU, True, False) == [True, False]
    assert devices.summed(torch.arange(3)).tolist() == [0, 1, 2]
    assert devices.told("a") == "a"
    network = torch.nn.Linear(1, 1)
    assert devices.shared(network, CPU) is network
    with devices.joined(), devices.unshared(network, until=False), devices.lost_processes("cure"):
        assert devices.ranks() == 1


def test_an_error_of_the_only_process_is_not_blamed_on_others():
    with pytest.raises(RuntimeError, match="shape"), devices.lost_processes("cure"):
        raise RuntimeError("shape")


@pytest.mark.parametrize("work", [allocate_in_torch, ask_a_full_gpu, outgrow_the_gpu])
def test_memory_that_runs_out_in_one_of_many_processes_is_not_blamed_on_others(work, monkeypatch):
    monkeypatch.setattr(devices, "ranks", lambda: 2)
    with (
        pytest.raises(PatchsegError, match=r"^out of memory.*; choose less$"),
        devices.memory_errors("choose less"),
        devices.lost_processes("cure"),
    ):
        work()


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_a_half_precision_is_that_of_the_convolutions(precision, dtype):
    layer, pixels = torch.nn.Conv2d(1, 1, 1), torch.ones(1, 1, 2, 2)
    with devices.autocast(CPU, precision):
        assert layer(pixels).dtype == dtype
    with devices.autocast(CPU, "fp32"):
        assert layer(pixels).dtype == torch.float32


def test_only_fp16_scales_its_gradients():
    loss = torch.ones((), requires_grad=True)
    assert devices.scaler(CPU, "fp32").scale(loss) is loss
    assert devices.scaler(CPU, "fp16").scale(loss) > 1000
