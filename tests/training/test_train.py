import contextlib
import io
import json
import resource
import signal
import sys
import threading

import numpy as np
import pytest
import torch

from patchseg import cli
from patchseg.errors import DataError, Interrupted, PatchsegError, UsageError
from patchseg.models.checkpoint import load
from patchseg.parameters import ModelParameters
from patchseg.progress import Progress
from patchseg.training.record import read_metrics
from patchseg.training.schedule import LAST


class Signals(Progress):
    """Sends a signal as a step ends: {number of the step: signal}."""

    def __init__(self, at):
        self.at, self.done = at, 0

    def step(self, count=1, note=""):
        self.done += count
        if self.done in self.at:
            signal.raise_signal(self.at[self.done])


def saved(folder, name="last.pt"):
    return torch.load(folder / "checkpoints/run" / name, weights_only=True)


def without_seconds(lines):
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def assert_same_run(one, other, differences):
    """Assert that two runs are equal bit for bit but for the time they took."""
    for name in ("last.pt", "best.pt"):
        found = differences(saved(one, name), saved(other, name))
        # Where a parameter came from may differ, and when.
        assert [d for d in found if not d.endswith(("/source", "/seconds", "/spent"))] == []
    metrics = (without_seconds(read_metrics(folder / "runs/run")) for folder in (one, other))
    assert next(metrics) == next(metrics)


def test_a_run_leaves_checkpoints_metrics_and_parameters(straight):
    files = {str(path.relative_to(straight)) for path in straight.rglob("*") if path.is_file()}
    assert {name for name in files if "tfevents" not in name} == {
        "checkpoints/run/best.pt", "checkpoints/run/last.pt", "runs/run/metrics.jsonl",
        "runs/run/parameters.effective.json",
    }  # fmt: skip
    lines = read_metrics(straight / "runs/run")
    assert [(line["epoch"], line["step"]) for line in lines] == [(1, 20), (2, 40), (3, 60), (4, 80)]
    assert lines[-1]["rate"] == pytest.approx(0.004 * LAST)
    assert lines[-1]["loss/train"] < lines[0]["loss/train"]
    best = load(straight / "checkpoints/run/best.pt")
    assert [entry["target"] for entry in best.mapping] == [0, 1, 2]
    assert sum(entry["pixels"] for entry in best.mapping) == 6 * 64 * 64
    assert best.training is None
    assert best.scores["mean_iou"] == max(line["mean_iou"] for line in lines)
    effective = json.loads((straight / "runs/run/parameters.effective.json").read_text())
    assert effective["train.rate"] == {"value": 0.004, "source": "plan"}
    assert effective["train.batch"] == {"value": 4, "source": "call"}
    assert effective["prepare.patch"]["value"] == 32
    assert best.parameters == effective


def test_seeds_differ_and_the_same_seed_is_the_same_run(straight, tmp_path, run_training, differences):
    torch.manual_seed(99)
    run_training(tmp_path / "same")
    assert_same_run(tmp_path / "same", straight, differences)
    run_training(tmp_path / "other", seed=1)
    assert differences(saved(tmp_path / "other")["weights"], saved(straight)["weights"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_an_epoch_saves_and_the_run_goes_on_as_if_nothing_were(
    straight, tmp_path, run_training, differences, number
):
    with pytest.raises(
        Interrupted, match=r"Stopped after step 27; saved .*last\.pt, go on with --resume"
    ) as caught:
        run_training(tmp_path, progress=Signals({27: number}))
    assert caught.value.exit_code == 130
    state = saved(tmp_path)["training"]
    assert (state["step"], state["loss_count"]) == (27, 7)
    with pytest.raises(Interrupted):
        run_training(tmp_path, resume=True, progress=Signals({1: number}))
    assert saved(tmp_path)["training"]["loss_count"] == 8
    run_training(tmp_path, resume=True)
    assert_same_run(tmp_path, straight, differences)


def test_a_signal_in_the_last_step_lets_the_run_finish(straight, tmp_path, run_training, differences):
    run_training(tmp_path, progress=Signals({80: signal.SIGINT}))
    assert_same_run(tmp_path, straight, differences)


def test_a_second_signal_stops_at_once_and_what_was_saved_stays(
    straight, tmp_path, run_training, differences
):
    class Twice(Progress):
        done = 0

        def step(self, count=1, note=""):
            self.done += count
            if self.done == 30:
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run_training(tmp_path, progress=Twice())
    assert saved(tmp_path)["training"]["step"] == 20
    run_training(tmp_path, resume=True)
    assert_same_run(tmp_path, straight, differences)


def test_a_run_in_a_thread_is_the_same_run(straight, tmp_path, run_training, differences):
    thread = threading.Thread(target=run_training, args=(tmp_path,))
    thread.start()
    thread.join()
    assert_same_run(tmp_path, straight, differences)


@pytest.mark.parametrize("keep", ["memory", "file"])
def test_a_run_is_the_same_wherever_its_patches_are_kept(straight, tmp_path, run_training, differences, keep):
    run_training(tmp_path, keep=keep)
    saved_keep = saved(tmp_path)["parameters"]["train.keep"]["value"]
    assert saved_keep == keep
    found = differences(saved(tmp_path), saved(straight))
    assert [d for d in found if not d.endswith(("/source", "/seconds", "/spent", "keep/value"))] == []


def test_a_time_budget_is_kept_and_comes_down_to_the_last_small_rate(tmp_path, run_training):
    run_training(tmp_path, time=3.0, schedule="onecycle")
    lines = read_metrics(tmp_path / "runs/run")
    state = saved(tmp_path)["training"]
    assert state["step"] == state["total"] == lines[-1]["step"] > 13
    # Time may stop a run early where other work slows the machine.
    assert lines[-1]["rate"] == pytest.approx(0.004 * LAST) or lines[-1]["seconds"] >= 3
    assert len(lines) > 1


def test_the_total_of_a_time_budget_is_stored_and_never_fixed_again(tmp_path, run_training):
    with pytest.raises(Interrupted):
        run_training(tmp_path, time=60.0, progress=Signals({5: signal.SIGINT}))
    measuring = saved(tmp_path)["training"]
    assert (measuring["total"], measuring["step"]) == (None, 5)
    with pytest.raises(Interrupted):
        run_training(tmp_path, time=60.0, steps=None, resume=True, progress=AfterPlan())
    fixed = saved(tmp_path)["training"]
    assert fixed["total"] > fixed["step"]
    assert fixed["spent"] > measuring["spent"]
    with pytest.raises(Interrupted):
        run_training(tmp_path, resume=True, progress=Signals({1: signal.SIGINT}))
    again = saved(tmp_path)["training"]
    assert (again["total"], again["epoch_steps"]) == (fixed["total"], fixed["epoch_steps"])


class AfterPlan(Progress):
    """Stops a run as soon as it says how many steps fit."""

    def say(self, line):
        if "steps fit into" in line:
            signal.raise_signal(signal.SIGINT)


def test_balanced_class_weights_and_other_settings_train(tmp_path, run_training):
    run_training(
        tmp_path, steps=3, class_weights="balanced", loss="ce", optimizer="sgd", schedule="step", clip=0.0
    )
    assert saved(tmp_path)["parameters"]["train.class_weights"]["value"] == "balanced"
    assert len(read_metrics(tmp_path / "runs/run")) == 3


def test_without_validation_regions_the_last_network_is_the_best(
    tmp_path, write_patches, noise, run_training
):
    file = write_patches(tmp_path / "p.h5", *noise(8, side=16))
    run_training(tmp_path, file=file, epochs=2)
    assert set(read_metrics(tmp_path / "runs/run")[0]) == {"epoch", "step", "loss/train", "rate", "seconds"}
    best, last = (saved(tmp_path, name) for name in ("best.pt", "last.pt"))
    assert best["scores"] == last["scores"]
    assert all(torch.equal(best["weights"][name], last["weights"][name]) for name in last["weights"])


@pytest.mark.parametrize("sizes", [{"batch": 1}, {"batch": 7, "micro_batch": 3}])
def test_batch_norm_of_a_single_value_is_refused_before_anything_is_written(
    tmp_path, write_patches, noise, run_training, sizes
):
    file = write_patches(tmp_path / "p.h5", *noise(8))  # of 8 x 8 pixels, of which 4 levels leave one
    model = ModelParameters(width=4, levels=4, norm="batch")
    with pytest.raises(
        UsageError, match=r"model\.norm: .* that unet leaves of one patch of 8; give --norm group"
    ):
        run_training(tmp_path, file=file, model=model, **sizes)
    assert not (tmp_path / "runs").exists()
    run_training(tmp_path, file=file, model=model, batch=6, micro_batch=3, steps=2)


@pytest.mark.parametrize("patch", [5, 8])
def test_instance_norm_of_a_single_pixel_is_refused_whatever_the_batch(
    tmp_path, write_patches, noise, run_training, patch
):
    file = write_patches(tmp_path / "p.h5", *noise(8, side=patch))
    model = ModelParameters(width=4, levels=4, norm="instance")
    told = rf"model\.norm: instance norm .* a patch of {patch} comes at 1/8 of its size; give --norm group, or fewer --l"
    with pytest.raises(UsageError, match=told):
        run_training(tmp_path, file=file, model=model, batch=4)
    assert not (tmp_path / "runs").exists()
    model = ModelParameters(
        width=4, levels=3, norm="instance", residual=True, attention=True, upsampling="bilinear"
    )
    run_training(tmp_path, file=file, model=model, batch=1, steps=2)


def test_a_file_without_training_patches_is_refused(tmp_path, write_patches, noise, run_training):
    images, masks = noise(1)
    with pytest.raises(DataError, match=r"p\.h5: holds no training patch; make it again"):
        run_training(tmp_path, file=write_patches(tmp_path / "p.h5", images[:0], masks[:0]))


def test_a_loss_that_is_no_number_any_more_stops_the_run_before_it_is_saved(
    tmp_path, write_patches, run_training
):
    images, masks = np.full((8, 16, 16, 1), np.inf, np.float32), np.zeros((8, 16, 16), np.uint8)
    with pytest.raises(
        PatchsegError, match="the training loss has become nan by step 2; choose a smaller --rate"
    ):
        run_training(tmp_path, file=write_patches(tmp_path / "p.h5", images, masks))
    assert not (tmp_path / "checkpoints").exists()
    assert read_metrics(tmp_path / "runs/run") == []


@contextlib.contextmanager
def limited(size):
    """Let no file grow larger than this."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Python would cut the bytecode of a module short, too, and leave it behind.
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        sys.dont_write_bytecode = before


@pytest.mark.parametrize(
    ("limit", "where"),
    [
        # torch hides the system's error when it writes the file itself.
        (30_000, "last.pt"),
        (2_000, "parameters.effective.json"),
    ],
)
def test_a_full_disk_is_one_sentence_and_the_old_checkpoints_stay(half, patches, monkeypatch, limit, where):
    before = saved(half)
    monkeypatch.chdir(half)
    words = ["train", str(patches), "--resume", "--name", "run", "--threads", "1"]
    with (
        limited(limit),
        pytest.raises(SystemExit) as ended,
        contextlib.redirect_stderr(io.StringIO()) as told,
    ):
        cli.run(words)
    assert ended.value.code == 1
    (error,) = [line for line in told.getvalue().splitlines() if "Error" in line]
    assert f"{where}: cannot be written, a size limit is reached; make room" in error
    assert saved(half)["training"]["step"] == before["training"]["step"] == 20
    assert not list(half.rglob("*.part"))
