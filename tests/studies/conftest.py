import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from patchseg.parameters import (
    CrossvalParameters,
    LearningCurveParameters,
    ModelParameters,
    Parameters,
    PrepareParameters,
    TrainParameters,
)
from patchseg.progress import Progress
from patchseg.studies.crossval import crossval

SIDE = 24


@pytest.fixture(scope="session")
def planting():
    """Return the module that plants errors, which the benchmark uses too."""
    spec = importlib.util.spec_from_file_location("planting", Path(__file__).with_name("planting.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


class Killed(Exception):
    pass


class Told(Progress):
    """Remembers the lines; kills, or presses Ctrl-C, at the first line or bar that holds some words."""

    def __init__(self, words=None, error=Killed):
        self.lines, self._words, self._error = [], words, error

    def say(self, line):
        self.lines.append(line)
        self.start(line, 0)

    def start(self, label, total):
        if self._words and self._words in label:
            raise self._error


class Data(NamedTuple):
    images: object
    masks: object


def _write(folder, names, *, masks="masks/{}.png"):
    """Write images whose pixels tell their number, row and column, and masks whose right half is class 1."""
    for number, name in enumerate(names):
        image = np.stack([np.full((SIDE, SIDE), number), *np.indices((SIDE, SIDE))], axis=2)
        mask = np.zeros((SIDE, SIDE))
        mask[:, SIDE // 2 :] = 1
        for path, pixels in ((f"images/{name}.png", image), (masks.format(name), mask)):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / path)
    return Data(folder / "images", folder / "masks")


def _settings(output, *, folds=2, repeats=1, prepare=None, **train):
    """Return parameters of trainings of two steps on one thread."""
    train = {"steps": 2, "batch": 4, "threads": 1, "device": "cpu"} | train
    return Parameters(
        prepare=PrepareParameters(**{"patch": 16, "per_image": 2} | (prepare or {})),
        model=ModelParameters(width=4, levels=2), train=TrainParameters(**train),
        crossval=CrossvalParameters(folds=folds, output=str(output)),
        learning_curve=LearningCurveParameters(repeats=repeats, output=str(output)),
    )  # fmt: skip


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Return the folders of four images, whose pixels tell where they are, and of their masks; read only."""
    return _write(tmp_path_factory.mktemp("data"), ["a/a1", "a/a2", "b/b1", "b/b2"])


@pytest.fixture(scope="session")
def kit(data):
    """Return what tests of studies take: the `data`, `settings`, `write` data, `hear` what is told, and what `killed` stands for."""
    return SimpleNamespace(data=data, settings=_settings, write=_write, hear=Told, killed=Killed)


@pytest.fixture(scope="session")
def done(data, tmp_path_factory):
    """Return the folder of a cross-validation of them in two folds; read only."""
    folder = tmp_path_factory.mktemp("done") / "cv"
    crossval(*data, parameters=_settings(folder))
    return folder
