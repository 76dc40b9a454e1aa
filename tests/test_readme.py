"""The commands of the README that say `<!-- tested -->` are run as they stand, in one folder, one block after the other."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import patchseg

ROOT = Path(patchseg.__file__).parents[1]
MARKED = re.compile(r"^<!-- tested -->\n+```sh\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)


def blocks(text: str) -> list[str]:
    """Return the shell blocks of a page that are marked as tested.

    A mark that stands before anything else is a mistake.
    """
    found = MARKED.findall(text)
    assert len(found) == text.count("<!-- tested -->"), "a mark stands before no ```sh block"
    return found


def run(commands: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run lines of shell as a reader would, in a folder, with the patchseg of this Python; stop at the first failure."""
    places = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    environment = os.environ | {"PATH": os.pathsep.join(places)}
    return subprocess.run(
        ["bash", "-e", "-x"],
        input=commands,
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=environment,
    )


def test_only_marked_shell_blocks_are_taken():
    text = "```sh\nfalse\n```\n<!-- tested -->\n```sh\necho a\necho b\n```\ntext\n<!-- tested -->\n\n```sh\necho c\n```\n"
    assert blocks(text) == ["echo a\necho b\n", "echo c\n"]


def test_a_mark_before_anything_else_is_a_mistake():
    with pytest.raises(AssertionError, match="a mark stands before no"):
        blocks("<!-- tested -->\n```python\nprint()\n```\n")


def test_the_first_failing_line_ends_the_run_and_is_named(tmp_path):
    done = run("touch before\nls nowhere\ntouch after\n", tmp_path)
    assert done.returncode != 0
    assert "+ ls nowhere" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["before"]


def test_the_command_that_is_run_is_the_patchseg_of_this_python(tmp_path):
    done = run("patchseg --version\n", tmp_path)
    assert done.stdout == f"patchseg, version {patchseg.__version__}\n", done.stderr


def test_the_readme_has_commands_to_test():
    assert any(
        "patchseg prepare" in block for block in blocks((ROOT / "README.md").read_text(encoding="utf-8"))
    )


@pytest.mark.slow
@pytest.mark.alone
def test_the_commands_of_the_readme_do_what_it_says(tmp_path):
    for block in blocks((ROOT / "README.md").read_text(encoding="utf-8")):
        done = run(block, tmp_path)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
