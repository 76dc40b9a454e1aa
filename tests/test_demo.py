import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import patchseg
from patchseg.demo import demo
from patchseg.errors import UsageError

TINY = patchseg.SynthParameters(train=4, test=2, height=112, width=96)


class Lines(patchseg.Progress):
    """Keeps what is said."""

    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


@pytest.fixture(scope="module")
def one_core():
    """Stay on one core: so small a demo waits for its threads longer than it works."""
    threads = torch.get_num_threads()
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    if cores:
        os.sched_setaffinity(0, {min(cores)})
    yield
    if cores:
        os.sched_setaffinity(0, cores)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def done(tmp_path_factory, one_core):
    """Return the folder of a tiny demo, what it ended with and what it said."""
    folder, told = tmp_path_factory.mktemp("demo") / "new", Lines()
    return folder, demo(folder, images=TINY, steps=3, progress=told), told.lines


def test_everything_that_the_job_makes_is_there(done):
    folder, _, _ = done
    for name in (
        "data/train/images/0003.png",
        "data/test/masks/0005.png",
        "patches.h5",
        "checkpoints/demo/best.pt",
        "checkpoints/demo/last.pt",
        "runs/demo/metrics.jsonl",
        "runs/demo/parameters.effective.json",
        "masks/0004.png",
        "masks/overlays/0004.png",
        "masks/parameters.effective.json",
        "scores.json",
        "scores.csv",
        "report.html",
    ):
        assert (folder / name).is_file(), name
    with Image.open(folder / "masks/0005.png") as mask:
        assert np.asarray(mask).shape == (112, 96)


def test_it_ends_with_the_scores_of_the_test_images_and_the_report(done):
    folder, result, _ = done
    assert result.report == folder / "report.html"
    assert result.scores == json.loads((folder / "scores.json").read_text())
    assert [image["name"] for image in result.scores["images"]] == ["0004", "0005"]
    assert [item["name"] for item in result.scores["classes"]] == ["background", "line", "ellipse"]
    assert sum(map(sum, result.scores["confusion"])) == 2 * 112 * 96


def test_it_trains_as_long_as_asked_with_the_preset(done):
    folder, _, _ = done
    lines = (folder / "runs/demo/metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["step"] == 3
    record = json.loads((folder / "runs/demo/parameters.effective.json").read_text())
    assert record["train.batch"]["value"] == 4
    assert record["model.width"]["value"] == 8


def test_it_says_which_of_its_steps_it_is_at(done):
    _, _, lines = done
    steps = [line.split()[:2] for line in lines if "/6 " in line[:4]]
    assert steps == [
        [f"{number}/6", name]
        for number, name in enumerate(["synth:", "prepare:", "train", "infer:", "evaluate", "report"], 1)
    ]
    assert "4 training and 2 test images" in lines[0]


def test_a_second_run_over_the_same_folder_ends_with_the_same_scores(done, one_core):
    folder, result, _ = done
    again = demo(folder, images=TINY, steps=3)
    assert again.scores["confusion"] == result.scores["confusion"]
    assert again.report == result.report


def test_a_folder_of_somebody_else_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("chapter 1")
    with pytest.raises(UsageError, match="is not empty and no demo made it; name another folder"):
        demo(tmp_path, images=TINY, steps=1)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "demo").touch()
    with pytest.raises(UsageError, match="demo: is a file; name a folder that may be new"):
        demo(tmp_path / "demo", images=TINY, steps=1)


@pytest.mark.slow
@pytest.mark.alone
def test_the_demo_reaches_what_the_seed_method_reports(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(Path(patchseg.__file__).parents[1])}
    ended = subprocess.run(
        [sys.executable, "-m", "patchseg", "demo", tmp_path / "demo"],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    scores = json.loads((tmp_path / "demo/scores.json").read_text())
    print(ended.stdout)
    assert len(scores["images"]) == 10
    assert scores["mean_iou"] >= 0.97
    assert ended.stdout.splitlines()[-1] == f"report: {tmp_path / 'demo/report.html'}"
