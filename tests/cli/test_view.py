"""`patchseg view` as a stranger runs it: a process, an address, Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from PIL import Image

import patchseg


def start(folder: Path, *words: object) -> subprocess.Popen:
    root = str(Path(patchseg.__file__).parents[1])
    return subprocess.Popen(
        [sys.executable, "-m", "patchseg", "view", *map(str, words)], cwd=folder, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env=os.environ | {"PYTHONPATH": root, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip


@pytest.fixture
def pair(here) -> Path:
    """Return a working folder with a.png and its mask m.png."""
    Image.new("RGB", (30, 20), (9, 8, 7)).save(here / "a.png")
    Image.new("L", (30, 20), 1).save(here / "m.png")
    return here


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_the_address_is_printed_and_ctrl_c_ends_it_quietly(pair, stop):
    process = start(pair, "a.png", "m.png", "--no-open")
    try:
        url = process.stdout.readline().strip()
        with urllib.request.urlopen(f"{url}pixel.json?row=1&column=2", timeout=20) as answer:
            assert json.load(answer)["image"] == [9, 8, 7]
        process.send_signal(stop)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert (process.returncode, out, err) == (0, "", "Image, Mask; Ctrl-C ends it\n")


def test_the_address_as_json(pair):
    process = start(pair, "a.png", "--no-open", "--json")
    try:
        lines = [process.stdout.readline() for _ in range(6)]
        assert json.loads("".join(lines))["layers"] == ["Image"]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0


def test_mistakes_are_one_sentence(pair, run):
    Image.new("L", (29, 20)).save(pair / "other.png")
    cases = {
        ("none.png",): (3, "none.png: cannot be read (no such file or directory); check the path"),
        (".",): (3, ".: cannot be read (is a directory); check the path"),
        ("a.png", "other.png"): (3, "other.png: its mask is 20 x 29 pixels, the image a.png is 20 x 30;"),
    }
    for words, (code, sentence) in cases.items():
        ended = run("view", *words, "--no-open")
        assert (ended.code, ended.out) == (code, "")
        assert ended.error.startswith(sentence)
    assert run("view", "a.png", "--port", "70000").code == 2
    assert run("view").code == 2
