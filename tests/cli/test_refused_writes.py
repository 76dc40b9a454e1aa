"""What happens when the disk is full, or the folder is somebody else's: a sentence, and no half file."""

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import patchseg

# One interpreter for all, because importing torch takes longer than the work.
SCRIPT = """
import contextlib, io, json, os, resource, sys, traceback
import patchseg.cli.demo
from patchseg.cli import run
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
ended = {}
for name, folder, limit, words in json.loads(sys.argv[1]):
    os.chdir(folder)
    if folder.endswith("locked") and os.getuid() == 0:
        os.setuid(65534)
    out, err, code = io.StringIO(), io.StringIO(), None
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard if limit is None else limit, hard))
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            run(words)
    except SystemExit as exit:
        code = exit.code
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    ended[name] = {"code": code, "out": out.getvalue(), "err": err.getvalue()}
print(json.dumps(ended))
"""
LIMITS = [
    ("synth", 2000), ("prepare", 0), ("prepare", 20000), ("prepare", 80000), ("train", 4000), ("train", 12000),
    ("infer", 2000),
]  # fmt: skip
VERBS = ["synth", "prepare", "train", "infer"]


def line(verb, job):
    """Return a command line that writes into the working folder."""
    data = job / "data/train"
    words = {
        "synth": ["synth", "out", "--train", 1, "--test", 0],
        "prepare": ["prepare", data / "images", data / "masks", "--patch", 16],
        "train": ["train", job / "patches.h5", "--steps", 1, "--threads", 1, "--width", 4, "--levels", 2],
        "infer": ["infer", data / "images", "-m", job / "best.pt", "--threads", 1, "--probabilities"],
        "demo": ["demo"],
    }[verb]  # fmt: skip
    return list(map(str, words))


@pytest.fixture(scope="module")
def shared():
    """Return a folder that everybody may enter."""
    folder = Path(tempfile.mkdtemp())
    if any(not parent.stat().st_mode & stat.S_IXOTH for parent in folder.parents):
        pytest.skip(f"{folder}: others cannot enter it, so what they may not write there cannot be tested")
    folder.chmod(0o755)
    yield folder
    (folder / "locked").chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def ended(shared, job):
    """Return what each verb ends with on a full disk, in an open folder and in a locked one, by name."""
    mine = shared / "job"
    shutil.copytree(job, mine)
    for folder in [mine, *(path for path in mine.rglob("*") if path.is_dir())]:
        folder.chmod(0o755)
    plan = [(f"{verb} {limit}", f"{verb}_{limit}", limit, line(verb, mine)) for verb, limit in LIMITS]
    # Each verb works once before it is refused: the interpreter may lie where nobody else can import from it.
    plan += [(f"{verb} open", "open", None, line(verb, mine)) for verb in VERBS]
    plan += [(f"{verb} locked", "locked", None, line(verb, mine)) for verb in [*VERBS, "demo"]]
    for _, folder, *_ in plan:
        (shared / folder).mkdir(exist_ok=True)
    (shared / "locked").chmod(0o555)
    scenes = [(name, str(shared / folder), *rest) for name, folder, *rest in plan]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(scenes)], capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(Path(patchseg.__file__).parents[1]), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


@pytest.mark.parametrize(("verb", "limit"), LIMITS)
def test_a_full_disk_is_a_sentence_and_no_half_file(verb, limit, ended, shared):
    told = ended[f"{verb} {limit}"]
    assert told["code"] == 1
    assert told["out"] == ""
    *_, error = told["err"].splitlines()
    assert error.startswith("Error: ")
    assert error.endswith(": cannot be written, a size limit is reached; make room or choose another place")
    assert "Traceback" not in told["err"]
    left = [path for path in (shared / f"{verb}_{limit}").rglob("*") if path.is_file()]
    assert not [path for path in left if path.name.endswith((".part", ".h5", ".pt"))]
    assert not [path for path in left if path.suffix in (".png", ".tif") and path.stat().st_size >= limit]


@pytest.mark.parametrize("verb", [*VERBS, "demo"])
def test_a_folder_that_is_not_ours_is_a_usage_error(verb, ended, shared):
    assert verb == "demo" or ended[f"{verb} open"]["code"] == 0
    told = ended[f"{verb} locked"]
    assert told["code"] == 2
    assert told["out"] == ""
    *_, error = told["err"].splitlines()
    assert error.startswith("Error: ")
    assert error.endswith(": cannot be written (permission denied); choose a folder that you may write to")
    assert not list((shared / "locked").iterdir())
