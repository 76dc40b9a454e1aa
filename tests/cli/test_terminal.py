import contextlib
import os
import pty
import sys
import termios

from patchseg.cli.terminal import Terminal


def on_a_terminal(job, monkeypatch):
    """Return what a job writes to a stderr that is a terminal."""
    reader, writer = pty.openpty()
    termios.tcsetwinsize(reader, (24, 80))
    with os.fdopen(writer, "w") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        job(Terminal())
    text = b""
    with os.fdopen(reader, "rb", buffering=0) as screen, contextlib.suppress(OSError):  # how a terminal ends
        while more := screen.read(1000):
            text += more
    return text.decode()


def work(progress):
    progress.say("before")
    progress.start("cutting", 2)
    progress.step(note="IoU 0.5")
    progress.say("meanwhile")
    progress.step()
    progress.start("measuring", 0)
    progress.step()
    progress.stop()
    progress.stop()
    progress.say("after")


def test_a_terminal_shows_lines_and_bars_and_ends_with_lines_only(monkeypatch):
    text = on_a_terminal(work, monkeypatch)
    assert "cutting:   0%" in text
    assert "measuring: " in text
    # What stands in a line is what was written last.
    left = [line.split("\r")[-1].strip() for line in text.split("\r\n")]
    assert left == ["before", "meanwhile", "after", ""]
    assert text.index("before") < text.index("cutting") < text.index("meanwhile") < text.index("measuring")


def test_bars_vanish_where_stderr_is_no_terminal(capfd):
    work(Terminal())
    captured = capfd.readouterr()
    assert captured.err == "before\nmeanwhile\nafter\n"
    assert captured.out == ""


def test_a_step_without_a_bar_is_nothing(capfd):
    Terminal().step(note="IoU 0.5")
    assert capfd.readouterr().err == ""
