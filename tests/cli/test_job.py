import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import patchseg


def pixels(file):
    with Image.open(file) as image:
        return np.asarray(image)


@pytest.fixture
def start(here):
    """Start a command line in the working folder, with no terminal."""
    # Whoever runs the tests in the background may have Ctrl-C ignored, which children inherit.
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from patchseg.cli import run; run()"
    root = str(Path(patchseg.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": "1"}

    def start(*words: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", code, *map(str, words)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip

    return start


def test_with_parameters_here_the_verbs_need_no_argument(run, here, write_parameters):
    write_parameters(
        data={
            "images": "data/train/images",
            "masks": "data/train/masks",
            "classes": ["background", "line", "ellipse"],
        },
        prepare={"patch": 16, "per_image": 2, "validation": 0.25},
        model={"width": 4, "levels": 2},
        train={"batch": 8, "threads": 1, "device": "cpu"},
        infer={"images": ["data/test/images"], "checkpoint": "checkpoints/patches/best.pt", "threads": 1},
        evaluate={"masks": "masks", "truth": "data/test/masks"},
        synth={"train": 4, "test": 2, "height": 40, "width": 32},
    )
    told = {}
    for words in (["synth", "data"], ["prepare"], ["train", "-e", 1], ["infer"], ["evaluate"]):
        ended = told[words[0]] = run(*words)
        assert ended.code == 0, ended.err
    # What a script reads is on stdout, alone.
    assert told["synth"].out == "data\n"
    assert told["prepare"].out == "patches.h5\n"
    assert told["train"].out == "checkpoints/patches/best.pt\n"
    assert told["infer"].out == "masks\n"
    assert told["evaluate"].out.endswith("masks/scores.json\n")
    assert "3 images to train on, 1 to validate\n" in told["prepare"].err
    assert "epoch 1/1  loss " in told["train"].err
    assert "2 images on " in told["infer"].err
    assert told["evaluate"].err == ""
    for name in ("0004", "0005"):
        mask = pixels(here / f"masks/{name}.png")
        assert mask.shape == (40, 32)
        assert set(np.unique(mask)) <= {0, 1, 2}
    report = run("report", "masks/scores.json", "--run", "runs/patches")
    assert (report.code, report.out) == (0, "report.html\n")
    assert "<title>Report: patches</title>" in (here / "report.html").read_text(encoding="utf-8")


def test_scores_are_a_table_and_with_json_one_document(run, here, job):
    shutil.copytree(job / "data/test/masks", here / "masks")
    (here / "classes.json").write_text('{"data": {"classes": ["ground", "line", "ellipse"]}}')
    words = ["evaluate", "masks", job / "data/test/masks", "--parameters", "classes.json", "-o"]
    table = run(*words, "a").out.splitlines()
    assert [line.split()[0] for line in table[1:4]] == ["ground", "line", "ellipse"]
    assert table[1].split()[1:] == ["1.0000"] * 4
    assert max(map(len, table)) <= 80
    ended = run(*words, "b", "--json")
    document = json.loads(ended.out)
    assert document["mean_iou"] == 1
    assert document == json.loads((here / "b/scores.json").read_text())
    with (here / "b/scores.csv").open() as file:
        assert [row["name"] for row in csv.DictReader(file)] == ["0004", "0005"]


def test_an_existing_output_is_refused_and_replaced_on_request(run, here, job):
    data = job / "data/train"
    prepare = ["prepare", data / "images", data / "masks", "--patch", 16, "--per-image", 1]
    train = ["train", job / "patches.h5", "--steps", 1, "--threads", 1, "--width", 4, "--levels", 1]
    infer = ["infer", job / "data/test/images", "-m", job / "best.pt", "--threads", 1]
    synth = ["synth", "s", "--train", 1, "--test", 0, "--height", 16, "--width", 16]
    evaluate = ["evaluate", "masks", job / "data/test/masks"]
    for words in (prepare, train, infer, synth, evaluate, ["report", "masks/scores.json"]):
        assert run(*words).code == 0
        if words is infer:
            assert "2 images on CPU, 1 thread; 2 finished already" in run(*words).err
            words = [*words, "--tile", 24]  # noqa: PLW2901
        refused = run(*words)
        assert refused.code == 2
        assert "--overwrite" in refused.error
        assert any(
            found in refused.error for found in ("exists already", "is not empty", "infer.tile 256, now 24")
        )
        assert run(*words, "--overwrite").code == 0


def test_an_image_is_never_replaced_by_its_mask(run, here, job):
    image = here / "0004.png"
    image.write_bytes((job / "data/test/images/0004.png").read_bytes())
    before = image.read_bytes()
    ended = run("infer", image, "-m", job / "best.pt", "-o", ".", "--overwrite", "--threads", 1)
    assert ended.code == 2
    assert image.read_bytes() == before


def test_ctrl_c_saves_a_training_that_then_goes_on(start, run, here, job):
    words = ["train", job / "patches.h5", "--steps", 100, "--threads", 1, "--width", 4, "--levels", 2]
    running = start(*words)
    for line in running.stderr:
        if line.startswith("epoch"):
            break
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert out == ""
    assert "saved checkpoints/patches/last.pt, go on with --resume" in err
    assert "Traceback" not in err
    assert (here / "checkpoints/patches/best.pt").is_file()
    ended = run(*words, "--resume")
    assert ended.code == 0
    assert "going on after step " in ended.err
    assert "epoch 20/20" in ended.err
    assert "epoch  1/20" not in ended.err


def test_ctrl_c_in_another_verb_leaves_whole_files_only(start, here):
    running = start("synth", "data", "--train", 4000)
    while not list(here.glob("data/train/masks/*.png")):
        assert running.poll() is None
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert err.strip() == "Interrupted."
    assert not [path for path in (here / "data").rglob("*") if path.name.endswith(".part")]
    written = list(here.glob("data/train/*/*.png"))
    assert {pixels(file).shape for file in written} == {(400, 200)}
