"""The heart of it: k epochs, a kill, and m more are k + m epochs, bit for bit, from one process to the next."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import patchseg
from patchseg.models.checkpoint import load
from patchseg.training.record import read_metrics

SECONDS = 60  # until a process that should have come far enough is given up


@pytest.fixture
def launch(patches, tmp_path):
    """Begin `patchseg train` in a process of its own, whose run is in tmp_path."""
    root = str(Path(patchseg.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    network = ["--width", "4", "--levels", "2", "--norm", "batch"]
    words = [
        "train",
        patches,
        "-e",
        "4",
        "-b",
        "4",
        "--name",
        "run",
        "--threads",
        "1",
        "--device",
        "cpu",
        *network,
    ]
    begun = []

    def launch(*more, folder=tmp_path):
        command = [sys.executable, "-m", "patchseg", *map(str, words), *more]
        begun.append(
            subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
        )
        return begun[-1]

    yield launch
    for process in begun:
        process.kill()
        process.communicate()


def wait_for(process, folder, epoch):
    """Wait until the line of an epoch is in metrics.jsonl."""
    until = time.monotonic() + SECONDS
    while len(read_metrics(folder / "runs/run")) < epoch:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until
        time.sleep(0.005)


def wait_for_checkpoint(folder):
    """Wait until last.pt is as new as metrics.jsonl."""
    until = time.monotonic() + SECONDS
    files = folder / "checkpoints/run/last.pt", folder / "runs/run/metrics.jsonl"
    while files[0].stat().st_mtime_ns < files[1].stat().st_mtime_ns:
        assert time.monotonic() < until
        time.sleep(0.005)


def end(process, number=None):
    """Send a signal, if any, wait for the end, and return exit code and stderr."""
    if number is not None:
        process.send_signal(number)
    error = process.communicate(timeout=SECONDS)[1]
    return process.returncode, error


def assert_same_run(folder, straight, differences):
    for name in ("last.pt", "best.pt"):
        ours, theirs = (
            torch.load(f / "checkpoints/run" / name, weights_only=True) for f in (folder, straight)
        )
        assert not differences(ours["weights"], theirs["weights"])
        for place in differences(ours, theirs):
            assert place.endswith(("/source", "/seconds", "/spent", "/value")), place
        assert ours["training"] is None or not differences(
            ours["training"] | {"spent": 0}, theirs["training"] | {"spent": 0}
        )
    metrics = [
        [
            {key: value for key, value in line.items() if key != "seconds"}
            for line in read_metrics(f / "runs/run")
        ]
        for f in (folder, straight)
    ]
    assert metrics[0] == metrics[1]


def test_four_epochs_are_two_a_kill_and_two_more(launch, straight, tmp_path, differences):
    process = launch()
    wait_for(process, tmp_path, 2)
    wait_for_checkpoint(tmp_path)
    assert end(process, signal.SIGKILL)[0] == -signal.SIGKILL
    assert 40 <= load(tmp_path / "checkpoints/run/last.pt").training["step"] < 80
    code, told = end(launch("--resume"))
    assert code == 0, told
    assert "going on after step" in told
    assert_same_run(tmp_path, straight, differences)


def test_kills_at_random_moments_change_nothing(launch, run_training, straight, tmp_path, differences):
    """In the middle of a step, a validation or a save: whatever was whole is what the run goes on from."""
    process = launch()
    wait_for(process, tmp_path, 1)
    time.sleep(random.uniform(0, 0.5))
    end(process, signal.SIGKILL)
    run_training(tmp_path, resume=True)
    assert_same_run(tmp_path, straight, differences)


def test_ctrl_c_saves_says_so_and_changes_nothing(launch, run_training, straight, tmp_path, differences):
    process = launch()
    wait_for(process, tmp_path, 2)
    code, told = end(process, signal.SIGINT)
    assert code == 130, told
    assert "Traceback" not in told
    assert "saved checkpoints/run/last.pt, go on with --resume" in told
    state = load(tmp_path / "checkpoints/run/last.pt").training
    assert 40 <= state["step"] < 80
    assert state["loss_count"] == state["step"] % 20
    run_training(tmp_path, resume=True)
    assert_same_run(tmp_path, straight, differences)


@pytest.mark.slow
def test_twenty_kills_at_random_moments_of_a_varied_run_change_nothing(launch, tmp_path, differences):
    """With all that has a state switched on; no checkpoint is ever unreadable, whenever it is looked at."""
    words = "-e 120 --strength strong --patience 120 --micro-batch 2 --centred 0.3"
    varied = words.split()
    folders = [tmp_path / name for name in ("straight", "killed")]
    for folder in folders:
        folder.mkdir()
    straight = launch(*varied, folder=folders[0])
    straight.communicate(timeout=10 * SECONDS)
    assert straight.returncode == 0
    kills = 0
    while kills < 20:
        process = launch(*varied, "--resume", folder=folders[1])
        # Some die while they are still being loaded, all others before they have come far, however fast the machine is.
        seen, until = len(read_metrics(folders[1] / "runs/run")), time.monotonic() + random.uniform(0, 8)
        while time.monotonic() < until and len(read_metrics(folders[1] / "runs/run")) < seen + 2:
            time.sleep(random.uniform(0, 0.02))
        if process.poll() is not None:
            break
        end(process, signal.SIGKILL)
        kills += 1
        for name in ("last.pt", "best.pt"):
            file = folders[1] / "checkpoints/run" / name
            assert not file.exists() or load(file)
    assert kills == 20, f"the run was over after {kills} kills"
    last = launch(*varied, "--resume", folder=folders[1])
    told = last.communicate(timeout=10 * SECONDS)[1]
    assert last.returncode == 0, told
    assert_same_run(folders[1], folders[0], differences)
