import subprocess
import sys
import types

import click
import pytest

from patchseg import cli


@pytest.fixture
def broken(monkeypatch):
    """Add a verb `broken` that divides by zero."""

    @click.command
    def command():
        _ = 1 / 0

    module = types.ModuleType("patchseg.cli.broken")
    module.command = command
    monkeypatch.setitem(sys.modules, "patchseg.cli.broken", module)
    monkeypatch.setitem(cli.VERBS, "broken", "Fail.")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["trian"], 'There is no command trian; did you mean "train"?'),
        (["zebra"], "There is no command zebra"),
        (["train", "--epoch", 3], "--epochs"),
        (["prepare", "--ptch", 16], "Did you mean '--patch'?"),
        (["prepare", "--patch", "wide"], "Invalid value for '--patch': 'wide' is not a valid integer."),
        (["train", "--loss", "mse"], '--loss should be a sum such as "0.5*ce+focal" of ce, dice, '),
        (["synth"], "Missing argument 'DIR'."),
    ],
)
def test_a_mistyped_line_is_a_usage_error_with_a_hint(words, told, run, here):
    ended = run(*words)
    assert ended.code == 2
    assert ended.out == ""
    assert told in ended.error


def test_an_error_is_a_sentence_and_its_exit_code(run, here):
    ended = run("train", "none.h5")
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err == "Error: none.h5: is no file; make it with `patchseg prepare`\n"


@pytest.mark.parametrize("words", [["--debug", "train", "none.h5"], ["train", "none.h5", "--debug"]])
def test_debug_adds_the_traceback_wherever_it_stands(words, run, here):
    ended = run(*words)
    assert ended.code == 2
    assert ended.err.startswith("Traceback (most recent call last):")
    assert ended.err.endswith("Error: none.h5: is no file; make it with `patchseg prepare`\n")


def test_the_unexpected_is_told_without_a_traceback_too(broken, run):
    ended = run("broken")
    assert ended.code == 1
    assert ended.err == (
        "Error: unexpected ZeroDivisionError: division by zero; run it with --debug to see where\n"
    )
    assert "in command" in run("broken", "--debug").err


def test_findings_stand_below_each_other(run, here):
    for name in ("images", "masks"):
        (here / name).mkdir()
    for name in ("images/a.png", "images/b.png", "masks/c.png"):
        (here / name).write_bytes(b"")
    ended = run("prepare", "images", "masks")
    assert ended.code == 3
    lines = ended.err.splitlines()
    assert lines[0].startswith("Error: images/a.png: has no mask in masks")
    assert lines[1].startswith("       images/b.png: has no mask in masks")
    assert any(line.startswith("       masks/c.png: belongs to no image") for line in lines)


def test_a_module_run_is_the_command(here):
    done = subprocess.run(
        [sys.executable, "-m", "patchseg", "trian"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert 'did you mean "train"?' in done.stderr


def test_a_reader_that_leaves_early_sees_no_traceback(run_python, here):
    code = (
        "import os, sys\n"
        "reader, writer = os.pipe()\n"
        "os.close(reader), os.dup2(writer, 1)\n"
        "from patchseg.cli import run\n"
        "run(['parameters'])\n"
    )
    done = run_python(code)
    assert done.returncode == 1
    assert done.stderr == ""
