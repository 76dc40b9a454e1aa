import json
import shutil
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch

import patchseg
from patchseg import cli


class Ran(NamedTuple):
    """What a command line ended with."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The error, without what was told before it."""
        assert "Traceback" not in self.err
        return self.err[self.err.index("Error: ") + len("Error: ") :].strip()


Run = Callable[..., Ran]


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def run(capfd) -> Run:
    """Run a command line as far as its exit code: `run("train", "-e", 1)`."""

    def run(*words: object) -> Ran:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.run([str(word) for word in words])
        assert isinstance(ended.value.code, int)
        return Ran(ended.value.code, *capfd.readouterr())

    return run


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Return an empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def job(tmp_path_factory):
    """Return a folder with 4 training and 2 test images of 40 x 32, `patches.h5` and `best.pt`; read only."""
    folder = tmp_path_factory.mktemp("job")
    images = patchseg.SynthParameters(train=4, test=2, height=40, width=32)
    patchseg.synth(folder / "data", parameters=images)
    patches = patchseg.prepare(
        folder / "data/train/images",
        folder / "data/train/masks",
        parameters=patchseg.PrepareParameters(output=str(folder / "patches.h5"), patch=16, per_image=2),
    )
    best = patchseg.train(
        patches,
        parameters=patchseg.TrainParameters(steps=2, threads=1, device="cpu"),
        model=patchseg.ModelParameters(width=4, levels=2),
        folder=folder,
    )
    best.rename(folder / "best.pt")
    return folder


@pytest.fixture
def write_parameters(here):
    """Write parameters.json into the working folder."""

    def write(**sections: object) -> None:
        (here / "parameters.json").write_text(json.dumps(sections), encoding="utf-8")

    return write


@pytest.fixture
def folder(here, job):
    """Return a working folder with 4 `images` and `masks` of 40 x 32, `patches.h5` and `best.pt`, all of them good."""
    for name in ("images", "masks"):
        shutil.copytree(job / "data/train" / name, here / name)
    for name in ("patches.h5", "best.pt"):
        shutil.copy(job / name, here)
    return here
