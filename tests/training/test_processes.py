"""Two processes on the CPU, begun by torchrun, are one run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import patchseg
from patchseg.inference.predictor import Predictor
from patchseg.models.checkpoint import load
from patchseg.patches.store import PatchFile
from patchseg.training.record import read_metrics
from patchseg.training.validate import validate

SECONDS = 120  # until processes that should have come far enough are given up

# Group norm and plain cross-entropy: nothing depends on which patches share a process, but for the last digits.
SETTINGS = {
    "-b": 4, "--loss": "ce", "--norm": "group", "--width": 4, "--levels": 2, "--threads": 1, "--device": "cpu",
    "--name": "run", "--strength": "none", "--centred": 0,
}  # fmt: skip


@pytest.fixture
def launch(patches, tmp_path):
    """Begin `patchseg train` in so many processes, in a folder."""
    root = str(Path(patchseg.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    begun = []

    def launch(folder, processes, *more, file=patches, settings=SETTINGS, verb="train"):
        folder.mkdir(exist_ok=True)
        words = ["-m", "patchseg", verb, file, *(w for pair in settings.items() for w in pair), *more]
        if processes > 1:
            runner = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", processes]
            words = [*runner, *words]
        command = [sys.executable, *map(str, words)]
        begun.append(
            subprocess.Popen(
                command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                start_new_session=True,
            )
        )  # fmt: skip
        return begun[-1]

    yield launch
    for process in begun:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def ended(process):
    out, told = process.communicate(timeout=SECONDS)
    return process.returncode, out, told


def test_two_processes_have_the_losses_and_scores_of_one(launch, tmp_path):
    for name, processes in (("one", 1), ("two", 2)):
        code, out, told = ended(launch(tmp_path / name, processes, "-e", "3"))
        assert code == 0, told
        assert out == "checkpoints/run/best.pt\n"
        assert told.count("epoch 3/3") == 1
    one, two = (read_metrics(tmp_path / name / "runs/run") for name in ("one", "two"))
    assert [line["step"] for line in two] == [20, 40, 60]
    for mine, its in zip(one, two, strict=True):
        assert mine["loss/train"] == pytest.approx(its["loss/train"], abs=1e-5)
        assert mine["loss/val"] == pytest.approx(its["loss/val"], abs=1e-4)
        assert mine["mean_iou"] == pytest.approx(its["mean_iou"], abs=1e-3)
    states = [load(tmp_path / name / "checkpoints/run/last.pt") for name in ("one", "two")]
    for weight in states[0].weights:
        torch.testing.assert_close(states[0].weights[weight], states[1].weights[weight], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("objective", ["fixmatch", "mean-teacher"])
def test_two_processes_have_the_losses_of_one_where_a_teacher_helps(
    launch, tmp_path, some_unlabelled, objective
):
    # Dropped features are drawn process by process; a threshold may be passed by the last digit.
    more = (
        "--steps",
        12,
        "--objective",
        objective,
        "--confidence",
        0,
        "--entropy-drop",
        0,
        "--channel-dropout",
        0,
    )
    for name, processes in (("one", 1), ("two", 2)):
        code, _, told = ended(
            launch(tmp_path / name, processes, *more, "--epoch-steps", 4, file=some_unlabelled)
        )
        assert code == 0, told
    one, two = (read_metrics(tmp_path / name / "runs/run") for name in ("one", "two"))
    for mine, its in zip(one, two, strict=True):
        for key in ("loss/train", "loss/labelled"):
            assert mine[key] == pytest.approx(its[key], rel=1e-3)
        assert mine["unlabelled/learned"] == its["unlabelled/learned"] == 1


@pytest.mark.slow
def test_two_processes_contrast_at_the_steps_at_which_one_does(launch, tmp_path):
    # Each contrasts its own patches, so without weight all but the contrast is that of one process.
    more = (
        "--steps",
        12,
        "--epoch-steps",
        4,
        "--objective",
        "supcon",
        "--contrast-every",
        3,
        "--contrast-weight",
        0,
    )
    for name, processes in (("one", 1), ("two", 2)):
        code, _, told = ended(launch(tmp_path / name, processes, *more))
        assert code == 0, told
    one, two = (read_metrics(tmp_path / name / "runs/run") for name in ("one", "two"))
    for mine, its in zip(one, two, strict=True):
        assert mine["loss/labelled"] == pytest.approx(its["loss/labelled"], rel=1e-3)
        assert mine["loss/contrast"] > 0 < its["loss/contrast"]


@pytest.mark.slow
def test_two_processes_learn_from_images_alone_and_one_of_them_cuts_them(launch, tmp_path, patches):
    settings = {name: value for name, value in SETTINGS.items() if name not in ("--loss", "--centred")}
    for name, processes in (("one", 1), ("two", 2), ("again", 2)):
        code, out, told = ended(
            launch(tmp_path / name, processes, "--steps", 6, settings=settings, verb="pretrain")
        )
        assert (code, out) == (0, "checkpoints/run/best.pt\n"), told
        assert (
            told.count("train on labels from here on")
            == told.count("nothing for validation is among them")
            == 1
        )
        assert not (tmp_path / name / "checkpoints/run.h5").exists()
    one, two, again = (load(tmp_path / name / "checkpoints/run/last.pt") for name in ("one", "two", "again"))
    assert all(torch.equal(two.weights[name], again.weights[name]) for name in two.weights)
    assert not torch.equal(one.weights["down.0.0.weight"], two.weights["down.0.0.weight"])


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_all_processes_validate_the_network_that_is_saved(launch, tmp_path, write_patches, noise, decay):
    regions = [(image, mask) for image, mask in zip(*noise(4, side=24, seed=1), strict=True)]
    path = write_patches(tmp_path / "p.h5", *noise(12, side=16), regions)
    # Each process has statistics of its own in batch norm.
    code, _, told = ended(
        launch(tmp_path / "run", 2, "-e", "3", "--norm", "batch", "--ema", decay, file=path)
    )
    assert code == 0, told
    network = load(tmp_path / "run/checkpoints/run/last.pt").network()
    with PatchFile(path) as file:
        found = validate(file, Predictor([network], torch.device("cpu"), "fp32"))
    assert read_metrics(tmp_path / "run/runs/run")[-1]["loss/val"] == pytest.approx(found.loss, rel=1e-6)


def test_a_batch_that_cannot_be_shared_is_refused(launch, tmp_path):
    code, _, told = ended(launch(tmp_path / "odd", 2, "-b", "5"))
    assert code != 0
    assert "--batch 5: cannot be dealt evenly to 2 processes" in told
    assert (
        "Traceback (most recent call last)"
        not in told.split("ChildFailedError")[0].split("Error: --batch")[0]
    )


def test_processes_share_a_network_with_weights_that_nothing_asks_for(launch, tmp_path):
    # The end of an EfficientNet, which its encoder leaves out.
    unet = ("--norm", "--width", "--levels")
    settings = {flag: value for flag, value in SETTINGS.items() if flag not in unet}
    network = "--model", "smp/linknet", "--encoder", "efficientnet-b0"
    process = launch(tmp_path / "run", 2, "--steps", 3, *network, settings=settings)
    code, _, told = ended(process)
    assert code == 0, told


def children(process):
    """Return the processes that another one has begun."""
    tasks = Path(f"/proc/{process.pid}/task").iterdir()
    return [int(word) for task in tasks for word in (task / "children").read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="processes are looked up in /proc")
def test_a_killed_process_ends_the_run_with_a_message_and_its_checkpoint_stays(launch, tmp_path):
    process = launch(tmp_path / "run", 2, "-e", "4000")
    until = time.monotonic() + SECONDS
    while len(read_metrics(tmp_path / "run/runs/run")) < 2:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.05)
    os.kill(children(process)[1], signal.SIGKILL)
    code, _, told = ended(process)
    assert code != 0
    assert "another process of the run is gone" in told
    assert "go on with --resume" in told
    assert load(tmp_path / "run/checkpoints/run/last.pt").training["step"] >= 20
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="processes are looked up in /proc")
def test_processes_that_are_stopped_leave_one_checkpoint_with_the_loss_of_all(launch, tmp_path):
    lengths = "--epochs", "3", "--epoch-steps", "50"
    code, _, told = ended(launch(tmp_path / "straight", 2, *lengths))
    assert code == 0, told
    process = launch(tmp_path / "run", 2, *lengths)
    until = time.monotonic() + SECONDS
    while not read_metrics(tmp_path / "run/runs/run"):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.005)
    os.kill(children(process)[1], signal.SIGTERM)
    told = ended(process)[2]
    assert "saved checkpoints/run/last.pt, go on with --resume" in told
    assert "Error:" not in told.split("ChildFailedError")[0]
    state = load(tmp_path / "run/checkpoints/run/last.pt").training
    assert state["step"] % 20 == 0
    assert state["loss_count"] == state["step"] % 50
    assert not list(tmp_path.rglob("*.part"))
    code, _, told = ended(launch(tmp_path / "run", 2, *lengths, "--resume"))
    assert code == 0, told
    straight, run = (read_metrics(tmp_path / name / "runs/run") for name in ("straight", "run"))
    assert [line["loss/train"] for line in run] == pytest.approx(
        [line["loss/train"] for line in straight], rel=1e-6
    )
