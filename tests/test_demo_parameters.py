"""The parameters.json of the repository: it describes the synthetic demo, and the verbs need nothing more."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

import patchseg
from patchseg.cli import main
from patchseg.imaging.picture import hexadecimal, palette
from patchseg.loading import load
from patchseg.synth import CLASSES

FILE = Path(patchseg.__file__).parents[1] / "parameters.json"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a command line in a folder that holds the file and nothing else at first; return its stdout."""
    shutil.copy(FILE, tmp_path)
    monkeypatch.chdir(tmp_path)

    def run(line):
        done = CliRunner().invoke(main, line.split(), catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    return run


def test_after_synth_the_verbs_need_no_argument(run):
    run("synth data --train 10 --test 2 --height 96 --width 96")
    run("prepare --per-image 2")
    run("train -e 100 -b 16 --steps 3 --epoch-steps 3 --threads 1")
    run("infer --threads 1")
    scores = json.loads(run("evaluate --json"))
    assert [item["name"] for item in scores["classes"]] == list(CLASSES)
    assert [item["name"] for item in scores["images"]] == ["0010", "0011"]


def test_masks_in_colours_are_understood_too(run):
    run("synth data --train 10 --test 0 --height 96 --width 96 --mask-style rgb")
    run("prepare --per-image 2")
    assert Path("patches.h5").stat().st_size > 0


def test_the_classes_have_the_names_and_colours_of_the_synthetic_masks():
    classes = load(FILE).data.classes
    assert [item.name for item in classes] == list(CLASSES)
    assert [item.color for item in classes] == [hexadecimal(color) for color in palette(len(CLASSES))]


def test_a_number_of_epochs_on_the_command_line_is_the_length_of_the_training():
    train = load(FILE, {"train.epochs": 7}).train
    assert train.epochs == 7
    assert train.steps is None
    assert train.time is None
